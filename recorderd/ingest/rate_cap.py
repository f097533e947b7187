"""A token bucket: how much one stream may send. Pure; the clock is passed in."""

from __future__ import annotations

DEFAULT_BITS_PER_S = 120_000_000  # three times what a 4K camera sends at its best quality
BURST_S = 4


class RateCap:
    """Refuses from when the bucket is empty until it is half full again, so that it does not refuse every second unit."""

    def __init__(self, bits_per_s: int = 0) -> None:
        self.bits_per_s = bits_per_s or DEFAULT_BITS_PER_S
        self._size = self.bits_per_s // 8 * BURST_S
        self._tokens = float(self._size)
        self._at_ns: int | None = None
        self._refusing = False

    def take(self, size_bytes: int, now_ns: int) -> bool:
        """Whether `size_bytes` are within the cap at boot time `now_ns`."""
        if self._at_ns is not None:
            self._tokens = min(self._size, self._tokens + (now_ns - self._at_ns) * self.bits_per_s / 8e9)
        self._at_ns = now_ns
        if self._refusing and self._tokens < self._size / 2:
            return False
        self._refusing = size_bytes > self._tokens
        if self._refusing:
            return False
        self._tokens -= size_bytes
        return True
