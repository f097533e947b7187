"""The ledger as the store sees it (`border.Ledger`), and where runs and gaps come in.

`keeper` holds locks, deletion and retention; `queries` answers in wall time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence

from recorderd.model.causes import GapCause
from recorderd.model.ports import Clock, WriterSpec
from recorderd.model.stream import Codec
from recorderd.model.timeline import Instant, RunCause
from recorderd.ring.border import Item, SlotRef, SlotView, SpanUpdate
from recorderd.ring.ledger import items, mirror, sections, spans
from recorderd.ring.ledger.book import Book
from recorderd.ring.ledger.catalogue import Kind
from recorderd.ring.ledger.keeper import Keeper
from recorderd.ring.ledger.queries import Queries
from recorderd.ring.ledger.tables import Tables

SWEEP_EVERY_NS = 60_000_000_000
_SEEN_RUNNING_NS = (
    60_000_000_000  # after how much silence being alive is noted: while something should be recorded, and while not
)
_SEEN_IDLE_NS = 3_600_000_000_000


class RingLedger:
    """The ledger of one ring."""

    def __init__(self, *, clock: Clock) -> None:
        self._book = Book(clock)
        self._next_sweep_ns = 0
        self.keeper = Keeper(self._book)
        self.queries = Queries(self._book)
        self.on_vanished = self._book.on_vanished

    @property
    def book(self) -> Book:
        """For what rebuilds a ledger (`adopting`)."""
        return self._book

    @property
    def tables(self) -> Tables:
        return self._book.tables

    # --- the store's side (border.Ledger) -----------------------------------------------------------------

    def attach(self, store: SlotView) -> None:
        self._book.store = store
        self._book.tables.limit(store.ledger_bytes)

    def tick(self) -> None:
        """Once per commit tick: looks at the clock, and once a minute at retention and quotas."""
        now = self._book.here()
        ring = self._book.tables.ring(now)
        point = self._book.tables.epochs.observe(ring, self._book.clock.realtime_ns(), self._book.clock.trust())
        if point is not None:
            self._book.do(items.EpochNoted(now, point.wall_ns, point.rate_ppb, point.trust, point.step))
        silent_ns = ring - self._book.tables.boots.last_seen_ring_ns()
        if silent_ns >= (_SEEN_RUNNING_NS if self._book.tables.runs.running() else _SEEN_IDLE_NS):
            self._book.do(items.Seen(now))
        if now.ns >= self._next_sweep_ns:
            self._next_sweep_ns = now.ns + SWEEP_EVERY_NS
            self.keeper.sweep()

    def writer_opened(self, spec: WriterSpec) -> None:
        """Enters the names of a writer's recording and tracks into the catalogue. Raises ValueError for a deleted id."""
        names = [(track.track, track.name, track.format.codec) for track in spec.tracks]
        self.writer_names(spec.recording, spec.recording_name, names, must_live=True)

    def writer_names(
        self,
        recording: uuid.UUID,
        name: str,
        tracks: Sequence[tuple[uuid.UUID, str, Codec]],
        *,
        must_live: bool = False,
    ) -> None:
        """Enters a recording and its tracks (id, name, codec). With `must_live` a deleted id is a ValueError, else it stays deleted."""
        holder = self._book.enter(recording, Kind.RECORDING, name, must_live=must_live)
        for track, track_name, codec in tracks:
            self._book.enter(track, Kind.TRACK, track_name, holder.index, codec, must_live=must_live)

    def media_written(self, update: SpanUpdate) -> None:
        recording = self._book.enter(update.recording, Kind.RECORDING, "")
        if recording.deleted:
            return
        track = self._book.enter(update.track, Kind.TRACK, "", recording.index)
        if track.deleted:
            return
        start = self._book.moment(Instant(update.boot_id, update.from_ns))
        flags = (spans.CONTINUES if update.continues else 0) | (spans.DAMAGED if update.damaged else 0)
        self._book.do(
            items.SpanGrown(
                track.index,
                update.run,
                start.boot,
                start.ns,
                max(update.to_ns, start.ns),
                update.ref.slot,
                update.ref.generation,
                update.fragment,
                update.writer_serial,
                max(-32768, min(32767, update.priority)),
                min(update.keys, 0xFFFF),
                flags,
            )
        )

    def media_withdrawn(self, ref: SlotRef, fragments: int) -> None:
        self._book.do(items.Withdrawn(ref.slot, ref.generation, fragments))

    def media_rotten(self, ref: SlotRef, fragment: int) -> None:
        self._book.do(items.Rotten(ref.slot, ref.generation, fragment))

    def media_cut(self, ref: SlotRef, fragment: int) -> None:
        self._book.do(items.Cut(ref.slot, ref.generation, fragment))

    def media_lost(
        self, recording: uuid.UUID, tracks: Iterable[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int
    ) -> None:
        self.note_gap(recording, tuple(tracks), cause, from_ns, to_ns)

    def slot_vanishes(self, ref: SlotRef) -> None:
        if self._book.tables.slots.holds(*ref):
            self._book.do(items.SlotGone(*ref))
            self._book.tell_vanished()

    def slot_closed(self, ref: SlotRef, order: int) -> None:
        if self._book.tables.slots.holds(*ref):
            self._book.do(items.SlotClosed(ref.slot, ref.generation, order))
            self.keeper.mirror_soon([ref])
            self.keeper.slot_closed(ref)

    def may_recycle(self, ref: SlotRef) -> bool:
        return self.keeper.may_recycle(ref)

    def max_slot_reach_ns(self, recording: uuid.UUID) -> int | None:
        maximum = self.keeper.rule(recording).maximum_ns
        return None if maximum is None else maximum // 8

    def epoch(self) -> int:
        return sum(1 for point in self._book.tables.epochs.points if point.step)

    def side_block(self, ref: SlotRef) -> bytes:
        return mirror.encode(self._book.tables, ref)

    def take_stale_side_blocks(self) -> Iterable[SlotRef]:
        return self.keeper.take_stale_side_blocks()

    def take_items(self) -> list[Item]:
        queue, self._book.queue = self._book.queue, []
        return queue

    def has_items(self) -> bool:
        return bool(self._book.queue)

    def apply(self, kind: int, payload: bytes) -> None:
        try:
            self._book.tables.apply(items.decode(kind, payload))
        except LookupError as error:
            raise ValueError(f"ledger item of kind {kind}: {error}") from None
        self._book.tables.vanished.clear()

    def dump(self) -> dict[int, bytes]:
        return sections.dump(self._book.tables)

    def load(self, sections_: Mapping[int, bytes]) -> None:
        self._book.tables = sections.load(sections_)
        self._book.queue = []

    def load_side_block(self, ref: SlotRef, payload: bytes) -> None:
        for record in mirror.decode(self._book.tables, payload):
            self._book.do(record)
        self.keeper.mirror_soon([ref])

    def recovered(self) -> None:
        last = self._book.tables.boots.last_seen_ring_ns()
        left_open = bool(self._book.tables.runs.running()) or any(
            g.open_from_ns is not None for g in self._book.tables.gaps.values()
        )
        known = len(self._book.tables.boots) > 0
        before = self._book.tables.moment(last) if known else None
        now = self._book.here()
        if before is not None and left_open:
            self._book.do(items.Recovered(before, now))
        self.tick()

    # --- repair -------------------------------------------------------------------------------------------

    def forget_slot(self, ref: SlotRef) -> None:
        """Takes everything of one life of a slot off the timelines, also when the ledger's own row of the slot is of another life."""
        self._book.do(items.SlotGone(*ref))

    def bury_again(self, recording: int) -> None:
        """Applies the tombstones of a recording once more."""
        for record in [r for r in self.tables.tombstones.records.values() if r.recording == recording]:
            self._book.do(record)

    # --- recording ----------------------------------------------------------------------------------------

    def start_run(
        self,
        recording: uuid.UUID,
        job: uuid.UUID,
        source: str,
        cause: RunCause,
        tracks: Sequence[uuid.UUID],
        at_ns: int,
    ) -> int:
        """Opens a run (ports.MediaStore). Raises ValueError for a deleted recording or track."""
        if len(tracks) > items.MAX_TRACKS:
            raise ValueError(f"a run of {len(tracks)} tracks; at most {items.MAX_TRACKS}")
        holder = self._book.enter(recording, Kind.RECORDING, "", must_live=True)
        members = [self._book.enter(track, Kind.TRACK, "", holder.index, must_live=True).index for track in tracks]
        activity = self._book.enter(job, Kind.JOB, "")
        run = self._book.tables.runs.next_id
        at = self._book.here(at_ns)
        self._book.do(
            items.RunStarted(
                run,
                holder.index,
                activity.index,
                at,
                cause.kind,
                cause.instant_ns,
                tuple(members),
                source,
                cause.topic,
                cause.source,
            )
        )
        return run

    def stop_run(self, run: int, at_ns: int) -> None:
        """Ends a run; one that is not running is left as it is."""
        tracks = self._book.tables.runs.running().get(run)
        if tracks is None:
            return
        self._book.do(items.RunStopped(run, self._book.here(at_ns)))
        for track in tracks:  # a slot that was closed before has a side block that does not know of the end
            spans_of = self._book.tables.spans.get(track)
            for row in spans_of.rows[-1:] if spans_of is not None else ():
                if row["run"] == run and self._book.tables.slots.rows["order"][int(row["slot"])]:
                    self.keeper.mirror_soon([SlotRef(int(row["slot"]), int(row["generation"]))])

    def note_gap(
        self, recording: uuid.UUID, tracks: Sequence[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int | None
    ) -> None:
        """Ledgers a gap (ports.MediaStore)."""
        holder = self._book.enter(recording, Kind.RECORDING, "")
        members = [self._book.enter(track, Kind.TRACK, "", holder.index) for track in tracks]
        alive = tuple(entry.index for entry in members if not entry.deleted)[: items.MAX_TRACKS]
        if holder.deleted or not alive:
            return
        stop = None if to_ns is None else self._book.here(to_ns)
        self._book.do(items.GapNoted(alive, cause, self._book.here(from_ns), stop))
