"""One controller as the service sees it: opened, read when it is due, acted on, and opened again when its bus was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from hw.boards.assembly import Placed
from hw.boards.board import Port
from hw.poe.controller import Capabilities, ControllerReading, Identity, PoeController, PortReading
from hw.poe.errors import PoeError
from hw.poe.vocabulary import Fault
from recorderd.model.ports import Clock, EventSink
from recorderd.power.decisions import Action, Do
from recorderd.power.status import ControllerStatus
from recorderd.power.topics import controller_event

log = logging.getLogger("power")

_S = 1_000_000_000
_REOPEN_S = 5.0
_FAST_POLL_NS = _S // 4  # while a port is starting or was just switched
_EARLY = 0.95  # of the board's period, so that a reading is replaced before it is older than that
_READ_EARLY_NS = _S // 10  # and so much earlier at most for the time that reading takes
_SETTLING_NS = 5 * _S


class WatchedController:
    """`soon` is set when it is due at once; `changed` is called after every reading and new failure, `alarm` when the controller says that
    its supply sags, `opened` when it wants to be told its settings."""

    def __init__(
        self,
        *,
        placed: Placed,
        clock: Clock,
        events: EventSink,
        soon: asyncio.Event,
        changed: Callable[[], None],
        alarm: Callable[[], None],
        opened: Callable[[WatchedController], Awaitable[None]],
    ) -> None:
        self.placed = placed
        self.reading: ControllerReading | None = None
        self.read_ns = 0  # when the newest reading began
        self.failure = "not read yet"
        self.due_ns = 0  # when to read it next
        self.early_ns = 0  # from when on it is read along with others that are due
        self.faults: list[tuple[int, Fault]] = []  # (channel, fault), taken by the policy's next step
        self._clock = clock
        self._events = events
        self._changed = changed
        self._alarm = alarm
        self._opened = opened
        self._controller: PoeController | None = None
        self._identity: Identity | None = None
        self._soon = soon
        self._asked_ns = 0  # when a port was last switched
        self._settling_ns = 0  # poll faster until then

    @property
    def driver(self) -> PoeController | None:
        """None while it is not open."""
        return self._controller

    async def ready(self) -> bool:
        """Opens the driver where it is not. False: that failed, and was told."""
        try:
            if self._controller is None:
                await self._open()
        except PoeError as error:
            self.failed(error)
            return False
        return True

    async def _open(self) -> None:
        runner = self.placed.runner
        controller = await runner.call(self.placed.build, limit_s=10)
        self._identity = await runner.call(controller.open, limit_s=30)
        self._controller = controller
        log.info("%s: found %s %s", self.placed.id, self._identity.chip, self._identity.firmware)
        await self._opened(self)

    async def take(self, reading: ControllerReading, began_ns: int) -> None:
        """What a poll that began then has read."""
        if self.failure:
            if self.reading is not None:
                log.info("%s: answers again", self.placed.id)
                self._events.publish(controller_event(self.placed.id, "answers", "communication is back"))
            self.failure = ""
        for fault in reading.faults:
            if fault.channel >= 0:
                self.faults.append((fault.channel, fault.fault))
                continue
            log.warning("%s: %s (%s)", self.placed.id, fault.fault, fault.detail)
            self._events.publish(controller_event(self.placed.id, fault.fault, fault.detail))
            if fault.fault is Fault.SUPPLY_LOW:
                self._alarm()
            elif fault.fault is Fault.HARDWARE:
                await self._opened(self)  # it was reset
        self.reading, self.read_ns = reading, began_ns
        now_ns = self._clock.boottime_ns()
        if began_ns < self._asked_ns:
            self.due_ns = now_ns  # a port was switched since
        elif now_ns < self._settling_ns:
            self.due_ns = began_ns + _FAST_POLL_NS
        else:
            period_ns = round(self.placed.pse.poll_ms * 1_000_000 * _EARLY)
            self.due_ns = began_ns + period_ns - min(now_ns - began_ns, _READ_EARLY_NS)
        self.early_ns = (began_ns + self.due_ns) // 2
        self._changed()

    def failed(self, error: PoeError) -> None:
        """It could not be opened or read: its ports are unknown until it can. Said once for each reason."""
        why = str(error)
        self.due_ns = self.early_ns = self._clock.boottime_ns() + round(_REOPEN_S * _S)
        if self.failure == why:
            return
        log.warning("%s: %s; next try in %g s", self.placed.id, why, _REOPEN_S)
        if not self.failure or self.reading is None:
            self._events.publish(controller_event(self.placed.id, "fails", why))
        self.failure = why
        self._changed()

    async def let_go(self) -> None:
        """Closes the driver; the next poll builds a new one. The bus itself is the caller's to release."""
        controller, self._controller = self._controller, None
        if controller is not None and not self.placed.runner.hung:
            with contextlib.suppress(PoeError):
                await self.placed.runner.call(controller.close)

    async def act(self, port: Port, action: Action) -> None:
        """Raises `PoeError`."""
        channels = (port.channel,) if port.second_channel is None else (port.channel, port.second_channel)

        def on_bus(controller: PoeController) -> None:
            for channel in channels:
                match action.do:
                    case Do.ENABLE:
                        controller.set_admin(channel, on=True)
                    case Do.DISABLE:
                        controller.set_admin(channel, on=False)
                    case Do.WITHDRAW:
                        controller.withdraw(channel)
                    case Do.GRANT:
                        controller.grant(channel, action.limit_mw // len(channels))

        try:
            await self.call(on_bus)
        finally:
            self._asked_ns = self._clock.boottime_ns()
            self._settling_ns = self._asked_ns + _SETTLING_NS
            if not self.failure:
                self.due_ns = self.early_ns = self._asked_ns
                self._soon.set()

    async def call(self, operation: Callable[[PoeController], None]) -> None:
        """Runs one operation of the driver on its bus. Raises `PoeError`."""
        controller = self._controller
        if controller is None:
            raise PoeError(f"{self.placed.id}: {self.failure}")
        await self.placed.runner.call(lambda: operation(controller))

    @property
    def capabilities(self) -> Capabilities | None:
        return None if self._controller is None else self._controller.capabilities

    def port(self, port: Port) -> PortReading | None:
        """The newest reading of a port, None while the controller does not answer.

        Of a four-pair port, its first channel with the power of both.
        """
        if self.reading is None or self.failure or port.channel >= len(self.reading.ports):
            return None
        first = self.reading.ports[port.channel]
        if port.second_channel is None:
            return first
        second = self.reading.ports[port.second_channel]
        return replace(
            first,
            current_ma=(first.current_ma or 0) + (second.current_ma or 0),
            power_mw=(first.power_mw or 0) + (second.power_mw or 0),
        )

    def status(self, now_ns: int) -> ControllerStatus:
        reading = self.reading
        return ControllerStatus(
            id=self.placed.id,
            driver=self.placed.pse.driver,
            chip=self._identity.chip if self._identity is not None else "",
            firmware=self._identity.firmware if self._identity is not None else "",
            healthy=not self.failure,
            detail=self.failure,
            temperature_c=reading.temperature_c if reading is not None else None,
            supply_mv=reading.supply_mv if reading is not None else None,
            budget_mw=reading.budget_mw if reading is not None else None,
            age_ms=(now_ns - self.read_ns) // 1_000_000 if reading is not None else -1,
            link=reading.link if reading is not None else ControllerReading(ports=()).link,
            grants=self._controller.capabilities.grants if self._controller is not None else "",
        )
