"""What the ports should do next: one pure step over what was read, what is wanted and what the supply gives.

`step` never reads a clock or touches hardware. It gets every port's newest reading, returns the actions to carry out in their order, the
notices for the operator, and the memory it wants back next time. Readings taken before the newest action on a port are ignored for it, so a
slow poll cannot undo a decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hw.poe.controller import Grants, PortReading
from hw.poe.vocabulary import Fault, PortState, Priority
from recorderd.power.budget import Demand, admit, allocation_mw, in_turn, over_budget
from recorderd.power.decisions import (
    STAGGER_NS,
    Action,
    Do,
    Memory,
    Notice,
    Phase,
    PortInput,
    PortMemo,
    Step,
    SupplyInput,
)

_MS = 1_000_000
_S = 1_000_000_000
GRANT_NS = 3 * _S  # a granted device has detected, classified and started by then
RETRY_GRANT_NS = 5 * _S
OVERLOAD_NS = 1 * _S  # measured above the budget for longer: shed
OVERLOAD_HOLD_NS = 30 * _S
SAG_CLEAR_NS = 30 * _S
SAG_STEP_NS = 200 * _MS
SAG_HYSTERESIS_MV = 1_000
RESERVE_NS = 15 * _S  # a cycled port's share is kept for it so long after it may come back


def step(memory: Memory, ports: Sequence[PortInput], supply: SupplyInput, now_ns: int) -> Step:
    return _Stepper(memory, ports, supply, now_ns).run()


class _Stepper:
    """The working state of one step; nothing outlives it."""

    def __init__(self, memory: Memory, ports: Sequence[PortInput], supply: SupplyInput, now_ns: int) -> None:
        self._memory = memory
        self._ports = {p.label: p for p in ports}
        self._supply = supply
        self._now = now_ns
        self._memo = {p.label: memory.ports.get(p.label, PortMemo(since_ns=now_ns)) for p in ports}
        self._actions: list[Action] = []
        self._notices: list[Notice] = []
        self._wakes: list[int] = []

    def run(self) -> Step:
        for port in self._ports.values():
            self._look(port)
        sagging = self._sag()
        self._shed_over_budget()
        self._shed_overload()
        if self._supply.ready and not sagging:
            self._switch_on()
        future = [at for at in self._wakes if at > self._now]
        return Step(
            replace(self._memory, ports=self._memo),
            tuple(self._actions),
            tuple(self._notices),
            min(future, default=0),
            sum(d.power_mw for d in self._powered()),
        )

    # --- what the readings say

    def _look(self, port: PortInput) -> None:
        for fault in port.faults:
            self._fault(port, fault)
        if not port.wanted:
            self._unwanted(port)
            return
        reading = port.reading
        memo = self._memo[port.label]
        if reading is None or port.read_ns <= memo.acted_ns:
            return
        if reading.powered:
            self._delivers(port, reading, memo)
            return
        memo = memo.with_backoff(memo.backoff.not_delivering())
        if memo.phase is Phase.GRANTED and self._now - memo.granted_ns < GRANT_NS and reading.admin:
            self._wakes.append(memo.granted_ns + GRANT_NS)
            self._memo[port.label] = memo
            return
        if memo.phase is Phase.GRANTED and reading.state is PortState.REQUESTING:
            self._note(
                "not-started", port, f"took no power within {GRANT_NS // _S} s; next try in {RETRY_GRANT_NS // _S} s"
            )
            memo = replace(memo, hold_ns=self._now + RETRY_GRANT_NS)
        if reading.pd_class is not None and reading.pd_class != memo.pd_class:
            memo = replace(memo, pd_class=reading.pd_class)
        if not reading.admin:
            self._enable(port, memo)
        elif reading.state is PortState.REQUESTING:
            self._memo[port.label] = self._enter(memo, Phase.WAITING)
        elif reading.state is PortState.DENIED:
            if not memo.refused:
                self._note("denied", port, "the controller's own budget has no room for it")
            self._memo[port.label] = replace(self._enter(memo, Phase.WAITING), refused=True)
        else:
            if memo.phase is Phase.DELIVERING:
                self._note("stopped", port, "the device was unplugged or draws no power")
            memo = self._enter(memo, Phase.SEARCHING)
            self._memo[port.label] = replace(memo, refused=False) if memo.refused else memo

    def _fault(self, port: PortInput, fault: Fault) -> None:
        memo = self._memo[port.label]
        if not fault.is_failure:
            return
        if port.read_ns <= memo.acted_ns:
            return  # of the time before the newest action
        backoff = memo.backoff.after_fault(fault, self._now)
        wait_s = (backoff.retry_ns - self._now) // _S
        self._note("fault", port, f"{fault}; next try in {wait_s} s")
        if port.grants is not Grants.HOST:
            self._do(Do.WITHDRAW, port)  # such a controller would try again by itself, at its own pace
        memo = replace(self._memo[port.label], backoff=backoff, granted_ns=0)
        self._memo[port.label] = self._enter(memo, Phase.SEARCHING)
        self._wakes.append(backoff.retry_ns)

    def _unwanted(self, port: PortInput) -> None:
        memo = self._memo[port.label]
        share = memo.allocated_mw if port.keep_share else 0
        fresh = port.reading is not None and port.read_ns > memo.acted_ns
        if port.reading is not None and fresh and not port.reading.admin:
            memo = self._enter(memo, Phase.OFF)
        elif memo.phase is not Phase.OFF:
            self._note("off", port, port.why_not)
            self._do(Do.DISABLE, port)
            memo = replace(self._memo[port.label], refused=False)
            memo = self._enter(memo, Phase.OFF)
        elif fresh:
            self._do(Do.DISABLE, port)
            memo = self._memo[port.label]
        self._memo[port.label] = replace(
            memo, allocated_mw=share, reserved_ns=self._now + RESERVE_NS if port.keep_share else 0
        )

    def _delivers(self, port: PortInput, reading: PortReading, memo: PortMemo) -> None:
        pd_class = reading.pd_class if reading.pd_class is not None else memo.pd_class
        if memo.phase not in (Phase.GRANTED, Phase.DELIVERING):
            first = port.label not in self._memory.ports
            self._note(
                "adopted" if first else "on", port, "was already powered" if first else "powered by its controller"
            )
        if reading.delivering:
            memo = memo.with_backoff(memo.backoff.delivering(self._now))
            if memo.phase is not Phase.DELIVERING:
                memo = self._enter(memo, Phase.DELIVERING)
        elif memo.phase is not Phase.DELIVERING:
            memo = replace(self._enter(memo, Phase.GRANTED), granted_ns=memo.granted_ns or self._now)
        allocated_mw = self._allocation(port, pd_class, reading.power_mw if reading.delivering else None)
        if (memo.pd_class, memo.allocated_mw, memo.refused, memo.reserved_ns) != (pd_class, allocated_mw, False, 0):
            memo = replace(memo, pd_class=pd_class, allocated_mw=allocated_mw, refused=False, reserved_ns=0)
        self._memo[port.label] = memo

    def _allocation(self, port: PortInput, pd_class: int | None, measured_mw: int | None) -> int:
        if port.grants is Grants.CHIP and port.reading is not None and port.reading.allocated_mw is not None:
            return port.reading.allocated_mw
        return allocation_mw(
            basis=self._supply.basis,
            pd_class=pd_class,
            limit_mw=port.ceiling_mw,
            lldp_mw=port.lldp_mw,
            measured_mw=measured_mw,
        )

    def _enable(self, port: PortInput, memo: PortMemo) -> None:
        """The port is off and wanted. Where the host grants, looking for a device costs nothing; elsewhere it may power one at once."""
        if port.grants is Grants.HOST:
            self._memo[port.label] = self._enter(memo, Phase.SEARCHING)
            self._do(Do.ENABLE, port)
        else:
            self._memo[port.label] = self._enter(memo, Phase.WAITING)

    # --- the supply

    def _sag(self) -> bool:
        supply, memory, now = self._supply, self._memory, self._now
        measured_low = bool(supply.low_mv) and supply.supply_mv is not None and supply.supply_mv < supply.low_mv
        if measured_low or supply.alarm:
            if not memory.sag_since_ns:
                volts = "" if supply.supply_mv is None else f" ({supply.supply_mv / 1000:.1f} V)"
                self._notices.append(
                    Notice("sag", "", f"the supply sags{volts}: nothing more is switched on, ports are shed")
                )
                self._actions.append(Action(Do.COMMIT))
                memory = replace(memory, sag_since_ns=now)
            if now - memory.sag_step_ns >= SAG_STEP_NS and (supply.read_ns > memory.sag_step_ns or supply.alarm):
                self._shed_least("the supply sags", hold_ns=SAG_CLEAR_NS)
                memory = replace(memory, sag_step_ns=now)
            self._memory = replace(memory, sag_good_ns=0)
            self._wakes.append(memory.sag_step_ns + SAG_STEP_NS)
            return True
        if not memory.sag_since_ns:
            return False
        recovered = supply.supply_mv is None or supply.supply_mv >= supply.low_mv + SAG_HYSTERESIS_MV
        good_ns = (memory.sag_good_ns or now) if recovered else 0
        self._memory = replace(memory, sag_good_ns=good_ns)
        if good_ns and now - good_ns >= SAG_CLEAR_NS:
            self._notices.append(Notice("sag-over", "", f"the supply has been good for {SAG_CLEAR_NS // _S} s"))
            self._memory = replace(memory, sag_since_ns=0, sag_good_ns=0, sag_step_ns=0)
            return False
        if good_ns:
            self._wakes.append(good_ns + SAG_CLEAR_NS)
        return True

    def _shed_least(self, reason: str, *, hold_ns: int) -> None:
        """Cuts the least important powered port, of those the one that draws most; never a critical one, never the last."""
        powered = [d for d in self._powered() if self._memo[d.label].phase in (Phase.GRANTED, Phase.DELIVERING)]
        victims = [d for d in powered if d.priority is not Priority.CRITICAL]
        if not victims or len(powered) == 1:
            return
        victim = max(victims, key=lambda d: (d.priority, d.power_mw, d.index))
        self._shed(self._ports[victim.label], reason, hold_ns=hold_ns)

    def _shed_over_budget(self) -> None:
        powered = self._powered()
        total = sum(d.power_mw for d in powered)
        for label in over_budget([d for d in powered if self._may_shed(d.label)], self._budget_of_hosts(powered)):
            self._shed(
                self._ports[label],
                f"{total / 1000:.1f} W are allocated, {self._supply.available_mw / 1000:.1f} W available",
                hold_ns=0,
            )

    def _shed_overload(self) -> None:
        measured = sum(
            port.reading.power_mw or 0
            for port in self._ports.values()
            if port.reading is not None and port.reading.powered and port.read_ns > self._memo[port.label].acted_ns
        )
        if measured <= self._supply.available_mw:
            if self._memory.over_since_ns:
                self._memory = replace(self._memory, over_since_ns=0)
            return
        since = self._memory.over_since_ns or self._now
        self._memory = replace(self._memory, over_since_ns=since)
        if self._now - since >= OVERLOAD_NS:
            self._shed_least(f"{measured / 1000:.1f} W are drawn, more than available", hold_ns=OVERLOAD_HOLD_NS)
            self._memory = replace(self._memory, over_since_ns=self._now)

    def _shed(self, port: PortInput, reason: str, *, hold_ns: int) -> None:
        self._note("shed", port, reason)
        self._do(Do.WITHDRAW, port)
        memo = self._enter(self._memo[port.label], Phase.WAITING)
        self._memo[port.label] = replace(memo, hold_ns=self._now + hold_ns if hold_ns else 0, refused=True)

    # --- switching on

    def _switch_on(self) -> None:
        """At most one port per step and `STAGGER_NS`: inrush is drawn one camera at a time."""
        waiting = in_turn([self._demand(p, powered=False) for p in self._ports.values() if self._may_start(p)])
        if not waiting:
            return
        due = self._memory.switched_ns + STAGGER_NS
        if self._now < due:
            self._wakes.append(due)
            return
        for demand in waiting:
            port = self._ports[demand.label]
            powered = [d for d in self._powered() if d.label != demand.label]
            victims: tuple[str, ...] | None = ()
            if port.grants is not Grants.CHIP:
                movable = [d for d in powered if self._may_shed(d.label)]
                victims = admit(demand, movable, self._budget_of_hosts(powered))
            if victims is None:
                self._refuse(port, demand.power_mw, powered)
                continue
            for label in victims:
                self._shed(
                    self._ports[label], f"gives way to {port.label} of priority {port.priority.name.lower()}", hold_ns=0
                )
            self._start(port, demand.power_mw)
            return

    def _start(self, port: PortInput, power_mw: int) -> None:
        self._note("on", port, f"{power_mw / 1000:.1f} W granted")
        self._do(Do.GRANT if port.grants is Grants.HOST else Do.ENABLE, port, power_mw)
        memo = self._enter(self._memo[port.label], Phase.GRANTED)
        self._memo[port.label] = replace(
            memo, allocated_mw=power_mw, granted_ns=self._now, refused=False, reserved_ns=0, hold_ns=0
        )
        self._memory = replace(self._memory, switched_ns=self._now)
        self._wakes.append(self._now + STAGGER_NS)

    def _refuse(self, port: PortInput, power_mw: int, powered: Sequence[Demand]) -> None:
        memo = self._memo[port.label]
        if memo.refused:
            return
        free = self._supply.available_mw - sum(d.power_mw for d in powered)
        self._note("denied", port, f"needs {power_mw / 1000:.1f} W, {max(0, free) / 1000:.1f} W are free")
        self._memo[port.label] = replace(memo, refused=True)

    def _may_start(self, port: PortInput) -> bool:
        memo = self._memo[port.label]
        if not port.wanted or memo.phase is not Phase.WAITING:
            return False
        if port.reading is None or port.read_ns <= memo.acted_ns:
            return False
        if port.reading.admin and port.reading.state is not PortState.REQUESTING:
            return False  # denied by its controller
        not_before = max(memo.hold_ns, memo.backoff.retry_ns)
        if self._now < not_before:
            self._wakes.append(not_before)
            return False
        return True

    # --- sums

    def _may_shed(self, label: str) -> bool:
        """Ports whose controller keeps its own budget are left to it; a share kept for a port that is off cannot be shed."""
        powered = self._memo[label].phase in (Phase.GRANTED, Phase.DELIVERING)
        return powered and self._ports[label].grants is not Grants.CHIP

    def _budget_of_hosts(self, powered: Sequence[Demand]) -> int:
        return self._supply.available_mw - sum(d.power_mw for d in powered if not self._may_shed(d.label))

    def _demand(self, port: PortInput, *, powered: bool) -> Demand:
        memo = self._memo[port.label]
        power = memo.allocated_mw if powered else self._allocation(port, memo.pd_class, None)
        return Demand(port.label, port.priority, power, powered, memo.waiting_since_ns, port.index)

    def _powered(self) -> list[Demand]:
        return [self._demand(port, powered=True) for port in self._ports.values() if self._holds_power(port)]

    def _holds_power(self, port: PortInput) -> bool:
        memo = self._memo[port.label]
        return memo.phase in (Phase.GRANTED, Phase.DELIVERING) or self._now < memo.reserved_ns

    # --- bookkeeping

    def _enter(self, memo: PortMemo, phase: Phase) -> PortMemo:
        if memo.phase is phase:
            return memo
        waiting = self._now if phase is Phase.WAITING else 0
        keeps = phase in (Phase.GRANTED, Phase.DELIVERING) or self._now < memo.reserved_ns
        return replace(
            memo,
            phase=phase,
            since_ns=self._now,
            waiting_since_ns=waiting,
            allocated_mw=memo.allocated_mw if keeps else 0,
        )

    def _do(self, do: Do, port: PortInput, limit_mw: int = 0) -> None:
        self._actions.append(Action(do, port.label, limit_mw))
        self._memo[port.label] = replace(self._memo[port.label], acted_ns=self._now)

    def _note(self, kind: str, port: PortInput, reason: str) -> None:
        self._notices.append(Notice(kind, port.label, reason))
