"""From a board file to drivers: opens nothing yet, builds each controller with its bus and the thread that will drive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hw.boards.board import Board, Bus, Pse
from hw.poe.bus_thread import BusRunner, BusThread, InlineBus
from hw.poe.controller import PoeController
from hw.poe.errors import NotSupported
from hw.poe.i2c import I2cBus
from hw.poe.null import NullController
from hw.poe.pace import Pace, SystemPace
from hw.poe.tps23861 import Tps23861
from hw.sim.i2c_adapter import InProcessI2c
from hw.sim.pse.simulated_board import SimulatedBoard


@dataclass(frozen=True, slots=True)
class Placed:
    """One controller with the runner of its bus; controllers on one bus share the runner. `build` may block and raises `PoeError`:
    call it on the runner, before `open`."""

    id: str
    pse: Pse
    runner: BusRunner
    build: Callable[[], PoeController]


@dataclass(frozen=True, slots=True)
class Assembly:
    board: Board
    controllers: tuple[Placed, ...]
    simulation: SimulatedBoard | None = None


def assemble(board: Board, *, pace: Pace | None = None, inline: bool = False) -> Assembly:
    """`inline` runs simulated chips on the caller's loop, for simulated time; `pace` is then the simulation's."""
    pace = pace or SystemPace()
    simulation = None
    if any(pse.bus.kind == "simulated" for pse in board.pse):
        simulation = SimulatedBoard(board, now=pace.monotonic)
    runners: dict[str, BusRunner] = {}
    placed = []
    for pse in board.pse:
        name = _bus_name(pse.bus)
        if name not in runners:
            runners[name] = InlineBus(name) if inline else BusThread(name)
        placed.append(Placed(pse.id, pse, runners[name], _builder(pse, pace, simulation)))
    return Assembly(board, tuple(placed), simulation)


def _bus_name(bus: Bus) -> str:
    where = bus.path or bus.name or bus.node or ("" if bus.number is None else str(bus.number))
    return f"{bus.kind} {where}".strip()


def _builder(pse: Pse, pace: Pace, simulation: SimulatedBoard | None) -> Callable[[], PoeController]:
    def build() -> PoeController:
        if pse.driver == "none":
            return NullController()
        if pse.driver == "tps23861":
            bus: I2cBus
            if pse.bus.kind == "simulated":
                assert simulation is not None
                bus = InProcessI2c(simulation.adapter)
            else:
                raise NotSupported(f"{pse.id}: bus kind {pse.bus.kind}")
            return Tps23861(bus=bus, address=pse.bus.address, pace=pace, shunt_mohm=pse.shunt_mohm, auto=pse.auto)
        raise NotSupported(f"{pse.id}: driver {pse.driver}")

    return build
