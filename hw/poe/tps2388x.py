"""TI TPS23880, TPS23881 and TPS23881B: eight channels as two register sets, for two-pair and four-pair ports (SLUSC25, TPS23881B).

The sets are used by byte access, even address channels 1 to 4, odd address 5 to 8. TPS23880 and TPS23881 run from SRAM and need TI's image
after every power-up; it is not part of the recorder: the board file names where it lies. TPS23881B runs from ROM, and loading the other's
image into it fails, so the device id is read first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hw.poe.controller import Capabilities, ControllerReading, Grants, Identity, LinkCounters
from hw.poe.errors import NotSupported, PoeError, WrongChip
from hw.poe.i2c import I2cBus, Retrying
from hw.poe.pace import Pace
from hw.poe.quad import PORTS, QuadChip, QuadReading, QuadSet
from hw.poe.quad_registers import Reg
from hw.poe.vocabulary import Priority

_POLICE = 0x1E  # one byte per channel, 0.5 W
_POWER_ALLOCATION = 0x29
_FOLDBACK = 0x40  # low nibble: manual policing in place of the automatic limit
_SAFE_MODE = 0xFF
_LARGEST_IMAGE = 64 * 1024

CLASSES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 0, 6: 0, 8: 5, 9: 6, 0xA: 7, 0xB: 8, 0xC: 3, 0xD: 5}


@dataclass(frozen=True, slots=True)
class Variant:
    """`needs_sram`: the image has to be loaded when the firmware register says so."""

    name: str
    device_id: int
    current_lsb_na: int
    needs_sram: bool


VARIANTS = {
    0x22: Variant("TPS23881", 0x22, 89_500, needs_sram=True),
    0x24: Variant("TPS23881B", 0x24, 89_500, needs_sram=False),
    0x20: Variant("TPS23880", 0x20, 70_190, needs_sram=True),
}


def write_limit(registers: Retrying, port: int, limit_mw: int) -> None:
    """Polices at `limit_mw`, in steps of 0.5 W from 2 W on, and says that this value counts and not the class's."""
    steps = min(127, max(4, -(-limit_mw // 500)))
    registers.write_byte(_POLICE + port, steps)
    foldback = registers.read_byte(_FOLDBACK)
    wanted = foldback | 1 << port
    wanted = wanted | 0x10 << port if limit_mw > 15_500 else wanted & ~(0x10 << port) & 0xFF
    if wanted != foldback:
        registers.write_byte(_FOLDBACK, wanted)


def chip(variant: Variant) -> QuadChip:
    return QuadChip(
        name=variant.name,
        manufacturer_id=0x55,
        device_ids=frozenset((variant.device_id,)),
        voltage_lsb_nv=3_662_000,
        current_lsb_na=variant.current_lsb_na,
        classes=CLASSES,
        class_errors=frozenset((7, 0xF)),
        mosfet_fault=0xE,
        general_bits=0x00,  # byte access, events on every detection
        write_limit=write_limit,
        overload="PCUT",
    )


class Tps2388x:
    """`firmware` is (parity image, SRAM image), or empty for a TPS23881B. `pairs` are the four-pair ports as (channel, channel)."""

    channels = 2 * PORTS

    def __init__(
        self,
        *,
        bus: I2cBus,
        address: int,
        pace: Pace,
        firmware: tuple[str, ...] = (),
        pairs: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self._pace = pace
        self._firmware = firmware
        self._pairs = {channel: pair for pair in pairs for channel in pair}
        self._registers = tuple(Retrying(bus, address + i, pace=pace, name="TPS2388x") for i in (0, 1))
        self._sets: tuple[QuadSet, ...] = ()
        self.capabilities = Capabilities(
            grants=Grants.HOST,
            limits=True,
            limit_step_mw=500,
            four_pair=True,
            class_before_power=True,
        )

    def open(self) -> Identity:
        first = self._registers[0]
        device = first.read_byte(Reg.DEVICE_ID)
        if device not in VARIANTS:
            raise WrongChip(
                f"{first.name}: device id {device:#04x} is none of {', '.join(v.name for v in VARIANTS.values())}"
            )
        variant = VARIANTS[device]
        revision = first.read_byte(Reg.FIRMWARE)
        if variant.needs_sram and revision in (0x00, _SAFE_MODE):
            revision = self._load(variant)
        self._sets = tuple(
            QuadSet(registers=registers, chip=chip(variant), pace=self._pace, first_channel=PORTS * i)
            for i, registers in enumerate(self._registers)
        )
        for quad in self._sets:
            quad.open()
        self._wire_pairs()
        return Identity(variant.name, firmware="ROM" if not variant.needs_sram else f"SRAM {revision:#04x}")

    def _wire_pairs(self) -> None:
        """Says which channels form a four-pair port; two-pair channels may give 30 W, four-pair ports 90 W."""
        for index, registers in enumerate(self._registers):
            value = 0x33
            for half in (0, 1):
                first = PORTS * index + 2 * half
                if self._pairs.get(first) == (first, first + 1):
                    value = value & ~(0xF << 4 * half) | 0xF << 4 * half
            if registers.read_byte(_POWER_ALLOCATION) != value:
                registers.write_byte(_POWER_ALLOCATION, value)

    def _load(self, variant: Variant) -> int:
        """Loads parity and SRAM images (the sequence of TI's note and the kernel driver). Every port is off while this runs."""
        if len(self._firmware) != 2:
            raise PoeError(
                f"{variant.name}: runs from SRAM and has no firmware; get TI's parity and SRAM images and name both under "
                "pse.firmware in the board file"
            )
        parity, sram = (_image(path) for path in self._firmware)
        registers = self._registers[0]
        for prepare, control, data in (
            ((0x60, 0x01), 0xC4, parity),
            ((0x60, 0xC5), 0xC0, sram),
        ):
            for register, value in (prepare, (0x62, 0x00), (0x63, 0x80), (0x60, control), (0x1D, 0xBC), (0xD7, 0x02)):
                registers.write_byte(register, value)
            for register, value in ((0x91, 0x00), (0x90, 0x00), (0xD7, 0x00), (0x1D, 0x00)):
                registers.write_byte(register, value)
            for value in data:
                registers.write_byte(0x61, value)
        registers.write_byte(0x60, 0x18)
        self._pace.sleep(0.012)
        revision = registers.read_byte(Reg.FIRMWARE)
        if revision == _SAFE_MODE:
            raise PoeError(f"{variant.name}: refused the firmware images; are they for this chip?")
        return revision

    def read(self) -> ControllerReading:
        found = [quad.read() for quad in self._sets]
        ports = tuple(port for reading in found for port in reading.ports)
        return ControllerReading(
            ports=ports,
            faults=tuple(fault for reading in found for fault in reading.faults),
            temperature_c=_warmest(found),
            supply_mv=min((r.supply_mv for r in found if r.supply_mv is not None), default=None),
            link=_sum(registers.counters for registers in self._registers),
        )

    def _at(self, channel: int) -> tuple[QuadSet, int]:
        if not 0 <= channel < self.channels:
            raise PoeError(f"TPS2388x: no channel {channel}")
        return self._sets[channel // PORTS], channel % PORTS

    def set_admin(self, channel: int, on: bool) -> None:
        quad, port = self._at(channel)
        quad.set_admin(port, on)

    def grant(self, channel: int, limit_mw: int) -> None:
        quad, port = self._at(channel)
        quad.grant((port,), limit_mw)

    def withdraw(self, channel: int) -> None:
        quad, port = self._at(channel)
        quad.withdraw(port)

    def set_limit(self, channel: int, limit_mw: int) -> None:
        quad, port = self._at(channel)
        quad.set_limit(port, limit_mw)

    def set_priority(self, channel: int, priority: Priority) -> None:
        raise NotSupported(
            f"channel {channel}: TPS2388x has no priority {priority.name.lower()}; the recorder's own apply"
        )

    def close(self) -> None:
        """The bus may be shared; whoever opened it closes it."""


def _image(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST_IMAGE + 1)
    except OSError as error:
        raise PoeError(f"{path}: {error.strerror} (TI's firmware image, named in the board file)") from error
    if not data or len(data) > _LARGEST_IMAGE:
        raise PoeError(f"{path}: {len(data)} bytes is no firmware image")
    return data


def _warmest(readings: list[QuadReading]) -> float | None:
    return max((r.temperature_c for r in readings if r.temperature_c is not None), default=None)


def _sum(counters: Iterable[LinkCounters]) -> LinkCounters:
    total = LinkCounters()
    for c in counters:
        total = LinkCounters(
            total.transfers + c.transfers,
            total.retries + c.retries,
            total.failures + c.failures,
            total.resynchronisations + c.resynchronisations,
            c.last_error or total.last_error,
        )
    return total
