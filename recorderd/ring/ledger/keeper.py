"""What is kept and what goes: locks, deletion, retention rules (format.md sections 8, 12, 13), asked for in wall time."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from recorderd.model.timeline import Lock
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger import deletion, items, locks, retention
from recorderd.ring.ledger.book import Book, NoSuchThing
from recorderd.ring.ledger.boots import MAX_RING_NS
from recorderd.ring.ledger.catalogue import Entry, Kind
from recorderd.ring.ledger.deletion import Deletion, Target
from recorderd.ring.ledger.locks import LockRefused
from recorderd.ring.ledger.ranges import intersect
from recorderd.ring.ledger.retention import Rule

FLOOR_STEP_NS = 60_000_000_000  # a floor is raised in steps, not with every second that passes


class Keeper:
    def __init__(self, book: Book) -> None:
        self._book = book
        self._rules: dict[uuid.UUID, Rule] = {}
        self._young_slots: dict[int, int] = {}  # recording -> slots younger than its minimum, as of the last sweep
        self._stale_side_blocks: set[SlotRef] = set()
        self._closed_empty: list[SlotRef] = []
        self._looked_at_all = False
        self._kept: set[int] = set()  # slots that locks keep, of those closed up to order `_kept_through`
        self._kept_through = 0
        self._kept_state: tuple[int, int, int] | None = None
        self._locked_since: dict[SlotRef, bool] = {}  # of slots closed later

    def rule(self, recording: uuid.UUID) -> Rule:
        return self._rules.get(recording, Rule())

    def may_recycle(self, ref: SlotRef) -> bool:
        """Whether neither a lock nor its recording's minimum keeps this life of a slot."""
        if not self._book.tables.slots.holds(*ref):
            return True
        recording = int(self._book.tables.slots.rows["recording"][ref.slot])
        rule = self.rule(self._book.tables.catalogue[recording].id)
        minimum = max(rule.minimum_slots, self._young_slots.get(recording, 0))
        if retention.below_minimum(self._book.tables, recording, minimum):
            return False
        return not self._is_locked(ref)

    def _is_locked(self, ref: SlotRef) -> bool:
        """As `locks.is_locked`, fast for thousands of slots in a row: what a closed slot holds changes no more, so the answer is kept."""
        tables = self._book.tables
        if not tables.locks:
            return False
        orders = tables.slots.rows["order"]
        state = (id(tables), tables.lock_changes, tables.epochs.dating)
        if state != self._kept_state:
            self._kept, self._kept_state = locks.kept_slots(tables), state
            self._kept_through = int(orders.max())
            self._locked_since = {}
        order = int(orders[ref.slot])
        if 0 < order <= self._kept_through:
            return ref.slot in self._kept
        if order == 0:
            return locks.is_locked(tables, *ref)
        if ref not in self._locked_since:
            self._locked_since[ref] = locks.is_locked(tables, *ref)
        return self._locked_since[ref]

    def mirror_soon(self, refs: Iterable[SlotRef]) -> None:
        """The side blocks of these slots should be written."""
        self._stale_side_blocks.update(refs)

    def is_mirrored(self, ref: SlotRef) -> None:
        """The side block of a slot is known to say all this: it was just read."""
        self._stale_side_blocks.discard(ref)

    def take_stale_side_blocks(self) -> list[SlotRef]:
        stale, self._stale_side_blocks = self._stale_side_blocks, set()
        return sorted(ref for ref in stale if self._book.tables.slots.holds(*ref))

    # --- locks --------------------------------------------------------------------------------------------

    def lock(
        self,
        recording: uuid.UUID,
        start_ns: int,
        stop_ns: int,
        owner: str,
        reason: str,
        tracks: Sequence[uuid.UUID] = (),
    ) -> Lock:
        """Keeps [start, stop) of wall time. Raises LockRefused with the figures, NoSuchThing, or ValueError."""
        if not 0 <= start_ns < stop_ns < MAX_RING_NS:
            raise ValueError("a lock must end after it begins")
        if len(self._book.tables.locks) >= self._book.tables.max_locks:
            raise ValueError(f"there are {self._book.tables.max_locks} locks already")
        holder = self._book.known(recording, Kind.RECORDING)
        members = tuple(self._book.known(track, Kind.TRACK, holder.index).index for track in tracks)
        now = self._book.tables.ring(self._book.here())
        pieces = [(p.start_ns, p.stop_ns) for p in self._book.tables.epochs.pieces(start_ns, stop_ns)]
        record = items.LockPut(
            self._book.tables.next_lock,
            holder.index,
            start_ns,
            stop_ns,
            members,
            self._book.tables.stored_ranges(intersect(pieces, [(0, now)])),
            owner,
            reason,
        )
        self._refuse_unless_room(record, now)
        self._book.do(record)
        self.mirror_soon(self._refs(locks.slots_kept_by(self._book.tables, record).tolist()))
        return self._as_lock(record)

    def unlock(self, lock: int) -> None:
        record = self._book.tables.locks.get(lock)
        if record is None:
            raise NoSuchThing(f"there is no lock {lock}")
        kept = locks.slots_kept_by(self._book.tables, record).tolist()
        self._book.do(items.LockDropped(lock))
        self.mirror_soon(self._refs(kept))

    def list_locks(self, recording: uuid.UUID | None = None) -> list[Lock]:
        found = [self._as_lock(record) for record in self._book.tables.locks.values()]
        return [lock for lock in found if recording in (None, lock.recording)]

    def locked_slots(self) -> set[int]:
        """Numbers of the slots that locks keep."""
        return locks.kept_slots(self._book.tables)

    def _refuse_unless_room(self, record: items.LockPut, now_ring: int) -> None:
        if self._book.store is None:
            return
        room = self._book.store.room()
        kept = locks.kept_slots(self._book.tables, record)
        orders = self._book.tables.slots.rows["order"]
        closed = sum(1 for slot in kept if orders[slot])
        ahead = locks.slots_foreseen(
            self._book.tables, record.recording, locks.covers_future(record, self._book.tables.epochs.wall(now_ring))
        )
        left, needed = room.free + room.closed - closed - ahead, room.pool + room.open_writers
        if left < needed:
            raise LockRefused(left, needed, len(kept) + ahead)

    def _as_lock(self, record: items.LockPut) -> Lock:
        name = self._book.tables.catalogue
        return Lock(
            record.lock,
            name[record.recording].id,
            record.wall_from_ns,
            record.wall_to_ns,
            record.owner,
            record.reason,
            tuple(name[track].id for track in record.tracks),
        )

    # --- deletion and retention -----------------------------------------------------------------------------

    def delete(
        self,
        recording: uuid.UUID,
        *,
        track: uuid.UUID | None = None,
        run: int | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Deletion:
        """Deletes media: all of it, or what is in [start, stop) of wall time. Raises DeletionRefused or NoSuchThing.

        Without run and range the recording or track itself is gone: its id is dead for ever.
        """
        holder = self._book.known(recording, Kind.RECORDING)
        part = None if track is None else self._book.known(track, Kind.TRACK, holder.index)
        if run is not None:
            row = self._book.tables.runs.get(run)
            if row is None or int(row["recording"]) != holder.index:
                raise NoSuchThing(f"recording {recording} has no run {run}")
            if run in self._book.tables.runs.running():
                raise ValueError(f"run {run} is still running")
        now = self._book.tables.ring(self._book.here())
        reach = [(0, now)]
        limited = start_ns is not None or stop_ns is not None
        if limited:
            low, high = start_ns or 0, MAX_RING_NS - 1 if stop_ns is None else stop_ns
            if low >= high:
                raise ValueError("a range must end after it begins")
            found = [(p.start_ns, p.stop_ns) for p in self._book.tables.epochs.pieces(low, high)]
            reach = intersect(found, reach)
        target = Target(holder.index, part.index if part else None, run, reach)
        deletion.check_locks(self._book.tables, target)
        touched = deletion.slots_of(self._book.tables, target)
        record = deletion.tombstone(self._book.tables, target)
        self._book.tables.vanished.clear()
        self._book.do(record)
        gone = tuple((v.track, v.from_ns, v.to_ns) for v in self._book.tables.vanished)
        self._book.tell_vanished()
        if run is None and not limited:
            self._bury_names([part] if part else [*self._book.tables.catalogue.tracks_of(holder.index), holder])
        freed = self._free_empty(holder.index, [ref.slot for ref in touched])
        partial = tuple(sorted(touched - set(freed)))
        self.mirror_soon(partial)
        if self._book.store is not None and run is None and not limited and part is None:
            self._book.store.close_slots_of(recording)
        return Deletion(record.tombstone, gone, freed, partial)

    def _bury_names(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            dead = Entry(entry.index, entry.id, entry.kind, entry.name, entry.parent, entry.codec, deleted=True)
            self._book.do(items.EntryPut(dead))
            if entry.kind is Kind.RECORDING:
                self._rules.pop(entry.id, None)

    def set_rule(self, recording: uuid.UUID, rule: Rule) -> None:
        """What the recording may and must keep from now on; configuration, not stored here."""
        self._rules[recording] = rule

    def sweep(self) -> None:
        """Raises floors, applies quotas, frees slots in which nothing is left."""
        now = self._book.tables.ring(self._book.here())
        self._book.tables.vanished.clear()
        for recording, rule in self._rules.items():
            entry = self._book.tables.catalogue.find(recording)
            if entry is None:
                continue
            if rule.maximum_ns is not None:
                self._raise_floors(entry.index, rule.maximum_ns, now)
            if rule.minimum_ns:
                self._young_slots[entry.index] = retention.slots_since(
                    self._book.tables, entry.index, now - rule.minimum_ns
                )
            else:
                self._young_slots.pop(entry.index, None)
            store = self._book.store
            quota = rule.quota(store.room().slot_bytes) if store is not None else rule.quota_slots
            if quota is not None:
                for ref in retention.over_quota(self._book.tables, entry.index, quota):
                    self._book.do(items.SlotGone(*ref))
                    if self._book.store is not None:
                        self._book.store.free_slot(ref)
            self._free_empty(entry.index, retention.expired_slots(self._book.tables, entry.index))
        if not self._looked_at_all:  # what was emptied in an earlier life
            self._looked_at_all = True
            for holder in self._book.tables.catalogue.of_kind(Kind.RECORDING):
                self._free_empty(holder.index, self._book.tables.slots.of_recording(holder.index).tolist())
        closed, self._closed_empty = self._closed_empty, []
        for ref in closed:
            if self._book.tables.slots.holds(*ref):
                self._free_empty(int(self._book.tables.slots.rows["recording"][ref.slot]), [ref.slot])
        self._book.tell_vanished()

    def _raise_floors(self, recording: int, maximum_ns: int, now: int) -> None:
        for track in self._book.tables.catalogue.tracks_of(recording):
            table = self._book.tables.spans.get(track.index)
            if table is None or not len(table):
                continue
            floor = retention.floor_due(self._book.tables, track.index, maximum_ns, now)
            oldest = int(table.rows["from"][0])
            whole = int(table.table.reach()[0]) <= floor
            if floor > oldest and (whole or floor - oldest >= FLOOR_STEP_NS):
                if self._book.tables.locks and not self._book.tables.would_hide(recording, track.index, floor):
                    continue  # what is below it is locked
                self._book.do(items.FloorRaised(track.index, self._book.tables.moment(floor)))
                left = table.rows[:1]  # of the slot in which the floor now lies, its own side block says so
                self.mirror_soon(SlotRef(int(row["slot"]), int(row["generation"])) for row in left)

    def slot_closed(self, ref: SlotRef) -> None:
        """A slot that was emptied while it was open is given back with the next sweep."""
        recording = int(self._book.tables.slots.rows["recording"][ref.slot])
        if retention.empty_slots(self._book.tables, recording, [ref.slot]):
            self._closed_empty.append(ref)

    def _free_empty(self, recording: int, candidates: Iterable[int]) -> tuple[SlotRef, ...]:
        freed = tuple(retention.empty_slots(self._book.tables, recording, candidates))
        for ref in freed:
            self._book.do(items.SlotGone(*ref))
            if self._book.store is not None:
                self._book.store.free_slot(ref)
        return freed

    def _refs(self, slots: Iterable[int]) -> list[SlotRef]:
        rows = self._book.tables.slots.rows
        return [SlotRef(slot, int(rows["generation"][slot])) for slot in slots]
