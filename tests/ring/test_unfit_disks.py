"""Disks and files that are not the recorder's own or not as it left them are refused and left alone."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from pathlib import Path

from recorderd.model.causes import GapCause
from recorderd.ring.device import UnsafeFile
from recorderd.ring.disk_memory import FileDiskMemory
from recorderd.ring.files import IDENTITY, slot_path
from recorderd.ring.layout import BLOCK, DiskIdentity, SlotState
from recorderd.ring.ring import RingState
from tests.ring.failing_disk import Faults, Started, on_a_started_ring
from tests.ring.fakes import ListLedger, feed, formatted, ring_on
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated


def test_another_disk_in_its_place_is_refused_and_left_alone() -> None:
    async def main(clock: FakeClock) -> None:
        disk, other = SimDisk(), SimDisk()
        await formatted(disk)
        await formatted(other)
        before = {path: bytes(file.data) for path, file in other.files.items()}
        faults, devices = Faults(disk), [disk]
        ring = ring_on(lambda: devices[-1], clock)
        assert await ring.mount()
        one = feed(ring, clock)
        for i in range(3):
            one.append(i, 5_000)
        task = asyncio.get_running_loop().create_task(ring.run())
        await clock.sleep(1)
        faults.fail("write", code=errno.ENODEV)
        one.append(3, 5_000)
        await clock.sleep(3)
        devices.append(other)
        await clock.sleep(30)
        assert ring.state is RingState.DEGRADED
        assert ring.cause is GapCause.DISK_MISSING
        assert "expected" in ring.status().detail
        assert {path: bytes(file.data) for path, file in other.files.items()} == before
        faults.clear()
        devices.append(disk)
        await clock.sleep(30)
        assert one.acknowledged == [0, 1, 2, 3]
        await ring.close()
        await task

    run_simulated(main)


@on_a_started_ring
async def test_an_older_copy_of_the_disk_is_refused(started: Started, tmp_path: Path) -> None:
    clock, disk, ring = started.clock, started.disk, started.ring
    copy = SimDisk({path: file.copy() for path, file in disk.files.items()})
    await ring.close()
    memory = FileDiskMemory(tmp_path / "disks.json")
    again = ring_on(disk, clock, ListLedger(), memory=memory)
    task = asyncio.get_running_loop().create_task(again.run())
    while not (tmp_path / "disks.json").exists():  # written by a thread, in its own time
        await clock.sleep(1)
    await again.close()
    await task
    before = {path: bytes(file.data) for path, file in copy.files.items()}
    stale = ring_on(copy, clock, ListLedger(), memory=FileDiskMemory(tmp_path / "disks.json"))
    assert not await stale.mount()
    assert stale.cause is GapCause.DISK_MISSING
    assert "older copy" in stale.status().detail
    assert str(tmp_path / "disks.json") in stale.status().detail
    assert {path: bytes(file.data) for path, file in copy.files.items()} == before
    other = SimDisk()
    await formatted(other)
    for known in (disk, other):
        right = ring_on(known, clock, ListLedger(), memory=memory)
        assert await right.mount(), right.status().detail
        await right.close()
    (tmp_path / "disks.json").unlink()
    assert await stale.mount()


@on_a_started_ring
async def test_an_unknown_format_is_left_alone(started: Started) -> None:
    clock, disk, ring = started.clock, started.disk, started.ring
    await ring.close()
    identity = disk.files[IDENTITY].data

    later = replace(DiskIdentity.unpack(identity[:BLOCK]), incompatible=1 << 9, sequence=2).pack()
    identity[:] = later * 2
    before = {path: bytes(file.data) for path, file in disk.files.items()}
    again = ring_on(disk, clock, ListLedger())
    assert not await again.mount()
    assert "incompatible" in again.status().detail
    assert {path: bytes(file.data) for path, file in disk.files.items()} == before


@on_a_started_ring
async def test_a_slot_file_that_is_not_what_format_made_is_not_written(started: Started) -> None:
    clock, faults, ring = started.clock, started.faults, started.ring
    assert ring.store is not None
    following = ring.store.pool[0].slot

    def rule(kind: str, path: str, offset: int) -> None:
        if kind == "open" and path == slot_path(following):
            raise UnsafeFile(f"{path}: 2 links instead of 1")

    faults.rules.append(rule)
    two = feed(ring, clock, 2)
    two.append(100, 5_000)
    await ring.tick()
    await ring.tick()
    assert two.acknowledged == [100]
    assert ring.store.table.state(following) is SlotState.BAD
