"""What hangs on a simulated port, and the supply behind all ports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Load:
    """A device at the far end of a cable. Attributes may change while it is plugged; call the chip's `touch` afterwards."""

    pd_class: int = 3
    draw_mw: float | Callable[[float], float] = 4_000.0  # constant, or of the simulated time in seconds
    resistance_ohm: int = 25_000  # of the signature
    capacitance_nf: int = 100
    inrush_ms: float = 40.0  # how long it draws the start-up current
    shorted: bool = False
    class_overcurrent: bool = False  # draws more than any class while classified

    def draw(self, now_s: float) -> float:
        """mW when powered and past its inrush."""
        return self.draw_mw(now_s) if callable(self.draw_mw) else self.draw_mw


@dataclass(slots=True)
class Supply:
    """The PSE's input. Its voltage falls with load, by `resistance_mohm`, and by whatever `drop_mv` a test adds."""

    nominal_mv: float = 54_000.0
    resistance_mohm: float = 40.0
    drop_mv: float = 0.0
    other_mw: float = 0.0  # disks and the computer, where the supply is shared
    draws_mw: dict[str, float] = field(default_factory=dict)  # by chip

    def voltage_mv(self) -> float:
        total_mw = self.other_mw + sum(self.draws_mw.values())
        unloaded = max(0.0, self.nominal_mv - self.drop_mv)
        if unloaded == 0:
            return 0.0
        current_ma = total_mw / unloaded * 1_000
        return max(0.0, unloaded - current_ma * self.resistance_mohm / 1_000)
