"""The span iterator: what to play of a track, in wall time, one source at a time (format.md section 11).

Writers, slots and disks are merged by one rule: at equal time the span of higher (job priority, write order) wins, from a key frame
of the winner on. Until that key frame the other one goes on, if it still has media; else there is nothing until then.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recorderd.model.timeline import Instant
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger import spans
from recorderd.ring.ledger.intervals import flatten
from recorderd.ring.ledger.tables import Tables
from recorderd.ring.ledger.timeline import in_wall_time, rows_between

_REORDER_NS = 1_000_000_000  # more than any stream reorders its pictures by

# (disk, slot, track, boot time) -> boot time of the first key frame of that slot's life at or after it; None when there is none.
KeyAfter = Callable[[uuid.UUID, SlotRef, uuid.UUID, Instant], Instant | None]


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of one track in one slot: read the samples from `start` up to `stop`, which lie in fragments first .. first+count-1.

    Fragments may hold more than the extent; what lies outside [start, stop) was deleted, has expired or belongs to another source's turn.
    """

    disk: uuid.UUID
    track: uuid.UUID
    ref: SlotRef
    first: int
    count: int
    start: Instant
    stop: Instant
    wall_start_ns: int
    wall_stop_ns: int
    run: int
    earliest: (
        Instant  # what a decoder's lead-in may reach back to: before it lies deleted media, another run, or nothing
    )
    continues: bool  # begins inside a GOP: its start is not decodable without what came before
    follows: bool  # goes on where the extent before it, of the same run, ended


@dataclass(frozen=True, slots=True)
class _Part:
    disk: int
    row: np.void
    wall_start: int
    wall_stop: int
    ring_start: int
    ring_stop: int


def extents(
    disks: Sequence[tuple[uuid.UUID, Tables]], track: uuid.UUID, wall_from_ns: int, wall_to_ns: int, key_after: KeyAfter
) -> Iterator[Extent]:
    """The extents of a track in [from, to), ascending in wall time and disjoint; disks in rising precedence for equal rank."""
    parts: list[_Part] = []
    for number, (_, tables) in enumerate(disks):
        entry = tables.catalogue.find(track)
        if entry is None or entry.deleted:
            continue
        rows = rows_between(tables, entry.index, wall_from_ns, wall_to_ns).copy()
        wall, ring = in_wall_time(tables, rows["from"], rows["to"], wall_from_ns, wall_to_ns)
        for at in range(len(wall)):
            wall_start, wall_stop = int(wall.start[at]), int(wall.stop[at])
            begin, end = tables.epochs.wall(int(ring.start[at])), tables.epochs.wall(int(ring.stop[at]) - 1) + 1
            parts.append(
                _Part(
                    number,
                    rows[wall.row[at]],
                    wall_start,
                    wall_stop,
                    int(ring.start[at]) + max(0, wall_start - begin),
                    int(ring.stop[at]) - max(0, end - wall_stop),
                )
            )
    ranked = sorted(
        range(len(parts)),
        key=lambda i: (int(parts[i].row["priority"]), int(parts[i].row["run"]), parts[i].ring_start, parts[i].disk),
    )
    rank = np.empty(len(parts), np.int64)
    rank[ranked] = np.arange(len(parts))
    start = np.array([part.wall_start for part in parts], np.int64)
    stop = np.array([part.wall_stop for part in parts], np.int64)
    won = flatten(start, stop, rank)
    turns = [(int(a), int(b), parts[int(i)]) for a, b, i in zip(won.start, won.stop, won.row, strict=True)]
    return _placed(disks, track, _at_key_frames(disks, track, turns, key_after))


def _at_key_frames(
    disks: Sequence[tuple[uuid.UUID, Tables]],
    track: uuid.UUID,
    turns: list[tuple[int, int, _Part]],
    key_after: KeyAfter,
) -> list[tuple[int, int, _Part]]:
    """Moves every change of source to a key frame of the source that takes over."""
    result: list[tuple[int, int, _Part]] = []
    for start, stop, part in turns:
        before = result[-1] if result else None
        if before is not None and before[2] is part and before[1] >= start:
            result[-1] = (before[0], stop, part)  # whoever was to take over had no key frame
            continue
        if _takes_over(before, start, part):
            disk_id, tables = disks[part.disk]
            ref = SlotRef(int(part.row["slot"]), int(part.row["generation"]))
            here = tables.boots.instant(part.ring_start + start - part.wall_start)
            key = key_after(disk_id, ref, track, here)
            begin = stop if key is None else start + max(0, key.ns - here.ns)
            if before is not None and before[1] == start and before[2].wall_stop > start:
                result[-1] = (before[0], min(begin, stop, before[2].wall_stop), before[2])
            start = begin
        if start < stop:
            result.append((start, stop, part))
    return result


def _takes_over(before: tuple[int, int, _Part] | None, start: int, part: _Part) -> bool:
    """Whether media of another source is cut to give way here, or this source begins somewhere inside its own media."""
    if start > part.wall_start:
        return True
    if before is None or before[1] != start or before[2].row["run"] == part.row["run"]:
        return False
    beyond = before[2].wall_stop - start
    # A run that begins inside a GOP goes on with the stream of the one before: its first pictures may be shown before the last of that.
    goes_on = bool(part.row["flags"] & spans.CONTINUES) and beyond <= _REORDER_NS
    return beyond > 0 and not goes_on


def _placed(
    disks: Sequence[tuple[uuid.UUID, Tables]], track: uuid.UUID, turns: list[tuple[int, int, _Part]]
) -> Iterator[Extent]:
    before: Extent | None = None
    for start, stop, part in turns:
        disk_id, tables = disks[part.disk]
        row = part.row
        begin, end = part.ring_start + start - part.wall_start, part.ring_stop - (part.wall_stop - stop)
        extent = Extent(
            disk=disk_id,
            track=track,
            ref=SlotRef(int(row["slot"]), int(row["generation"])),
            first=int(row["first"]),
            count=int(row["count"]),
            start=tables.boots.instant(begin),
            stop=tables.boots.instant(end),
            wall_start_ns=start,
            wall_stop_ns=stop,
            run=int(row["run"]),
            earliest=tables.boots.instant(int(row["from"])),
            continues=bool(row["flags"] & spans.CONTINUES) and start == part.wall_start,
            follows=False,
        )
        if before is not None and before.run == extent.run and start - before.wall_stop_ns <= spans.TOUCH_NS:
            extent = replace(extent, follows=row["cause"] == spans.NO_GAP)
        before = extent
        yield extent
