"""The tables with everything it takes to change them: the queue of journal items, the clock, names entered on first use.

Every change goes the same way: checked, made a record, applied to the tables, queued for the journal.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from recorderd.model.ports import Clock
from recorderd.model.timeline import Instant
from recorderd.ring.border import Item, SlotView
from recorderd.ring.ledger import items, spans
from recorderd.ring.ledger.boots import UnknownBoot
from recorderd.ring.ledger.catalogue import NONE, Entry, Kind
from recorderd.ring.ledger.ranges import union
from recorderd.ring.ledger.tables import Tables


@dataclass(frozen=True, slots=True)
class VanishedMedia:
    """Media that can no longer be read: what an ONVIF DeleteTrackData event tells. Wall time in ns."""

    recording: uuid.UUID
    track: uuid.UUID
    start_ns: int
    stop_ns: int


class NoSuchThing(LookupError):
    """A recording, track, run or lock that this ring does not hold."""


class Book:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tables = Tables()
        self.store: SlotView | None = None
        self.queue: list[Item] = []
        self._listeners: list[Callable[[list[VanishedMedia]], None]] = []

    def do(self, record: items.Record) -> None:
        """Applies a record and queues it. Nothing is queued when it cannot be applied."""
        self.tables.apply(record)
        kind, payload = items.encode(record)
        self.queue.append(Item(kind, payload))
        if self.store is not None:
            self.store.wake()

    # --- now -------------------------------------------------------------------------------------------------

    def here(self, ns: int | None = None) -> items.Moment:
        """Boot time `ns` of the running boot, or now, as a moment; enters the boot when it is new."""
        now = self.clock.boottime_ns()
        boot_id = self.boot_id()
        number = self.tables.boots.current(boot_id)
        if number is None:
            number, stretch = self.tables.boots.next_stretch(boot_id, now)
            self.do(items.BootSeen(number, stretch))
        return items.Moment(number, max(0, now if ns is None else ns))

    def now_ring(self) -> int:
        return self.tables.ring(self.here())

    def boot_id(self) -> uuid.UUID:
        return self.store.boot_id if self.store is not None else uuid.UUID(int=0)

    def moment(self, instant: Instant) -> items.Moment:
        """An instant of any boot as a moment; a boot that is not known (while rebuilding) is entered."""
        if instant.boot_id == self.boot_id():
            return self.here(instant.ns)
        try:
            return items.Moment(*self.tables.boots.place(instant))
        except UnknownBoot:
            number, stretch = self.tables.boots.next_stretch(instant.boot_id, instant.ns)
            self.do(items.BootSeen(number, stretch))
            return items.Moment(number, instant.ns)

    # --- names -----------------------------------------------------------------------------------------------

    def enter(
        self,
        identity: uuid.UUID,
        kind: Kind,
        name: str,
        parent: int = NONE,
        codec: str = "",
        *,
        must_live: bool = False,
    ) -> Entry:
        """The catalogue's entry of an id, entered or renamed as needed. A deleted one is returned as it is unless it must live."""
        known = self.tables.catalogue.find(identity)
        if known is not None and known.deleted and not must_live:
            return known
        unused = self.tables.unused_entry() if known is None and self.tables.catalogue.full() else None
        wanted = self.tables.catalogue.propose(identity, kind, name, parent, codec, unused)
        if wanted is not None:
            self.do(items.EntryPut(wanted))
            known = wanted
        assert known is not None  # `propose` answers None only for what the catalogue holds
        return known

    def known(self, identity: uuid.UUID, kind: Kind, parent: int = NONE) -> Entry:
        """The living entry of an id. Raises NoSuchThing."""
        entry = self.tables.catalogue.find(identity)
        if entry is None or entry.kind is not kind or entry.deleted or entry.parent != parent:
            raise NoSuchThing(f"this ring holds no {kind.name.lower()} {identity}")
        return entry

    # --- what vanished ---------------------------------------------------------------------------------------

    def on_vanished(self, listener: Callable[[list[VanishedMedia]], None]) -> None:
        """`listener` hears of all media that goes: recycled, expired, over quota, deleted."""
        self._listeners.append(listener)

    def tell_vanished(self) -> None:
        """Tells the listeners what the tables lost since the last call, neighbouring stretches as one."""
        gone, self.tables.vanished = self.tables.vanished, []
        if not gone or not self._listeners:
            return
        by_track: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for each in gone:
            by_track.setdefault((each.recording, each.track), []).append((each.from_ns, each.to_ns))
        names, epochs = self.tables.catalogue, self.tables.epochs
        told = [
            VanishedMedia(names[recording].id, names[track].id, epochs.wall(start), epochs.wall(stop - 1) + 1)
            for (recording, track), ranges in by_track.items()
            for start, stop in union(ranges, spans.TOUCH_NS)
        ]
        for listener in self._listeners:
            listener(told)
