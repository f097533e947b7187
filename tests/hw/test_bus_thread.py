"""One thread per bus: order, errors, and a bus that hangs without taking the loop with it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from hw.poe.bus_thread import BusThread
from hw.poe.errors import BusFailed, BusHung


def test_operations_run_in_order_off_the_loop_and_errors_reach_their_caller() -> None:
    async def main() -> None:
        bus = BusThread("test")
        seen: list[int] = []
        threads: set[str] = set()

        def work(number: int) -> int:
            threads.add(threading.current_thread().name)
            seen.append(number)
            return number

        assert await asyncio.gather(*(bus.call(lambda n=n: work(n)) for n in range(20))) == list(range(20))
        assert seen == list(range(20))
        assert threads == {"bus test"}

        def fail() -> None:
            raise BusFailed("nothing answers")

        with pytest.raises(BusFailed, match="nothing answers"):
            await bus.call(fail)
        assert bus.oldest_operation_s() == 0
        bus.stop()

    asyncio.run(main())


def test_a_hung_bus_fails_fast_and_comes_back_when_it_answers() -> None:
    async def main() -> None:
        bus = BusThread("test")
        release = threading.Event()
        worst = 0.0

        async def feel() -> None:
            nonlocal worst
            while not release.is_set():
                began = time.monotonic()
                await asyncio.sleep(0.005)
                worst = max(worst, time.monotonic() - began)

        feeling = asyncio.create_task(feel())
        with pytest.raises(BusHung, match=r"no answer within 0\.2 s"):
            await bus.call(release.wait, limit_s=0.2)
        assert bus.hung
        began = time.monotonic()
        with pytest.raises(BusHung, match="left alone until it answers"):
            await bus.call(lambda: 1)
        assert time.monotonic() - began < 0.05
        assert bus.oldest_operation_s() >= 0.2
        release.set()
        await feeling
        for _ in range(100):
            if not bus.hung:
                break
            await asyncio.sleep(0.01)
        assert await bus.call(lambda: 7) == 7
        assert worst < 0.15, "the loop went on turning"
        bus.stop()

    asyncio.run(main())


def test_a_cancelled_caller_leaves_the_bus_usable() -> None:
    async def main() -> None:
        bus = BusThread("test")
        release = threading.Event()
        task = asyncio.create_task(bus.call(release.wait))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        assert await bus.call(lambda: 3) == 3
        bus.stop()

    asyncio.run(main())
