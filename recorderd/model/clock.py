"""The system's clocks behind `ports.Clock`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from recorderd.model.timeline import Trust


class SystemClock:
    """CLOCK_BOOTTIME and CLOCK_REALTIME of this machine; trust comes from whoever owns time, none until then."""

    def __init__(self, trust: Callable[[], Trust] | None = None) -> None:
        self._trust = trust

    def trusted_by(self, trust: Callable[[], Trust]) -> None:
        """Names the owner of time, who needs this clock himself."""
        self._trust = trust

    def boottime_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def realtime_ns(self) -> int:
        return time.time_ns()

    def trust(self) -> Trust:
        return self._trust() if self._trust is not None else Trust.NONE

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
