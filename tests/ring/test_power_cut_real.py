"""Power cuts below real ext4 and xfs: a loop device on a file system that logs every write and flush.

An image holds everything before the last flush that had completed, and a random half of what came after, a quarter of that torn at 512-byte
boundaries. Each image is mounted (the file system replays its log), the ring recovers, and the oracle of the simulated cut judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorderd.ring import commit as commit_module
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring
from recorderd.ring.reading import Rotten
from recorderd.ring.ring import Ring
from recorderd.ring.store import Store
from tests.peers.disk_image import OPTIONS, needs_loop_devices
from tests.ring.fakes import BOOT, feed, head
from tests.ring.oracle import Mark, Oracle, append, check_ring, oldest
from tests.ring.write_log_server import FLUSH, LOG_ENTRY
from tests.simulated_time import FakeClock

SERVER = Path(__file__).with_name("write_log_server.py")
MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
}
SIZE_MIB = {"ext4": 64, "xfs": 300}
SLOTS, SLOT_BYTES = 20, 1 << 20

pytestmark = [
    pytest.mark.root,
    needs_loop_devices,
    pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs FUSE"),
]


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def undo(command: str, at: Path) -> None:
    """Unmounts, if need be what is still in use: a mount left behind would be in everybody's way."""
    if subprocess.run([command, str(at)], check=False, capture_output=True).returncode:
        subprocess.run([command, "--lazy", str(at)], check=False, capture_output=True)


@contextlib.contextmanager
def mounted(file: Path, kind: str, at: Path) -> Iterator[Path]:
    """The file system in an image file, mounted below `at` through a loop device of its own."""
    at.mkdir(exist_ok=True)
    device = run("losetup", "--find", "--show", file)
    try:
        run("mount", "-t", kind, "-o", OPTIONS[kind] + (",nouuid" if kind == "xfs" else ""), device, at)
        try:
            yield at
        finally:
            undo("umount", at)
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def logged_disk(folder: Path, kind: str) -> Iterator[tuple[Path, Path, Path]]:
    """Mount point of a fresh file system, its log, and the image as it is now."""
    below, image, log = folder / "below", folder / "now.img", folder / "writes.log"
    below.mkdir()
    command = [sys.executable, str(SERVER), str(below), str(SIZE_MIB[kind] << 20), str(image), str(log)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        run(*MKFS[kind], below / "disk.img")
        with mounted(below / "disk.img", kind, folder / "disk") as mount_point:
            yield mount_point, log, image
    finally:
        undo("umount", below)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)
        assert server.stdout is not None
        server.stdout.close()


@dataclass
class Run:
    base: Path  # the image as it was when recording began
    start: int  # position in the log then
    log: Path
    marks: list[tuple[int, Mark]]  # log position and what was known there
    vanished: list[int]
    appended: set[int]

    def mark_at(self, position: int) -> Mark:
        return [mark for at, mark in self.marks if at <= position][-1]


def ring_at(folder: Path, clock: FakeClock) -> Ring:
    return Ring(
        open_device=lambda: FileDevice(folder),
        make_calls=lambda: DiskThreads(clock=clock, count=3),
        ledger=Oracle(),
        clock=clock,
        boot_id=BOOT,
        head=head,
    )


def pull_the_plug(ring: Ring) -> None:
    """Nothing more is written; the files are closed, as the end of a process closes them."""
    assert ring.store is not None
    ring.store.close_files()
    ring.store.io.calls.close()


async def record(folder: Path, log: Path, image: Path, base: Path, *, ticks: int, written_slots: bool) -> Run:
    clock = FakeClock()
    rng = random.Random(4)
    device, calls = FileDevice(folder), DiskThreads(clock=clock, count=2)
    await format_ring(
        device, calls, formatted_ns=1, slots=SLOTS, slot_bytes=SLOT_BYTES, journal_blocks=64, ledger_bytes=1 << 19
    )
    device.release()
    calls.close()
    ring = ring_at(folder, clock)
    assert await ring.mount(), ring.status().detail
    oracle = ring.ledger
    assert isinstance(oracle, Oracle)
    feeds = [feed(ring, clock, n) for n in (1, 2, 3)]
    serial = 0

    def log_size() -> int:
        return log.stat().st_size

    async def tick() -> None:
        nonlocal serial
        for n, f in enumerate(feeds):
            append(f, serial, [120_000, rng.randrange(500, 150_000), rng.randrange(500, 60_000)][n], key=True)
            serial += 1
        await ring.tick()
        clock.advance(1)

    if written_slots:  # until no open slot is virgin any more
        for _ in range(130):
            await tick()
    os.sync()
    shutil.copyfile(image, base)
    start = log_size()
    marks: list[tuple[int, Mark]] = []

    def mark() -> None:
        acknowledged = frozenset(s for f in feeds for s in f.acknowledged)
        marks.append((log_size(), Mark(acknowledged, len(oracle.vanished), frozenset(), frozenset())))

    reserve = Store.reserve

    def noting(self: Store, count: int) -> list[object]:
        events = reserve(self, count)
        mark()  # from here on these slots may be gone
        return events  # type: ignore[return-value]

    mark()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "reserve", noting)
        for number in range(ticks):
            if number == ticks // 2:
                oracle.lock(oldest(oracle, 1)[0].slot)
            await tick()
            mark()
    pull_the_plug(ring)
    return Run(base, start, log, marks, list(oracle.vanished), set(range(serial)))


def cut_image(done: Run, cut: int, target: Path, rng: random.Random) -> None:
    """The disk after a power cut at log position `cut`."""
    shutil.copyfile(done.base, target)
    since: list[tuple[int, bytes]] = []
    with done.log.open("rb") as log, target.open("r+b") as disk:
        log.seek(done.start)
        while log.tell() < cut:
            kind, offset, length = LOG_ENTRY.unpack(log.read(LOG_ENTRY.size))
            data = log.read(length)
            if kind == FLUSH:
                for at, written in since:
                    disk.seek(at)
                    disk.write(written)
                since = []
            else:
                since.append((offset, data))
        for at, written in since:
            fate = rng.random()
            if fate < 0.5:
                continue
            torn = fate > 0.875
            for sector in range(0, len(written), 512):
                if not torn or rng.random() < 0.5:
                    disk.seek(at + sector)
                    disk.write(written[sector : sector + 512])


def entry_positions(done: Run) -> list[int]:
    positions = []
    with done.log.open("rb") as log:
        log.seek(done.start)
        while raw := log.read(LOG_ENTRY.size):
            log.seek(LOG_ENTRY.unpack(raw)[2], os.SEEK_CUR)
            positions.append(log.tell())
    return positions


async def check_cut(done: Run, cut: int, kind: str, folder: Path, rng: random.Random) -> None:
    image = folder / "cut.img"
    cut_image(done, cut, image, rng)
    with mounted(image, kind, folder / "cut") as mount_point:
        clock = FakeClock()
        ring = ring_at(mount_point, clock)
        assert await ring.mount(), ring.status().detail
        try:
            mark = done.mark_at(cut)
            await check_ring(ring, clock, mark, vanished=done.vanished, appended=done.appended, carry_on=False)
        finally:
            pull_the_plug(ring)
    image.unlink()


def whole_test(folder: Path, kind: str, *, cuts: int, ticks: int, written_slots: bool) -> None:
    with logged_disk(folder, kind) as (mount_point, log, image):
        done = asyncio.run(
            record(mount_point, log, image, folder / "base.img", ticks=ticks, written_slots=written_slots)
        )
    positions = entry_positions(done)
    last = done.marks[-1][0]
    rng = random.Random(8)
    candidates = [position for position in positions if position <= last]
    for cut in sorted(rng.sample(candidates, min(cuts, len(candidates)))):
        asyncio.run(check_cut(done, cut, kind, folder, rng))


@pytest.mark.parametrize("slots", ["virgin", "written"])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cuts_lose_nothing_acknowledged(kind: str, slots: str, tmp_path: Path) -> None:
    whole_test(tmp_path, kind, cuts=4 if kind == "xfs" else 6, ticks=30, written_slots=slots == "written")


@pytest.mark.slow
@pytest.mark.parametrize("slots", ["virgin", "written"])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_many_power_cuts(kind: str, slots: str, tmp_path: Path) -> None:
    whole_test(tmp_path, kind, cuts=60, ticks=150, written_slots=slots == "written")


async def _no_flush(store: Store, *, virgin: bool) -> None:
    store.statistics.flushes += 1


async def _one_fdatasync(store: Store, *, virgin: bool) -> None:
    await store.io.calls.run(store.io.device.datasync, store.journal.handle)


@pytest.mark.parametrize("flush", [_no_flush, _one_fdatasync])
def test_without_the_right_flush_the_test_fails(
    flush: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(commit_module, "_flush", flush)
        with logged_disk(tmp_path, "ext4") as (mount_point, log, image):
            done = asyncio.run(record(mount_point, log, image, tmp_path / "base.img", ticks=40, written_slots=False))
    rng = random.Random(8)
    with pytest.raises((AssertionError, Rotten)):
        for cut in sorted(rng.sample([p for p in entry_positions(done) if p <= done.marks[-1][0]], 6)):
            asyncio.run(check_cut(done, cut, "ext4", tmp_path, rng))
