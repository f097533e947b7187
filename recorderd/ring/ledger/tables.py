"""The ledger's state: all tables, and what each journal item does to them.

`apply` is the only way in, both while recording and when the journal is replayed, so that a recovered ledger equals the one that wrote the
journal. Applying an item twice changes nothing, because a checkpoint may hold what the journal tells again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import NamedTuple

from recorderd.model.causes import GapCause
from recorderd.ring.ledger import gaps as gap_rows
from recorderd.ring.ledger import items, spans
from recorderd.ring.ledger.boots import MAX_RING_NS, BootTable, UnknownBoot
from recorderd.ring.ledger.catalogue import MAX_ENTRIES, Catalogue, Entry, Kind
from recorderd.ring.ledger.epochs import MAX_POINTS, EpochPoint, EpochTable
from recorderd.ring.ledger.gaps import GapTable
from recorderd.ring.ledger.items import NO_TRACK, Moment, Range
from recorderd.ring.ledger.ranges import Ranges, subtract, union
from recorderd.ring.ledger.runs import MAX_RUNS, RUN, RunTable
from recorderd.ring.ledger.slots import SlotTable
from recorderd.ring.ledger.spans import Grown, SpanTable
from recorderd.ring.ledger.tombstones import MAX_TOMBSTONES, Tombstones, visible

MAX_TABLE_BYTES = 64 * 1024 * 1024  # of spans and gaps (format.md section 10)
MAX_LOCKS = 4096
_CHECK_EVERY = 256  # additions between two looks at the bound


class Vanished(NamedTuple):
    """Media of a track that can no longer be read, in ring time."""

    recording: int
    track: int
    from_ns: int
    to_ns: int


class Tables:
    def __init__(self) -> None:
        self.boots = BootTable()
        self.epochs = EpochTable(self.boots)
        self.catalogue = Catalogue()
        self.runs = RunTable()
        self.slots = SlotTable()
        self.tombstones = Tombstones()
        self.spans: dict[int, SpanTable] = {}
        self.gaps: dict[int, GapTable] = {}
        self.locks: dict[int, items.LockPut] = {}
        self.next_lock = 1
        self.lock_changes = 0
        self.floors: dict[int, int] = {}  # by track: what lies below has expired
        self.horizons: dict[int, int] = {}  # by track: media up to here was recycled, so a hole below is no gap
        self.vanished: list[Vanished] = []  # since the list was last taken
        self.merged_rows = 0  # rows given up at the bound
        self._max_table_bytes = MAX_TABLE_BYTES
        self.max_locks = MAX_LOCKS
        self._until_check = _CHECK_EVERY

    # --- names and times ---------------------------------------------------------------------------------

    def spans_of(self, track: int) -> SpanTable:
        table = self.spans.get(track)
        if table is None:
            table = self.spans[track] = SpanTable()
        return table

    def gaps_of(self, track: int) -> GapTable:
        table = self.gaps.get(track)
        if table is None:
            table = self.gaps[track] = GapTable()
        return table

    def recording_of(self, track: int) -> int:
        return self.catalogue[track].parent

    def ring(self, moment: Moment) -> int:
        return self.boots.ring_ns(*moment)

    def moment(self, ring_ns: int) -> Moment:
        return Moment(*self.boots.split(ring_ns))

    def ring_ranges(self, stored: Iterable[Range]) -> Ranges:
        """Stored ranges in ring time; those of boots that are forgotten are left out, nothing of them exists."""
        found: Ranges = []
        for start, stop in stored:
            try:
                found.append((self.ring(start), self.ring(stop)))
            except UnknownBoot:
                continue
        return union(found)

    def stored_ranges(self, ring_ranges: Ranges) -> tuple[Range, ...]:
        """Ring-time ranges as an item holds them, the nearest joined when there are too many for one item."""
        ranges = union(ranges_in_known_time(ring_ranges))
        while len(ranges) > items.MAX_PIECES:
            nearest = min(range(len(ranges) - 1), key=lambda i: ranges[i + 1][0] - ranges[i][1])
            ranges[nearest : nearest + 2] = [(ranges[nearest][0], ranges[nearest + 1][1])]
        return tuple(Range(self.moment(a), self.moment(b)) for a, b in ranges)

    def lock_ranges(self, lock: items.LockPut) -> Ranges:
        """The ranges of ring time that a lock covers now: what it meant when it was made, and what its wall time means today."""
        today = [(p.start_ns, p.stop_ns) for p in self.epochs.pieces(lock.wall_from_ns, lock.wall_to_ns)]
        return union([*self.ring_ranges(lock.pieces), *today])

    def locked_ranges(self, recording: int, track: int) -> Ranges:
        """What locks cover of a track."""
        found: Ranges = []
        for lock in self.locks.values():
            if lock.recording == recording and (not lock.tracks or track in lock.tracks):
                found += self.lock_ranges(lock)
        return union(found)

    # --- what items do -----------------------------------------------------------------------------------

    def apply(self, record: items.Record) -> None:
        """Raises ValueError (UnknownBoot and KeyError for names that do not exist) when the record cannot be true."""
        match record:
            case items.SpanGrown():
                self._span(record)
            case items.GapNoted():
                self._gap(record)
            case items.EntryPut():
                self._entry(record.entry)
            case items.BootSeen():
                self._boot(record)
            case items.EpochNoted():
                ring = self.ring(record.at)
                self.boots.seen(*record.at)
                self.epochs.add(EpochPoint(ring, record.wall_ns, record.rate_ppb, record.trust, record.step))
            case items.RunStarted():
                self._run_started(record)
            case items.RunStopped():
                self._run_stopped(record)
            case items.SlotGone():
                self._slot_gone(record)
            case items.Withdrawn():
                for table in self._tables_of_slot(record.slot, record.generation):
                    table.withdraw(record.slot, record.generation, record.fragments)
            case items.Rotten():
                self._taken_out(record, GapCause.ROT)
            case items.Cut():
                self._taken_out(record, GapCause.RECORDER_CRASH)
            case items.SlotClosed():
                self.slots.closed(record.slot, record.generation, record.order)
            case items.LockPut():
                self.next_lock = max(self.next_lock, record.lock + 1)
                self.locks[record.lock] = record
                self.lock_changes += 1
            case items.LockDropped():
                self.locks.pop(record.lock, None)
                self.lock_changes += 1
            case items.Buried():
                self._bury(record)
            case items.FloorRaised():
                self._raise_floor(record)
            case items.Seen():
                self.boots.seen(*record.at)
            case items.Recovered():
                self._recovered(record)

    def unused_entry(self) -> int | None:
        """An index of the catalogue that nothing refers to any more: a job without runs, or something deleted of which no slot is left."""
        jobs = set(self.runs.rows["job"].tolist())
        stored = set(self.slots.rows["recording"][self.slots.rows["used"] == 1].tolist())
        stored |= {record.recording for record in self.tombstones.records.values()}
        parents = {entry.parent for entry in self.catalogue}
        for entry in self.catalogue:
            if entry.kind is Kind.JOB and entry.index not in jobs:
                return entry.index
            if entry.kind is Kind.TRACK and entry.deleted and entry.parent not in stored:
                return entry.index
            if entry.kind is Kind.RECORDING and entry.deleted and entry.index not in stored | parents:
                return entry.index
        return None

    def _entry(self, entry: Entry) -> None:
        self.catalogue.put(entry)
        if entry.deleted:
            for table in (self.spans, self.gaps, self.floors, self.horizons):
                table.pop(entry.index, None)
            self.runs.forget_recording(entry.index)

    def _boot(self, record: items.BootSeen) -> None:
        if self.boots.full():
            used = {self.boots.stretch_at(int(row)) for table in self.spans.values() for row in table.rows["from"]}
            used |= {self.boots.stretch_at(int(row)) for table in self.spans.values() for row in table.rows["to"]}
            self.boots.forget(used)
        self.boots.add(record.number, record.stretch)

    def _span(self, record: items.SpanGrown) -> None:
        start = self.boots.ring_ns(record.boot, record.from_ns)
        stop = self.boots.ring_ns(record.boot, record.to_ns)
        entry = self.catalogue[record.track]
        self.boots.seen(record.boot, record.to_ns)
        if entry.deleted or stop <= start:
            return
        self.slots.media(record.slot, record.generation, entry.parent, start, stop)
        self.runs.covers(record.run, start, stop)
        dead = self.tombstones.dead(entry.parent, record.track, record.run, start)
        floor = self.floors.get(record.track, 0)
        parts = visible(start, stop, dead, floor, lambda: self.locked_ranges(entry.parent, record.track))
        table, gaps = self.spans_of(record.track), self.gaps_of(record.track)
        for a, b in parts:
            flags = record.flags | (0 if (a, b) == (start, stop) else spans.CUT)
            grown = Grown(
                a,
                b,
                record.run,
                record.slot,
                record.generation,
                record.fragment,
                record.writer,
                record.keys,
                record.priority,
                flags,
            )
            table.grow(grown, gaps, lambda a, b: self.tombstones.between(entry.parent, a, b))
        gaps.data(start, stop, spans.TOUCH_NS)
        self._bounded()

    def _gap(self, record: items.GapNoted) -> None:
        start = self.ring(record.start)
        stop = None if record.stop is None else self.ring(record.stop)
        self.boots.seen(*(record.stop or record.start))
        for track in record.tracks:
            if self.catalogue[track].deleted:
                continue
            if stop is not None and stop <= start:
                self.gaps_of(track).close(start)
            else:
                self.gaps_of(track).note(record.cause, start, stop)
        self._bounded()

    def _run_started(self, record: items.RunStarted) -> None:
        start = self.ring(record.at)
        self.boots.seen(*record.at)
        joined = self.runs.start(
            record.run,
            recording=record.recording,
            job=record.job,
            from_ns=start,
            kind=record.kind,
            instant_ns=record.instant_ns,
            tracks=record.tracks,
            source=record.source,
            topic=record.topic,
            origin=record.origin,
        )
        if joined:
            for table in self.spans.values():
                ids = table.rows["run"]
                table.rows["run"] = [joined.get(run, run) for run in ids.tolist()]
        for track in record.tracks:
            gaps = self.gaps_of(track)
            opened = gaps.open_from_ns
            if opened is not None and opened <= start and gaps.open_cause in gap_rows.RECORDER_AWAY:
                gaps.close(start)

    def _run_stopped(self, record: items.RunStopped) -> None:
        at = self.ring(record.at)
        self.boots.seen(*record.at)
        self._stop_run(record.run, at)

    def _stop_run(self, run: int, at: int) -> None:
        tracks = self.runs.stop(run, at)
        still = {track for others in self.runs.running().values() for track in others}
        for track in set(tracks) - still:
            gaps = self.gaps_of(track)
            opened = gaps.open_from_ns
            if opened is not None and opened <= at and gaps.open_cause not in gap_rows.RECORDER_AWAY:
                gaps.close(at)

    def tracks_shown_of(self, slot: int, generation: int) -> set[uuid.UUID]:
        """The tracks of which the timeline has something in this life of a slot."""
        return {
            self.catalogue[track].id for track, table in self.spans.items() if table.of_slot(slot, generation).any()
        }

    def _tables_of_slot(self, slot: int, generation: int) -> list[SpanTable]:
        if not self.slots.holds(slot, generation):
            return []
        recording = int(self.slots.rows["recording"][slot])
        return [self.spans[e.index] for e in self.catalogue.tracks_of(recording) if e.index in self.spans]

    def _slot_gone(self, record: items.SlotGone) -> None:
        known = self.slots.holds(record.slot, record.generation)
        recording = int(self.slots.rows["recording"][record.slot]) if known else None
        tracks = list(self.spans) if recording is None else [e.index for e in self.catalogue.tracks_of(recording)]
        for track in tracks:
            if track not in self.spans:
                continue
            for start, stop in self.spans[track].vanish(record.slot, record.generation):
                self.horizons[track] = max(stop, self.horizons.get(track, 0))
                self.vanished.append(Vanished(self.recording_of(track), track, start, stop))
        self.slots.gone(record.slot, record.generation)
        if recording is not None:
            self._forget(recording)

    def _forget(self, recording: int) -> None:
        """Drops gaps, stopped runs, tombstones and epochs that lie before everything still stored."""
        tracks = [e.index for e in self.catalogue.tracks_of(recording)]
        tables = [self.spans[track] for track in tracks if track in self.spans and len(self.spans[track])]
        if tables:
            oldest = min(int(table.rows["from"][0]) for table in tables)
            for track in tracks:
                if track in self.gaps:
                    self.gaps[track].forget_before(oldest)
            self.runs.forget_before(recording, oldest)
        everything = self.slots.oldest_ns()
        if everything is not None:
            self.tombstones.forget_before(everything)
            self.epochs.drop_before(everything)

    def _taken_out(self, record: items.Rotten | items.Cut, cause: GapCause) -> None:
        if not self.slots.holds(record.slot, record.generation):
            return
        recording = int(self.slots.rows["recording"][record.slot])
        for entry in self.catalogue.tracks_of(recording):
            table = self.spans.get(entry.index)
            if table is None:
                continue
            lost = table.take_out(record.slot, record.generation, record.fragment, cause)
            if lost is not None:
                self.gaps_of(entry.index).note(cause, *lost)

    def _bury(self, record: items.Buried) -> None:
        pieces = self.ring_ranges(record.pieces)
        if record.tombstone in self.tombstones.records:  # a rebuild hears of it slot by slot, from each its own pieces
            pieces = union([*self.tombstones.pieces(record.tombstone), *pieces])
            record = record._replace(pieces=self.stored_ranges(pieces))
        self.tombstones.put(record, pieces)
        for entry in self.catalogue.tracks_of(record.recording):
            if record.track in (NO_TRACK, entry.index):
                for start, stop in pieces:
                    self._hide(record.recording, entry.index, start, stop, record.run or None)
        if record.run:
            self.runs.forget(record.run)

    def _hide(self, recording: int, track: int, start: int, stop: int, run: int | None) -> None:
        table = self.spans.get(track)
        if table is None:
            return
        self.vanished += [Vanished(recording, track, a, b) for a, b in table.hide(start, stop, run)]

    def would_hide(self, recording: int, track: int, floor: int) -> bool:
        """Whether a floor there would hide anything."""
        table = self.spans.get(track)
        if table is None:
            return False
        for start, stop in subtract([(0, floor)], self.locked_ranges(recording, track)):
            rows = table.rows[table.table.near(start, stop)]
            if bool((rows["to"] > start).any()):
                return True
        return False

    def not_due(self, recording: int, track: int) -> Ranges:
        """Where a track has nothing because it was recycled, expired or deleted: no gap, whatever runs there were."""
        below = max(self.floors.get(track, 0), self.horizons.get(track, 0))
        return union([(0, below), *self.tombstones.dead(recording, track, 0)])

    def _raise_floor(self, record: items.FloorRaised) -> None:
        floor = self.ring(record.at)
        self.floors[record.track] = max(floor, self.floors.get(record.track, 0))
        recording = self.recording_of(record.track)
        for start, stop in subtract([(0, floor)], self.locked_ranges(recording, record.track)):
            self._hide(recording, record.track, start, stop, None)
        if record.track in self.gaps:
            self.gaps[record.track].forget_before(floor)

    def _recovered(self, record: items.Recovered) -> None:
        """Runs that a crash left open end where their last trace is, and the tracks they were to fill have a gap until now.

        A track's gap begins with the end of its own media, however late others were heard of: what it still had in RAM went with the crash.
        """
        last, now = self.ring(record.last), self.ring(record.at)
        self.boots.seen(*record.at)
        missing: set[int] = set()
        for run, tracks in list(self.runs.running().items()):
            missing.update(tracks)
            self._stop_run(run, last)
        since = {track: self._last_heard(track, last) for track in missing}
        for gaps in self.gaps.values():
            gaps.close(now if gaps.open_cause in gap_rows.RECORDER_AWAY else last)
        for track, heard in since.items():
            self.gaps_of(track).note(GapCause.RECORDER_CRASH, heard, now)

    def _last_heard(self, track: int, last: int) -> int:
        """Up to when a track that was to be recorded until `last` is accounted for: by a gap that lasts, or by its newest media."""
        table, gaps = self.spans.get(track), self.gaps.get(track)
        if table is None or not len(table) or (gaps is not None and gaps.open_from_ns is not None):
            return last
        newest = int(table.table.reach()[-1])
        return min(newest, last) if newest >= last - gap_rows.LIVE_LAG_NS else last

    # --- the bounds ---------------------------------------------------------------------------------------

    def limit(self, room_bytes: int) -> None:
        """Holds every table to its share of the room that a checkpoint has for all of them."""
        self._max_table_bytes = min(MAX_TABLE_BYTES, room_bytes * 5 // 8)
        self.runs.bound = min(MAX_RUNS, max(64, room_bytes // 8 // RUN.itemsize))
        self.epochs.bound = min(MAX_POINTS, max(256, room_bytes // 32 // 24))
        self.tombstones.bound = min(MAX_TOMBSTONES, max(64, room_bytes // 32 // 64))
        self.catalogue.bound = min(MAX_ENTRIES, max(256, room_bytes // 8 // 112))
        self.max_locks = min(MAX_LOCKS, max(32, room_bytes // 32 // 256))

    def table_bytes(self) -> int:
        rows = sum(len(table) for table in self.spans.values()) * spans.SPAN.itemsize
        return rows + sum(len(table) for table in self.gaps.values()) * gap_rows.GAP.itemsize

    def _bounded(self) -> None:
        self._until_check -= 1
        if self._until_check > 0:
            return
        self._until_check = _CHECK_EVERY
        size = self.table_bytes()
        if size <= self._max_table_bytes:
            return
        before = sum(map(len, self.spans.values())) + sum(map(len, self.gaps.values()))
        wanted = self._max_table_bytes * 7 // 8
        for table in self.spans.values():
            table.merge_neighbours(len(table) * wanted // size)
        for gaps in self.gaps.values():
            gaps.merge_neighbours(len(gaps) * wanted // size)
        self.merged_rows += before - sum(map(len, self.spans.values())) - sum(map(len, self.gaps.values()))


def ranges_in_known_time(ranges: Ranges) -> Ranges:
    return [(max(0, a), min(b, MAX_RING_NS - 1)) for a, b in ranges]
