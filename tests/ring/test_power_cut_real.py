"""Power cuts below real ext4 and xfs (`tests/peers/logged_disk.py`).

Each image is mounted (the file system replays its log), the ring recovers, and the oracle of the simulated cut judges.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable
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
from tests.peers.logged_disk import cut_image, entry_positions, logged_disk, missing, mounted
from tests.ring.fakes import BOOT, feed, head
from tests.ring.oracle import Mark, Oracle, append, check_ring, oldest
from tests.simulated_time import FakeClock

SLOTS, SLOT_BYTES = 20, 1 << 20

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


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


async def check_cut(done: Run, cut: int, kind: str, folder: Path, rng: random.Random) -> None:
    image = folder / "cut.img"
    cut_image(done.base, done.start, done.log, cut, image, rng)
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
    positions = entry_positions(done.start, done.log)
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
        for cut in sorted(rng.sample([p for p in entry_positions(done.start, done.log) if p <= done.marks[-1][0]], 6)):
            asyncio.run(check_cut(done, cut, "ext4", tmp_path, rng))
