# ruff: noqa: RUF059 (every test takes what it needs of the same five things)
"""The failure matrix: what a disk can do to a recorder, and what the recorder does then."""

from __future__ import annotations

import asyncio
import errno
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.clock import SystemClock
from recorderd.model.ports import StoreUnavailable
from recorderd.ring.commit import FlushFailed
from recorderd.ring.device import UnsafeFile
from recorderd.ring.disk_memory import FileDiskMemory
from recorderd.ring.disk_threads import DiskStuck, DiskThreads
from recorderd.ring.files import CHECKPOINTS, IDENTITY, JOURNAL, slot_path
from recorderd.ring.layout import BLOCK, DiskIdentity, RowFlag, SlotState
from recorderd.ring.reading import Rotten, read_slot
from recorderd.ring.ring import Ring, RingState
from recorderd.ring.store import DiskFailed
from tests.ring.fakes import BOOT, Feed, ListLedger, contents, feed, formatted, head, ring_on, serial_of
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated


class Faults:
    """Raises for the calls a test names."""

    def __init__(self, disk: SimDisk) -> None:
        self.rules: list[Callable[[str, str, int], None]] = []
        disk.fault = self._ask

    def _ask(self, kind: str, path: str, offset: int, size: int) -> None:
        for rule in self.rules:
            rule(kind, path, offset)

    def fail(
        self, kind: str, *, path: str | None = None, times: int = 1 << 30, code: int = errno.EIO, at: int | None = None
    ) -> None:
        left = times

        def rule(asked: str, where: str, offset: int) -> None:
            nonlocal left
            hit = asked == kind and (path is None or where.startswith(path)) and (at is None or offset >= at)
            if left and hit:
                left -= 1
                raise OSError(code, f"{kind} of {where} fails")

        self.rules.append(rule)

    def clear(self) -> None:
        self.rules.clear()


async def started(clock: FakeClock, *, slots: int = 16) -> tuple[SimDisk, Faults, Ring, ListLedger, Feed]:
    disk = SimDisk()
    await formatted(disk, slots=slots)
    faults = Faults(disk)
    ledger = ListLedger()
    ring = ring_on(disk, clock, ledger)
    assert await ring.mount()
    one = feed(ring, clock)
    for i in range(3):
        one.append(i, 5_000)
        await ring.tick()
    return disk, faults, ring, ledger, one


async def serials(ring: Ring) -> list[int]:
    return sorted(s for found in (await contents(ring)).values() for s in found)


def test_a_write_error_costs_the_slot_and_no_fragment() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_a_slot_that_fails_at_its_first_write_is_bad_at_once() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
        assert ring.store is not None
        following = ring.store.pool[0].slot
        two = feed(ring, clock, 2)
        faults.fail("write", path=slot_path(following))
        two.append(100, 5_000)
        await ring.tick()
        await ring.tick()
        assert two.acknowledged == [100]
        assert ring.store.table.state(following) is SlotState.BAD

    run_simulated(main)


def test_a_failed_flush_is_never_retried_as_success() -> None:
    """After EIO from the flush nothing since the last good one counts: it is written again, elsewhere."""

    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_many_errors_mean_the_disk_and_its_return_is_noticed() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
        one.append(3, 5_000)
        faults.fail("write", path="slots")
        with pytest.raises(DiskFailed):
            for _ in range(10):
                await ring.tick()
        faults.clear()

    run_simulated(main)


def test_a_disk_that_is_pulled_and_put_back_loses_nothing_that_was_queued() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


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


def test_the_queue_for_a_slow_disk_is_bounded_and_says_so() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
        ring._bound.limit_bytes = 20_000
        one.append(3, 8_000)
        one.append(4, 8_000)
        with pytest.raises(StoreUnavailable) as refused:
            one.append(5, 8_000)
        assert refused.value.cause is GapCause.DISK_SLOW
        await ring.tick()
        one.append(6, 8_000)
        await ring.tick()
        assert one.acknowledged == [0, 1, 2, 3, 4, 6]

    run_simulated(main)


def test_full_of_locks_says_so_and_resumes() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_a_leased_slot_is_kept_for_thirty_seconds_after_it_is_asked_back() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


# --- bit rot ----------------------------------------------------------------------------------------------


def test_one_flipped_byte_in_an_open_slot_then_killed_costs_at_most_that_fragment() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_rot_in_a_closed_slot_is_reported_and_nothing_wrong_is_returned() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_a_damaged_checkpoint_or_identity_copy_is_survived() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_an_unknown_format_is_left_alone() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
        await ring.close()
        identity = disk.files[IDENTITY].data

        later = replace(DiskIdentity.unpack(identity[:BLOCK]), incompatible=1 << 9, sequence=2).pack()
        identity[:] = later * 2
        before = {path: bytes(file.data) for path, file in disk.files.items()}
        again = ring_on(disk, clock, ListLedger())
        assert not await again.mount()
        assert "incompatible" in again.status().detail
        assert {path: bytes(file.data) for path, file in disk.files.items()} == before

    run_simulated(main)


def test_a_slot_file_that_is_not_what_format_made_is_not_written() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_an_unreadable_journal_file_degrades_and_never_raises() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
        faults.fail("read", path=JOURNAL)
        again = ring_on(disk, clock, ListLedger())
        assert not await again.mount()
        assert again.cause is GapCause.DISK_ERROR
        with pytest.raises(StoreUnavailable):
            feed(again, clock, 3)

    run_simulated(main)


# --- threads ----------------------------------------------------------------------------------------------


def test_a_call_that_never_returns_is_abandoned_and_the_ring_goes_on_with_new_threads() -> None:
    """Real threads: one write hangs until the test ends."""

    class Hanging(SimDisk):
        hang = threading.Event()
        release_all = threading.Event()

        def write(self, handle: int, buffer: memoryview, offset: int) -> None:
            if self.hang.is_set():
                self.hang.clear()
                self.release_all.wait(30)
                return
            super().write(handle, buffer, offset)

    async def main() -> None:
        clock = SystemClock()
        disk = Hanging()
        await formatted(disk)
        ring = Ring(
            open_device=lambda: disk,
            make_calls=lambda: DiskThreads(clock=clock, count=3),
            ledger=ListLedger(),
            clock=clock,
            boot_id=BOOT,
            head=head,
            retry_s=0.05,
        )
        assert await ring.mount()

        assert ring.store is not None
        ring.store.profile = replace(ring.store.profile, tick_s=0.05, slow_after_s=0.2, stuck_after_s=0.6)
        fed = feed(ring, FakeClock(), 1)
        task = asyncio.get_running_loop().create_task(ring.run())
        try:
            fed.append(0, 5_000, urgent=True)
            async with asyncio.timeout(10):
                while fed.sink.durable_fragments < 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                disk.hang.set()
                fed.append(1, 5_000, urgent=True)
                while fed.sink.durable_fragments < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert ring.store is not None
            assert ring.store.quarantine, "the slot the stuck call may still write to is left alone"
            assert ring.store.quarantine.isdisjoint(ref.slot for ref in ring.store.live)
            await ring.close()
        finally:
            disk.release_all.set()
            await task

    asyncio.run(main())


def test_abandoned_threads_answer_nobody() -> None:
    async def main() -> None:
        clock = SystemClock()
        threads = DiskThreads(clock=clock, count=1)
        gate = threading.Event()
        waiting = asyncio.get_running_loop().create_task(threads.run(gate.wait, 10))
        await asyncio.sleep(0.02)
        assert threads.oldest_s() > 0
        threads.abandon()
        with pytest.raises(DiskStuck):
            await waiting
        with pytest.raises(DiskStuck):
            await threads.run(int)
        gate.set()

    asyncio.run(main())


def test_a_slot_that_cannot_be_read_after_a_crash_does_not_hold_up_the_others() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_an_older_copy_of_the_disk_is_refused(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


@pytest.mark.parametrize("damaged", CHECKPOINTS)
def test_a_disk_whose_newest_checkpoint_rotted_is_no_older_copy(tmp_path: Path, damaged: str) -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_a_format_that_no_slot_can_hold_is_refused_when_the_writer_opens() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)

        def refuse(_: object) -> tuple[bytes, bytes]:
            raise ValueError("no such codec")

        ring._head = refuse
        with pytest.raises(ValueError, match="no such codec"):
            feed(ring, clock, 5)
        await ring.tick()

    run_simulated(main)


def test_a_disk_that_is_gone_costs_no_slot() -> None:
    async def main(clock: FakeClock) -> None:
        disk, faults, ring, ledger, one = await started(clock)
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

    run_simulated(main)


def test_a_disk_that_stalls_is_called_slow_and_nothing_is_lost() -> None:
    class Stalling(SimDisk):
        stall = threading.Event()

        def write(self, handle: int, buffer: memoryview, offset: int) -> None:
            if self.stall.is_set():
                self.stall.clear()
                time.sleep(2.2)
            super().write(handle, buffer, offset)

    async def main() -> None:
        clock = SystemClock()
        disk = Stalling()
        await formatted(disk)
        ring = Ring(
            open_device=lambda: disk,
            make_calls=lambda: DiskThreads(clock=clock, count=3),
            ledger=ListLedger(),
            clock=clock,
            boot_id=BOOT,
            head=head,
        )
        assert await ring.mount()
        assert ring.store is not None
        ring.store.profile = replace(ring.store.profile, tick_s=0.05, slow_after_s=0.1)
        fed = feed(ring, FakeClock(), 1)
        task = asyncio.get_running_loop().create_task(ring.run())
        disk.stall.set()
        causes = set()
        async with asyncio.timeout(10):
            for serial in range(40):
                fed.append(serial, 2_000)
                await asyncio.sleep(0.08)
                causes.add(ring.cause)
        assert GapCause.DISK_SLOW in causes
        await asyncio.sleep(0.3)
        assert ring.state is RingState.HEALTHY
        await ring.close()
        await task
        assert fed.acknowledged == list(range(40))

    asyncio.run(main())
