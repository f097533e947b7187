"""What the services ask of the ledger, in ids and wall time: timeline, calendar, coverage, runs."""

from __future__ import annotations

import uuid
from typing import NamedTuple

import numpy as np

from recorderd.model.causes import RunKind
from recorderd.model.stream import Codec, MediaKind
from recorderd.model.timeline import Instant, Run, RunCause, Trust
from recorderd.ring.ledger import timeline
from recorderd.ring.ledger.book import Book, NoSuchThing
from recorderd.ring.ledger.boots import MAX_RING_NS
from recorderd.ring.ledger.catalogue import NONE, Kind
from recorderd.ring.ledger.locating import Place, locate
from recorderd.ring.ledger.rows import Rows
from recorderd.ring.ledger.runs import RUNNING
from recorderd.ring.ledger.timeline import Coverage


class StoredTrack(NamedTuple):
    id: uuid.UUID
    name: str
    kind: MediaKind


class Queries:
    def __init__(self, book: Book) -> None:
        self._book = book

    def timeline(self, recording: uuid.UUID, track: uuid.UUID | None, from_ns: int, to_ns: int) -> Rows:
        """`timeline.BAR` rows in [from, to) of wall time."""
        holder, part = self._asked(recording, track)
        return timeline.timeline(self._book.tables, holder, part, from_ns, to_ns, self._book.now_ring())

    def calendar(
        self, recording: uuid.UUID, track: uuid.UUID | None, from_ns: int, to_ns: int, utc_offset_ns: int = 0
    ) -> list[tuple[int, int]]:
        holder, part = self._asked(recording, track)
        return timeline.calendar(self._book.tables, holder, part, from_ns, to_ns, utc_offset_ns)

    def coverage(self, recording: uuid.UUID, track: uuid.UUID | None, last_ns: int) -> Coverage:
        holder, part = self._asked(recording, track)
        return timeline.coverage(self._book.tables, holder, part, last_ns, self._book.now_ring())

    def newest_ns(self, recording: uuid.UUID) -> int | None:
        """Wall time of the end of the newest media of the recording; None when it holds none."""
        tables = self._book.tables
        entry = tables.catalogue.find(recording)
        if entry is None:
            return None
        rows = [
            tables.spans[track.index].rows
            for track in tables.catalogue.tracks_of(entry.index)
            if track.index in tables.spans
        ]
        ends = [int(each["to"].max()) for each in rows if len(each)]
        return tables.epochs.wall(max(ends)) if ends else None

    def oldest_ns(self) -> int | None:
        """Wall time of the oldest media of the ring; None when it holds none."""
        tables = self._book.tables
        begins = [int(table.rows["from"].min()) for table in tables.spans.values() if len(table.rows)]
        return tables.epochs.wall(min(begins)) if begins else None

    def runs(
        self,
        *,
        recording: uuid.UUID | None = None,
        job: uuid.UUID | None = None,
        kind: RunKind | None = None,
        topic: str | None = None,
        from_ns: int = 0,
        to_ns: int = MAX_RING_NS - 1,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Run]:
        """At most `limit` runs with ids above `after`, ascending, that match everything given and overlap [from, to) of wall time."""
        tables = self._book.tables
        rows = tables.runs.rows
        mask = rows["id"] > after
        for column, identity in (("recording", recording), ("job", job)):
            if identity is not None:
                entry = tables.catalogue.find(identity)
                mask &= rows[column] == (NONE if entry is None else entry.index)
        if kind is not None:
            mask &= rows["kind"] == kind
        if topic is not None:
            wanted = [i for i, text in enumerate(tables.runs.texts.values) if text == topic]
            mask &= rows["topic"] == (wanted[0] if wanted else NONE)
        rows = rows[mask]
        if len(rows):
            start = tables.epochs.to_wall(rows["from"])
            stop = tables.epochs.to_wall(rows["to"])
            rows = rows[(start < to_ns) & (stop > from_ns)]
        return [self._as_run(rows[at]) for at in range(min(limit, len(rows)))]

    def run(self, run: int) -> Run:
        row = self._book.tables.runs.get(run)
        if row is None:
            raise NoSuchThing(f"there is no run {run}")
        return self._as_run(row)

    def wall(self, instant: Instant) -> int:
        """Wall time of a stored moment, ns since 1970. Raises UnknownBoot."""
        return self._book.tables.epochs.wall(self._book.tables.boots.ring_of(instant))

    def trust(self, instant: Instant) -> Trust:
        return Trust(int(self._book.tables.epochs.trust_at(self._book.tables.boots.ring_of(instant))))

    def locate(self, recording: uuid.UUID, track: uuid.UUID | None, at_ns: int) -> Place | None:
        """The span that holds wall time `at_ns`, or the nearest one; of a recording its first video track, else its first track."""
        holder, part = self._asked(recording, track)
        tables = self._book.tables
        candidates = [tables.catalogue[part]] if part is not None else tables.catalogue.tracks_of(holder)
        candidates.sort(key=lambda entry: entry.codec not in ("", *(c for c in Codec if c.kind is MediaKind.VIDEO)))
        for entry in candidates:
            found = locate(tables, entry.index, at_ns)
            if found is not None:
                return found
        return None

    def find_recording(self, text: str) -> uuid.UUID | None:
        """The living recording with this id or name."""
        return self._find(text, Kind.RECORDING, NONE)

    def find_track(self, recording: uuid.UUID, text: str) -> uuid.UUID | None:
        return self._find(text, Kind.TRACK, self._book.known(recording, Kind.RECORDING).index)

    def _find(self, text: str, kind: Kind, parent: int) -> uuid.UUID | None:
        living = [e for e in self._book.tables.catalogue.of_kind(kind) if not e.deleted and e.parent == parent]
        named = [entry.id for entry in living if text and entry.name == text]
        return named[-1] if named else next((entry.id for entry in living if str(entry.id) == text.lower()), None)

    def tracks(self, recording: uuid.UUID) -> list[StoredTrack]:
        """The recording's living tracks that hold media or did; none for a recording the ring does not know."""
        entry = self._book.tables.catalogue.find(recording)
        if entry is None:
            return []
        found = self._book.tables.catalogue.tracks_of(entry.index)
        return [StoredTrack(t.id, t.name, Codec(t.codec).kind) for t in found if not t.deleted and t.codec]

    def name(self, identity: uuid.UUID) -> str:
        """The name an id was last known by; empty when it has none."""
        entry = self._book.tables.catalogue.find(identity)
        return "" if entry is None else entry.name

    def _as_run(self, row: np.void) -> Run:
        tables = self._book.tables
        texts = tables.runs.texts.values
        cause = RunCause(
            RunKind(int(row["kind"])), texts[int(row["topic"])], texts[int(row["origin"])], int(row["instant"])
        )
        return Run(
            int(row["id"]),
            tables.catalogue[int(row["recording"])].id,
            tables.catalogue[int(row["job"])].id,
            texts[int(row["source"])],
            cause,
            tuple(tables.catalogue[t].id for t in tables.runs.track_sets.values[int(row["tracks"])]),
            tables.boots.instant(int(row["from"])),
            None if row["to"] == RUNNING else tables.boots.instant(int(row["to"])),
        )

    def _asked(self, recording: uuid.UUID, track: uuid.UUID | None) -> tuple[int, int | None]:
        holder = self._book.known(recording, Kind.RECORDING)
        return holder.index, None if track is None else self._book.known(track, Kind.TRACK, holder.index).index
