"""Microchip PD69200/PD69210/PD69220 with BT firmware. The controller keeps the budget and sheds by itself: the recorder observes it.

Port parameters are read, changed and written back in full, because implementations differ about what "no change" is. Settings are saved in
the chip only when asked to: its flash wears.
"""

from __future__ import annotations

from hw.poe.controller import Capabilities, ControllerReading, Grants, Identity, PortFault, PortReading
from hw.poe.errors import NotSupported, PoeError, WrongChip
from hw.poe.pace import Pace
from hw.poe.pd692x0_frames import (
    Key,
    Measurements,
    PortClass,
    PortParameters,
    PortStatus,
    PowerBank,
    Subject,
    TotalPower,
    Version,
)
from hw.poe.pd692x0_link import Carrier, Pd692x0Link
from hw.poe.vocabulary import Detection, Fault, PortState, Priority

PRODUCTS = {24: "PD69200", 25: "PD69200M", 26: "PD69210", 29: "PD69220"}
_BEFORE_BT = (22, 23, 28)
_PORTS_PER_READ = 8  # two exchanges of 31 ms each: half a second of bus

_FAULTS = {
    0x06: Fault.SUPPLY_HIGH,
    0x07: Fault.SUPPLY_LOW,
    0x12: Fault.HARDWARE,
    0x1E: Fault.MPS_ABSENT,
    0x1F: Fault.OVERLOAD,
    0x21: Fault.HARDWARE,
    0x24: Fault.VOLTAGE_INJECTION,
    0x25: Fault.INVALID_SIGNATURE,
    0x26: Fault.INVALID_SIGNATURE,
    0x34: Fault.SHORT,
    0x35: Fault.OVER_TEMPERATURE,
    0x36: Fault.OVER_TEMPERATURE,
    0x43: Fault.CLASS_ERROR,
    0xA7: Fault.INVALID_SIGNATURE,
}
_DISABLED = (0x08, 0x0C, 0x1A)
_SEARCHING = (0x1B, 0x22, 0xA8, 0x1E)
_DENIED = (0x20, 0x3C, 0x3D, 0x41)

MODES = ((15_000, 3, 3_100), (30_000, 2, 8_000), (60_000, 1, 5_000), (90_000, 0, 7_500))
"""Base limit in mW, operation mode, and how many mW may be added to it."""


def state_of(status: int) -> tuple[PortState, Fault | None]:
    """A port's status byte in the common words."""
    if 0x80 <= status <= 0x9F:
        return PortState.DELIVERING, None
    if status in _DISABLED:
        return PortState.DISABLED, None
    if status in _SEARCHING:
        return PortState.SEARCHING, None
    if status in _DENIED:
        return PortState.DENIED, Fault.POWER_DENIED
    return PortState.FAULT, _FAULTS.get(status, Fault.HARDWARE)


def mode_for(limit_mw: int) -> tuple[int, int, int]:
    """(operation mode, power to add in 0.1 W, limit that results in mW) for a limit."""
    for base, mode, most in MODES:
        if limit_mw <= base + most:
            added = max(0, limit_mw - base) // 100
            return mode, added, base + 100 * added
    raise NotSupported(f"{limit_mw} mW: at most {MODES[-1][0] + MODES[-1][2]} mW")


class Pd692x0:
    """`budget_mw` and `guard_mw` configure the active power bank; 0 leaves it as it is."""

    def __init__(
        self,
        *,
        carrier: Carrier,
        pace: Pace,
        channels: int,
        name: str = "PD692x0",
        budget_mw: int = 0,
        guard_mw: int = 0,
    ) -> None:
        self._link = Pd692x0Link(carrier=carrier, pace=pace, name=name)
        self._name = name
        self._pace = pace
        self._count = channels
        self._budget_mw = budget_mw
        self._guard_mw = guard_mw
        self._ports: list[PortReading] = []
        self._next = 0
        self._status: list[int | None] = [None] * channels
        self._limits: dict[int, int] = {}
        self.capabilities = Capabilities(
            grants=Grants.CHIP,
            limits=True,
            limit_step_mw=100,
            priorities=3,
            four_pair=True,
            persistent_settings=True,
        )

    @property
    def channels(self) -> int:
        return self._count

    def open(self) -> Identity:
        version = Version.parse(self._link.request(Subject.VERSION))
        if version.product in _BEFORE_BT:
            raise WrongChip(
                f"{self._name}: firmware before BT (product {version.product}); update it with the vendor's tool"
            )
        if version.product not in PRODUCTS:
            raise WrongChip(f"{self._name}: product {version.product} is not one of {', '.join(map(str, PRODUCTS))}")
        if self._budget_mw:
            self._configure_bank()
        return Identity(PRODUCTS[version.product], firmware=f"{version.version / 100:.2f}")

    def _configure_bank(self) -> None:
        bank = TotalPower.parse(self._link.request(Subject.TOTAL_POWER)).bank
        old = PowerBank.parse(self._link.request(Subject.POWER_BANK + bytes([bank])))
        power, guard = self._budget_mw // 1_000, min(255, self._guard_mw // 1_000)
        if (old.power, old.guard) == (power, guard):
            return
        new = PowerBank.build({"power": power, "maximum": old.maximum, "minimum": old.minimum, "guard": guard})
        self._link.command(Subject.POWER_BANK + bytes([bank]) + new)

    def read(self) -> ControllerReading:
        """Totals and, of many ports, the next eight; the others are as they were read before."""
        if not self._ports:
            self._ports = [PortReading(i, admin=True, state=PortState.UNKNOWN) for i in range(self._count)]
        faults: list[PortFault] = []
        total = TotalPower.parse(self._link.request(Subject.TOTAL_POWER))
        for _ in range(min(self._count, _PORTS_PER_READ)):
            port = self._next
            self._next = (self._next + 1) % self._count
            self._ports[port] = self._read_port(port, faults)
        if self._link.restarted:
            self._link.restarted = False
            faults.append(PortFault(-1, Fault.HARDWARE, f"{self._name} restarted"))
            if self._budget_mw:
                self._configure_bank()
        return ControllerReading(
            ports=tuple(self._ports),
            faults=tuple(faults),
            supply_mv=total.main_voltage * 100,
            budget_mw=total.limit * 1_000,
            consumed_mw=total.consumption * 1_000,
            link=self._link.counters,
        )

    def _read_port(self, port: int, faults: list[PortFault]) -> PortReading:
        found = PortStatus.parse(self._link.request(Subject.STATUS + bytes([port])))
        state, fault = state_of(found.status)
        if found.status != self._status[port]:
            if found.status == 0x1E and self._status[port] is not None:
                faults.append(PortFault(port, Fault.MPS_ABSENT, "status 1e"))
            if fault is not None and state is PortState.FAULT:
                faults.append(PortFault(port, fault, f"status {found.status:02x}"))
            self._status[port] = found.status
        reading = PortReading(
            channel=port,
            admin=bool(found.enabled & 0x0F),
            state=state,
            pd_class=found.assigned_class if state is PortState.DELIVERING and found.assigned_class <= 8 else None,
            voltage_mv=0,
            current_ma=0,
            power_mw=0,
            limit_mw=self._limits.get(port),
            fault=fault,
            detail=f"status {found.status:02x}",
        )
        if state is not PortState.DELIVERING:
            return reading
        measured = Measurements.parse(self._link.request(Subject.MEASUREMENTS + bytes([port])))
        old = self._ports[port]
        allocated = old.allocated_mw if old.delivering else None
        if allocated is None:
            allocated = PortClass.parse(self._link.request(Subject.CLASS + bytes([port]))).assigned_power * 100
        return PortReading(
            channel=port,
            admin=reading.admin,
            state=state,
            detection=Detection.VALID,
            pd_class=reading.pd_class,
            voltage_mv=measured.port_voltage * 100,
            current_ma=measured.current,
            power_mw=measured.power * 100,
            allocated_mw=allocated,
            limit_mw=reading.limit_mw,
            detail=reading.detail,
        )

    def set_admin(self, channel: int, on: bool) -> None:
        self._change(channel, enable=on)

    def grant(self, channel: int, limit_mw: int) -> None:
        raise NotSupported(f"{self._name}: channel {channel}: grants power by itself, {limit_mw} mW or not")

    def withdraw(self, channel: int) -> None:
        self.set_admin(channel, on=False)

    def set_limit(self, channel: int, limit_mw: int) -> None:
        mode, added, result = mode_for(limit_mw)
        self._change(channel, mode=mode, added=added)
        self._limits[channel] = result

    def set_priority(self, channel: int, priority: Priority) -> None:
        self._change(channel, priority=int(priority))

    def save(self) -> None:
        """Makes the present settings those the chip starts with. Only on the operator's explicit wish."""
        self._link.command(Subject.SAVE, key=Key.PROGRAM)
        self._pace.sleep(0.05)

    def _change(
        self,
        port: int,
        *,
        enable: bool | None = None,
        mode: int | None = None,
        added: int | None = None,
        priority: int | None = None,
    ) -> None:
        if not 0 <= port < self._count:
            raise PoeError(f"{self._name}: no channel {port}")
        old = PortParameters.parse(self._link.request(Subject.PARAMETERS + bytes([port])))
        enabled = old.cfg1 & 0x0F if enable is None else int(enable)
        new = bytes(
            (
                port,
                old.cfg1 & 0xF0 | enabled,
                old.cfg2,
                old.opmode if mode is None else mode,
                old.added if added is None else added,
                old.priority if priority is None else priority,
            )
        )
        self._link.command(Subject.PARAMETERS + new)

    def close(self) -> None:
        """Ports stay as they are; the carrier is closed by who opened it."""
