"""The tests' own clock: a day passes at once, and in order."""

from __future__ import annotations

import asyncio

from tests.simulated_time import FakeClock, run_simulated


def test_a_simulated_day_keeps_the_order_of_timers() -> None:
    seen: list[tuple[str, int]] = []

    async def main(clock: FakeClock) -> None:
        async def tick(name: str, every_s: float, times: int) -> None:
            for _ in range(times):
                await clock.sleep(every_s)
                seen.append((name, clock.boottime_ns()))

        async with asyncio.TaskGroup() as group:
            group.create_task(tick("hour", 3600, 24))
            group.create_task(tick("half", 43200, 2))

    run_simulated(main)
    assert len(seen) == 26
    assert [t for _, t in seen] == sorted(t for _, t in seen)
    assert abs((seen[-1][1] - 1_000_000_000) - 86_400 * 10**9) < 10**6


def test_a_step_moves_wall_time_only() -> None:
    clock = FakeClock()
    boot, wall = clock.boottime_ns(), clock.realtime_ns()
    clock.step(-5)
    assert clock.boottime_ns() == boot
    assert clock.realtime_ns() == wall - 5_000_000_000
