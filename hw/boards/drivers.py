"""Which driver a controller of a board file gets, and the bus it shares with its neighbours.

A driver is imported when a board names it, and the simulation when a bus is simulated: a recorder without PoE carries none of them, and
one with PoE carries its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hw.boards.board import Board, Bus, Pse
from hw.boards.discovery import device_path
from hw.poe.controller import PoeController
from hw.poe.pace import Pace

if TYPE_CHECKING:
    from hw.poe.i2c import I2cBus
    from hw.poe.line import Line
    from hw.poe.pd692x0_link import Carrier
    from hw.poe.text_source import TextSource
    from hw.sim.pse.simulated_board import SimulatedBoard


class BusOpener:
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
            if self._simulation is not None:
                self._i2c = self._simulation.i2c()
            else:
                from hw.poe.i2c import SmbusBus

                self._i2c = SmbusBus(device_path(self._bus, self._root))
        return self._i2c

    def line(self, pse: Pse) -> Line:
        if self._line is None:
            if self._simulation is not None:
                self._line = self._simulation.line(pse.id)
            else:
                from hw.poe.line import SerialLine

                self._line = SerialLine(device_path(self._bus, self._root), baud=self._bus.baud)
        return self._line

    def text(self, pse: Pse) -> TextSource:
        if self._simulation is not None:
            return self._simulation.text(pse.id)
        from hw.poe.text_source import LineText, ProcFile

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


def driver_of(board: Board, pse: Pse, pace: Pace, opener: BusOpener) -> Callable[[], PoeController]:
    """What makes the driver of `pse`: it may block, and raises `PoeError`. The driver's code is loaded here, by the caller."""
    match pse.driver:
        case "tps23861":
            from hw.poe.tps23861 import Tps23861

            return lambda: Tps23861(
                bus=opener.i2c(), address=pse.bus.address, pace=pace, shunt_mohm=pse.shunt_mohm, auto=pse.auto
            )
        case "tps2388x":
            from hw.poe.tps2388x import Tps2388x

            return lambda: Tps2388x(
                bus=opener.i2c(), address=pse.bus.address, pace=pace, firmware=pse.firmware, pairs=_pairs(board, pse)
            )
        case "pd692x0":
            from hw.poe.pd692x0 import Pd692x0

            return lambda: Pd692x0(
                carrier=_carrier(pse, pace, opener),
                pace=pace,
                channels=_channels(board, pse),
                name=pse.id,
                budget_mw=_budget_mw(board),
                guard_mw=round(board.supply.guard_w * 1_000),
            )
        case "realtek-mcu":
            from hw.poe.realtek_mcu import RealtekMcu

            return lambda: RealtekMcu(
                line=opener.line(pse),
                pace=pace,
                channels=_channels(board, pse),
                name=pse.id,
                generation=pse.generation,
                budget_mw=_budget_mw(board),
                guard_mw=round(board.supply.guard_w * 1_000),
            )
        case "exaviz-interceptor" | "exaviz-cruiser":
            from hw.poe.exaviz import Exaviz

            if pse.driver == "exaviz-interceptor":
                places = tuple(divmod(channel, 8) for channel in range(_channels(board, pse)))
                return lambda: Exaviz(source=opener.text(pse), ports=places, name=pse.id)
            # Sockets poe0 to poe3 hang on PSE 1, poe4 to poe7 on PSE 0.
            sockets = tuple((1 - channel // 4, channel % 4) for channel in range(_channels(board, pse)))
            return lambda: Exaviz(source=opener.text(pse), ports=sockets, name=pse.id, asks_version=True)
        case "kernel":
            from hw.poe.kernel_pse import KernelPse

            return lambda: KernelPse(netdevs=pse.netdevs)
    from hw.poe.null import NullController

    return NullController


def _carrier(pse: Pse, pace: Pace, opener: BusOpener) -> Carrier:
    from hw.poe.i2c import Retrying
    from hw.poe.pd692x0_link import I2cCarrier, LineCarrier

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
