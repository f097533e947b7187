"""Recording 1, 4 and 16 cameras of 1080p30 with 4 Mbit/s and AAC: our way to the disk ring against one ffmpeg and one GStreamer a camera.

CPU is what the whole machine spends, by its scheduler's accounts, more than when the cameras play into a drain that throws everything
away in the kernel. Where something else keeps the machine busy, that says nothing, and the recorders' own processes alone are compared;
the note says so. Everyone runs in turn, several times, and the median of the rounds' ratios counts: what the machine's neighbours do
changes within a minute.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench import recorders
from tests.bench.cameras import MEDIA_BPS, Cameras, cameras
from tests.bench.machine import Cost, measured
from tests.bench.place import Place
from tests.bench.row import Row

UNIT = Path(__file__).parents[2] / "systemd" / "recorderd.service"
COUNTS = [1, 4, 16]
PEERS = {"ffmpeg": recorders.ffmpeg, "GStreamer": recorders.gstreamer}
ROUNDS = 3  # of all of them in turn: the machine may be another one a minute later
WINDOW_S = 24.0  # measured of each, over all rounds
LEAST_WINDOW_S = 4.0
SETTLE_S = 6.0  # probing, start-up queues, the first commits
QUIET = 0.05  # cores that strangers may use before the whole machine's busy time says nothing


@dataclass
class Ours:
    """What our recorder told when it ended."""

    cost: Cost
    statistics: dict[str, int] = field(default_factory=dict)
    complete: dict[int, int] = field(default_factory=dict)


@dataclass
class Round:
    """Everyone once, one after the other, under what this machine was like just then."""

    drain: Cost
    ours: Ours
    peers: dict[str, Cost] = field(default_factory=dict)

    @property
    def strangers(self) -> float:
        return max(cost.strangers for cost in (self.drain, self.ours.cost, *self.peers.values()))

    def cores(self, cost: Cost, *, quiet: bool) -> float:
        """Cores in use for recording. The drain's own CPU is no part of what playing costs the cameras."""
        if quiet:
            drain = self.drain
            return cost.busy_s / cost.seconds - (drain.busy_s - drain.own_s) / drain.seconds
        return cost.own_s / cost.seconds


def rows(where: Place) -> Iterator[Row]:
    absent = recorders.missing()
    if absent:
        yield Row("ingest", "", note=f"not run: {absent} is absent")
        return
    for count in COUNTS:
        yield from _rows(where, count)


def _rows(where: Place, count: int) -> Iterator[Row]:
    seconds = max(LEAST_WINDOW_S, where.seconds(WINDOW_S) / ROUNDS)
    failed: dict[str, str] = {}
    with cameras(count) as serving:
        rounds = [_round(where, serving, seconds, failed) for _ in range(ROUNDS)]
    cameras_ = f"{count} camera{'s' * (count > 1)}"
    for name, why in failed.items():
        yield Row(f"{name}, {cameras_}", "", note=f"no figure: {why}")
    strangers = median(one.strangers for one in rounds)
    quiet = strangers <= QUIET
    note = "whole machine" if quiet else f"own processes alone: {strangers:.2f} cores of unrelated load"
    mine = [one.cores(one.ours.cost, quiet=quiet) for one in rounds]
    names = [name for name in PEERS if name not in failed]
    for name in names:
        theirs = [one.cores(one.peers[name], quiet=quiet) for one in rounds]
        last = count == COUNTS[-1] and name == "ffmpeg"
        ratios = sorted(a / b for a, b in zip(mine, theirs, strict=True))
        yield Row(
            f"CPU, {cameras_}, against {name}",
            _per_minute(median(mine), count),
            _per_minute(median(theirs), count),
            median(ratios),
            0.25 if last else None,
            0.17 if last else None,
            note=f"{note}; median of {ROUNDS} rounds, {ratios[0]:.3f} to {ratios[-1]:.3f}",
        )
    pss = median(one.ours.cost.pss_bytes for one in rounds)
    for name in names:
        theirs_pss = median(one.peers[name].pss_bytes for one in rounds)
        yield Row(
            f"PSS, {cameras_}, against {name}",
            _mib(pss),
            _mib(theirs_pss),
            pss / theirs_pss,
            0.45 if count == COUNTS[-1] and name == "ffmpeg" else None,
        )
    held = median(one.ours.statistics["held_bytes"] for one in rounds)
    fixed = median(one.ours.cost.pss_bytes - 1.25 * one.ours.statistics["held_bytes"] for one in rounds) / 2**20
    yield Row(
        f"PSS but for 1.25 x the pre-buffers' media, {cameras_}",
        f"{fixed:.1f} MiB",
        ratio=fixed,
        target=70 if count == COUNTS[-1] else None,
        note=f"{_mib(held)} of media held; the ratio is in MiB",
    )
    calls = [one.ours.cost.syscalls_per_s for one in rounds]
    if "ffmpeg" in names and None not in (theirs_calls := [one.peers["ffmpeg"].syscalls_per_s for one in rounds]):
        ours_per_s, theirs_per_s = median(filter(None, calls)), median(filter(None, theirs_calls))
        yield Row(
            f"system calls, {cameras_}, against ffmpeg",
            f"{ours_per_s / count:.0f}/s a camera",
            f"{theirs_per_s / count:.0f}/s a camera",
            ours_per_s / theirs_per_s,
        )
    newest = rounds[-1].ours
    yield Row(f"last packet to access unit, {cameras_}", _latency(serving, newest), note="median / 99th percentile")
    written, media = newest.statistics["written_bytes"], newest.statistics["media_bytes"]
    yield Row(
        f"bytes to the disk / media, {cameras_}",
        f"{written / media:.4f}",
        note=f"{newest.statistics['commits']} commits, {newest.statistics['flushes']} flushes",
    )


def _round(where: Place, serving: Cameras, seconds: float, failed: dict[str, str]) -> Round:
    """Adds to `failed` which of the peers gave up, and why."""
    drain = _peer(serving, [[sys.executable, "-m", "tests.bench.drain", *serving.urls]], seconds)
    found = Round(drain, _ours(where, serving, seconds))
    for name, recorder in PEERS.items():
        if name in failed:
            continue
        with where.empty(name) as folder:
            try:
                found.peers[name] = _peer(serving, _commands(recorder, folder, serving), seconds)
            except recorders.EndedByItself as ended:
                failed[name] = str(ended)
    return found


def _peer(serving: Cameras, commands: list[list[str]], seconds: float) -> Cost:
    with recorders.running(commands) as pids:
        time.sleep(SETTLE_S)
        with measured(pids, [serving.pid]) as cost:
            time.sleep(seconds)
    return cost


def _commands(recorder, folder: Path, serving: Cameras) -> list[list[str]]:
    commands = []
    for number, url in enumerate(serving.urls):
        (folder / str(number)).mkdir()
        commands.append(recorder(url, folder / str(number)))
    return commands


def _ours(where: Place, serving: Cameras, seconds: float) -> Ours:
    with where.empty("ring") as folder, _recorder(folder, serving) as process:
        assert process.stdout
        if process.stdout.readline() != "recording\n":
            raise RuntimeError("our recorder did not start")
        time.sleep(SETTLE_S)
        with measured([process.pid], [serving.pid]) as cost:
            time.sleep(seconds)
        process.terminate()
        told = json.loads(process.stdout.readline())
        complete = {int(stamp): at for stamp, at in told.pop("complete").items()}
    stored = told["media_bytes"] * 8 / (seconds + SETTLE_S) / len(serving.urls)
    if stored < 0.8 * MEDIA_BPS or told["lost_fragments"]:
        raise RuntimeError(
            f"our recorder stored {stored / 1e6:.2f} Mbit/s a camera and lost {told['lost_fragments']} fragments"
        )
    return Ours(cost, told, complete)


@contextmanager
def _recorder(folder: Path, serving: Cameras) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.bench.recorder", str(folder), *serving.urls]
    environment = os.environ | unit_environment()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


def unit_environment() -> dict[str, str]:
    """What the daemon's unit sets, and with it every installed recorder."""
    lines = re.findall(r"^Environment=(.*)$", UNIT.read_text(), re.MULTILINE)
    return dict(setting.split("=", 1) for line in lines for setting in line.split())


def _per_minute(cores: float, count: int) -> str:
    return f"{cores * 60 / count:.3f} CPU-s/camera-min"


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def _latency(serving: Cameras, ours: Ours) -> str:
    waits = sorted(
        (complete - sent) / 1e6
        for stamp, complete in ours.complete.items()
        if (sent := serving.sent.get(stamp)) is not None
    )
    if not waits:
        return "not seen"
    return f"{waits[len(waits) // 2]:.1f} / {waits[int(len(waits) * 0.99)]:.1f} ms"
