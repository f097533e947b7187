"""How long a port waits after a fault: 1, 5, 30, 300 s, starting again after ten good minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hw.poe.vocabulary import Fault

LADDER_NS = tuple(s * 1_000_000_000 for s in (1, 5, 30, 300))
GOOD_NS = 600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Backoff:
    """Times are CLOCK_BOOTTIME in ns."""

    level: int = 0  # faults since the last ten good minutes
    retry_ns: int = 0  # no power before
    last_fault: Fault | None = None
    last_fault_ns: int = 0
    good_since_ns: int = 0  # 0: not delivering

    def after_fault(self, fault: Fault, now_ns: int) -> Backoff:
        wait = LADDER_NS[min(self.level, len(LADDER_NS) - 1)]
        return replace(
            self, level=self.level + 1, retry_ns=now_ns + wait, last_fault=fault, last_fault_ns=now_ns, good_since_ns=0
        )

    def delivering(self, now_ns: int) -> Backoff:
        """Called while power flows; forgets the ladder once it has flowed long enough, but not the last fault."""
        if not self.good_since_ns:
            return replace(self, good_since_ns=now_ns)
        if self.level and now_ns - self.good_since_ns >= GOOD_NS:
            return replace(self, level=0, retry_ns=0)
        return self

    def not_delivering(self) -> Backoff:
        return replace(self, good_since_ns=0) if self.good_since_ns else self

    def waiting(self, now_ns: int) -> bool:
        return now_ns < self.retry_ns
