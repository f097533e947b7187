"""The sweep's rhythm."""

from __future__ import annotations

import asyncio

import pytest

from recorderd.ingest.sweep import Sweep
from tests.simulated_time import FakeClock, run_simulated

SECONDS = 120  # as long as the minimum-delay estimate looks back


def passes(seconds: float) -> list[int]:
    """When a session was drained, in ns."""
    drained: list[int] = []

    class Session:
        def drain(self, view: memoryview, now_ns: int) -> None:
            drained.append(now_ns)

        def tick(self, now_ns: int) -> None: ...

    async def run(clock: FakeClock) -> None:
        sweep = Sweep(clock=clock)
        sweep.add(Session())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(sweep.run())
            await clock.sleep(seconds)
            task.cancel()

    run_simulated(run)
    return drained


@pytest.mark.parametrize("frames_per_s", [1, 10, 20, 25, 30])
def test_no_camera_is_always_read_equally_late(frames_per_s: int) -> None:
    """Frames that come exactly in time: some pass of the last two minutes follows each of any phase at once."""
    times = passes(SECONDS)
    interval_ns = 1_000_000_000 / frames_per_s
    for phase in range(20):
        first_ns = times[0] + phase * interval_ns / 20
        least = min((at - first_ns) % interval_ns for at in times)
        assert least < 5_000_000, f"frames at {phase}/20 of their interval are found {least / 1e6:.1f} ms late at best"
