"""The timeline in wall time: recorded stretches by run kind, gaps with their causes, nothing where nothing was to be recorded.

Answers are numpy tables (`BAR`), because 30 days of 16 cameras are tens of thousands of bars; `bars` turns a page of them into objects.
"""

from __future__ import annotations

import uuid
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.timeline import Bar, Trust
from recorderd.ring.ledger import spans
from recorderd.ring.ledger.gaps import GAP, LIVE_LAG_NS
from recorderd.ring.ledger.intervals import Intervals, Times, covering, flatten, join, split_at, subtract
from recorderd.ring.ledger.ranges import Ranges, intersect
from recorderd.ring.ledger.rows import Rows
from recorderd.ring.ledger.tables import Tables

BAR = np.dtype(
    [
        ("start", "<i8"),  # wall ns since 1970
        ("stop", "<i8"),
        ("run", "<i8"),  # of the first run in the bar; 0 in gaps
        ("kind", "i1"),  # RunKind, -1 in gaps and where the run is no longer known
        ("cause", "<i2"),  # GapCause, -1 in recorded stretches
        ("trust", "i1"),
        ("flags", "u1"),  # spans.MERGED
    ]
)

_SAME_NS = 50_000_000  # runs closer than this follow each other without a break
DAY_NS = 86_400_000_000_000


class Coverage(NamedTuple):
    """Of `due_ns` that should have been recorded, `recorded_ns` were."""

    due_ns: int
    recorded_ns: int


def timeline(
    tables: Tables, recording: int, track: int | None, wall_from_ns: int, wall_to_ns: int, now_ring_ns: int
) -> Rows:
    """`BAR` rows, ascending by start, of a track (catalogue index), or of all tracks of the recording taken together for None."""
    recorded = _recorded(tables, recording, track, wall_from_ns, wall_to_ns)
    gaps = _gaps(tables, recording, track, wall_from_ns, wall_to_ns, now_ring_ns, recorded)
    both = np.concatenate((recorded, gaps))
    found: Rows = both[np.argsort(both["start"], kind="stable")]
    return found


def bars(rows: Rows, track: uuid.UUID) -> list[Bar]:
    """The rows as objects."""
    return [
        Bar(
            track,
            start,
            stop,
            run or None,
            RunKind(kind) if kind >= 0 else None,
            GapCause(cause) if cause >= 0 else None,
            Trust(trust),
        )
        for start, stop, run, kind, cause, trust, _ in rows.tolist()
    ]


def recorded_stretches(rows: Rows) -> list[tuple[int, int]]:
    """[start, stop) of wall time of the rows that are no gaps, ascending."""
    recorded = rows[rows["cause"] < 0]
    return list(zip(recorded["start"].tolist(), recorded["stop"].tolist(), strict=True))


def coverage(tables: Tables, recording: int, track: int | None, last_ns: int, now_ring_ns: int) -> Coverage:
    """How much of what was due in the newest `last_ns` was recorded."""
    now = tables.epochs.wall(now_ring_ns)
    found = timeline(tables, recording, track, now - last_ns, now, now_ring_ns)
    length = found["stop"] - found["start"]
    recorded = int(length[found["cause"] < 0].sum())
    return Coverage(recorded + int(length[found["cause"] >= 0].sum()), recorded)


def calendar(
    tables: Tables, recording: int, track: int | None, wall_from_ns: int, wall_to_ns: int, utc_offset_ns: int = 0
) -> list[tuple[int, int]]:
    """(start of the day in wall ns, nanoseconds recorded) of every day with data; days begin at midnight `utc_offset_ns` east of UTC."""
    recorded = _recorded(tables, recording, track, wall_from_ns, wall_to_ns)
    if not len(recorded):
        return []
    start, stop = recorded["start"] + utc_offset_ns, recorded["stop"] + utc_offset_ns
    midnights = np.arange(int(start.min()) // DAY_NS, int(stop.max()) // DAY_NS + 2, dtype=np.int64) * DAY_NS
    parts = split_at(start, stop, midnights)
    days, number = np.unique(parts.start // DAY_NS, return_inverse=True)
    length = np.zeros(len(days), np.int64)
    np.add.at(length, number, parts.stop - parts.start)
    return [(int(day) * DAY_NS - utc_offset_ns, int(ns)) for day, ns in zip(days, length, strict=True)]


def _tracks(tables: Tables, recording: int, track: int | None) -> list[int]:
    return [track] if track is not None else [entry.index for entry in tables.catalogue.tracks_of(recording)]


def rows_between(tables: Tables, track: int, wall_from_ns: int, wall_to_ns: int) -> Rows:
    """The span rows whose wall time may overlap [from, to): all between the first and the last matching moment."""
    table = tables.spans.get(track)
    pieces = tables.epochs.pieces(wall_from_ns, wall_to_ns)
    if table is None or not pieces:
        return np.zeros(0, spans.SPAN)
    return table.rows[table.table.near(pieces[0].start_ns, max(piece.stop_ns for piece in pieces))]


def in_wall_time(
    tables: Tables, start: Times, stop: Times, wall_from_ns: int, wall_to_ns: int
) -> tuple[Intervals, Intervals]:
    """(wall, ring) intervals of media, cut where the clock jumped, limited to [from, to) of wall time."""
    ring = split_at(np.ascontiguousarray(start), np.ascontiguousarray(stop), tables.epochs.jumps)
    return _limited(tables, ring, wall_from_ns, wall_to_ns)


def gaps_in_wall_time(
    tables: Tables, start: Times, stop: Times, wall_from_ns: int, wall_to_ns: int
) -> tuple[Intervals, Intervals]:
    """The same for what is not media: it includes the time between two boots, in which nobody counted, where the dates allow."""
    ring = split_at(start, stop, tables.epochs.steps)
    backwards = tables.epochs.to_wall(ring.stop - 1) < tables.epochs.to_wall(ring.start)
    if backwards.any():
        cut = split_at(ring.start[backwards], ring.stop[backwards], tables.epochs.jumps)
        ring = Intervals(
            np.concatenate((ring.start[~backwards], cut.start)),
            np.concatenate((ring.stop[~backwards], cut.stop)),
            np.concatenate((ring.row[~backwards], ring.row[backwards][cut.row])),
        )
    return _limited(tables, ring, wall_from_ns, wall_to_ns)


def _limited(tables: Tables, ring: Intervals, wall_from_ns: int, wall_to_ns: int) -> tuple[Intervals, Intervals]:
    wall_start = tables.epochs.to_wall(ring.start)
    wall_stop = tables.epochs.to_wall(ring.stop - 1) + 1
    begins, ends = np.maximum(wall_start, wall_from_ns), np.minimum(wall_stop, wall_to_ns)
    held = begins < ends
    if held.all():
        return Intervals(begins, ends, ring.row), ring
    kept = Intervals(ring.start[held], ring.stop[held], ring.row[held])
    return Intervals(begins[held], ends[held], ring.row[held]), kept


def _recorded(tables: Tables, recording: int, track: int | None, wall_from_ns: int, wall_to_ns: int) -> Rows:
    parts = [rows_between(tables, each, wall_from_ns, wall_to_ns) for each in _tracks(tables, recording, track)]
    rows = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.zeros(0, spans.SPAN)])
    if not len(rows):
        return np.zeros(0, BAR)
    rows = _strung_together(rows)
    wall, ring = in_wall_time(tables, rows["from"], rows["to"], wall_from_ns, wall_to_ns)
    if not len(wall):
        return np.zeros(0, BAR)
    run = rows["run"][wall.row]
    won = flatten(wall.start, wall.stop, rank_of(rows, wall.row, ring.start))
    kind = tables.runs.kinds_of(run)[won.row]
    run = run[won.row]
    row = wall.row[won.row]
    noted = (rows["cause"][row] != spans.NO_GAP) & (won.start == wall.start[won.row])
    distance = won.start[1:] - won.stop[:-1]
    near = np.where(run[1:] == run[:-1], spans.TOUCH_NS, _SAME_NS)
    goes_on = (kind[1:] == kind[:-1]) & (distance <= near) & ~noted[1:]
    first = np.flatnonzero(np.append(True, ~goes_on))
    last = np.append(first[1:] - 1, won.start.size - 1)
    found = np.zeros(len(first), BAR)
    found["start"], found["stop"] = won.start[first], won.stop[last]
    found["run"], found["kind"], found["cause"] = run[first], kind[first], -1
    found["trust"] = tables.epochs.trust_at(ring.start[won.row[first]])
    found["flags"] = np.bitwise_or.reduceat(rows["flags"][row] & spans.MERGED, first)
    return found


def _strung_together(rows: Rows) -> Rows:
    """The rows with neighbours of one run joined that follow each other without a gap: usually a slot's end and the next one's start."""
    start, stop, run = rows["from"], rows["to"], rows["run"]
    distance = start[1:] - stop[:-1]
    goes_on = (distance >= 0) & (distance <= spans.TOUCH_NS)
    goes_on &= (run[1:] == run[:-1]) & (rows["cause"][1:] == spans.NO_GAP)
    goes_on &= rows["priority"][1:] == rows["priority"][:-1]
    first = np.flatnonzero(np.append(True, ~goes_on))
    if len(first) == len(rows):
        return rows
    joined: Rows = rows[first]
    joined["to"] = stop[np.append(first[1:] - 1, len(rows) - 1)]
    joined["flags"] = np.bitwise_or.reduceat(rows["flags"], first)
    return joined


def rank_of(rows: Rows, row: npt.NDArray[np.intp], ring_start: Times) -> Times:
    """Unique numbers, higher for what wins at equal time: job priority, then write order (the later run, then the later moment)."""
    order = np.lexsort((ring_start, rows["run"][row], rows["priority"][row]))
    rank = np.empty(len(row), np.int64)
    rank[order] = np.arange(len(row))
    return rank


def _gaps(
    tables: Tables,
    recording: int,
    track: int | None,
    wall_from_ns: int,
    wall_to_ns: int,
    now_ring_ns: int,
    recorded: Rows,
) -> Rows:
    """What was due and is not recorded, with its causes."""
    noted = _noted(tables, recording, track, now_ring_ns)
    runs = tables.runs.of_track(recording, track)
    run_stop = np.minimum(runs["to"], _live_edges(tables, recording, track, runs, now_ring_ns))
    active = runs["from"] < run_stop
    run_start, run_stop = _without(tables, recording, track, runs["from"][active], run_stop[active])
    due_ring_start = np.concatenate((run_start, noted["from"]))
    due_ring_stop = np.concatenate((run_stop, noted["to"]))
    due, due_ring = gaps_in_wall_time(tables, due_ring_start, due_ring_stop, wall_from_ns, wall_to_ns)
    start, stop = subtract(*join(due.start, due.stop), *join(recorded["start"], recorded["stop"]))
    if not start.size:
        return np.zeros(0, BAR)
    noted_wall, _ = gaps_in_wall_time(tables, noted["from"], noted["to"], wall_from_ns, wall_to_ns)
    why = flatten(noted_wall.start, noted_wall.stop, np.arange(len(noted_wall)))
    cause = noted["cause"][noted_wall.row[why.row]].astype(np.int16)
    edges = np.unique(np.concatenate((start, stop, why.start, why.stop)))
    low, high = edges[:-1], edges[1:]
    hole = covering(low, start, stop)
    inside = hole >= 0
    low, high, hole = low[inside], high[inside], hole[inside]
    by = covering(low, why.start, why.stop)
    label = np.full(low.size, -1, np.int16)
    label[by >= 0] = cause[by[by >= 0]]
    found = _gap_bars(low, high, hole, _absorb(low, high, hole, label))
    order = np.argsort(due.start, kind="stable")
    source = order[np.searchsorted(due.start[order], found["start"], "right") - 1]
    found["trust"] = tables.epochs.trust_at(due_ring.start[source])
    return found


def _without(tables: Tables, recording: int, track: int | None, start: Times, stop: Times) -> tuple[Times, Times]:
    """The runs less what was recycled, has expired or was deleted on every track asked about."""
    shared: Ranges | None = None
    for each in _tracks(tables, recording, track):
        mine = tables.not_due(recording, each)
        shared = mine if shared is None else intersect(shared, mine)
    holes = np.array(shared or [], np.int64).reshape(-1, 2)
    return subtract(*join(start, stop), holes[:, 0], holes[:, 1])


def _absorb(low: Times, high: Times, hole: npt.NDArray[np.intp], label: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Gives short unexplained slivers the cause beside them; those alone become -2, to be left out; the long ones are UNKNOWN."""
    label = label.copy()
    sliver = (label < 0) & (high - low <= spans.TOUCH_NS)
    label[(label < 0) & ~sliver] = GapCause.UNKNOWN
    for at in np.flatnonzero(sliver).tolist():
        after = at + 1 < low.size and hole[at + 1] == hole[at]
        before = at > 0 and hole[at - 1] == hole[at] and label[at - 1] >= 0
        label[at] = label[at + 1] if after and label[at + 1] >= 0 else label[at - 1] if before else -2
    return label


def _gap_bars(low: Times, high: Times, hole: npt.NDArray[np.intp], label: npt.NDArray[np.int16]) -> Rows:
    kept = label >= 0
    low, high, hole, label = low[kept], high[kept], hole[kept], label[kept]
    if not low.size:
        return np.zeros(0, BAR)
    goes_on = (hole[1:] == hole[:-1]) & (label[1:] == label[:-1]) & (low[1:] == high[:-1])
    first = np.flatnonzero(np.append(True, ~goes_on))
    last = np.append(first[1:] - 1, low.size - 1)
    found = np.zeros(len(first), BAR)
    found["start"], found["stop"] = low[first], high[last]
    found["kind"], found["cause"] = -1, label[first]
    return found


def _noted(tables: Tables, recording: int, track: int | None, now_ring_ns: int) -> Rows:
    """All noted gaps, ascending, the open ones reaching to now."""
    parts = [np.zeros(0, GAP)]
    for each in _tracks(tables, recording, track):
        gaps = tables.gaps.get(each)
        if gaps is None:
            continue
        parts.append(gaps.table.rows)
        if gaps.open_from_ns is not None and gaps.open_from_ns < now_ring_ns:
            last = np.zeros(1, GAP)
            last["from"], last["to"], last["cause"] = gaps.open_from_ns, now_ring_ns, gaps.open_cause
            parts.append(last)
    merged = np.concatenate(parts)
    found: Rows = merged[np.argsort(merged["from"], kind="stable")]
    return found


def _live_edges(tables: Tables, recording: int, track: int | None, runs: Rows, now_ring_ns: int) -> Times:
    """Up to where each running run is due: what is not durable yet is no gap unless it stays away."""
    newest = 0
    for each in _tracks(tables, recording, track):
        table = tables.spans.get(each)
        if table is not None and len(table):
            newest = max(newest, int(table.table.reach()[-1]))
        gaps = tables.gaps.get(each)
        if gaps is not None and gaps.open_from_ns is not None:
            return np.full(len(runs), now_ring_ns, np.int64)
    heard = np.maximum(runs["from"], newest)
    live: Times = np.where((heard >= now_ring_ns - LIVE_LAG_NS) & (heard <= now_ring_ns), heard, now_ring_ns)
    return live
