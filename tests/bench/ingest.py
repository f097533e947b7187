"""Recording 1, 4 and 16 cameras of 1080p30 with 4 Mbit/s and AAC: our way to the disk ring against one ffmpeg and one GStreamer a camera.

CPU is what the whole machine spends more than when the cameras play into a drain that throws everything away in the kernel. Where something
else keeps the machine busy, that says nothing, and the recorders' own processes alone are compared; the note says so.
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

from tests.bench import recorders
from tests.bench.cameras import MEDIA_BPS, Cameras, cameras
from tests.bench.machine import Cost, measured
from tests.bench.place import Place
from tests.bench.row import Row

UNIT = Path(__file__).parents[2] / "systemd" / "recorderd.service"
COUNTS = [1, 4, 16]
WINDOW_S = 24.0
SETTLE_S = 6.0  # probing, start-up queues, the first commits
QUIET = 0.05  # cores that strangers may use before the whole machine's busy time says nothing


@dataclass
class Ours:
    """What our recorder told when it ended."""

    cost: Cost
    statistics: dict[str, int] = field(default_factory=dict)
    complete: dict[int, int] = field(default_factory=dict)


def rows(where: Place) -> Iterator[Row]:
    absent = recorders.missing()
    if absent:
        yield Row("ingest", "", note=f"not run: {absent} is absent")
        return
    for count in COUNTS:
        yield from _rows(where, count)


def _rows(where: Place, count: int) -> Iterator[Row]:
    seconds = where.seconds(WINDOW_S)
    with cameras(count) as serving:
        drain = _peer(serving, [[sys.executable, "-m", "tests.bench.drain", *serving.urls]], seconds)
        ours = _ours(where, serving, seconds)
        peers: dict[str, Cost] = {}
        failed = []
        for name, recorder in (("ffmpeg", recorders.ffmpeg), ("GStreamer", recorders.gstreamer)):
            with where.empty(name) as folder:
                try:
                    peers[name] = _peer(serving, _commands(recorder, folder, serving), seconds)
                except recorders.EndedByItself as ended:
                    failed.append(Row(f"{name}, {count} cameras", "", note=f"no figure: {ended}"))
    yield from failed
    strangers = max(cost.strangers for cost in (drain, ours.cost, *peers.values()))
    quiet = strangers <= QUIET
    note = "whole machine" if quiet else f"own processes alone: {strangers:.2f} cores of unrelated load"
    mine = _cores(ours.cost, drain, quiet)
    cameras_ = f"{count} camera{'s' * (count > 1)}"
    for name, cost in peers.items():
        theirs = _cores(cost, drain, quiet)
        last = count == COUNTS[-1] and name == "ffmpeg"
        yield Row(
            f"CPU, {cameras_}, against {name}",
            _per_minute(mine, count),
            _per_minute(theirs, count),
            mine / theirs,
            0.25 if last else None,
            0.17 if last else None,
            note=note,
        )
    for name, cost in peers.items():
        yield Row(
            f"PSS, {cameras_}, against {name}",
            _mib(ours.cost.pss_bytes),
            _mib(cost.pss_bytes),
            ours.cost.pss_bytes / cost.pss_bytes,
            0.45 if count == COUNTS[-1] and name == "ffmpeg" else None,
        )
    held = ours.statistics["held_bytes"]
    fixed = (ours.cost.pss_bytes - 1.25 * held) / 2**20
    yield Row(
        f"PSS but for 1.25 x the pre-buffers' media, {cameras_}",
        f"{fixed:.1f} MiB",
        ratio=fixed,
        target=70 if count == COUNTS[-1] else None,
        note=f"{_mib(held)} of media held; the ratio is in MiB",
    )
    ffmpeg = peers.get("ffmpeg")
    if ours.cost.syscalls_per_s and ffmpeg is not None and ffmpeg.syscalls_per_s:
        yield Row(
            f"system calls, {cameras_}, against ffmpeg",
            f"{ours.cost.syscalls_per_s / count:.0f}/s a camera",
            f"{ffmpeg.syscalls_per_s / count:.0f}/s a camera",
            ours.cost.syscalls_per_s / ffmpeg.syscalls_per_s,
        )
    yield Row(f"last packet to access unit, {cameras_}", _latency(serving, ours), note="median / 99th percentile")
    written, media = ours.statistics["written_bytes"], ours.statistics["media_bytes"]
    yield Row(
        f"bytes to the disk / media, {cameras_}",
        f"{written / media:.4f}",
        note=f"{ours.statistics['commits']} commits, {ours.statistics['flushes']} flushes",
    )


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


def _cores(cost: Cost, drain: Cost, quiet: bool) -> float:
    """Cores in use for recording. The drain's own CPU is no part of what playing costs the cameras."""
    if quiet:
        return cost.busy_s / cost.seconds - (drain.busy_s - drain.own_s) / drain.seconds
    return cost.own_s / cost.seconds


def _per_minute(cores: float, count: int) -> str:
    return f"{cores * 60 / count:.3f} CPU-s/camera-min"


def _mib(size: int) -> str:
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
