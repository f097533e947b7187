"""Lines of the Exaviz text interfaces: `/proc/pse` of the Interceptor and the serial line of the Cruiser.

Their shapes are known from the vendor's own reader, not from a specification: unknown states become `unknown`, further columns are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hw.poe.vocabulary import Fault, PortState

MAX_LINE = 200

_STATES = {
    "power-on": PortState.DELIVERING,
    "detecting": PortState.SEARCHING,
    "backoff": PortState.BACKOFF,
    "disabled": PortState.DISABLED,
    "fault": PortState.FAULT,
}
_NUMBER = r"(-?[0-9]{1,6}(?:\.[0-9]{1,8})?)"
_WITH_LIMIT = _NUMBER + r"(?:/[-0-9.]{1,20})?"
_PORT = re.compile(
    rf"([0-9]{{1,2}})-([0-9]{{1,2}}):\s+(\S{{1,20}})\s+(\S{{1,4}})\s+{_WITH_LIMIT}\s+{_WITH_LIMIT}\s+"
    rf"{_NUMBER}(?:/{_NUMBER})?\s+{_WITH_LIMIT}(?:\s+(\S{{1,20}}))?"
)
_BOARD = re.compile(rf"([0-9]{{1,2}}):\s+{_NUMBER}(?:/\S+)?\s+{_NUMBER}(?:/\S+)?(?:\s+{_NUMBER}/{_NUMBER})?")
_VERSION = re.compile(r"version\s+(\S{1,20})")


@dataclass(frozen=True, slots=True)
class PortLine:
    board: int
    port: int
    state: PortState
    pd_class: int | None
    allocated_mw: int
    voltage_mv: int
    current_ma: int
    limit_ma: int | None
    temperature_c: float
    error: str

    @property
    def power_mw(self) -> int:
        """The line's own power column is what the class is allocated: what flows is volts times amperes."""
        return self.voltage_mv * self.current_ma // 1_000


@dataclass(frozen=True, slots=True)
class BoardLine:
    board: int
    voltage_mv: int
    current_ma: int
    power_mw: int | None
    budget_mw: int | None


@dataclass(frozen=True, slots=True)
class VersionLine:
    version: str


def parse_line(line: str) -> PortLine | BoardLine | VersionLine | None:
    """None for what is none of the three, including lines cut off in the middle."""
    line = line.strip()
    if len(line) > MAX_LINE:
        return None
    if found := _PORT.match(line):
        board, port, state, pd_class, watts, volts, amperes, limit, celsius, error = found.groups()
        return PortLine(
            int(board),
            int(port),
            _STATES.get(state, PortState.UNKNOWN),
            int(pd_class) if pd_class.isdecimal() and int(pd_class) <= 8 else None,
            round(float(watts) * 1_000),
            round(float(volts) * 1_000),
            round(float(amperes) * 1_000),
            round(float(limit) * 1_000) if limit is not None else None,
            float(celsius),
            error or "",
        )
    if found := _BOARD.match(line):
        board, volts, amperes, power, budget = found.groups()
        return BoardLine(
            int(board),
            round(float(volts) * 1_000),
            round(float(amperes) * 1_000),
            round(float(power) * 1_000) if power is not None else None,
            round(float(budget) * 1_000) if budget is not None else None,
        )
    if found := _VERSION.search(line):
        return VersionLine(found[1])
    return None


def fault_of(line: PortLine) -> Fault | None:
    """The interface does not say why: over its own current limit is an overload, the rest is called hardware."""
    if line.state is not PortState.FAULT:
        return None
    if line.limit_ma is not None and line.current_ma >= line.limit_ma:
        return Fault.OVERLOAD
    return Fault.HARDWARE
