"""A simulated TPS23881 or TPS23881B: two register sets of the quad dialect, their own limits, and the SRAM that wants its firmware."""

from __future__ import annotations

from collections.abc import Callable

from hw.sim.pse.load import Load, Supply
from hw.sim.pse.quad_chip import QuadChip, QuadKind

_CODES = {0: 6, 1: 1, 2: 2, 3: 3, 4: 4, 5: 8, 6: 9, 7: 0xA, 8: 0xB}


def _limit_ma(chip: QuadChip, port: int) -> float:
    watts = chip.registers[0x1E + port] / 2 if chip.registers[0x40] >> port & 1 else 15.5
    return watts * 1_000 / 53.9


def _forget_limit(chip: QuadChip, port: int) -> None:
    chip.registers[0x1E + port] = 0xFF
    chip.registers[0x40] &= ~(0x11 << port) & 0xFF


class Sram:
    """Takes what is streamed in; `revision` is what register 0x41 shows afterwards."""

    def __init__(self, *, needed: bool) -> None:
        self.needed = needed
        self.parity = bytearray()
        self.image = bytearray()
        self.accepts = True
        self.revision = 0xFF if needed else 0x00
        self._control = 0

    def write(self, register: int, value: int) -> None:
        if register == 0x60:
            self._control = value
            if value == 0x18:
                good = self.needed and bool(self.parity) and bool(self.image) and self.accepts
                self.revision = 0x13 if good else 0xFF
        elif register == 0x61:
            if self._control == 0xC4:
                self.parity.append(value)
            elif self._control == 0xC0:
                self.image.append(value)


class Tps2388xHalf(QuadChip):
    """One register set; both share the SRAM."""

    def __init__(self, *, kind: QuadKind, now: Callable[[], float], supply: Supply, name: str, sram: Sram) -> None:
        self.sram = sram
        super().__init__(kind=kind, now=now, supply=supply, name=name)

    def read_register(self, register: int) -> int:
        if register == 0x41:
            return self.sram.revision
        if 0x60 <= register <= 0x67:
            return 0
        return super().read_register(register)

    def write_register(self, register: int, value: int) -> None:
        if register in (0x60, 0x61, 0x62, 0x63):
            self.sram.write(register, value)
            return
        if self.sram.needed and self.sram.revision == 0xFF and register >= 0x12 and register < 0x1A:
            return  # safe mode: nothing powers
        super().write_register(register, value)


class Tps2388xChip:
    """Eight channels; `halves` go on the bus at the address and the one after it."""

    def __init__(self, *, now: Callable[[], float], supply: Supply, name: str = "pse", device_id: int = 0x24) -> None:
        self.sram = Sram(needed=device_id != 0x24)
        kind = QuadKind(
            reset_values={0x01: 0x80, 0x17: 0x80, 0x1B: 0x55, 0x43: device_id},
            volts_per_count=0.003662,
            amps_per_count=89.5e-6,
            class_codes=_CODES,
            limit_ma=_limit_ma,
            limit_registers=_forget_limit,
        )
        self.halves = tuple(
            Tps2388xHalf(kind=kind, now=now, supply=supply, name=f"{name}.{i}", sram=self.sram) for i in (0, 1)
        )

    def plug(self, channel: int, load: Load) -> None:
        self.halves[channel // 4].plug(channel % 4, load)

    def unplug(self, channel: int) -> None:
        self.halves[channel // 4].unplug(channel % 4)

    def powered(self, channel: int) -> bool:
        return self.halves[channel // 4].powered(channel % 4)
