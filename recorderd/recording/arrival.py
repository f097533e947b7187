"""When a media time happened in boot time, by the smallest delay seen (format.md section 9).

Every unit's arrival is its media time plus a constant plus a delay that is never negative, so the smallest difference seen is the best
guess of the constant. It may creep up slowly, because clocks drift: by at most `_LEAK_PPM` of the time that passes.
"""

from __future__ import annotations

from dataclasses import dataclass

_LEAK_PPM = 500
_NS = 1_000_000_000


@dataclass(slots=True)
class ArrivalEstimate:
    """Of one track of one session."""

    clock_rate: int
    _offset_ns: int | None = None
    _seen_ns: int = 0

    def observe(self, pts: int, arrival_ns: int) -> None:
        offset = arrival_ns - pts * _NS // self.clock_rate
        if self._offset_ns is None:
            self._offset_ns = offset
        else:
            leak = max(0, arrival_ns - self._seen_ns) * _LEAK_PPM // 1_000_000
            self._offset_ns = min(self._offset_ns + leak, offset)
        self._seen_ns = max(self._seen_ns, arrival_ns)

    def boottime_ns(self, pts: int, arrival_ns: int) -> int:
        """Boot time of `pts`; `arrival_ns` where nothing has been observed, and never later than that."""
        if self._offset_ns is None:
            return arrival_ns
        return min(arrival_ns, pts * _NS // self.clock_rate + self._offset_ns)
