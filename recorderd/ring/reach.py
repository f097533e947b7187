"""How fast writers fill slots, and how far back the ring will therefore reach.

Each writer has an exponentially forgetting average of its byte rate: bytes per second that passed or, where media arrived faster than it
was filmed (a pre-buffer, a backlog), per second of media. Else one burst would shrink the forecast for days, and slots would close all but
empty. A slot lasts until it is full or its own reach passes an eighth of the forecast (or of the recording's retention), so forecast and
slot duration depend on each other and are found by iteration. Where there are fewer than 16 slots per writer the share is larger: closing
slots early must not use up the ring.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_MEMORY_S: Final = 2 * 86_400.0  # what lies two days back counts 1/e
_FORGOTTEN: Final = 1e-6  # bytes per second: the writer is gone


def slot_share(usable_slots: int, writers: int) -> float:
    """The part of the forecast that one slot may span."""
    return min(1.0, max(1 / 8, 2 * writers / max(1, usable_slots)))


@dataclass(slots=True)
class _Rate:
    first_ns: int
    seen_ns: int
    weighted_bytes: float = 0.0
    weighted_s: float = 0.0  # that passed
    weighted_media_s: float = 0.0
    fill: float = 0.0  # mean bytes of fragments in a full slot; 0 until one was full

    def advance(self, now_ns: int) -> None:
        passed = max(0.0, (now_ns - self.seen_ns) / 1e9)
        fade = math.exp(-passed / _MEMORY_S)
        self.weighted_bytes *= fade
        self.weighted_media_s *= fade
        self.weighted_s = self.weighted_s * fade + _MEMORY_S * (1 - fade)
        self.seen_ns = now_ns

    @property
    def bytes_per_s(self) -> float:
        return self.weighted_bytes / max(self.weighted_s, self.weighted_media_s, 1.0)


class Consumption:
    def __init__(self) -> None:
        self._rates: dict[Hashable, _Rate] = {}
        self._began_ns: int | None = None

    def note(self, key: Hashable, size: int, now_ns: int, media_ns: int) -> None:
        """`size` bytes of a slot were used for `media_ns` of this writer's media."""
        rate = self._rates.get(key)
        if rate is None:
            rate = self._rates[key] = _Rate(now_ns, now_ns)
        rate.advance(now_ns)
        rate.weighted_bytes += size
        rate.weighted_media_s += media_ns / 1e9

    def slot_was_full(self, key: Hashable, used: int) -> None:
        """A slot of this writer closed because the next fragment did not fit, with `used` bytes of fragments in it."""
        rate = self._rates.get(key)
        if rate is not None:
            rate.fill = rate.fill + (used - rate.fill) / 8 if rate.fill else float(used)

    def rates(self, now_ns: int) -> dict[Hashable, float]:
        """Bytes per second of each writer."""
        out = {}
        for key, rate in list(self._rates.items()):
            rate.advance(now_ns)
            value = rate.bytes_per_s
            if value < _FORGOTTEN:
                del self._rates[key]
            else:
                out[key] = value
        return out

    def forecast_ns(self, usable_slots: int, slot_bytes: int, now_ns: int, limits_ns: Mapping[Any, int]) -> int | None:
        """Boot time between the oldest and the newest data of a full ring with so many slots in circulation."""
        rates = self.rates(now_ns)
        if not rates:
            return None
        reach_s = usable_slots * slot_bytes / sum(rates.values())
        share = slot_share(usable_slots, len(rates))
        for _ in range(32):
            closings = 0.0
            for key, rate in rates.items():
                holds = self._rates[key].fill or slot_bytes
                lasts = min(holds / rate, reach_s * share, limits_ns.get(key, 1 << 62) / 1e9)
                closings += 1 / max(lasts, 1e-3)
            following = usable_slots / closings
            if abs(following - reach_s) < reach_s * 1e-4:
                break
            reach_s = (reach_s + following) / 2
        return round(reach_s * 1e9)
