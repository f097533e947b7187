"""The chips, supply and loads behind a board file whose buses are simulated."""

from __future__ import annotations

from collections.abc import Callable

from hw.boards.board import Board, Pse
from hw.sim.i2c_adapter import SimulatedI2c
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.quad_chip import QuadChip
from hw.sim.pse.tps23861_chip import tps23861_chip


class SimulatedBoard:
    """All simulated controllers of `board` on one I2C adapter and one supply. `now` gives seconds."""

    def __init__(self, board: Board, *, now: Callable[[], float]) -> None:
        self.board = board
        self.adapter = SimulatedI2c()
        self.supply = Supply(nominal_mv=board.supply.nominal_v * 1_000)
        self.chips: dict[str, QuadChip] = {}
        self._places = {port.label: (port.pse, port.channel) for port in board.port}
        for pse in board.pse:
            if pse.bus.kind == "simulated":
                self.chips[pse.id] = self._chip(pse, now)
                self.adapter.registers[pse.bus.address] = self.chips[pse.id]
        for load in board.simulated:
            self.plug(load.port, Load(pd_class=load.pd_class, draw_mw=load.draw_w * 1_000))

    def _chip(self, pse: Pse, now: Callable[[], float]) -> QuadChip:
        if pse.driver != "tps23861":
            raise ValueError(f"{pse.id}: no simulation of {pse.driver} on a simulated bus")
        return tps23861_chip(now=now, supply=self.supply, name=pse.id, auto_strap=pse.auto, shunt_mohm=pse.shunt_mohm)

    def plug(self, label: str, load: Load) -> None:
        chip, channel = self._places[label]
        self.chips[chip].plug(channel, load)

    def unplug(self, label: str) -> None:
        chip, channel = self._places[label]
        self.chips[chip].unplug(channel)

    def powered(self, label: str) -> bool:
        chip, channel = self._places[label]
        return self.chips[chip].powered(channel)

    def load(self, label: str) -> Load | None:
        chip, channel = self._places[label]
        return self.chips[chip].ports[channel].load
