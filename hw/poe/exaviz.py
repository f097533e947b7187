"""Exaviz Interceptor (`/proc/pse`) and Cruiser (serial) boards: the vendor's firmware powers ports, the host enables and disables them.

Commands name one port each. The Cruiser's bare `reset` drops every port of a chip and is never sent.
"""

from __future__ import annotations

from hw.poe.controller import Capabilities, ControllerReading, Grants, Identity, LinkCounters, PortFault, PortReading
from hw.poe.errors import BusFailed, NoAnswer, NotSupported, PoeError
from hw.poe.exaviz_text import BoardLine, PortLine, VersionLine, fault_of, parse_line
from hw.poe.text_source import TextSource
from hw.poe.vocabulary import Detection, Fault, PortState, Priority

_LOOK_S = 2.5  # the Cruiser speaks once a second
_MAX_LINES = 64


class Exaviz:
    """`ports` gives each channel's (board, port) as the text interface numbers them."""

    def __init__(
        self, *, source: TextSource, ports: tuple[tuple[int, int], ...], name: str, asks_version: bool = False
    ) -> None:
        self._source = source
        self._ports = ports
        self._name = name
        self._asks_version = asks_version
        self._states: dict[int, PortState] = {}
        self._transfers = 0
        self._failures = 0
        self.capabilities = Capabilities(grants=Grants.AUTO)

    @property
    def channels(self) -> int:
        return len(self._ports)

    def open(self) -> Identity:
        if self._asks_version:
            self._source.send("info")
        seen: set[tuple[int, int]] = set()
        version = ""
        for line in self._source.lines(_MAX_LINES, _LOOK_S):
            match parse_line(line):
                case PortLine() as found:
                    seen.add((found.board, found.port))
                case VersionLine(found_version):
                    version = version or found_version
            if seen >= set(self._ports):
                break
        if not seen:
            raise NoAnswer(f"{self._name}: no line about a port within {_LOOK_S:g} s")
        missing = [f"{b}-{p}" for b, p in self._ports if (b, p) not in seen]
        return Identity(self._name, firmware=version, detail=f"missing ports {' '.join(missing)}" if missing else "")

    def read(self) -> ControllerReading:
        """One set of lines. Ports that were not heard of are unknown."""
        ports: dict[tuple[int, int], PortLine] = {}
        boards: dict[int, BoardLine] = {}
        for line in self._source.lines(_MAX_LINES, _LOOK_S):
            found = parse_line(line)
            if isinstance(found, PortLine):
                if (found.board, found.port) in ports:
                    break  # the next round has begun
                ports[found.board, found.port] = found
            elif isinstance(found, BoardLine):
                boards[found.board] = found
        self._transfers += 1
        if not ports:
            self._failures += 1
            raise BusFailed(f"{self._name}: no line about a port within {_LOOK_S:g} s")
        faults: list[PortFault] = []
        budgets = [b.budget_mw for b in boards.values() if b.budget_mw is not None]
        return ControllerReading(
            ports=tuple(self._reading(channel, ports.get(place), faults) for channel, place in enumerate(self._ports)),
            faults=tuple(faults),
            temperature_c=max((p.temperature_c for p in ports.values()), default=None),
            supply_mv=min((b.voltage_mv for b in boards.values()), default=None),
            budget_mw=sum(budgets) if budgets else None,
            consumed_mw=sum(p.power_mw for p in ports.values()),
            link=LinkCounters(transfers=self._transfers, failures=self._failures),
        )

    def _reading(self, channel: int, line: PortLine | None, faults: list[PortFault]) -> PortReading:
        if line is None:
            return PortReading(channel, admin=True, state=PortState.UNKNOWN)
        was = self._states.get(channel)
        self._states[channel] = line.state
        fault = fault_of(line)
        if fault is not None and was is not line.state:
            faults.append(PortFault(channel, fault, line.error or "fault"))
        if was is PortState.DELIVERING and line.state is PortState.SEARCHING:
            faults.append(PortFault(channel, Fault.MPS_ABSENT, "detecting"))
        on = line.state is PortState.DELIVERING
        return PortReading(
            channel,
            admin=line.state is not PortState.DISABLED,
            state=line.state,
            detection=Detection.VALID if on else Detection.UNKNOWN,
            pd_class=line.pd_class if on else None,
            voltage_mv=line.voltage_mv if on else 0,
            current_ma=line.current_ma if on else 0,
            power_mw=line.power_mw if on else 0,
            allocated_mw=line.allocated_mw if on else None,
            fault=fault,
            detail=line.error,
        )

    def set_admin(self, channel: int, on: bool) -> None:
        board, port = self._place(channel)
        self._source.send(f"{'enable' if on else 'disable'}-port {board} {port}")

    def grant(self, channel: int, limit_mw: int) -> None:
        raise NotSupported(f"{self._name}: channel {channel}: powers devices by itself, {limit_mw} mW or not")

    def withdraw(self, channel: int) -> None:
        self.set_admin(channel, on=False)

    def set_limit(self, channel: int, limit_mw: int) -> None:
        raise NotSupported(f"{self._name}: channel {channel}: no limit of {limit_mw} mW can be set")

    def set_priority(self, channel: int, priority: Priority) -> None:
        raise NotSupported(
            f"{self._name}: channel {channel}: no priority {priority.name.lower()}; the recorder's own apply"
        )

    def close(self) -> None:
        self._source.close()

    def _place(self, channel: int) -> tuple[int, int]:
        if not 0 <= channel < len(self._ports):
            raise PoeError(f"{self._name}: no channel {channel}")
        return self._ports[channel]
