"""Four ports of a chip that speaks the quad register dialect, in semi-auto mode with the host granting power (or in auto mode).

What differs between chips is a `QuadChip` table. The rules that are not in a register sheet's table:

- a write to MODE, POWER_ENABLE or RESET needs 1.2 ms before DETECT_ENABLE is written (`_SETTLE_S` is 2 ms);
- POWER_ENABLE's off bits clear the port's detect enables and its limit, so both are written again;
- a port in inrush is not switched off in the middle of it: wait for power-good or a fault first;
- after a disconnect or fault the detect enables may be clear: every reading arms again what should be looking for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hw.poe.controller import Identity, PortFault, PortReading
from hw.poe.errors import WrongChip
from hw.poe.i2c import Retrying
from hw.poe.pace import Pace
from hw.poe.quad_registers import (
    ADC_MASK,
    LOGIC_UNDER_VOLTAGE,
    MEASUREMENTS,
    OVER_TEMPERATURE,
    STATUS,
    SUPPLY_UNDER_VOLTAGE,
    Flag,
    Mode,
    Reg,
    port_mode,
    with_port_mode,
)
from hw.poe.vocabulary import Detection, Fault, PortState

PORTS = 4
_SETTLE_S = 0.002
_INRUSH_WAIT_S = 0.120  # TSTART at its longest setting

DETECTIONS: Mapping[int, Detection] = {
    0x0: Detection.UNKNOWN,
    0x1: Detection.SHORT,
    0x3: Detection.LOW,
    0x4: Detection.VALID,
    0x5: Detection.HIGH,
    0x6: Detection.OPEN,
    0x8: Detection.FAILED,
    0x9: Detection.LEGACY,
    0xA: Detection.FAILED,
    0xB: Detection.FAILED,
    0xC: Detection.CAPACITIVE,
    0xE: Detection.FAILED,
}


@dataclass(frozen=True, slots=True)
class QuadChip:
    """What one chip type adds to the dialect. LSBs are in units of 1e-9 V or A."""

    name: str
    manufacturer_id: int  # register 0x1B
    device_ids: frozenset[int]  # register 0x43; empty: not checked
    voltage_lsb_nv: int
    current_lsb_na: int
    classes: Mapping[int, int]  # class nibble -> class
    class_errors: frozenset[int]
    mosfet_fault: int  # detect nibble
    general_bits: int  # register 0x17 besides the interrupt enable
    write_limit: Callable[[Retrying, int, int], None]  # (chip, port, limit_mw)
    resistance_ohm: Callable[[int], int | None] | None = None  # from the word at 0x60+2n
    extra_setup: tuple[tuple[int, int], ...] = ()
    overload: str = "ICUT"


@dataclass(slots=True)
class QuadReading:
    ports: list[PortReading]
    faults: list[PortFault] = field(default_factory=list)
    temperature_c: float | None = None
    supply_mv: int | None = None


class QuadSet:
    """One register set: four channels from `first_channel` on. Everything blocks; `pace` is the bus thread's."""

    def __init__(
        self, *, registers: Retrying, chip: QuadChip, pace: Pace, first_channel: int = 0, auto: bool = False
    ) -> None:
        self._registers = registers
        self._chip = chip
        self._pace = pace
        self._first = first_channel
        self._on_mode = Mode.AUTO if auto else Mode.SEMI_AUTO
        self._limits_mw: dict[int, int] = {}
        self._resistance: list[int | None] = [None] * PORTS

    @property
    def registers(self) -> Retrying:
        return self._registers

    def open(self) -> Identity:
        """Checks the identity and configures; never resets, so running ports stay on."""
        registers, chip = self._registers, self._chip
        manufacturer = registers.read_byte(Reg.ID)
        if manufacturer != chip.manufacturer_id:
            raise WrongChip(
                f"{registers.name}: register 0x1b reads {manufacturer:#04x}, a {chip.name} has {chip.manufacturer_id:#04x}"
            )
        device = registers.read_byte(Reg.DEVICE_ID)
        if chip.device_ids and device not in chip.device_ids:
            raise WrongChip(f"{registers.name}: device id {device:#04x} is not a {chip.name}")
        firmware = registers.read_byte(Reg.FIRMWARE)
        registers.read_byte(Reg.SUPPLY_EVENT)  # set by power-up itself
        self._configure()
        return Identity(chip.name, firmware=f"{firmware:#04x}", detail=f"device id {device:#04x}")

    def _configure(self) -> None:
        """Writes what differs: every poll event, no interrupt delays, and no port in a mode that decides by itself."""
        wanted = [
            (Reg.INTERRUPT_ENABLE, 0xFF),
            (Reg.GENERAL, 0x80 | self._chip.general_bits),
            (Reg.TIMING, 0x00),
            *self._chip.extra_setup,
        ]
        for register, value in wanted:
            if self._registers.read_byte(register) != value:
                self._registers.write_byte(register, value)
        mode = self._registers.read_byte(Reg.MODE)
        new = mode
        for port in range(PORTS):
            if port_mode(mode, port) != Mode.OFF:
                new = with_port_mode(new, port, self._on_mode)
        if new != mode:
            self._registers.write_byte(Reg.MODE, new)
            self._pace.sleep(_SETTLE_S)

    def read(self) -> QuadReading:
        """Three transfers, and one more for each kind of event that happened."""
        registers, chip = self._registers, self._chip
        faults = self._events()
        *statuses, power, mode, _, detect_enable = STATUS.unpack(registers.read_block(Reg.PORT_STATUS, STATUS.size))
        temperature, supply, *measured = MEASUREMENTS.unpack(registers.read_block(Reg.TEMPERATURE, MEASUREMENTS.size))
        missing = 0
        ports = []
        for port, status in enumerate(statuses):
            pd_class, detect = status >> 4, status & 0xF
            enabled = bool(power >> port & 1)
            armed = detect_enable >> port & 0x11 == 0x11
            if port_mode(mode, port) == Mode.OFF:
                state, fault = PortState.DISABLED, None
            else:
                if not enabled and not armed:
                    missing |= 0x11 << port
                state, fault = self._state(detect, pd_class, enabled, bool(power >> port & 0x10), armed)
            voltage_mv = current_ua = 0
            if enabled:
                voltage_mv = (measured[2 * port + 1] & ADC_MASK) * chip.voltage_lsb_nv // 1_000_000
                current_ua = (measured[2 * port] & ADC_MASK) * chip.current_lsb_na // 1_000
            ports.append(
                PortReading(
                    channel=self._first + port,
                    admin=state is not PortState.DISABLED,
                    state=state,
                    detection=DETECTIONS.get(detect, Detection.FAILED),
                    pd_class=chip.classes.get(pd_class),
                    voltage_mv=voltage_mv,
                    current_ma=round(current_ua / 1000),
                    power_mw=voltage_mv * current_ua // 1_000_000,
                    limit_mw=self._limits_mw.get(port) if enabled else None,
                    fault=fault,
                    detail=f"detect {detect:x} class {pd_class:x}",
                    resistance_ohm=self._resistance[port],
                )
            )
        if missing:
            registers.write_byte(Reg.DETECT_ENABLE, detect_enable | missing)
        return QuadReading(
            ports,
            faults,
            temperature_c=temperature * 0.652 - 20,
            supply_mv=(supply & ADC_MASK) * chip.voltage_lsb_nv // 1_000_000,
        )

    def _state(
        self, detect: int, pd_class: int, enabled: bool, good: bool, armed: bool
    ) -> tuple[PortState, Fault | None]:
        if enabled:
            return (PortState.DELIVERING if good else PortState.STARTING), None
        if detect == self._chip.mosfet_fault:
            return PortState.FAULT, Fault.HARDWARE
        if detect == 0x4 and pd_class in self._chip.class_errors:
            return PortState.FAULT, Fault.CLASS_ERROR
        if armed and detect == 0x4 and pd_class in self._chip.classes:
            return (PortState.REQUESTING if self._on_mode is Mode.SEMI_AUTO else PortState.SEARCHING), None
        return PortState.SEARCHING, None

    def _events(self) -> list[PortFault]:
        """Reads and so clears the event registers whose flag is up."""
        registers = self._registers
        flags = Flag(registers.read_byte(Reg.INTERRUPT))
        faults: list[PortFault] = []
        if not flags:
            return faults
        if flags & (Flag.POWER_ENABLE_CHANGED | Flag.POWER_GOOD_CHANGED):
            registers.read_byte(Reg.POWER_EVENT)
        if flags & (Flag.DETECT_DONE | Flag.CLASS_DONE):
            self._read_resistances(registers.read_byte(Reg.DETECT_EVENT) & 0x0F)
        if flags & (Flag.CURRENT_FAULT | Flag.DISCONNECT):
            event = registers.read_byte(Reg.FAULT_EVENT)
            faults += self._per_port(event & 0x0F, Fault.OVERLOAD, self._chip.overload)
            faults += self._per_port(event >> 4, Fault.MPS_ABSENT, "DIS")
        if flags & (Flag.CURRENT_FAULT | Flag.START_FAULT):
            event = registers.read_byte(Reg.START_EVENT)
            faults += self._per_port(event & 0x0F, Fault.INRUSH, "STRT")
            faults += self._per_port(event >> 4, Fault.SHORT, "ILIM")
        if flags & Flag.SUPPLY_FAULT:
            event = registers.read_byte(Reg.SUPPLY_EVENT)
            if event & SUPPLY_UNDER_VOLTAGE:
                faults.append(PortFault(-1, Fault.SUPPLY_LOW, f"{registers.name} VPUV"))
            if event & OVER_TEMPERATURE:
                faults.append(PortFault(-1, Fault.OVER_TEMPERATURE, f"{registers.name} TSD"))
            if event & LOGIC_UNDER_VOLTAGE:
                faults.append(PortFault(-1, Fault.HARDWARE, f"{registers.name} was reset; configured again"))
                self._limits_mw.clear()
                self._configure()
        return faults

    def _read_resistances(self, changed: int) -> None:
        if not changed or self._chip.resistance_ohm is None:
            return
        raw = self._registers.read_block(Reg.RESISTANCE, 2 * PORTS)
        for port in range(PORTS):
            self._resistance[port] = self._chip.resistance_ohm(int.from_bytes(raw[2 * port : 2 * port + 2], "little"))

    def _per_port(self, nibble: int, fault: Fault, detail: str) -> list[PortFault]:
        return [PortFault(self._first + port, fault, detail) for port in range(PORTS) if nibble >> port & 1]

    def set_admin(self, port: int, on: bool) -> None:
        mode = self._registers.read_byte(Reg.MODE)
        if on:
            if port_mode(mode, port) != self._on_mode:
                self._registers.write_byte(Reg.MODE, with_port_mode(mode, port, self._on_mode))
                self._pace.sleep(_SETTLE_S)
            self._arm(port)
            return
        self._cut(port)
        self._registers.write_byte(Reg.MODE, with_port_mode(mode, port, Mode.OFF))
        self._pace.sleep(_SETTLE_S)

    def grant(self, ports: tuple[int, ...], limit_mw: int) -> None:
        """Powers `ports` (two for a four-pair port, which share the limit) after their next good detection."""
        bits = 0
        for port in ports:
            self._chip.write_limit(self._registers, port, limit_mw // len(ports))
            self._limits_mw[port] = limit_mw // len(ports)
            bits |= 1 << port
        self._registers.write_byte(Reg.POWER_ENABLE, bits)
        self._pace.sleep(_SETTLE_S)

    def set_limit(self, port: int, limit_mw: int) -> None:
        self._chip.write_limit(self._registers, port, limit_mw)
        self._limits_mw[port] = limit_mw

    def withdraw(self, port: int) -> None:
        self._cut(port)
        if self._on_mode is Mode.SEMI_AUTO:
            self._arm(port)
        else:
            self.set_admin(port, on=False)

    def _arm(self, port: int) -> None:
        disconnect, detect = self._registers.read_block(Reg.DISCONNECT_ENABLE, 2)
        if not disconnect >> port & 1:
            self._registers.write_byte(Reg.DISCONNECT_ENABLE, disconnect | 1 << port)
        powered = self._registers.read_byte(Reg.POWER_STATUS) >> port & 1
        if not powered and detect >> port & 0x11 != 0x11:
            self._registers.write_byte(Reg.DETECT_ENABLE, detect | 0x11 << port)

    def _cut(self, port: int) -> None:
        deadline = self._pace.monotonic() + _INRUSH_WAIT_S
        while self._registers.read_byte(Reg.POWER_STATUS) >> port & 0x11 == 0x01 and self._pace.monotonic() < deadline:
            self._pace.sleep(0.005)
        self._registers.write_byte(Reg.POWER_ENABLE, 0x10 << port)
        self._pace.sleep(_SETTLE_S)
        self._limits_mw.pop(port, None)
