"""What the policy's step takes and gives: ports and supply as they are, what is remembered, actions and notices."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hw.poe.controller import Grants, PortReading
from hw.poe.vocabulary import Fault, Priority
from recorderd.power.backoff import Backoff
from recorderd.power.budget import Basis

STAGGER_NS = 500_000_000  # between two ports switched on


class Phase(enum.StrEnum):
    OFF = "off"
    SEARCHING = "searching"
    WAITING = "waiting"  # a device is there, power is not granted yet
    GRANTED = "granted"
    DELIVERING = "delivering"


class Do(enum.StrEnum):
    ENABLE = "enable"
    DISABLE = "disable"
    GRANT = "grant"
    WITHDRAW = "withdraw"
    COMMIT = "commit"  # ask the recording to make everything durable now


@dataclass(frozen=True, slots=True)
class Action:
    do: Do
    label: str = ""
    limit_mw: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """One decision or observation, with its reason. `kind` is a stable word."""

    kind: str
    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class PortInput:
    label: str
    index: int
    grants: Grants
    max_mw: int
    wanted: bool
    why_not: str = ""  # why it is not wanted: switched off, schedule, cycle
    keep_share: bool = False  # off only for a moment: its allocation stays reserved
    priority: Priority = Priority.LOW
    limit_mw: int | None = None
    lldp_mw: int | None = None
    reading: PortReading | None = None  # None: nothing could be read
    read_ns: int = 0  # when the reading began
    faults: tuple[Fault, ...] = ()  # new since the previous step

    @property
    def ceiling_mw(self) -> int:
        return self.max_mw if self.limit_mw is None else min(self.max_mw, self.limit_mw)


@dataclass(frozen=True, slots=True)
class SupplyInput:
    available_mw: int  # for the ports, after base load, disks and guard
    ready: bool = True  # false until the disks have spun up: nothing is switched on
    supply_mv: int | None = None
    read_ns: int = 0
    low_mv: int = 0  # 0: not watched
    alarm: bool = False  # a signal other than the measured voltage says that the supply sags
    basis: Basis = Basis.CLASS


@dataclass(frozen=True, slots=True)
class PortMemo:
    phase: Phase = Phase.SEARCHING
    since_ns: int = 0
    allocated_mw: int = 0
    acted_ns: int = 0  # readings begun before say nothing new
    granted_ns: int = 0
    waiting_since_ns: int = 0
    hold_ns: int = 0  # no grant before
    refused: bool = False
    reserved_ns: int = 0  # the allocation is kept until then although the port is off
    pd_class: int | None = None
    backoff: Backoff = field(default_factory=Backoff)

    def with_backoff(self, backoff: Backoff) -> PortMemo:
        return self if backoff is self.backoff else replace(self, backoff=backoff)


@dataclass(frozen=True, slots=True)
class Memory:
    ports: Mapping[str, PortMemo] = field(default_factory=dict)
    switched_ns: int = -STAGGER_NS  # newest switch-on
    sag_since_ns: int = 0  # 0: none
    sag_good_ns: int = 0  # the voltage has been good since
    sag_step_ns: int = 0
    over_since_ns: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    memory: Memory
    actions: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()
    wake_ns: int = 0  # step again then; 0: with the next reading
    allocated_mw: int = 0
