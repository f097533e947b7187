"""TI TPS23861: four two-pair ports up to class 4 (SLUSBX9). Semi-auto with the host's budget, or auto as the board says."""

from __future__ import annotations

from hw.poe.controller import Capabilities, ControllerReading, Grants, Identity
from hw.poe.errors import NotSupported
from hw.poe.i2c import I2cBus, Retrying
from hw.poe.pace import Pace
from hw.poe.quad import PORTS, QuadChip, QuadSet
from hw.poe.quad_registers import Reg
from hw.poe.vocabulary import CLASS_PSE_MW, Priority

_ICUT_STEPS_MW = ((CLASS_PSE_MW[1], 1), (CLASS_PSE_MW[2], 2), (CLASS_PSE_MW[3], 0), (CLASS_PSE_MW[4], 6))
"""Limit in mW and the ICUT code whose current carries it at 50 V: 110, 204, 374 and 686 mA."""


def write_limit(registers: Retrying, port: int, limit_mw: int) -> None:
    """Sets ICUT and, above 15.4 W, the doubled ILIM foldback a class 4 device needs for its inrush."""
    code = next((code for watts, code in _ICUT_STEPS_MW if limit_mw <= watts), 6)
    register = Reg.ICUT_LOW if port < 2 else Reg.ICUT_HIGH
    shift = 4 * (port & 1)
    old = registers.read_byte(register)
    registers.write_byte(register, old & ~(7 << shift) | code << shift)
    foldback = registers.read_byte(Reg.FOLDBACK)
    bit = 0x10 << port
    registers.write_byte(Reg.FOLDBACK, foldback | bit if code == 6 else foldback & ~bit & 0xFF)


def resistance_ohm(raw: int) -> int | None:
    """Bits 15-14 say how the word counts: 0 good, 1 low range, 2 open, 3 short."""
    match raw >> 14:
        case 0:
            return round((raw & 0x3FFF) * 11.0966)
        case 1:
            return round((raw & 0x3FFF) * 15.7216)
        case 3:
            return 0
    return None


def chip(*, shunt_mohm: int) -> QuadChip:
    """`shunt_mohm` is the board's sense resistor: 255 or 250."""
    if shunt_mohm not in (250, 255):
        raise ValueError(f"shunt_mohm: {shunt_mohm} is not one of 250, 255")
    return QuadChip(
        name="TPS23861",
        manufacturer_id=0x50,
        device_ids=frozenset((0xE2, 0xE3)),
        voltage_lsb_nv=3_662_000,
        current_lsb_na=61_039 if shunt_mohm == 255 else 62_260,
        classes={1: 1, 2: 2, 3: 3, 4: 4, 6: 0},
        class_errors=frozenset((7, 8)),
        mosfet_fault=0x8,
        general_bits=shunt_mohm == 250,
        write_limit=write_limit,
        resistance_ohm=resistance_ohm,
        extra_setup=((Reg.DISCONNECT_THRESHOLD, 0x00), (Reg.TWO_EVENT, 0x55)),
    )


class Tps23861:
    """One chip. `auto`: the chip powers devices by itself, so cameras come up before the daemon does."""

    channels = PORTS

    def __init__(self, *, bus: I2cBus, address: int, pace: Pace, shunt_mohm: int = 255, auto: bool = False) -> None:
        self._bus = bus
        self._registers = Retrying(bus, address, pace=pace, name="TPS23861")
        self._quad = QuadSet(registers=self._registers, chip=chip(shunt_mohm=shunt_mohm), pace=pace, auto=auto)
        self.capabilities = Capabilities(
            grants=Grants.AUTO if auto else Grants.HOST,
            limits=True,
            detection_resistance=True,
            class_before_power=True,
        )

    def open(self) -> Identity:
        return self._quad.open()

    def read(self) -> ControllerReading:
        found = self._quad.read()
        return ControllerReading(
            ports=tuple(found.ports),
            faults=tuple(found.faults),
            temperature_c=found.temperature_c,
            supply_mv=found.supply_mv,
            link=self._registers.counters,
        )

    def set_admin(self, channel: int, on: bool) -> None:
        self._quad.set_admin(channel, on)

    def grant(self, channel: int, limit_mw: int) -> None:
        self._quad.grant((channel,), limit_mw)

    def withdraw(self, channel: int) -> None:
        self._quad.withdraw(channel)

    def set_limit(self, channel: int, limit_mw: int) -> None:
        self._quad.set_limit(channel, limit_mw)

    def set_priority(self, channel: int, priority: Priority) -> None:
        raise NotSupported(
            f"channel {channel}: TPS23861 has no priority {priority.name.lower()}; the recorder's own apply"
        )

    def close(self) -> None:
        """The bus may be shared; whoever opened it closes it."""
