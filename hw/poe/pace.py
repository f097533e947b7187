"""Time for drivers: they run in a bus thread, so waiting is blocking, and simulated where the chip is."""

from __future__ import annotations

import time
from typing import Protocol


class Pace(Protocol):
    def monotonic(self) -> float:
        """Seconds, never stepping back."""

    def sleep(self, seconds: float) -> None:
        """Blocks the bus thread."""


class SystemPace:
    """CLOCK_MONOTONIC and real sleep."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
