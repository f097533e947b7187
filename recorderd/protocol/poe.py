"""`io.recorderd.Poe`: ports, budget, switching, and the rescue of cameras."""

from __future__ import annotations

from typing import Literal

from recorderd.protocol.interface import Access, Interface, Kind
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Poe")

PriorityWord = Literal["critical", "high", "low"]
BasisWord = Literal["class", "lldp", "measured"]
Severity = Literal["good", "warning", "error"]


class Port(Message, frozen=True):
    label: str
    device: str
    controller: str
    netdev: str
    state: str
    wanted: bool
    priority: PriorityWord
    detection: str
    power_class: int | None
    voltage_mv: int | None
    current_ma: int | None
    power_mw: int | None
    allowed_mw: int
    limit_mw: int
    since: str | None
    last_fault: str | None
    last_fault_at: str | None
    retry: str | None
    reason: str
    schedule: list[str]


class Controller(Message, frozen=True):
    id: str
    driver: str
    chip: str
    firmware: str
    healthy: bool
    detail: str
    temperature_c: float | None
    supply_mv: int | None
    hardware_budget_mw: int | None
    age_ms: int | None
    transfers: int
    retries: int
    failures: int
    grants: str


class Budget(Message, frozen=True):
    total_mw: int
    base_mw: int
    disks_mw: int
    guard_mw: int
    available_mw: int
    allowed_mw: int
    measured_mw: int
    basis: BasisWord
    ready: bool
    sagging: bool


class Hold(Message, frozen=True):
    device: str
    until: str


class OffWindow(Message, frozen=True):
    days: list[str]
    start: str
    stop: str


class Finding(Message, frozen=True):
    severity: Severity
    subject: str
    text: str
    advice: str


class Status(Message, frozen=True):
    board: str
    ports: list[Port]
    controllers: list[Controller]
    budget: Budget


class PortCall(Message, frozen=True):
    port: str


class SwitchOffCall(Message, frozen=True):
    port: str
    keep: bool = False
    confirm: bool = False


class SwitchedOff(Message, frozen=True):
    back_on: str | None


class CycleCall(Message, frozen=True):
    port: str
    confirm: bool = False


class PriorityCall(Message, frozen=True):
    port: str
    priority: PriorityWord


class LimitCall(Message, frozen=True):
    port: str
    limit_mw: int | None = None
    confirm: bool = False


class LimitSet(Message, frozen=True):
    enforced: bool


class ScheduleCall(Message, frozen=True):
    port: str
    off: list[OffWindow]


class HoldCall(Message, frozen=True):
    device: str
    for_ms: int


class Holds(Message, frozen=True):
    holds: list[Hold]


class BoardReport(Message, frozen=True):
    board: str
    findings: list[Finding]


GET_STATUS = INTERFACE.method("GetStatus", Nothing, Status, access=Access.VIEW)
WATCH = INTERFACE.method("Watch", Nothing, Status, access=Access.VIEW, kind=Kind.STREAM)
SWITCH_ON = INTERFACE.method("SwitchOn", PortCall, Nothing)
SWITCH_OFF = INTERFACE.method("SwitchOff", SwitchOffCall, SwitchedOff)
CYCLE = INTERFACE.method("Cycle", CycleCall, Nothing)
SET_PRIORITY = INTERFACE.method("SetPriority", PriorityCall, Nothing)
SET_LIMIT = INTERFACE.method("SetLimit", LimitCall, LimitSet)
SET_SCHEDULE = INTERFACE.method("SetSchedule", ScheduleCall, Nothing)
HOLD_DEVICE = INTERFACE.method("HoldDevice", HoldCall, Nothing)
LIST_HOLDS = INTERFACE.method("ListHolds", Nothing, Holds, access=Access.VIEW)
CHECK_BOARD = INTERFACE.method("CheckBoard", Nothing, BoardReport, access=Access.VIEW)
