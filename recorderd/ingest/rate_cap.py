"""A token bucket: how much one stream may send. Pure; the clock is passed in."""

from __future__ import annotations

DEFAULT_BITS_PER_S = 120_000_000  # three times what a 4K camera sends at its best quality
BURST_S = 4
CALM_NS = 60_000_000_000


class RateCap:
    """Refuses from when the bucket is empty until it is half full again, so that it does not refuse every second unit."""

    def __init__(self, bits_per_s: int = 0) -> None:
        self.bits_per_s = bits_per_s or DEFAULT_BITS_PER_S
        self._size = self.bits_per_s // 8 * BURST_S
        self._bytes_per_ns = self.bits_per_s / 8e9
        self._tokens = float(self._size)
        self._at_ns: int | None = None
        self._refusing = False
        self._refused_ns: int | None = None

    def take_all(self, size_bytes: int, now_ns: int) -> bool:
        """Takes a whole sweep's units when none of them would be refused; False: nothing was taken, ask one by one."""
        if self._at_ns is None or self._refusing:
            return False
        tokens = min(self._size, self._tokens + (now_ns - self._at_ns) * self._bytes_per_ns)
        if size_bytes > tokens:
            return False
        self._at_ns, self._tokens = now_ns, tokens - size_bytes
        return True

    def take(self, size_bytes: int, now_ns: int) -> bool:
        """Whether `size_bytes` are within the cap at boot time `now_ns`."""
        if self._at_ns is not None:
            self._tokens = min(self._size, self._tokens + (now_ns - self._at_ns) * self._bytes_per_ns)
        self._at_ns = now_ns
        if not self._refusing or self._tokens >= self._size / 2:
            self._refusing = size_bytes > self._tokens
        if self._refusing:
            self._refused_ns = now_ns
            return False
        self._tokens -= size_bytes
        return True

    def alarm(self, now_ns: int) -> str:
        """What the operator is told while something was refused within the last `CALM_NS`; empty otherwise."""
        if self._refused_ns is None or now_ns - self._refused_ns >= CALM_NS:
            return ""
        return f"the camera sends more than the rate cap of {self.bits_per_s / 1e6:g} Mbit/s: parts of the stream are dropped"
