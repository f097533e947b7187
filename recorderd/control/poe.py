"""The face of `io.recorderd.Poe`: labels and words for the power service, the rescue and the board."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from hw.boards.findings import Finding
from hw.poe.errors import NotSupported, PoeError
from hw.poe.vocabulary import Priority
from recorderd.control.dispatch import Dispatch, Last
from recorderd.control.peer import Peer
from recorderd.model.ports import Clock
from recorderd.power.memory import NotStored
from recorderd.power.rescuer import RescueService
from recorderd.power.schedules import DAYS, OffWindow
from recorderd.power.service import PowerService
from recorderd.power.status import PortStatus
from recorderd.power.wishes import UnknownPort
from recorderd.protocol import poe
from recorderd.protocol.errors import ConfirmationNeeded, Conflict, InvalidArgument, NotFound, Unavailable
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import to_rfc3339

_TRIAL_S = 60.0
_WATCH_S = 1.0
_MAX_HOLD_MS = 30 * 86_400_000
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class PortUsers:
    """The devices behind a port, and those of them that are being recorded now."""

    devices: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()


_NOBODY = PortUsers()


class PoeFace:
    """`power` None: a board without PoE.

    `users` says who is behind which port, by label; `protected` are the ports in the path of a login; `device` finds one by its name or
    id; `check` looks at the board.
    """

    def __init__(
        self,
        *,
        power: PowerService | None,
        rescue: RescueService | None,
        clock: Clock,
        users: Callable[[], Mapping[str, PortUsers]],
        protected: Callable[[], frozenset[str]],
        device: Callable[[str], uuid.UUID | None],
        device_names: Callable[[], Mapping[uuid.UUID, str]],
        check: Callable[[], Awaitable[tuple[str, Sequence[Finding]]]],
    ) -> None:
        self._service = power
        self._rescuer = rescue
        self._clock = clock
        self._users = users
        self._protected = protected
        self._device = device
        self._device_names = device_names
        self._check = check

    def bind(self, table: Dispatch) -> None:
        table.reply(poe.GET_STATUS, self._status)
        table.stream(poe.WATCH, self._watch)
        table.reply(poe.SWITCH_ON, self._switch_on)
        table.reply(poe.SWITCH_OFF, self._switch_off)
        table.reply(poe.CYCLE, self._cycle)
        table.reply(poe.SET_PRIORITY, self._set_priority)
        table.reply(poe.SET_LIMIT, self._set_limit)
        table.reply(poe.SET_SCHEDULE, self._set_schedule)
        table.reply(poe.HOLD_DEVICE, self._hold)
        table.reply(poe.LIST_HOLDS, self._holds)
        table.reply(poe.CHECK_BOARD, self._check_board)

    # --- reading

    async def _status(self, _: Nothing, __: Peer) -> poe.Status:
        return self._now()

    async def _watch(self, _: Nothing, __: Peer) -> AsyncIterator[poe.Status | Last[poe.Status]]:
        while True:
            yield self._now()
            await self._clock.sleep(_WATCH_S)

    def _now(self) -> poe.Status:
        status, users = self._power().status(), self._users()
        budget = status.budget
        return poe.Status(
            board=status.board,
            ports=[self._port(p, users.get(p.label, _NOBODY)) for p in status.ports],
            controllers=[
                poe.Controller(
                    id=c.id,
                    driver=c.driver,
                    chip=c.chip,
                    firmware=c.firmware,
                    healthy=c.healthy,
                    detail=c.detail,
                    temperature_c=None if c.temperature_c is None else round(c.temperature_c, 1),
                    supply_mv=c.supply_mv,
                    hardware_budget_mw=c.budget_mw,
                    age_ms=c.age_ms if c.age_ms >= 0 else None,
                    transfers=c.link.transfers,
                    retries=c.link.retries,
                    failures=c.link.failures,
                    grants=c.grants,
                )
                for c in status.controllers
            ],
            budget=poe.Budget(
                total_mw=budget.total_mw,
                base_mw=budget.base_mw,
                disks_mw=budget.disks_mw,
                guard_mw=budget.guard_mw,
                available_mw=budget.available_mw,
                allowed_mw=budget.allocated_mw,
                measured_mw=budget.measured_mw,
                basis=budget.basis,  # type: ignore[arg-type]  # checked when the board file was read
                ready=budget.ready,
                sagging=budget.sagging,
            ),
        )

    def _port(self, port: PortStatus, users: PortUsers) -> poe.Port:
        now = self._clock.boottime_ns()
        return poe.Port(
            label=port.label,
            device=", ".join(users.devices),
            controller=port.controller,
            netdev=port.netdev,
            state=port.state,
            wanted=port.wanted,
            priority=port.priority,  # type: ignore[arg-type]  # a Priority's name
            detection=port.detection,
            power_class=port.pd_class,
            voltage_mv=port.voltage_mv,
            current_ma=port.current_ma,
            power_mw=port.power_mw,
            allowed_mw=port.allocated_mw,
            limit_mw=port.limit_mw,
            since=self._wall(port.since_ns),
            last_fault=port.last_fault or None,
            last_fault_at=self._wall(port.last_fault_ns),
            retry=self._wall(port.retry_ns) if port.retry_ns > now else None,
            reason=port.reason,
            schedule=[str(window) for window in self._power().schedule(port.label)],
        )

    def _wall(self, boottime_ns: int) -> str | None:
        if not boottime_ns:
            return None
        return to_rfc3339(self._clock.realtime_ns() - self._clock.boottime_ns() + boottime_ns)

    # --- switching

    async def _switch_on(self, call: poe.PortCall, _: Peer) -> Nothing:
        self._known(call.port)
        await _stored(self._power().set_admin(call.port, on=True))
        return Nothing()

    async def _switch_off(self, call: poe.SwitchOffCall, _: Peer) -> poe.SwitchedOff:
        self._known(call.port)
        self._confirmed(call.port, call.confirm, "is switched off")
        if call.port in self._protected() and not call.keep:
            await self._power().off_on_trial(call.port, _TRIAL_S)
            return poe.SwitchedOff(back_on=to_rfc3339(self._clock.realtime_ns() + round(_TRIAL_S * 1e9)))
        await _stored(self._power().set_admin(call.port, on=False))
        return poe.SwitchedOff(back_on=None)

    async def _cycle(self, call: poe.CycleCall, _: Peer) -> Nothing:
        self._known(call.port)
        self._confirmed(call.port, call.confirm, "is switched off and on")
        try:
            await self._power().cycle(call.port, "cycled by the operator")
        except PoeError as error:
            raise Unavailable(str(error)) from error
        return Nothing()

    async def _set_priority(self, call: poe.PriorityCall, _: Peer) -> Nothing:
        self._known(call.port)
        try:
            await _stored(self._power().set_priority(call.port, Priority[call.priority.upper()]))
        except PoeError as error:
            raise Unavailable(str(error)) from error
        return Nothing()

    async def _set_limit(self, call: poe.LimitCall, _: Peer) -> poe.LimitSet:
        self._known(call.port)
        capabilities = self._power().capabilities(call.port)
        if call.limit_mw is not None and not 1_000 <= call.limit_mw <= 100_000:
            raise InvalidArgument("limit_mw", "1000 to 100000, or null", str(call.limit_mw))
        draws = next((p.power_mw or 0 for p in self._power().status().ports if p.label == call.port), 0)
        if call.limit_mw is not None and call.limit_mw < draws:
            self._confirmed(call.port, call.confirm, f"draws {draws / 1000:.1f} W, more than that, and is cut off")
        try:
            await _stored(self._power().set_limit(call.port, call.limit_mw))
        except NotSupported as error:
            raise Conflict(str(error)) from error
        except PoeError as error:
            raise Unavailable(str(error)) from error
        return poe.LimitSet(enforced=capabilities is not None and capabilities.limits)

    async def _set_schedule(self, call: poe.ScheduleCall, _: Peer) -> Nothing:
        self._known(call.port)
        if len(call.off) > 16:
            raise InvalidArgument("off", "at most 16 windows", str(len(call.off)))
        await _stored(self._power().set_schedule(call.port, tuple(_window(w) for w in call.off)))
        return Nothing()

    # --- rescue and board

    async def _hold(self, call: poe.HoldCall, _: Peer) -> Nothing:
        if not 0 <= call.for_ms <= _MAX_HOLD_MS:
            raise InvalidArgument("for_ms", f"0 to {_MAX_HOLD_MS} (30 days)", str(call.for_ms))
        device = self._device(call.device)
        if device is None:
            raise NotFound("device", printable(call.device))
        if self._rescuer is None:
            raise Unavailable(
                "the camera rescue is switched off (power.rescue in recorderd.toml), or the board has no PoE"
            )
        await _stored(self._rescuer.hold(device, call.for_ms / 1_000))
        return Nothing()

    async def _holds(self, _: Nothing, __: Peer) -> poe.Holds:
        names = self._device_names()
        holds = self._rescuer.holds() if self._rescuer is not None else ()
        return poe.Holds(
            holds=[poe.Hold(device=names.get(h.device, str(h.device)), until=to_rfc3339(h.until_utc_ns)) for h in holds]
        )

    async def _check_board(self, _: Nothing, __: Peer) -> poe.BoardReport:
        board, findings = await self._check()
        return poe.BoardReport(
            board=board,
            findings=[
                poe.Finding(severity=f.severity.value, subject=f.subject, text=f.text, advice=f.advice)
                for f in findings
            ],
        )

    # --- what may be refused

    def _power(self) -> PowerService:
        if self._service is None:
            raise Unavailable("this recorder has no PoE: recorder.board in recorderd.toml names no board that has")
        return self._service

    def _known(self, label: str) -> None:
        try:
            self._power().schedule(label)
        except UnknownPort:
            raise NotFound("port", printable(label)) from None

    def _confirmed(self, label: str, confirm: bool, what: str) -> None:
        cameras = self._users().get(label, _NOBODY).recorded
        if cameras and not confirm:
            names = ", ".join(printable(c) for c in cameras)
            raise ConfirmationNeeded(f"port {label} {what}: {names} is being recorded and loses pictures")


async def _stored(change: Awaitable[None]) -> None:
    try:
        await change
    except NotStored as error:
        raise Unavailable(f"nothing was changed: {error}") from error


def _window(window: poe.OffWindow) -> OffWindow:
    unknown = [day for day in window.days if day not in DAYS]
    if unknown or not window.days:
        raise InvalidArgument("days", f"one or more of {', '.join(DAYS)}", printable(", ".join(unknown) or "none"))
    minutes = []
    for name, text in (("start", window.start), ("stop", window.stop)):
        found = _CLOCK.fullmatch(text)
        if found is None:
            raise InvalidArgument(name, "a time of day such as 22:00", printable(text))
        minutes.append(int(found[1]) * 60 + int(found[2]))
    return OffWindow(days=tuple(DAYS.index(d) for d in window.days), start_min=minutes[0], stop_min=minutes[1])
