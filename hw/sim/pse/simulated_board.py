"""The chips, supply and loads behind a board file whose buses are simulated, whatever driver it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hw.boards.board import Board, Pse
from hw.sim.i2c_adapter import InProcessI2c, SimulatedI2c
from hw.sim.pse.exaviz_board import ExavizBoard, InProcessText
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.pd692x0_mcu import Pd692x0Mcu
from hw.sim.pse.realtek_mcu_peer import RealtekPeer
from hw.sim.pse.serial_peer import InProcessLine
from hw.sim.pse.tps2388x_chip import Tps2388xChip
from hw.sim.pse.tps23861_chip import tps23861_chip


class SimulatedPse(Protocol):
    """What every simulated controller has for the test's hand."""

    def plug(self, port: int, load: Load, /) -> None: ...

    def unplug(self, port: int, /) -> None: ...

    def powered(self, port: int, /) -> bool: ...


class SimulatedBoard:
    """All simulated controllers of `board` on one I2C adapter, or a line each, and one supply. `now` and `sleep` in seconds."""

    def __init__(self, board: Board, *, now: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.board = board
        self.adapter = SimulatedI2c()
        self.supply = Supply(nominal_mv=board.supply.nominal_v * 1_000)
        self.chips: dict[str, SimulatedPse] = {}
        self._loads: dict[str, Load] = {}
        self._now = now
        self._sleep = sleep
        self._places = {port.label: (port.pse, port.channel) for port in board.port}
        for pse in board.pse:
            if pse.bus.kind == "simulated":
                self.chips[pse.id] = self._chip(pse)
        for load in board.simulated:
            self.plug(load.port, Load(pd_class=load.pd_class, draw_mw=load.draw_w * 1_000))

    def _chip(self, pse: Pse) -> SimulatedPse:
        now, supply, name, address = self._now, self.supply, pse.id, pse.bus.address
        count = 1 + max((p.channel for p in self.board.port if p.pse == pse.id), default=0)
        match pse.driver:
            case "tps23861":
                quad = tps23861_chip(now=now, supply=supply, name=name, auto_strap=pse.auto, shunt_mohm=pse.shunt_mohm)
                self.adapter.registers[address] = quad
                return quad
            case "tps2388x":
                chip = Tps2388xChip(now=now, supply=supply, name=name)
                for i, half in enumerate(chip.halves):
                    self.adapter.registers[address + i] = half
                return chip
            case "pd692x0":
                mcu = Pd692x0Mcu(now=now, supply=supply, count=count, name=name)
                if address:
                    self.adapter.messages[address] = mcu
                return mcu
            case "realtek-mcu":
                return RealtekPeer(now=now, supply=supply, count=count, name=name, generation=pse.generation or 2)
            case "exaviz-interceptor":
                places = tuple(divmod(c, 8) for c in range(count))
                return ExavizBoard(now=now, supply=supply, places=places, name=name)
            case "exaviz-cruiser":
                places = tuple((1 - c // 4, c % 4) for c in range(count))
                return ExavizBoard(now=now, supply=supply, style="cruiser", places=places, name=name)
        raise ValueError(f"{pse.id}: no simulation of {pse.driver}")

    # --- the driver's side

    def i2c(self) -> InProcessI2c:
        return InProcessI2c(self.adapter)

    def line(self, pse: str) -> InProcessLine:
        chip = self.chips[pse]
        if isinstance(chip, Pd692x0Mcu):
            return InProcessLine(chip.answer, request_bytes=15, sleep=self._sleep)
        if isinstance(chip, RealtekPeer):
            return InProcessLine(chip.answer, request_bytes=12, sleep=self._sleep)
        raise ValueError(f"{pse}: not on a serial line")

    def text(self, pse: str) -> InProcessText:
        chip = self.chips[pse]
        if not isinstance(chip, ExavizBoard):
            raise ValueError(f"{pse}: has no text interface")
        return InProcessText(chip, sleep=self._sleep)

    # --- the test's side, by label

    def plug(self, label: str, load: Load) -> None:
        chip, channel = self._places[label]
        self._loads[label] = load
        self.chips[chip].plug(channel, load)

    def unplug(self, label: str) -> None:
        chip, channel = self._places[label]
        self._loads.pop(label, None)
        self.chips[chip].unplug(channel)

    def powered(self, label: str) -> bool:
        chip, channel = self._places[label]
        return self.chips[chip].powered(channel)

    def load(self, label: str) -> Load | None:
        return self._loads.get(label)
