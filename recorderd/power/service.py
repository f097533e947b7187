"""`PowerService`: polls the controllers, lets `policy.step` decide, carries the decisions out and tells about them.

One task per bus opens and polls its controllers (`bus_poll`); one task decides. A controller that does not answer costs its
own ports: they are shown as unknown and keep counting against the budget, because they may well go on delivering. At stop nothing is
switched off.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from hw.boards.assembly import Assembly
from hw.boards.board import Port
from hw.poe.controller import Capabilities, Grants
from hw.poe.errors import PoeError
from hw.poe.vocabulary import PortState, Priority
from recorderd.model.causes import GapCause
from recorderd.model.ports import Clock, EventSink
from recorderd.power import supply
from recorderd.power.budget import Basis, pse_end_mw
from recorderd.power.bus_poll import BusPoll
from recorderd.power.decisions import Action, Do, Memory, Notice, Phase, PortInput, PortMemo, SupplyInput
from recorderd.power.memory import Keeper, NotStored, PortWish
from recorderd.power.policy import step
from recorderd.power.schedules import OffWindow
from recorderd.power.status import BudgetStatus, PortStatus, PowerStatus
from recorderd.power.topics import port_event, supply_event
from recorderd.power.watched import WatchedController
from recorderd.power.wishes import Wishes

log = logging.getLogger("power")

_S = 1_000_000_000
_LOST_BUS_S = 10.0
STUCK_S = 60.0  # every call of a bus has a limit far below, and then the bus is declared FAILED
_OFF_S = 3.0  # capacitors in cameras hold seconds
_OFF_WAIT_S = 5.0


class PowerService:
    """Implements `ports.PortPower`. `commit_now` asks the recording to make everything durable at once, when the supply sags."""

    def __init__(
        self,
        *,
        assembly: Assembly,
        clock: Clock,
        events: EventSink,
        keeper: Keeper,
        commit_now: Callable[[], None] = lambda: None,
        zone: Callable[[], datetime.tzinfo] = lambda: datetime.UTC,
    ) -> None:
        self._board = assembly.board
        self._clock = clock
        self._events = events
        self._commit_now = commit_now
        self._polls: dict[str, BusPoll] = {}
        self._watched: dict[str, WatchedController] = {}
        for placed in assembly.controllers:
            poll = self._polls.setdefault(placed.runner.name, BusPoll(runner=placed.runner, clock=clock))
            self._watched[placed.id] = watched = WatchedController(
                placed=placed,
                clock=clock,
                events=events,
                soon=poll.soon,
                changed=self._wake,
                alarm=self.alarm,
                opened=self._opened,
            )
            poll.watched.append(watched)
        self._ports = {p.label: p for p in assembly.board.port}
        self._wishes = Wishes(ports=self._ports, keeper=keeper, clock=clock, zone=zone)
        self._index = {p.label: i for i, p in enumerate(assembly.board.port)}
        self._memory = Memory()
        self._reasons: dict[str, str] = {}
        self._lldp_mw: dict[str, int] = {}
        self._alarm = False
        self._port_lost: Callable[[str, GapCause, str], None] = lambda *_: None
        self._poke = asyncio.Event()
        self._allocated_mw = 0
        self._changed = asyncio.Event()

    # --- life

    async def run(self) -> None:
        """Until cancelled. Bus failures are states, not exceptions."""
        await self._wishes.load()
        try:
            async with asyncio.TaskGroup() as group:
                for bus, poll in self._polls.items():
                    group.create_task(poll.run(), name=f"poe {bus}")
                group.create_task(self._decide_for_ever(group), name="poe policy")
                group.create_task(self._reopen_lost(), name="poe buses")
        finally:
            for watched in self._watched.values():
                watched.placed.runner.stop()

    async def _reopen_lost(self) -> None:
        """A bus on which nothing answers any more is closed, with the drivers on it: a lost serial line does not come back by itself."""
        while True:
            await self._clock.sleep(_LOST_BUS_S)
            for sharing in (poll.watched for poll in self._polls.values()):
                if all(w.failure for w in sharing) and not sharing[0].placed.runner.hung:
                    for watched in sharing:
                        await watched.let_go()
                    with contextlib.suppress(PoeError):
                        await sharing[0].placed.runner.call(sharing[0].placed.release)

    # --- deciding

    async def _decide_for_ever(self, group: asyncio.TaskGroup) -> None:
        wake_ns = 0
        while True:
            pause_s = (wake_ns - self._clock.boottime_ns()) / _S if wake_ns else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._poke.wait()
            self._poke.clear()
            wake_ns = self._decide(group)

    def _decide(self, group: asyncio.TaskGroup) -> int:
        now = self._clock.boottime_ns()
        trial_ns = self._wishes.expire(now)
        before = self._memory.ports
        result = step(self._memory, [self._input(p) for p in self._ports.values()], self._supply(now), now)
        self._memory = result.memory
        self._allocated_mw = result.allocated_mw
        self._alarm = False
        for watched in self._watched.values():
            watched.faults.clear()
        for notice in result.notices:
            self._tell(notice)
        if result.actions:
            group.create_task(self._carry_out(result.actions, before), name="poe actions")
        self._changed.set()
        wakes = [at for at in (result.wake_ns, trial_ns) if at]
        return min(wakes, default=0)

    def _input(self, port: Port) -> PortInput:
        watched = self._watched[port.pse]
        why_off = self._wishes.why_off(port.label)
        reading = watched.port(port)
        capabilities = watched.capabilities
        return PortInput(
            label=port.label,
            index=self._index[port.label],
            grants=capabilities.grants if capabilities is not None else Grants.CHIP,
            max_mw=round(port.max_w * 1_000),
            wanted=not why_off,
            why_not=why_off,
            keep_share=self._wishes.keeps_share(port.label),
            priority=self._wishes.priority(port.label),
            limit_mw=self._wishes.limit_mw(port.label),
            lldp_mw=self._lldp_mw.get(port.label),
            reading=reading,
            read_ns=watched.read_ns,
            faults=tuple(fault for channel, fault in watched.faults if channel in (port.channel, port.second_channel)),
        )

    def _supply(self, now_ns: int) -> SupplyInput:
        readings = [w for w in self._watched.values() if w.reading is not None and w.reading.supply_mv is not None]
        lowest = min(readings, key=lambda w: w.reading.supply_mv or 0 if w.reading else 0, default=None)
        return SupplyInput(
            available_mw=supply.available_mw(self._board.supply, self._ports.values(), now_ns),
            ready=supply.ready(self._board.supply, now_ns),
            supply_mv=lowest.reading.supply_mv if lowest is not None and lowest.reading is not None else None,
            read_ns=lowest.read_ns if lowest is not None else 0,
            low_mv=round(self._board.supply.low_v * 1_000),
            alarm=self._alarm,
            basis=Basis(self._board.supply.basis),
        )

    async def _carry_out(self, actions: tuple[Action, ...], before: Mapping[str, PortMemo]) -> None:
        """In order; once something could not be switched off, nothing more is switched on."""
        room = True
        for action in actions:
            if action.do is Do.COMMIT:
                self._commit_now()
                continue
            if action.do in (Do.GRANT, Do.ENABLE) and not room:
                self._restore(action.label, before)
                continue
            port = self._ports[action.label]
            try:
                await self._watched[port.pse].act(port, action)
            except PoeError as error:
                log.warning("port %s: could not %s: %s", action.label, action.do, error)
                room = room and action.do in (Do.GRANT, Do.ENABLE)
                self._restore(action.label, before)

    def _restore(self, label: str, before: Mapping[str, PortMemo]) -> None:
        """What was decided did not happen: the port is taken to be as it was until the next reading."""
        old = before.get(label)
        if old is None:
            return
        memo = replace(old, acted_ns=self._clock.boottime_ns())
        self._memory = replace(self._memory, ports={**self._memory.ports, label: memo})

    def _tell(self, notice: Notice) -> None:
        if not notice.label:
            log.warning("%s", notice.reason)
            self._events.publish(supply_event(notice.kind == "sag", notice.reason))
            return
        self._reasons[notice.label] = notice.reason
        if notice.kind in ("off", "shed", "fault"):
            cause = GapCause.PORT_FAULT if notice.kind == "fault" else GapCause.PORT_POWER_OFF
            if self._wishes.cycling(notice.label):
                cause = GapCause.PORT_CYCLED
            self._port_lost(notice.label, cause, f"port {notice.label} has no power: {notice.reason}")
        log.info("port %s: %s: %s", notice.label, notice.kind, notice.reason)
        self._events.publish(port_event(notice.label, notice.kind, notice.reason, self.port_state(notice.label)))

    # --- what others ask for

    def _wake(self) -> None:
        self._poke.set()

    def alarm(self) -> None:
        """The supply sags, by a signal other than its measured voltage: sheds at once."""
        self._alarm = True
        self._poke.set()

    async def set_admin(self, label: str, on: bool) -> None:
        """Raises `UnknownPort`, `NotStored`. Durable when it returns; the port follows within a poll."""
        await self._wishes.store(label, msgspec.structs.replace(self._wishes.of(label), admin=on))
        self._wishes.end_trial(label)
        self._poke.set()

    async def off_on_trial(self, label: str, seconds: float) -> None:
        """Off, and on again after `seconds` unless `set_admin` confirms it meanwhile. Nothing is stored: a restart switches it on.

        Raises `UnknownPort`.
        """
        self._wishes.begin_trial(label, seconds)
        self._poke.set()

    async def set_schedule(self, label: str, windows: tuple[OffWindow, ...]) -> None:
        """When the port is off by the clock; none: never. Raises `UnknownPort`, `NotStored`."""
        await self._wishes.store(label, msgspec.structs.replace(self._wishes.of(label), off=windows))
        self._poke.set()

    def schedule(self, label: str) -> tuple[OffWindow, ...]:
        return self._wishes.of(label).off

    async def set_priority(self, label: str, priority: Priority) -> None:
        """Raises `UnknownPort`, `PoeError`, `NotStored`; then nothing has changed."""
        wish = msgspec.structs.replace(self._wishes.of(label), priority=int(priority))
        await self._change(label, wish)

    async def set_limit(self, label: str, limit_mw: int | None) -> None:
        """None: back to what the board allows. Raises `UnknownPort`, `PoeError`, `NotStored`; then nothing has changed."""
        wish = msgspec.structs.replace(self._wishes.of(label), limit_mw=limit_mw)
        await self._change(label, wish, limit_too=True)

    async def _change(self, label: str, wish: PortWish, *, limit_too: bool = False) -> None:
        """To the controller, then to the store; what cannot be stored is taken back."""
        former = self._wishes.of(label)
        await self._apply(label, wish, limit_too=limit_too)
        try:
            await self._wishes.store(label, wish)
        except NotStored:
            await self._apply(label, former, limit_too=limit_too)
            raise
        self._poke.set()

    async def _apply(self, label: str, wish: PortWish, *, limit_too: bool = False) -> None:
        """Tells the controller the port's limit and priority, as far as it knows such things."""
        port = self._ports[label]
        watched = self._watched[port.pse]
        capabilities = watched.capabilities
        if capabilities is None:
            return
        priority, limit_mw = self._wishes.priority(label, wish), self._wishes.limit_mw(label, wish)
        if capabilities.priorities:
            await watched.call(lambda controller: controller.set_priority(port.channel, priority))
        if capabilities.limits and (limit_too or wish.limit_mw is not None):
            await watched.call(lambda controller: controller.set_limit(port.channel, limit_mw))

    async def _opened(self, watched: WatchedController) -> None:
        """A controller was opened, perhaps after it lost its settings."""
        for port in self._ports.values():
            if port.pse != watched.placed.id or watched.placed.pse.driver == "kernel":
                continue
            try:
                await self._apply(port.label, self._wishes.of(port.label))
            except PoeError as error:
                log.warning("port %s: limit or priority not taken: %s", port.label, error)

    async def cycle(self, port: str, reason: str) -> None:
        """Off, at least 3 s without voltage, on again; returns when the port may have power again.

        Raises `UnknownPort`, and `PoeError` when the port could not be switched off.
        """
        if not self._wishes.begin_cycle(port, reason):
            raise PoeError(f"port {port}: already being cycled")
        self._poke.set()
        try:
            deadline = self._clock.boottime_ns() + round(_OFF_WAIT_S * _S)
            began = self._clock.boottime_ns()
            while not self._is_off(port, began):
                if self._clock.boottime_ns() >= deadline:
                    raise PoeError(f"port {port}: still powered {_OFF_WAIT_S:g} s after it was switched off")
                await self._clock.sleep(0.1)
            await self._clock.sleep(_OFF_S)
        finally:
            self._wishes.end_cycle(port)
            self._poke.set()

    def _is_off(self, label: str, since_ns: int) -> bool:
        port = self._ports[label]
        watched = self._watched[port.pse]
        reading = watched.port(port)
        return reading is not None and watched.read_ns > since_ns and not reading.powered and not reading.admin

    def on_port_lost(self, hear: Callable[[str, GapCause, str], None]) -> None:
        """`hear(label, cause, detail)` is called when a port that had power, or may have had, loses it."""
        self._port_lost = hear

    def set_lldp(self, label: str, power_mw: int | None) -> None:
        """What the device asked for over LLDP, at its own end; None when it asks no more."""
        if power_mw is None:
            self._lldp_mw.pop(label, None)
        else:
            self._lldp_mw[label] = pse_end_mw(power_mw)
        self._poke.set()

    # --- what it knows

    def port_state(self, port: str) -> str:
        """`ports.PortPower`: one word; "unknown" for a label nobody has."""
        if port not in self._ports:
            return PortState.UNKNOWN
        return self._state(self._input(self._ports[port]))

    def labels(self) -> tuple[str, ...]:
        return tuple(self._ports)

    def capabilities(self, label: str) -> Capabilities | None:
        self._wishes.of(label)
        return self._watched[self._ports[label].pse].capabilities

    async def wait_changed(self) -> None:
        """Returns after the next decision or failure."""
        self._changed.clear()
        await self._changed.wait()

    def oldest_operation_s(self) -> float:
        """For the watchdog: the longest a bus has been busy with one operation; a hung bus is FAILED and no longer counts."""
        runners = {w.placed.runner.name: w.placed.runner for w in self._watched.values()}
        return max((r.oldest_operation_s() for r in runners.values() if not r.hung), default=0.0)

    def stuck(self) -> str | None:
        """For the watchdog: an operation so old whose bus nobody declared FAILED is a fault of this process, not of the bus."""
        age_s = self.oldest_operation_s()
        return f"power: a bus has been busy with one operation for {age_s:.0f} s" if age_s > STUCK_S else None

    def status(self) -> PowerStatus:
        now = self._clock.boottime_ns()
        ports = tuple(self._port_status(p) for p in self._ports.values())
        power = self._board.supply
        return PowerStatus(
            board=self._board.title or self._board.name,
            ports=ports,
            controllers=tuple(w.status(now) for w in self._watched.values()),
            budget=BudgetStatus(
                total_mw=round(power.total_w * 1_000),
                base_mw=supply.base_mw(power),
                disks_mw=supply.disks_mw(power, now),
                guard_mw=round(power.guard_w * 1_000),
                available_mw=supply.available_mw(power, self._ports.values(), now),
                allocated_mw=self._allocated_mw,
                measured_mw=sum(p.power_mw or 0 for p in ports),
                basis=power.basis,
                ready=supply.ready(power, now),
                sagging=bool(self._memory.sag_since_ns),
            ),
        )

    def _port_status(self, port: Port) -> PortStatus:
        given = self._input(port)
        memo = self._memory.ports.get(port.label, PortMemo())
        reading = given.reading
        return PortStatus(
            label=port.label,
            controller=port.pse,
            channel=port.channel,
            state=self._state(given),
            wanted=given.wanted,
            priority=given.priority.name.lower(),
            detection=reading.detection if reading is not None else "unknown",
            pd_class=reading.pd_class if reading is not None else None,
            voltage_mv=reading.voltage_mv if reading is not None else None,
            current_ma=reading.current_ma if reading is not None else None,
            power_mw=reading.power_mw if reading is not None else None,
            allocated_mw=memo.allocated_mw,
            limit_mw=given.ceiling_mw,
            since_ns=memo.since_ns,
            last_fault=memo.backoff.last_fault or "",
            last_fault_ns=memo.backoff.last_fault_ns,
            retry_ns=max(memo.backoff.retry_ns, memo.hold_ns),
            reason=self._reasons.get(port.label, ""),
            netdev=port.netdev,
        )

    def _state(self, given: PortInput) -> str:
        memo = self._memory.ports.get(given.label, PortMemo())
        if given.reading is None:
            return PortState.UNKNOWN
        if self._wishes.cycling(given.label):
            return "cycling"
        if not given.wanted:
            return PortState.DISABLED if memo.phase is Phase.OFF else given.reading.state
        if given.reading.powered:
            return given.reading.state
        if memo.backoff.waiting(self._clock.boottime_ns()):
            return PortState.BACKOFF
        if memo.phase is Phase.WAITING and memo.refused:
            return PortState.DENIED
        return given.reading.state
