"""A disk that is slow, stalls or never answers: what waits is bounded, and threads that hang are abandoned."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.clock import SystemClock
from recorderd.model.ports import StoreUnavailable
from recorderd.ring.disk_threads import DiskStuck, DiskThreads
from recorderd.ring.ring import Ring, RingState
from tests.ring.failing_disk import Started, on_a_started_ring
from tests.ring.fakes import BOOT, ListLedger, feed, formatted, head
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock


@on_a_started_ring
async def test_the_queue_for_a_slow_disk_is_bounded_and_says_so(started: Started) -> None:
    ring, one = started.ring, started.one
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


async def threaded(disk: SimDisk, clock: SystemClock) -> Ring:
    """A ring on real threads and a real clock, ready to record."""
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
    return ring


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
        ring = await threaded(disk, clock)
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
        ring = await threaded(disk, clock)

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
