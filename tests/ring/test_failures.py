"""The failure matrix: what a disk's errors do to a recorder, and what the recorder does then."""

from __future__ import annotations

import asyncio
import errno

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.ports import StoreUnavailable
from recorderd.ring.commit import FlushFailed
from recorderd.ring.files import slot_path
from recorderd.ring.layout import RowFlag, SlotState
from recorderd.ring.ring import RingState
from recorderd.ring.store import DiskFailed
from tests.ring.failing_disk import Started, on_a_started_ring, serials
from tests.ring.fakes import BOOT, ListLedger, contents, feed, ring_on, serial_of


@on_a_started_ring
async def test_a_write_error_costs_the_slot_and_no_fragment(started: Started) -> None:
    faults, ring, one = started.faults, started.ring, started.one
    assert ring.store is not None
    (slot,) = ring.store.live
    faults.fail("write", path=slot_path(slot.slot), times=1)
    one.append(3, 5_000)
    await ring.tick()
    if one.sink.durable_fragments < 4:
        await ring.tick()
    assert one.acknowledged == [0, 1, 2, 3]
    assert await serials(ring) == [0, 1, 2, 3]
    assert ring.store.table.state(slot.slot) is SlotState.CLOSED
    assert RowFlag.RETIRED in ring.store.table.flags(slot.slot)
    assert ring.status().statistics.write_errors == 1
    # When its turn to be recycled comes it is never used again.
    for i in range(4, 80):
        one.append(i, 30_000)
        await ring.tick()
    assert ring.store.table.state(slot.slot) is SlotState.BAD
    assert one.acknowledged == list(range(80))


@on_a_started_ring
async def test_a_slot_that_fails_at_its_first_write_is_bad_at_once(started: Started) -> None:
    clock, faults, ring = started.clock, started.faults, started.ring
    assert ring.store is not None
    following = ring.store.pool[0].slot
    two = feed(ring, clock, 2)
    faults.fail("write", path=slot_path(following))
    two.append(100, 5_000)
    await ring.tick()
    await ring.tick()
    assert two.acknowledged == [100]
    assert ring.store.table.state(following) is SlotState.BAD


@on_a_started_ring
async def test_a_failed_flush_is_never_retried_as_success(started: Started) -> None:
    """After EIO from the flush nothing since the last good one counts: it is written again, elsewhere."""
    clock, disk, faults, ring, ledger, one = (
        started.clock,
        started.disk,
        started.faults,
        started.ring,
        started.ledger,
        started.one,
    )
    assert ring.store is not None
    (old,) = ring.store.live
    for kind in ("syncfs", "datasync"):
        faults.fail(kind, times=1 if kind == "syncfs" else 0)
    one.append(3, 5_000)
    with pytest.raises(FlushFailed):
        await ring.tick()
    assert one.sink.durable_fragments == 3
    assert len(ledger.media[old]) == 3, "what the flush should have covered is withdrawn"
    faults.clear()
    await ring.tick()
    await ring.tick()
    assert one.acknowledged == [0, 1, 2, 3]
    (now,) = ring.store.live
    assert now != old
    found = await contents(ring)
    assert found == {old: [0, 1, 2], now: [3]}
    assert ring.store.table.state(old.slot) is SlotState.CLOSED
    # ... and the same after a restart
    again = ring_on(disk, clock, ListLedger())
    assert await again.mount()
    await again.scan_now()
    await again.tick()
    assert await serials(again) == [0, 1, 2, 3]


@on_a_started_ring
async def test_many_errors_mean_the_disk_and_its_return_is_noticed(started: Started) -> None:
    faults, ring, one = started.faults, started.ring, started.one
    one.append(3, 5_000)
    faults.fail("write", path="slots")
    with pytest.raises(DiskFailed):
        for _ in range(10):
            await ring.tick()
    faults.clear()


@on_a_started_ring
async def test_a_disk_that_is_pulled_and_put_back_loses_nothing_that_was_queued(started: Started) -> None:
    clock, disk, faults, ring, one = started.clock, started.disk, started.faults, started.ring, started.one
    task = asyncio.get_running_loop().create_task(ring.run())
    await clock.sleep(1.5)
    for kind in ("write", "read", "open", "datasync", "syncfs"):
        faults.fail(kind, code=errno.ENODEV)
    one.append(3, 5_000)
    await clock.sleep(3)
    assert ring.state is RingState.DEGRADED
    assert ring.cause is GapCause.DISK_ERROR
    one.append(4, 5_000)  # still taken: it waits in RAM
    assert ring.start_run(one.writer.spec.recording, BOOT, "x", None, [], 0) == 1  # type: ignore[arg-type]
    await clock.sleep(20)
    assert one.sink.durable_fragments == 3
    faults.clear()
    await clock.sleep(20)
    assert ring.state is RingState.HEALTHY
    assert one.acknowledged == [0, 1, 2, 3, 4]
    await ring.close()
    await task
    again = ring_on(disk, clock, ListLedger())
    assert await again.mount()
    assert await serials(again) == [0, 1, 2, 3, 4]


@on_a_started_ring
async def test_full_of_locks_says_so_and_resumes(started: Started) -> None:
    ring, ledger, one = started.ring, started.ledger, started.one
    assert ring.store is not None
    for slot in range(16):
        ledger.lock(slot)
    ring._bound.limit_bytes = 100_000
    refused: StoreUnavailable | None = None
    for i in range(3, 200):
        try:
            one.append(i, 30_000)
        except StoreUnavailable as error:
            refused = error
            break
        await ring.tick()
    assert refused is not None
    assert refused.cause is GapCause.RING_FULL_OF_LOCKS
    assert ring.cause is GapCause.RING_FULL_OF_LOCKS
    before = await serials(ring)
    assert before == one.acknowledged, "nothing locked was overwritten"
    for slot in range(16):
        ledger.lock(slot, locked=False)
    for _ in range(4):
        await ring.tick()
    assert ring.state is RingState.HEALTHY
    assert one.acknowledged == one.serials


@on_a_started_ring
async def test_a_leased_slot_is_kept_for_thirty_seconds_after_it_is_asked_back(started: Started) -> None:
    clock, ring, one = started.clock, started.ring, started.one
    assert ring.store is not None
    for i in range(3, 10):
        one.append(i, 30_000)
        await ring.tick()
    oldest = next(iter(ring.store.table.closed_by_order()))
    async with ring.read_slot(oldest, seconds=3600) as reader:
        entries = await reader.entries()
        n = 10
        for _ in range(60):
            one.append(n, 30_000)
            n += 1
            await ring.tick()
        assert reader.lease.recalled.is_set()
        assert ring.store.table.is_current(oldest)
        assert serial_of((await reader.fragment(entries[0])).payload) == 0
        clock.advance(31)
        for _ in range(60):
            one.append(n, 30_000)
            n += 1
            await ring.tick()
        assert not ring.store.table.is_current(oldest)


@on_a_started_ring
async def test_a_slot_that_cannot_be_read_after_a_crash_does_not_hold_up_the_others(started: Started) -> None:
    clock, disk, faults, ring = started.clock, started.disk, started.faults, started.ring
    assert ring.store is not None
    two = feed(ring, clock, 2)
    two.append(100, 4_000)
    await ring.tick()
    await ring.tick()
    (first, *_) = ring.store.live
    faults.fail("read", path=slot_path(first.slot))
    again = ring_on(disk, clock, ListLedger())
    assert await again.mount()
    await again.scan_now()
    await again.tick()
    assert again.status().unscanned_slots == 0
    assert again.store is not None
    assert RowFlag.RETIRED in again.store.table.flags(first.slot)
    faults.clear()
    assert await serials(again) == [0, 1, 2, 100]


@on_a_started_ring
async def test_a_format_that_no_slot_can_hold_is_refused_when_the_writer_opens(started: Started) -> None:
    clock, ring = started.clock, started.ring

    def refuse(_: object) -> tuple[bytes, bytes]:
        raise ValueError("no such codec")

    ring._head = refuse
    with pytest.raises(ValueError, match="no such codec"):
        feed(ring, clock, 5)
    await ring.tick()


@on_a_started_ring
async def test_a_disk_that_is_gone_costs_no_slot(started: Started) -> None:
    clock, disk, faults = started.clock, started.disk, started.faults
    again = ring_on(disk, clock, ListLedger())
    assert await again.mount()
    for kind in ("read", "write", "datasync", "syncfs"):
        faults.fail(kind)  # EIO for everything, as a pulled disk answers
    await again.scan_now()
    assert again.store is not None
    assert again.status().unscanned_slots > 0
    other = feed(again, clock, 2)
    other.append(100, 3_000)
    with pytest.raises((DiskFailed, FlushFailed)):
        for _ in range(4):
            await again.tick()
    rows = again.store.table.rows
    assert not (rows["flags"] & int(RowFlag.RETIRED)).any()
    assert not (rows["state"] == int(SlotState.BAD)).any()
