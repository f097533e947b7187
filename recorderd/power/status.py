"""What the power service says about itself: plain data for the control socket, the status line and tests."""

from __future__ import annotations

from dataclasses import dataclass

from hw.poe.controller import LinkCounters


@dataclass(frozen=True, slots=True)
class PortStatus:
    """Times are CLOCK_BOOTTIME in ns; None: unknown or not applicable."""

    label: str
    controller: str
    channel: int
    state: str  # hw.poe.vocabulary.PortState, or "cycling"
    wanted: bool
    priority: str
    detection: str
    pd_class: int | None
    voltage_mv: int | None
    current_ma: int | None
    power_mw: int | None
    allocated_mw: int
    limit_mw: int
    since_ns: int
    last_fault: str
    last_fault_ns: int
    retry_ns: int  # of a port in back-off
    reason: str  # newest decision about the port
    netdev: str = ""


@dataclass(frozen=True, slots=True)
class ControllerStatus:
    id: str
    driver: str
    chip: str
    firmware: str
    healthy: bool
    detail: str  # why not healthy, in one line
    temperature_c: float | None
    supply_mv: int | None
    budget_mw: int | None
    age_ms: int  # of its newest reading; -1: none
    link: LinkCounters
    grants: str


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    total_mw: int
    base_mw: int
    disks_mw: int
    guard_mw: int
    available_mw: int
    allocated_mw: int
    measured_mw: int
    basis: str
    ready: bool
    sagging: bool


@dataclass(frozen=True, slots=True)
class PowerStatus:
    board: str
    ports: tuple[PortStatus, ...]
    controllers: tuple[ControllerStatus, ...]
    budget: BudgetStatus

    def line(self) -> str:
        """One line for `status`."""
        delivering = sum(p.state == "delivering" for p in self.ports)
        sick = [c.id for c in self.controllers if not c.healthy]
        faults = sum(p.state in ("fault", "backoff", "denied") for p in self.ports)
        text = f"PoE {delivering}/{len(self.ports)} ports, {self.budget.measured_mw / 1000:.1f} W"
        if self.budget.total_mw:
            text += f" of {self.budget.available_mw / 1000:.0f} W"
        if faults:
            text += f", {faults} not powered"
        if self.budget.sagging:
            text += ", SUPPLY SAGS"
        if sick:
            text += f", no answer from {' '.join(sick)}"
        return text
