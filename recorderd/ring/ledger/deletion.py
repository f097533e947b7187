"""Deleting a recording, a track, a run or a range: what becomes of it, and when it is refused (format.md section 13)."""

from __future__ import annotations

from dataclasses import dataclass

from recorderd.ring.border import SlotRef
from recorderd.ring.ledger.items import NO_TRACK, Buried
from recorderd.ring.ledger.ranges import Ranges, intersect, union
from recorderd.ring.ledger.spans import SpanTable
from recorderd.ring.ledger.tables import Tables


class DeletionRefused(Exception):
    """Locked data cannot be deleted; `locks` are the ids of the locks that keep it."""

    def __init__(self, locks: tuple[int, ...]) -> None:
        super().__init__("locked data cannot be deleted; kept by lock " + ", ".join(map(str, locks)))
        self.locks = locks


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a deletion did. Nothing of it can be read from the reply on.

    `freed` slots held nothing else: their heads are overwritten soon, so that a disk taken out does not play them. `partial` slots hold
    other media too and keep the deleted bytes until they are recycled, unless scrubbed.
    """

    tombstone: int
    ranges: tuple[tuple[int, int, int], ...]  # (track, from, to): catalogue index, ring time
    freed: tuple[SlotRef, ...]
    partial: tuple[SlotRef, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What to delete: everything of `recording`, or of `track`, or of `run`, limited to `ranges` of ring time."""

    recording: int
    track: int | None
    run: int | None
    ranges: Ranges


def affected(tables: Tables, target: Target) -> list[tuple[int, SpanTable]]:
    """(track, spans) of the tracks that the target touches."""
    return [
        (entry.index, tables.spans[entry.index])
        for entry in tables.catalogue.tracks_of(target.recording)
        if entry.index in tables.spans and target.track in (None, entry.index)
    ]


def media_in(target: Target, spans: SpanTable) -> Ranges:
    """The ranges of media that the target takes from one track."""
    rows = spans.rows
    if target.run is not None:
        rows = rows[rows["run"] == target.run]
    held = zip(rows["from"].tolist(), rows["to"].tolist(), strict=True)
    return intersect(held, target.ranges)


def check_locks(tables: Tables, target: Target) -> None:
    """Raises DeletionRefused when a lock covers media of the target."""
    keeping: set[int] = set()
    for track, spans in affected(tables, target):
        media = media_in(target, spans)
        if not media:
            continue
        for lock in tables.locks.values():
            mine = lock.recording == target.recording and (not lock.tracks or track in lock.tracks)
            if mine and intersect(media, tables.lock_ranges(lock)):
                keeping.add(lock.lock)
    if keeping:
        raise DeletionRefused(tuple(sorted(keeping)))


def slots_of(tables: Tables, target: Target) -> set[SlotRef]:
    """The slots that hold media of the target."""
    found: set[SlotRef] = set()
    for _, spans in affected(tables, target):
        rows = spans.rows
        if target.run is not None:
            rows = rows[rows["run"] == target.run]
        for start, stop in union(target.ranges):
            hit = rows[(rows["to"] > start) & (rows["from"] < stop)]
            found.update(SlotRef(int(s), int(g)) for s, g in zip(hit["slot"], hit["generation"], strict=True))
    return found


def tombstone(tables: Tables, target: Target) -> Buried:
    """The record that buries the target."""
    track = NO_TRACK if target.track is None else target.track
    pieces = tables.stored_ranges(target.ranges)
    return Buried(tables.tombstones.next_id, target.recording, track, target.run or 0, pieces)
