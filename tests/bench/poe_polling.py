"""Polls the simulated 16-port switch for so many seconds and prints what it cost as JSON. The simulation's own CPU is told apart.

python -m tests.bench.poe_polling SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from hw.boards.assembly import assemble
from hw.boards.loader import load
from recorderd.model.clock import SystemClock
from recorderd.model.ports import Event
from recorderd.power.memory import Keeper, VolatileMemory
from recorderd.power.service import PowerService

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
    service = PowerService(assembly=assembly, clock=SystemClock(), events=Deaf(), keeper=Keeper(VolatileMemory()))
    task = asyncio.create_task(service.run())
    await asyncio.sleep(SETTLE_S)
    cpu, simulated, oldest = time.process_time(), spent, 0
    transfers = sum(c.link.transfers for c in service.status().controllers)
    looking = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.1)
        began = time.process_time()
        oldest = max(oldest, *(c.age_ms for c in service.status().controllers))
        looking += time.process_time() - began
    used = time.process_time() - cpu - looking
    transfers = sum(c.link.transfers for c in service.status().controllers) - transfers
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return {
        "seconds": seconds,
        "cpu_s": used,
        "simulation_s": (spent - simulated) / 1e9,
        "oldest_ms": oldest,
        "transfers": transfers,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(float(sys.argv[1])))))
