"""OverrideSegmentDuration (5.24): shorter segments for a while. Kept in memory only: an override may not survive a restart."""

from __future__ import annotations

from dataclasses import dataclass

from recorderd.model.faults import BadDuration
from recorderd.model.ports import Clock

MIN_SEGMENT_MS = 1000


@dataclass(frozen=True, slots=True)
class _Override:
    duration_ms: int
    expires_ns: int  # boot time


class Overrides:
    """By recording token. A newer override replaces the one before."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, _Override] = {}

    def put(self, recording: str, duration_ms: int, expiration_ms: int, longest_ms: int) -> None:
        """Raises `BadDuration`: a segment takes a second at least, an override an hour at most."""
        if not 0 < expiration_ms <= longest_ms:
            raise BadDuration(
                "an override cannot last that long",
                argument="expiration_ms",
                expected=f"1 to {longest_ms}",
                got=str(expiration_ms),
            )
        if not MIN_SEGMENT_MS <= duration_ms <= longest_ms:
            raise BadDuration(
                "a segment cannot be that long",
                argument="segment_duration_ms",
                expected=f"{MIN_SEGMENT_MS} to {longest_ms}",
                got=str(duration_ms),
            )
        self._held[recording] = _Override(duration_ms, self._clock.boottime_ns() + expiration_ms * 1_000_000)

    def get(self, recording: str) -> tuple[int, int] | None:
        """(segment duration, time that remains), in ms."""
        held = self._held.get(recording)
        if held is None:
            return None
        left_ms = (held.expires_ns - self._clock.boottime_ns()) // 1_000_000
        return (held.duration_ms, left_ms) if left_ms > 0 else None

    def remove(self, recording: str) -> None:
        """The recording's configuration was changed, or the recording deleted."""
        self._held.pop(recording, None)

    def expire(self) -> None:
        now_ns = self._clock.boottime_ns()
        for recording in [r for r, held in self._held.items() if held.expires_ns <= now_ns]:
            del self._held[recording]
