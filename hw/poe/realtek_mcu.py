"""PSE microcontrollers before BCM59111/BCM59121 (generation 1) or RTL8238B/RTL8239 (generation 2). They keep the budget themselves.

The layout of generation 1's status of four ports is known from one implementation only: pairs of port and status.
"""

from __future__ import annotations

from hw.poe.controller import Capabilities, ControllerReading, Grants, Identity, PortFault, PortReading
from hw.poe.errors import BusFailed, NotSupported, WrongChip
from hw.poe.line import Line
from hw.poe.pace import Pace
from hw.poe.realtek_mcu_frames import CHIPS, Budget, Function, PortDetail, PortPower, Power, System
from hw.poe.realtek_mcu_link import RealtekMcuLink
from hw.poe.vocabulary import CLASS_PSE_MW, Detection, Fault, PortState, Priority

_STATES = {
    0: PortState.DISABLED,
    1: PortState.SEARCHING,
    2: PortState.DELIVERING,
    3: PortState.TEST,
    4: PortState.FAULT,
    5: PortState.OTHER_FAULT,
    6: PortState.DENIED,
}
_PRIORITIES = {Priority.CRITICAL: 3, Priority.HIGH: 2, Priority.LOW: 1}
_UVOLT_PER_COUNT = 64_450
_USER_LIMIT = 2


class RealtekMcu:
    """`generation` 0: asked at `open`. `budget_mw` 0: the controller's own is left."""

    def __init__(
        self,
        *,
        line: Line,
        pace: Pace,
        channels: int,
        name: str = "PSE microcontroller",
        generation: int = 0,
        budget_mw: int = 0,
        guard_mw: int = 0,
    ) -> None:
        self._link = RealtekMcuLink(line=line, pace=pace, name=name, generation=generation or 1)
        self._name = name
        self._generation = generation
        self._count = channels
        self._budget_mw = budget_mw
        self._guard_mw = guard_mw
        self._classes: list[int | None] = [None] * channels
        self._states = [PortState.UNKNOWN] * channels
        self._limits: dict[int, int] = {}
        self.capabilities = Capabilities(
            grants=Grants.CHIP, limits=True, limit_step_mw=200, priorities=4, persistent_settings=False
        )

    @property
    def channels(self) -> int:
        return self._count

    def open(self) -> Identity:
        found = System.parse(self._system())
        if found.device not in CHIPS:
            raise WrongChip(
                f"{self._name}: device id {found.device:#06x} is none of {', '.join(n for n, _ in CHIPS.values())}"
            )
        chip, generation = CHIPS[found.device]
        if self._generation and generation != self._generation:
            raise WrongChip(
                f"{self._name}: {chip} is of generation {generation}, the board file says {self._generation}"
            )
        self._link.generation = generation
        if found.ports < self._count:
            raise WrongChip(f"{self._name}: {chip} has {found.ports} ports, the board file says {self._count}")
        if self._budget_mw:
            self._set_budget()
        return Identity(chip, firmware=str(found.version), detail=f"{found.ports} ports, mode {found.mode}")

    def _system(self) -> bytes:
        """The generations differ in the opcode itself; one that does not know it does not answer."""
        try:
            return self._link.call(Function.SYSTEM)
        except BusFailed:
            if self._generation:
                raise
            self._link.generation = 3 - self._link.generation
            return self._link.call(Function.SYSTEM)

    def _set_budget(self) -> None:
        power = Power.parse(self._link.call(Function.POWER))
        if power.budget * 100 != self._budget_mw:
            payload = Budget.build({"pse": 0, "budget": self._budget_mw // 100, "guard": self._guard_mw // 100})
            self._link.call(Function.BUDGET, payload)

    def read(self) -> ControllerReading:
        power = Power.parse(self._link.call(Function.POWER))
        faults: list[PortFault] = []
        ports = []
        for first in range(0, self._count, 4):
            for port, nibble in self._status_of_four(first):
                if port < self._count:
                    ports.append(self._port(port, nibble, faults))
        return ControllerReading(
            ports=tuple(sorted(ports, key=lambda p: p.channel)),
            faults=tuple(faults),
            budget_mw=power.budget * 100,
            consumed_mw=power.consumed * 100,
            link=self._link.counters,
        )

    def _status_of_four(self, first: int) -> list[tuple[int, int]]:
        if self._link.generation == 1:
            answer = self._link.call(Function.STATUS_OF_FOUR, bytes([first]))
            pairs = [(answer[i], answer[i + 1]) for i in range(0, 8, 2)]
        else:
            answer = self._link.call(Function.STATUS_OF_FOUR, bytes([first // 4]))
            pairs = [(first + i, answer[1 + 2 * i]) for i in range(4)]
        wanted = range(first, min(first + 4, self._count))
        found = {port: status & 0x0F for port, status in pairs if port in wanted}
        missing = set(wanted) - set(found)
        if missing:
            raise BusFailed(f"{self._name}: no status of ports {sorted(missing)} in {answer.hex(' ')}")
        return sorted(found.items())

    def _port(self, port: int, nibble: int, faults: list[PortFault]) -> PortReading:
        state = _STATES.get(nibble, PortState.UNKNOWN)
        was, self._states[port] = self._states[port], state
        fault = None
        if state in (PortState.FAULT, PortState.OTHER_FAULT):
            fault = Fault.OVERLOAD if state is PortState.FAULT else Fault.HARDWARE
            if was is not state:
                faults.append(PortFault(port, fault, f"status {nibble}"))
        elif state is PortState.SEARCHING and was is PortState.DELIVERING:
            faults.append(PortFault(port, Fault.MPS_ABSENT, f"status {nibble}"))
        if state is not PortState.DELIVERING:
            self._classes[port] = None
            return PortReading(
                port,
                admin=state is not PortState.DISABLED,
                state=state,
                voltage_mv=0,
                current_ma=0,
                power_mw=0,
                limit_mw=self._limits.get(port),
                fault=fault,
                detail=f"status {nibble}",
            )
        if self._classes[port] is None:
            self._classes[port] = self._class(port)
        measured = PortPower.parse(self._link.call(Function.PORT_POWER, bytes([port])))
        pd_class = self._classes[port]
        return PortReading(
            port,
            admin=True,
            state=state,
            detection=Detection.VALID,
            pd_class=pd_class,
            voltage_mv=measured.voltage * _UVOLT_PER_COUNT // 1_000,
            current_ma=measured.current,
            power_mw=measured.power * 100,
            allocated_mw=min(CLASS_PSE_MW.get(pd_class or 0, 15_400), self._limits.get(port, 90_000)),
            limit_mw=self._limits.get(port),
            detail=f"status {nibble}",
        )

    def _class(self, port: int) -> int | None:
        detail = PortDetail.parse(self._link.call(Function.PORT_STATUS, bytes([port])))
        pd_class: int = detail.pd_class if self._link.generation == 1 else detail.status2 >> 4
        return pd_class if pd_class in CLASS_PSE_MW else None

    def set_admin(self, channel: int, on: bool) -> None:
        self._link.set(Function.ENABLE, bytes((channel, int(on))))

    def grant(self, channel: int, limit_mw: int) -> None:
        raise NotSupported(f"{self._name}: channel {channel}: grants power by itself, {limit_mw} mW or not")

    def withdraw(self, channel: int) -> None:
        self.set_admin(channel, on=False)

    def set_limit(self, channel: int, limit_mw: int) -> None:
        """In steps of 0.2 W; up to 51 W."""
        if limit_mw > 51_000:
            raise NotSupported(f"{self._name}: {limit_mw} mW: at most 51000 mW")
        self._link.set(Function.LIMIT_TYPE, bytes((channel, _USER_LIMIT)))
        self._link.set(Function.LIMIT, bytes((channel, limit_mw // 200)))
        self._limits[channel] = limit_mw // 200 * 200

    def set_priority(self, channel: int, priority: Priority) -> None:
        self._link.set(Function.PRIORITY, bytes((channel, _PRIORITIES[priority])))

    def close(self) -> None:
        """Ports stay as they are; the line is closed by who opened it."""
