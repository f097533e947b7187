"""From a board file to drivers: opens nothing yet, says how each controller is built and which thread will drive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hw.boards.board import Board, Bus, Pse
from hw.boards.drivers import BusOpener, driver_of
from hw.poe.bus_thread import BusRunner, BusThread, InlineBus
from hw.poe.controller import PoeController
from hw.poe.pace import Pace, SystemPace

if TYPE_CHECKING:
    from hw.sim.pse.simulated_board import SimulatedBoard


@dataclass(frozen=True, slots=True)
class Placed:
    """One controller with the runner of its bus; controllers on one bus share the runner.

    `build` may block and raises `PoeError`: it is called on the runner, before `open`, and again after `release` when the bus was lost.
    """

    id: str
    pse: Pse
    runner: BusRunner
    build: Callable[[], PoeController]
    release: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Assembly:
    board: Board
    controllers: tuple[Placed, ...]
    simulation: SimulatedBoard | None = None


def assemble(board: Board, *, pace: Pace | None = None, inline: bool = False, root: Path = Path("/")) -> Assembly:
    """`inline` runs simulated chips on the caller's loop, for simulated time; `pace` is then the simulation's."""
    pace = pace or SystemPace()
    simulation = _simulation(board, pace) if any(pse.bus.kind == "simulated" for pse in board.pse) else None
    runners: dict[str, BusRunner] = {}
    openers: dict[str, BusOpener] = {}
    placed = []
    for pse in board.pse:
        name = _bus_name(pse.bus)
        if name not in runners:
            runners[name] = InlineBus(name) if inline else BusThread(name)
            openers[name] = BusOpener(pse.bus, simulation, pace, root)
        opener = openers[name]
        placed.append(Placed(pse.id, pse, runners[name], driver_of(board, pse, pace, opener), opener.release))
    return Assembly(board, tuple(placed), simulation)


def _simulation(board: Board, pace: Pace) -> SimulatedBoard:
    from hw.sim.pse.simulated_board import SimulatedBoard

    return SimulatedBoard(board, now=pace.monotonic, sleep=pace.sleep)


def _bus_name(bus: Bus) -> str:
    where = bus.path or bus.name or bus.node or ("" if bus.number is None else str(bus.number))
    return f"{bus.kind} {where}".strip()
