"""Bytes that are not, or cannot be, what was written: how much is lost, and that nothing wrong is returned."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.ports import StoreUnavailable
from recorderd.ring.disk_memory import FileDiskMemory
from recorderd.ring.files import CHECKPOINTS, IDENTITY, JOURNAL, slot_path
from recorderd.ring.layout import BLOCK
from recorderd.ring.reading import Rotten, read_slot
from tests.ring.failing_disk import Started, on_a_started_ring, serials
from tests.ring.fakes import ListLedger, contents, feed, ring_on, serial_of
from tests.ring.sim_disk import SimDisk


@on_a_started_ring
async def test_one_flipped_byte_in_an_open_slot_then_killed_costs_at_most_that_fragment(started: Started) -> None:
    clock, disk, ring, one = started.clock, started.disk, started.ring, started.one
    assert ring.store is not None
    for i in range(3, 8):
        one.append(i, 9_000)
        one.append(i + 100, 2_000)
        await ring.tick()
    (ref,) = ring.store.live
    slot = ring.store.live[ref]
    rng = random.Random(5)
    everything = set(one.acknowledged)
    for at in [rng.randrange(slot.end) for _ in range(60)]:
        image = SimDisk({path: file.copy() for path, file in disk.files.items()})
        image.files[slot_path(ref.slot)].data[at] ^= 0x10
        again = ring_on(image, clock, ListLedger())
        assert await again.mount()
        await again.scan_now()
        await again.tick()
        lost = everything - set(await serials(again))
        assert len(lost) <= 1, f"byte {at} of the slot cost {sorted(lost)}"


@on_a_started_ring
async def test_rot_in_a_closed_slot_is_reported_and_nothing_wrong_is_returned(started: Started) -> None:
    disk, ring, ledger, one = started.disk, started.ring, started.ledger, started.one
    assert ring.store is not None
    n = 3
    while not list(ring.store.table.closed_by_order()):
        one.append(n, 9_000)
        n += 1
        await ring.tick()
    ref = next(iter(ring.store.table.closed_by_order()))
    whole = (await contents(ring))[ref]
    data = disk.files[slot_path(ref.slot)].data
    rng = random.Random(6)
    for at in [rng.randrange(len(data)) for _ in range(150)]:
        data[at] ^= 0x04
        good = []
        async with read_slot(ring.store, ref) as reader:
            for entry in await reader.entries():
                try:
                    good.append(serial_of((await reader.fragment(entry)).payload))
                except Rotten:
                    assert ledger.rotten[-1] == (*ref, entry.sequence)
        data[at] ^= 0x04
        assert len(set(whole) - set(good)) <= 1
        assert good == [s for s in whole if s in good]


@on_a_started_ring
async def test_a_damaged_checkpoint_or_identity_copy_is_survived(started: Started) -> None:
    clock, disk, ring, one = started.clock, started.disk, started.ring, started.one
    for i in range(3, 40):
        one.append(i, 9_000)
        await ring.tick()
    whole = await serials(ring)
    for path, at in [(CHECKPOINTS[0], 100), (CHECKPOINTS[1], BLOCK + 5), (IDENTITY, 30), (IDENTITY, BLOCK + 30)]:
        image = SimDisk({p: file.copy() for p, file in disk.files.items()})
        image.files[path].data[at] ^= 1
        again = ring_on(image, clock, ListLedger())
        assert await again.mount(), (path, again.status().detail)
        await again.scan_now()
        await again.tick()
        assert await serials(again) == whole, path


@on_a_started_ring
async def test_an_unreadable_journal_file_degrades_and_never_raises(started: Started) -> None:
    clock, disk, faults = started.clock, started.disk, started.faults
    faults.fail("read", path=JOURNAL)
    again = ring_on(disk, clock, ListLedger())
    assert not await again.mount()
    assert again.cause is GapCause.DISK_ERROR
    with pytest.raises(StoreUnavailable):
        feed(again, clock, 3)


@pytest.mark.parametrize("damaged", CHECKPOINTS)
@on_a_started_ring
async def test_a_disk_whose_newest_checkpoint_rotted_is_no_older_copy(
    started: Started, tmp_path: Path, damaged: str
) -> None:
    clock, disk, ring = started.clock, started.disk, started.ring
    await ring.close()
    memory = FileDiskMemory(tmp_path / "disks.json")
    assert ring.status().disk_id is None
    again = ring_on(disk, clock, ListLedger(), memory=memory)
    assert await again.mount()
    assert again.store is not None
    await memory.note(again.store.disk_id, again.store.checkpoints.sequence)
    disk.files[damaged].data[100] ^= 1
    last = ring_on(disk, clock, ListLedger(), memory=memory)
    assert await last.mount(), last.status().detail
