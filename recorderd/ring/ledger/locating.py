"""Which span holds a moment of wall time, or lies nearest to it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np

from recorderd.model.timeline import Instant
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger.tables import Tables
from recorderd.ring.ledger.timeline import in_wall_time, rank_of

_NEAR_NS = 3_600_000_000_000
_ALL_NS = 1 << 61


@dataclass(frozen=True, slots=True)
class Place:
    """Media from `start` to `stop` in one slot. `at` is the moment asked for, or the end of the span that is nearest to it."""

    track: uuid.UUID
    ref: SlotRef
    first: int
    count: int
    start: Instant
    stop: Instant
    at: Instant
    inside: bool
    run: int


def locate(tables: Tables, track: int, at_ns: int) -> Place | None:
    """The span of a track at wall time `at_ns`; None when the track holds nothing. Looks near first, then everywhere."""
    for reach in (_NEAR_NS, _ALL_NS):
        found = _locate(tables, track, at_ns, max(0, at_ns - reach), min(at_ns + reach, _ALL_NS))
        if found is not None:
            return found
    return None


def _locate(tables: Tables, track: int, at_ns: int, low: int, high: int) -> Place | None:
    table = tables.spans.get(track)
    pieces = tables.epochs.pieces(low, high)
    if table is None or not len(table) or not pieces:
        return None
    rows = table.rows[table.table.near(pieces[0].start_ns, max(piece.stop_ns for piece in pieces))]
    wall, ring = in_wall_time(tables, rows["from"], rows["to"], low, high)
    if not len(wall):
        return None
    distance = np.maximum(np.maximum(wall.start - at_ns, at_ns - (wall.stop - 1)), 0)
    nearest = np.flatnonzero(distance == distance.min())
    best = nearest[np.argmax(rank_of(rows, wall.row, ring.start)[nearest])]
    row = rows[wall.row[best]]
    start = int(tables.epochs.to_wall(ring.start[best]))
    moment = min(max(int(ring.start[best]) + at_ns - start, int(ring.start[best])), int(ring.stop[best]) - 1)
    return Place(
        tables.catalogue[track].id,
        SlotRef(int(row["slot"]), int(row["generation"])),
        int(row["first"]),
        int(row["count"]),
        tables.boots.instant(int(ring.start[best])),
        tables.boots.instant(int(ring.stop[best])),
        tables.boots.instant(moment),
        bool(distance[best] == 0),
        int(row["run"]),
    )
