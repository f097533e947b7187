"""Leases: what is being read is not reserved (format.md section 14)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from recorderd.model.ports import Clock
from recorderd.ring.border import SlotRef

RECALL_NS: Final = 30 * 1_000_000_000


@dataclass(eq=False, slots=True)
class Lease:
    """Keeps one life of a slot readable. `recalled` is set when the slot is wanted back: at most 30 s remain then, unless `hold`."""

    ref: SlotRef
    expires_ns: int
    hold: bool  # an export: kept until it ends or expires
    recalled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    clock: Clock | None = None

    def renew(self, seconds: float) -> None:
        """Being read: goes on, unless the slot was asked back."""
        if self.clock is not None and not self.recalled.is_set():
            self.expires_ns = self.clock.boottime_ns() + round(seconds * 1e9)


class Leases:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_ref: dict[SlotRef, list[Lease]] = {}

    def take(self, ref: SlotRef, seconds: float, *, hold: bool = False) -> Lease:
        lease = Lease(ref, self._clock.boottime_ns() + round(seconds * 1e9), hold, clock=self._clock)
        self._by_ref.setdefault(ref, []).append(lease)
        return lease

    def end(self, lease: Lease) -> None:
        """Idempotent."""
        lease.ended = True
        held = self._by_ref.get(lease.ref, [])
        if lease in held:
            held.remove(lease)
        if not held:
            self._by_ref.pop(lease.ref, None)

    def is_leased(self, ref: SlotRef) -> bool:
        held = self._by_ref.get(ref)
        if not held:
            return False
        now = self._clock.boottime_ns()
        for lease in [lease for lease in held if lease.expires_ns <= now]:
            self.end(lease)
        return ref in self._by_ref

    def recall(self, refs: Iterable[SlotRef]) -> None:
        """These slots are wanted: their readers have 30 s."""
        until = self._clock.boottime_ns() + RECALL_NS
        for ref in refs:
            for lease in self._by_ref.get(ref, []):
                if not lease.hold and not lease.recalled.is_set():
                    lease.recalled.set()
                    lease.expires_ns = min(lease.expires_ns, until)

    def count(self) -> int:
        return sum(len(held) for held in self._by_ref.values())
