"""Bytes written to the ring per day, from the counters of commits: what the projected life of flash is judged by."""

from __future__ import annotations

from collections import deque

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
_LEAST_NS = 60_000_000_000


class Written:
    """Keeps (boot time, bytes in all) of the newest day, hourly."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque(maxlen=26)

    def note(self, now_ns: int, total_bytes: int) -> None:
        """Call now and then; a total that shrinks (the ring was mounted anew) begins a new count."""
        if self._marks and total_bytes < self._marks[-1][1]:
            self._marks.clear()
        if not self._marks or now_ns - self._marks[-1][0] >= _HOUR_NS:
            self._marks.append((now_ns, total_bytes))

    def per_day(self, now_ns: int, total_bytes: int) -> int | None:
        """None until there is a minute to judge by."""
        old = [mark for mark in self._marks if now_ns - mark[0] <= _DAY_NS + _HOUR_NS]
        if not old or now_ns - old[0][0] < _LEAST_NS or total_bytes < old[0][1]:
            return None
        return (total_bytes - old[0][1]) * _DAY_NS // (now_ns - old[0][0])
