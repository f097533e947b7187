"""A `PowerService` on a simulated board in simulated time."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from hw.boards.assembly import Assembly, assemble
from hw.boards.board import Board
from hw.boards.loader import load
from hw.sim.pse.simulated_board import SimulatedBoard
from recorderd.model.ports import Event
from recorderd.power.memory import Keeper, PowerMemory, VolatileMemory
from recorderd.power.service import PowerService
from tests.simulated_time import FakeClock


@dataclass
class Heard:
    """An `EventSink` that keeps what it hears."""

    events: list[Event] = field(default_factory=list)

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def what(self, label: str) -> list[str]:
        return [dict(e.data)["What"] for e in self.events if ("Port", label) in e.source]


class ClockPace:
    """`hw.poe.pace.Pace` on a FakeClock: a driver that sleeps moves simulated time."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def monotonic(self) -> float:
        return self._clock.boottime_ns() / 1e9

    def sleep(self, seconds: float) -> None:
        self._clock.advance(seconds)


@dataclass
class Rig:
    service: PowerService
    simulation: SimulatedBoard
    clock: FakeClock
    heard: Heard
    assembly: Assembly
    commits: list[int]
    zones: list[datetime.tzinfo]
    """The recorder's zone is the last of them."""

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, holds: Callable[[], bool], limit_s: float = 60) -> float:
        """Seconds until `holds`."""
        began = self.clock.boottime_ns()
        while not holds():
            assert self.clock.boottime_ns() - began < limit_s * 1e9, "never happened"
            await asyncio.sleep(0.02)
        return (self.clock.boottime_ns() - began) / 1e9

    def states(self) -> dict[str, str]:
        return {p.label: p.state for p in self.service.status().ports}

    def delivering(self) -> set[str]:
        return {label for label, state in self.states().items() if state == "delivering"}


def rig(
    clock: FakeClock, board: Board | str, memory: PowerMemory | None = None, assembly: Assembly | None = None
) -> Rig:
    if assembly is None:
        assembly = assemble(load(board) if isinstance(board, str) else board, pace=ClockPace(clock), inline=True)
    assert assembly.simulation is not None
    heard = Heard()
    commits: list[int] = []
    zones: list[datetime.tzinfo] = [datetime.UTC]
    service = PowerService(
        assembly=assembly,
        clock=clock,
        events=heard,
        keeper=Keeper(memory or VolatileMemory()),
        commit_now=lambda: commits.append(clock.boottime_ns()),
        zone=lambda: zones[-1],
    )
    return Rig(service, assembly.simulation, clock, heard, assembly, commits, zones)


@contextlib.asynccontextmanager
async def running(made: Rig) -> AsyncIterator[Rig]:
    task = asyncio.create_task(made.service.run())
    try:
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
