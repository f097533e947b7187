"""The ring from outside: what was acknowledged is there, also after a restart, and recycling takes the oldest."""

from __future__ import annotations

import asyncio

from recorderd.model.causes import GapCause
from recorderd.ring.files import slot_path
from recorderd.ring.ring import RingState
from tests.ring.fakes import ListLedger, contents, feed, formatted, ring_on
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated


def test_what_is_appended_is_read_back_while_the_slot_is_open_and_after_a_restart() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        ring = ring_on(disk, clock)
        assert await ring.mount()
        one, two = feed(ring, clock, 1), feed(ring, clock, 2)
        for i in range(12):
            one.append(i, 9_000)
            two.append(100 + i, 3_000)
            await ring.tick()
            clock.advance(1)
        await ring.tick()
        assert one.acknowledged == one.serials
        assert two.acknowledged == two.serials
        open_contents = await contents(ring)
        assert sorted(s for serials in open_contents.values() for s in serials) == one.serials + two.serials
        await ring.close()

        again = ring_on(disk, clock)
        assert await again.mount()
        await again.scan_now()
        await again.tick()
        found = await contents(again)
        assert sorted(s for serials in found.values() for s in serials) == one.serials + two.serials
        assert all(serials == sorted(serials) for serials in found.values())

    run_simulated(main)


def test_run_commits_once_per_tick_and_at_once_when_urgent() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        ring = ring_on(disk, clock)
        assert await ring.mount()
        one = feed(ring, clock)

        def feeder(now_ns: int) -> None:
            if len(one.serials) < 5:
                one.append(len(one.serials), 2_000)

        ring.before_tick(feeder)
        task = asyncio.get_running_loop().create_task(ring.run())
        await clock.sleep(5.5)
        assert one.sink.durable_fragments == 5
        before = ring.status().statistics.commits
        one.append(50, 2_000, urgent=True)
        await asyncio.sleep(0.01)
        assert one.sink.durable_fragments == 6
        assert ring.status().statistics.commits == before + 1
        await ring.close()
        await task
        assert ring.state is RingState.CLOSED

    run_simulated(main)


def test_recycling_goes_by_closing_order_and_spares_locked_slots() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk, slots=16)
        ledger = ListLedger()
        ring = ring_on(disk, clock, ledger)
        assert await ring.mount()
        one = feed(ring, clock)
        locked: dict[int, list[int]] = {}
        for i in range(160):
            one.append(i, 20_000)
            await ring.tick()
            if i == 10:
                first = min(ledger.closed_order, key=lambda ref: ledger.closed_order[ref])
                ledger.lock(first[0])
                locked = {first[0]: (await contents(ring))[first]}
        found = await contents(ring)
        kept = sorted(serial for serials in found.values() for serial in serials)
        (slot, serials) = next(iter(locked.items()))
        assert [s for ref, s in found.items() if ref.slot == slot] == [serials]
        newest = [s for s in kept if s not in serials]
        assert newest == list(range(newest[0], 160)), "a hole among the newest"
        assert len(newest) >= 30
        assert {key for key, fragments in ledger.media.items() if fragments} == set(found)

    run_simulated(main)


def test_a_killed_ring_recovers_what_was_written() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        ring = ring_on(disk, clock)
        assert await ring.mount()
        one = feed(ring, clock)
        for i in range(9):
            one.append(i, 12_000)
            await ring.tick()
        # no close: the process is gone
        ledger = ListLedger()
        again = ring_on(disk, clock, ledger)
        assert await again.mount()
        assert again.status().unscanned_slots > 0
        other = feed(again, clock, 2)
        other.append(500, 4_000)
        await again.tick()
        await again.tick()
        assert other.sink.durable_fragments == 1, "recording starts before old slots are scanned"
        await again.scan_now()
        await again.tick()
        assert again.status().unscanned_slots == 0
        found = sorted(s for serials in (await contents(again)).values() for s in serials)
        assert found == [*range(9), 500]

    run_simulated(main)


def test_without_a_disk_the_ring_says_so_and_comes_back() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        ring = ring_on(disk, clock)
        assert not await ring.mount()
        assert ring.state is RingState.DEGRADED
        assert ring.cause is GapCause.DISK_MISSING
        task = asyncio.get_running_loop().create_task(ring.run())
        await clock.sleep(1)
        await formatted(disk)
        await clock.sleep(10)
        assert ring.state is RingState.HEALTHY
        await ring.close()
        await task

    run_simulated(main)


def test_heads_of_freed_slots_are_overwritten_also_on_a_busy_ring_and_after_a_crash() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk, slots=16)
        ledger = ListLedger()
        ring = ring_on(disk, clock, ledger)
        assert await ring.mount()
        one = feed(ring, clock)
        for i in range(24):
            one.append(i, 30_000)
            await ring.tick()
        assert ring.store is not None
        freed = list(ring.store.table.closed_by_order())[:4]
        assert all(disk.files[slot_path(ref.slot)].data[4:8] == b"ftyp" for ref in freed)
        for ref in freed:
            ring.store.free_slot(ref)
        one.append(24, 1_000)
        await ring.tick()  # freed with this commit; then the process dies
        again = ring_on(disk, clock, ledger)
        assert await again.mount()
        await again.scan_now()
        other = feed(again, clock, 2)
        for i in range(8):
            other.append(100 + i, 1_000)
            await again.tick()
        for ref in freed:
            data = disk.files[slot_path(ref.slot)].data
            in_use = again.store is not None and not again.store.table.is_current(ref)
            assert in_use or data[4:8] == b"free", ref
            assert in_use or not any(data[8 : 8 * 4096])

    run_simulated(main)
