"""Leases on everything an export still has to read, for as long as somebody takes what it makes."""

from __future__ import annotations

from collections.abc import Iterable

from recorderd.model.ports import Clock
from recorderd.ring.border import SlotRef
from recorderd.ring.ring import Ring

IDLE_S = 900.0  # a client that takes nothing for so long no longer keeps anything from being recycled
_RENEW_EVERY_NS = 30 * 1_000_000_000


class HeldSlots:
    """A store that goes away with its disk takes its leases with it."""

    def __init__(self, ring: Ring, clock: Clock, refs: Iterable[SlotRef]) -> None:
        """Leases all of them at once, so that nothing is recycled before its turn comes."""
        self._clock = clock
        self._store = ring.store
        self._renewed_ns = clock.boottime_ns()
        self._leases = [] if self._store is None else [self._store.leases.take(r, IDLE_S, hold=True) for r in set(refs)]

    def renew(self) -> None:
        """Somebody took something."""
        now_ns = self._clock.boottime_ns()
        if now_ns - self._renewed_ns >= _RENEW_EVERY_NS:
            self._renewed_ns = now_ns
            for lease in self._leases:
                lease.renew(IDLE_S)

    def end(self) -> None:
        for lease in self._leases:
            if self._store is not None:
                self._store.leases.end(lease)
        self._leases = []
