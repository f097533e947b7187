"""From a board file to drivers: opens nothing yet, says how each controller is built and which thread will drive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hw.boards.board import Board, Bus, Pse
from hw.boards.discovery import device_path
from hw.poe.bus_thread import BusRunner, BusThread, InlineBus
from hw.poe.controller import PoeController
from hw.poe.exaviz import Exaviz
from hw.poe.i2c import I2cBus, Retrying, SmbusBus
from hw.poe.kernel_pse import KernelPse
from hw.poe.line import Line, SerialLine
from hw.poe.null import NullController
from hw.poe.pace import Pace, SystemPace
from hw.poe.pd692x0 import Pd692x0
from hw.poe.pd692x0_link import Carrier, I2cCarrier, LineCarrier
from hw.poe.realtek_mcu import RealtekMcu
from hw.poe.text_source import LineText, ProcFile, TextSource
from hw.poe.tps2388x import Tps2388x
from hw.poe.tps23861 import Tps23861
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
    simulation = None
    if any(pse.bus.kind == "simulated" for pse in board.pse):
        simulation = SimulatedBoard(board, now=pace.monotonic, sleep=pace.sleep)
    runners: dict[str, BusRunner] = {}
    openers: dict[str, _Opener] = {}
    placed = []
    for pse in board.pse:
        name = _bus_name(pse.bus)
        if name not in runners:
            runners[name] = InlineBus(name) if inline else BusThread(name)
            openers[name] = _Opener(pse.bus, simulation, pace, root)
        opener = openers[name]
        placed.append(Placed(pse.id, pse, runners[name], _builder(board, pse, pace, opener), opener.release))
    return Assembly(board, tuple(placed), simulation)


def _bus_name(bus: Bus) -> str:
    where = bus.path or bus.name or bus.node or ("" if bus.number is None else str(bus.number))
    return f"{bus.kind} {where}".strip()


class _Opener:
    """One bus of the machine, opened at first use and shared by the controllers on it. Used on the bus's runner only."""

    def __init__(self, bus: Bus, simulation: SimulatedBoard | None, pace: Pace, root: Path) -> None:
        self._bus = bus
        self._simulation = simulation
        self._pace = pace
        self._root = root
        self._i2c: I2cBus | None = None
        self._line: Line | None = None

    def i2c(self) -> I2cBus:
        if self._i2c is None:
            self._i2c = (
                self._simulation.i2c() if self._simulation is not None else SmbusBus(device_path(self._bus, self._root))
            )
        return self._i2c

    def line(self, pse: Pse) -> Line:
        if self._line is None:
            if self._simulation is not None:
                self._line = self._simulation.line(pse.id)
            else:
                self._line = SerialLine(device_path(self._bus, self._root), baud=self._bus.baud)
        return self._line

    def text(self, pse: Pse) -> TextSource:
        if self._simulation is not None:
            return self._simulation.text(pse.id)
        if self._bus.kind == "text":
            return ProcFile(device_path(self._bus, self._root), pace=self._pace)
        return LineText(self.line(pse), pace=self._pace)

    def release(self) -> None:
        """Closes what is open; the next use opens it again."""
        if self._i2c is not None:
            self._i2c.close()
        if self._line is not None:
            self._line.close()
        self._i2c = self._line = None


def _builder(board: Board, pse: Pse, pace: Pace, opener: _Opener) -> Callable[[], PoeController]:
    def build() -> PoeController:
        match pse.driver:
            case "tps23861":
                return Tps23861(
                    bus=opener.i2c(), address=pse.bus.address, pace=pace, shunt_mohm=pse.shunt_mohm, auto=pse.auto
                )
            case "tps2388x":
                return Tps2388x(
                    bus=opener.i2c(),
                    address=pse.bus.address,
                    pace=pace,
                    firmware=pse.firmware,
                    pairs=_pairs(board, pse),
                )
            case "pd692x0":
                return Pd692x0(
                    carrier=_carrier(pse, pace, opener),
                    pace=pace,
                    channels=_channels(board, pse),
                    name=pse.id,
                    budget_mw=_budget_mw(board),
                    guard_mw=round(board.supply.guard_w * 1_000),
                )
            case "realtek-mcu":
                return RealtekMcu(
                    line=opener.line(pse),
                    pace=pace,
                    channels=_channels(board, pse),
                    name=pse.id,
                    generation=pse.generation,
                    budget_mw=_budget_mw(board),
                    guard_mw=round(board.supply.guard_w * 1_000),
                )
            case "exaviz-interceptor":
                places = tuple(divmod(channel, 8) for channel in range(_channels(board, pse)))
                return Exaviz(source=opener.text(pse), ports=places, name=pse.id)
            case "exaviz-cruiser":
                # Sockets poe0 to poe3 hang on PSE 1, poe4 to poe7 on PSE 0.
                places = tuple((1 - channel // 4, channel % 4) for channel in range(_channels(board, pse)))
                return Exaviz(source=opener.text(pse), ports=places, name=pse.id, asks_version=True)
            case "kernel":
                return KernelPse(netdevs=pse.netdevs)
        return NullController()

    return build


def _carrier(pse: Pse, pace: Pace, opener: _Opener) -> Carrier:
    if pse.bus.kind == "serial" or not pse.bus.address:
        return LineCarrier(line=opener.line(pse), pace=pace)
    return I2cCarrier(chip=Retrying(opener.i2c(), pse.bus.address, pace=pace, name=pse.id), pace=pace)


def _channels(board: Board, pse: Pse) -> int:
    return pse.channels or 1 + max((p.channel for p in board.port if p.pse == pse.id), default=-1)


def _pairs(board: Board, pse: Pse) -> tuple[tuple[int, int], ...]:
    return tuple((p.channel, p.second_channel) for p in board.port if p.pse == pse.id and p.second_channel is not None)


def _budget_mw(board: Board) -> int:
    """What a controller that keeps the budget itself is told: the supply less what else hangs on it, in whole watts."""
    supply = board.supply
    if not supply.total_w:
        return 0
    other = supply.base_w + max(supply.disk_running_w, supply.disk_spinup_w) if supply.shared else 0.0
    return max(0, int(supply.total_w - other)) * 1_000
