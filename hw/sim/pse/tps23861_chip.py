"""The TPS23861's constants for `QuadChip` (TI SLUSBX9)."""

from __future__ import annotations

from collections.abc import Callable

from hw.sim.pse.load import Supply
from hw.sim.pse.quad_chip import QuadChip, QuadKind

_ICUT_MA = {0: 374.0, 1: 110.0, 2: 204.0, 3: 374.0, 4: 754.0, 5: 592.0, 6: 686.0, 7: 920.0}


def _limit_ma(chip: QuadChip, port: int) -> float:
    register = chip.registers[0x2A + port // 2]
    return _ICUT_MA[(register >> 4 if port % 2 else register) & 7]


def _forget_limit(chip: QuadChip, port: int) -> None:
    chip.registers[0x2A + port // 2] &= 0x0F if port % 2 else 0xF0
    chip.registers[0x40] &= ~(0x10 << port) & 0xFF


def tps23861_chip(
    *, now: Callable[[], float], supply: Supply, name: str = "pse", auto_strap: bool = False, shunt_mohm: int = 255
) -> QuadChip:
    """A chip as it leaves the factory has `auto_strap`; boards with a host clear it."""
    reset_values = {0x01: 0x80, 0x17: 0x80, 0x1B: 0x50, 0x41: 0x05, 0x42: 0x16, 0x43: 0xE2, 0x11: 0x20}
    if auto_strap:
        reset_values |= {0x01: 0xE4, 0x12: 0xFF, 0x13: 0x0F, 0x14: 0xFF, 0x43: 0xE3, 0x11: 0xA0}
    kind = QuadKind(
        reset_values=reset_values,
        volts_per_count=0.003662,
        amps_per_count=61.039e-6 if shunt_mohm == 255 else 62.260e-6,
        class_codes={0: 6, 1: 1, 2: 2, 3: 3, 4: 4},
        limit_ma=_limit_ma,
        limit_registers=_forget_limit,
    )
    return QuadChip(kind=kind, now=now, supply=supply, name=name)
