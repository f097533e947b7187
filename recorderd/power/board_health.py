"""`BoardHealth`: looks at the board's sensors every few seconds in a thread, and tells what changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from hw.boards.board import Board
from hw.boards.check import check_board
from hw.boards.findings import Finding, error
from hw.boards.health import BoardReading, Level, Symptom, line, look, symptoms
from hw.poe.bus_thread import BusRunner, BusThread
from hw.poe.errors import BusHung
from recorderd.model.ports import Clock, Event, EventSink
from recorderd.power.service import PowerService
from recorderd.power.topics import BOARD, FAN, TEMPERATURE

log = logging.getLogger("board")

_LOOK_S = 10.0
_LOOK_LIMIT_S = 20.0  # a temperature read through a disk that spins up takes a while


class BoardHealth:
    """`power` None: a board without PoE. Under-voltage of the processor alarms it, because supplies are shared."""

    def __init__(
        self,
        *,
        board: Board,
        clock: Clock,
        events: EventSink,
        power: PowerService | None,
        look: Callable[[], BoardReading] | None = None,
        runner: BusRunner | None = None,
        root: Path = Path("/"),
    ) -> None:
        self._board = board
        self._clock = clock
        self._events = events
        self._power = power
        self._root = root
        self._look = look
        self._runner = runner or BusThread("board sensors")
        self._reading = BoardReading()
        self._symptoms: tuple[Symptom, ...] = ()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._take(await self._sensors())
                await self._clock.sleep(_LOOK_S)
        finally:
            self._runner.stop()

    async def _sensors(self) -> BoardReading:
        if self._look is not None:
            return self._look()
        try:
            return await self._runner.call(lambda: look(self._board.health, root=self._root), limit_s=_LOOK_LIMIT_S)
        except BusHung:
            return BoardReading(unreadable=("the board's sensors do not answer (a disk that hangs?)",))

    def _take(self, reading: BoardReading) -> None:
        for text in set(reading.unreadable) - set(self._reading.unreadable):
            log.warning("%s", text)
        found = symptoms(reading, self._board.health, self._symptoms) + self._of_pse()
        before = {s.name: s for s in self._symptoms}
        now = {s.name: s for s in found}
        for name, symptom in now.items():
            if name not in before or before[name].level is not symptom.level:
                log.warning("%s", symptom.text)
                self._events.publish(_event(name, symptom.level, symptom.text))
        for name in (name for name in before if name not in now):
            log.info("%s: well again", name)
            self._events.publish(_event(name, Level.GOOD, "well again"))
        if (
            "under-voltage" in now
            and "under-voltage" not in before
            and self._board.supply.shared
            and self._power is not None
        ):
            self._power.alarm()
        self._reading, self._symptoms = reading, found

    def _of_pse(self) -> tuple[Symptom, ...]:
        """Temperature and input voltage as the PSE controllers measure them."""
        if self._power is None:
            return ()
        found = []
        supply = self._board.supply
        for controller in self._power.status().controllers:
            warmest = self._board.health.pse_warn_c
            if controller.temperature_c is not None and warmest and controller.temperature_c >= warmest:
                text = f"{controller.id} is at {controller.temperature_c:.0f} C, at most {warmest:.0f} C is well"
                found.append(Symptom(f"pse-temperature {controller.id}", Level.WARNING, text))
            if controller.supply_mv is None or not controller.healthy:
                continue
            volts = controller.supply_mv / 1_000
            if supply.low_v and volts < supply.low_v:
                found.append(
                    Symptom(f"pse-voltage {controller.id}", Level.CRITICAL, f"{controller.id} gets {volts:.1f} V only")
                )
            elif supply.high_v and volts > supply.high_v:
                found.append(
                    Symptom(
                        f"pse-voltage {controller.id}", Level.CRITICAL, f"{controller.id} gets {volts:.1f} V, too much"
                    )
                )
        return tuple(found)

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        """What is not well, for the problems of `status`."""
        return self._symptoms

    def line(self) -> str | None:
        """One line for `status`; None where nothing is measured and nothing is wrong."""
        return line(self._reading, self._symptoms)

    async def check(self) -> tuple[str, list[Finding]]:
        """`board check` with what the running service knows."""
        controllers: dict[str, tuple[bool, str]] = {}
        drawn = None
        if self._power is not None:
            status = self._power.status()
            controllers = {
                c.id: (c.healthy, f"{c.chip} {c.firmware}".strip() if c.healthy else c.detail)
                for c in status.controllers
            }
            drawn = status.budget.measured_mw
        title = self._board.title or self._board.name

        def check() -> list[Finding]:
            return check_board(self._board, controllers=controllers, drawn_mw=drawn, root=self._root)

        try:
            return title, await self._runner.call(check, limit_s=_LOOK_LIMIT_S)
        except BusHung as hung:
            return title, [error("sensors", str(hung), "a disk that hangs holds up its temperature sensor")]


def _event(name: str, level: Level, text: str) -> Event:
    topic = TEMPERATURE if "temperature" in name else FAN if name == "fan" else BOARD
    data = (("Failed", "true" if level else "false"), ("Level", level.name.lower()), ("Reason", text))
    return Event(topic, source=(("Token", name),), data=data)
