"""Polls the simulated 16-port switch for so many seconds and prints what it cost as JSON. The simulation's own CPU is told apart.

python -m tests.bench.poe_polling SECONDS
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from functools import partial

from hw.boards.assembly import assemble
from hw.boards.loader import load
from recorderd.model.clock import SystemClock
from recorderd.model.ports import Event
from recorderd.power.memory import Keeper, VolatileMemory
from recorderd.power.service import PowerService

AGE_S = 5.0
SETTLE_S = 14.0  # sixteen ports, half a second apart, and their faster polls while they start


class Deaf:
    def publish(self, event: Event) -> None: ...


async def main(seconds: float) -> dict[str, float]:
    assembly = assemble(load("sim-16port"))
    assert assembly.simulation is not None
    spent = 0
    original = assembly.simulation.adapter.smbus

    def counted(*request):
        nonlocal spent
        began = time.thread_time_ns()
        try:
            return original(*request)
        finally:
            spent += time.thread_time_ns() - began

    assembly.simulation.adapter.smbus = counted  # type: ignore[method-assign]
    for number, place in enumerate(assembly.board.simulated):
        if (load_there := assembly.simulation.load(place.port)) is not None:
            load_there.draw_mw = partial(_wavering, place.draw_w * 1_000, number)
    handed_over = 0
    runner = assembly.controllers[0].runner
    call = runner.call

    async def counted_call(*operation, **limit):
        nonlocal handed_over
        handed_over += 1
        return await call(*operation, **limit)

    runner.call = counted_call  # type: ignore[method-assign]
    service = PowerService(assembly=assembly, clock=SystemClock(), events=Deaf(), keeper=Keeper(VolatileMemory()))
    task = asyncio.create_task(service.run())
    await asyncio.sleep(SETTLE_S)
    cpu, simulated, handed_over = time.process_time(), spent, 0
    transfers = _transfers(service)
    await asyncio.sleep(seconds)
    cpu, simulated = time.process_time() - cpu, spent - simulated
    transfers = _transfers(service) - transfers
    found = {
        "seconds": seconds,
        "cpu_s": cpu,
        "simulation_s": simulated / 1e9,
        "transfers": transfers,
        "hand_overs": handed_over,
        "oldest_ms": await _oldest_ms(service, AGE_S),
    }
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return found


def _wavering(draw_mw: float, number: int, at_s: float) -> float:
    """No two readings of a real camera are the same."""
    return draw_mw * (1 + 0.03 * math.sin(7 * at_s + number))


def _transfers(service: PowerService) -> int:
    return sum(c.link.transfers for c in service.status().controllers)


async def _oldest_ms(service: PowerService, seconds: float) -> int:
    """Looked for after the CPU was measured: looking costs more than polling."""
    oldest, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.01)
        oldest = max(oldest, *(c.age_ms for c in service.status().controllers))
    return oldest


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(float(sys.argv[1])))))
