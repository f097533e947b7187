"""The camera's own idea of wall time: right, offset, stepping or drifting."""

from __future__ import annotations

import time
from collections.abc import Callable

NTP_EPOCH_S = 2_208_988_800  # 1900 to 1970


class CameraClock:
    """`true_ns` is real wall time, nanoseconds since 1970; simulated in tests."""

    def __init__(self, true_ns: Callable[[], int] = time.time_ns) -> None:
        self._true_ns = true_ns
        self._anchor_ns = true_ns()
        self._offset_ns = 0
        self._drift_ppm = 0.0

    def now_ns(self) -> int:
        true = self._true_ns()
        return true + self._offset_ns + round((true - self._anchor_ns) * self._drift_ppm * 1e-6)

    def step(self, seconds: float) -> None:
        self._offset_ns += round(seconds * 1e9)

    def drift(self, ppm: float) -> None:
        """From now on the clock gains `ppm` microseconds a second."""
        true = self._true_ns()
        self._offset_ns += round((true - self._anchor_ns) * self._drift_ppm * 1e-6)
        self._anchor_ns, self._drift_ppm = true, ppm

    def now_ntp(self) -> int:
        """The 64-bit NTP time stamp of RTCP."""
        return (self.now_ns() << 32) // 1_000_000_000 + (NTP_EPOCH_S << 32)
