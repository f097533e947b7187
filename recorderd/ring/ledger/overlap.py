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
    """A row of the span table, within the wall time asked for."""

    disk: int
    row: np.void
    source: int  # text of its run; -1 when the run is not known
    wall_start: int
    wall_stop: int
    ring_start: int
    ring_stop: int

    def instant(self, tables: Tables, wall_ns: int) -> Instant:
        return tables.boots.instant(self.ring_start + wall_ns - self.wall_start)


@dataclass(slots=True)
class _Stream:
    """Rows in which one stream goes on without a break. A row may begin with pictures shown before the last ones of the row before."""

    parts: list[_Part]
    wall_start: int
    wall_stop: int


_Turn = tuple[int, int, _Stream]  # wall time, [start, stop)


def extents(
    disks: Sequence[tuple[uuid.UUID, Tables]], track: uuid.UUID, wall_from_ns: int, wall_to_ns: int, key_after: KeyAfter
) -> Iterator[Extent]:
    """The extents of a track in [from, to), ascending in wall time; disks in rising precedence for equal rank.

    They are disjoint, except that the last pictures of one may be shown after the first ones of the next where a stream reorders them.
    """
    streams = _streams(_parts(disks, track, wall_from_ns, wall_to_ns))
    firsts = [stream.parts[0] for stream in streams]
    ranked = sorted(
        range(len(streams)),
        key=lambda i: (int(firsts[i].row["priority"]), int(firsts[i].row["run"]), firsts[i].ring_start, firsts[i].disk),
    )
    rank = np.empty(len(streams), np.int64)
    rank[ranked] = np.arange(len(streams))
    start = np.array([stream.wall_start for stream in streams], np.int64)
    stop = np.array([stream.wall_stop for stream in streams], np.int64)
    won = flatten(start, stop, rank)
    turns = [(int(a), int(b), streams[int(i)]) for a, b, i in zip(won.start, won.stop, won.row, strict=True)]
    return _placed(disks, track, _at_key_frames(disks, track, turns, key_after))


def _parts(
    disks: Sequence[tuple[uuid.UUID, Tables]], track: uuid.UUID, wall_from_ns: int, wall_to_ns: int
) -> list[_Part]:
    parts: list[_Part] = []
    for number, (_, tables) in enumerate(disks):
        entry = tables.catalogue.find(track)
        if entry is None or entry.deleted:
            continue
        rows = rows_between(tables, entry.index, wall_from_ns, wall_to_ns).copy()
        sources = tables.runs.sources_of(rows["run"])
        wall, ring = in_wall_time(tables, rows["from"], rows["to"], wall_from_ns, wall_to_ns)
        for at in range(len(wall)):
            wall_start, wall_stop = int(wall.start[at]), int(wall.stop[at])
            begin, end = tables.epochs.wall(int(ring.start[at])), tables.epochs.wall(int(ring.stop[at]) - 1) + 1
            parts.append(
                _Part(
                    number,
                    rows[wall.row[at]],
                    int(sources[wall.row[at]]),
                    wall_start,
                    wall_stop,
                    int(ring.start[at]) + max(0, wall_start - begin),
                    int(ring.stop[at]) - max(0, end - wall_stop),
                )
            )
    return parts


def _streams(parts: Sequence[_Part]) -> list[_Stream]:
    """The parts, strung together where one goes on with the stream of another."""
    streams: list[_Stream] = []
    newest: dict[tuple[int, int, int], _Stream] = {}  # by disk, source and priority
    for part in sorted(parts, key=lambda each: (each.disk, each.ring_start)):
        key = (part.disk, part.source, int(part.row["priority"]))
        before = newest.get(key)
        if before is not None and _goes_on(before.parts[-1], part):
            before.parts.append(part)
            before.wall_stop = max(before.wall_stop, part.wall_stop)
        else:
            newest[key] = _Stream([part], part.wall_start, part.wall_stop)
            streams.append(newest[key])
    return streams


def _goes_on(part: _Part, following: _Part) -> bool:
    """Whether the later row, of the same source, goes on with the stream of the earlier one: what both cover is due to reordering.

    A run that begins inside a GOP goes on with the stream of the run before.
    """
    one = part.row["run"] == following.row["run"] or bool(following.row["flags"] & spans.CONTINUES)
    return one and 0 <= part.wall_stop - following.wall_start <= _REORDER_NS


def _at_key_frames(
    disks: Sequence[tuple[uuid.UUID, Tables]], track: uuid.UUID, turns: Sequence[_Turn], key_after: KeyAfter
) -> list[_Turn]:
    """Moves every change of source to a key frame of the source that takes over."""
    result: list[_Turn] = []
    for start, stop, stream in turns:
        before = result[-1] if result else None
        if before is not None and before[2] is stream and before[1] >= start:
            result[-1] = (before[0], stop, stream)  # whoever was to take over had no key frame
            continue
        begin = start
        if start > stream.wall_start or (before is not None and before[1] == start and before[2].wall_stop > start):
            begin = _first_key(disks, track, start, stop, stream, key_after)
            if before is not None and before[1] == start and before[2].wall_stop > start:
                result[-1] = (before[0], min(begin, before[2].wall_stop), before[2])
        if begin < stop:
            result.append((begin, stop, stream))
    return result


def _first_key(
    disks: Sequence[tuple[uuid.UUID, Tables]],
    track: uuid.UUID,
    start: int,
    stop: int,
    stream: _Stream,
    key_after: KeyAfter,
) -> int:
    """Wall time of the stream's first key frame in [start, stop); `stop` when there is none."""
    for part in stream.parts:
        if part.wall_stop <= start:
            continue
        if part.wall_start >= stop:
            break
        disk_id, tables = disks[part.disk]
        since = max(start, part.wall_start)
        here = part.instant(tables, since)
        key = key_after(disk_id, SlotRef(int(part.row["slot"]), int(part.row["generation"])), track, here)
        if key is not None and since + max(0, key.ns - here.ns) < min(stop, part.wall_stop):
            return since + max(0, key.ns - here.ns)
    return stop


def _placed(disks: Sequence[tuple[uuid.UUID, Tables]], track: uuid.UUID, turns: Sequence[_Turn]) -> Iterator[Extent]:
    before: Extent | None = None
    for begin, end, stream in turns:
        for part in stream.parts:
            start, stop = max(begin, part.wall_start), min(end, part.wall_stop)
            if start >= stop:
                continue
            disk_id, tables = disks[part.disk]
            row = part.row
            extent = Extent(
                disk=disk_id,
                track=track,
                ref=SlotRef(int(row["slot"]), int(row["generation"])),
                first=int(row["first"]),
                count=int(row["count"]),
                start=part.instant(tables, start),
                stop=tables.boots.instant(part.ring_stop - (part.wall_stop - stop)),
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
