"""How fast one camera's events are taken: a burst, as a stream begins with, then a steady rate. What is faster waits in its socket."""

from __future__ import annotations

from dataclasses import dataclass

from recorderd.model.ports import Clock

BURST = 400
PER_S = 50.0


@dataclass(slots=True)
class Pace:
    clock: Clock
    burst: int = BURST
    per_s: float = PER_S
    waits: int = 0  # how often a camera was too fast
    _left: float = -1.0
    _at_ns: int = 0

    async def take(self) -> None:
        """Waits until the next document may be taken."""
        now_ns = self.clock.boottime_ns()
        if self._left < 0:
            self._left, self._at_ns = float(self.burst), now_ns
        self._left = min(float(self.burst), self._left + (now_ns - self._at_ns) / 1e9 * self.per_s)
        self._at_ns = now_ns
        if self._left < 1:
            self.waits += 1
            await self.clock.sleep((1 - self._left) / self.per_s)
            now_ns = self.clock.boottime_ns()
            self._left = min(float(self.burst), self._left + (now_ns - self._at_ns) / 1e9 * self.per_s)
            self._at_ns = now_ns
        self._left = max(0.0, self._left - 1)
