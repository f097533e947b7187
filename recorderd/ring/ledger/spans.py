"""Where the media of one track is: rows of (from, to, run, slot, fragments), in ring time.

A row is what one writer put into one life of one slot during one run without a gap, so it never crosses a run (invariant I12).
Deleted and expired stretches are cut out of the rows themselves: what no row covers cannot be read (invariant I11).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recorderd.model.causes import GapCause
from recorderd.ring.ledger.gaps import GapTable
from recorderd.ring.ledger.rows import Rows, SortedRows

SPAN = np.dtype(
    [
        ("from", "<i8"),
        ("to", "<i8"),
        ("run", "<i8"),
        ("generation", "<i8"),
        ("slot", "<u4"),
        ("first", "<u4"),  # number of the first fragment in the slot
        ("count", "<u4"),  # fragments from the first to the last that holds something of this track
        ("writer", "<u4"),
        ("keys", "<u4"),  # random access points
        ("priority", "<i2"),
        ("cause", "u1"),  # of the gap before the row; NO_GAP when there is none
        ("flags", "u1"),
    ]
)

NO_GAP = 255
CONTINUES = 1  # begins inside a GOP
DAMAGED = 2
MERGED = 4  # short gaps inside were merged away at the bound of the table
ESTIMATED = 8  # an end was computed from fragment numbers, not told
CUT = 16  # a part was deleted or has expired: fragments may hold media outside [from, to)

TOUCH_NS = 2_000_000_000  # rows closer than this are one recording, unless a gap was noted between them
_LOOK_BACK = 4  # writers of one track that may take turns without breaking each other's rows
_RECENT = 64  # fragments of which a withdrawal can restore the exact end


class Span(NamedTuple):
    """One row of `SPAN`, field by field, as plain numbers: reading them one at a time from the array takes several times as long."""

    start: int
    to: int
    run: int
    generation: int
    slot: int
    first: int
    fragments: int
    writer: int
    keys: int
    priority: int
    cause: int
    flags: int

    @classmethod
    def of(cls, rows: Rows, at: int) -> Span:
        return cls._make(rows[at].item())


class Grown(NamedTuple):
    """One fragment's share of one track, in ring time."""

    from_ns: int
    to_ns: int
    run: int
    slot: int
    generation: int
    fragment: int
    writer: int
    keys: int
    priority: int
    flags: int


class SpanTable:
    """The spans of one track."""

    def __init__(self) -> None:
        self.table = SortedRows(SPAN, "from")
        self._recent: deque[tuple[int, int, int, int]] = deque(maxlen=_RECENT)  # slot, generation, fragment, end

    def __len__(self) -> int:
        return len(self.table)

    @property
    def rows(self) -> Rows:
        return self.table.rows

    def grow(self, new: Grown, gaps: GapTable, buried: Callable[[int, int], bool]) -> None:
        """Adds a fragment: to the row it continues, or as a new one when a gap, a run, a slot or something `buried` lies between."""
        if new.to_ns <= new.from_ns:
            return
        self._recent.append((new.slot, new.generation, new.fragment, new.to_ns))
        rows = self.table.rows
        behind = len(rows)
        if behind and Span.of(rows, -1).start > new.from_ns + TOUCH_NS:  # a rebuild tells of older media
            behind = int(np.searchsorted(rows["from"], new.from_ns + TOUCH_NS, "right"))
        for at in range(behind - 1, max(-1, behind - 1 - _LOOK_BACK), -1):
            row = Span.of(rows, at)
            if row.slot != new.slot or row.generation != new.generation:
                continue
            end = row.first + row.fragments
            if row.first <= new.fragment < end and new.to_ns <= row.to:
                return  # heard already: journal and checkpoint may both tell it
            distance = new.from_ns - row.to
            joins = row.run == new.run and -TOUCH_NS <= distance <= TOUCH_NS and new.fragment + 1 >= end
            if (row.flags | new.flags) & CUT:
                joins = False  # between the two lies what was deleted
            between = (row.to, new.from_ns)
            if joins and not (distance > 0 and (gaps.between(*between) or buried(*between))):
                stored = rows[at]
                stored["to"] = max(row.to, new.to_ns)
                stored["count"] = new.fragment + 1 - row.first
                stored["keys"] = row.keys + new.keys
                stored["flags"] = row.flags | new.flags & DAMAGED
                self.table.touched()
                return
            break
        why = self._cause_before(new, gaps)
        self.table.insert(
            (
                new.from_ns,
                new.to_ns,
                new.run,
                new.generation,
                new.slot,
                new.fragment,
                1,
                new.writer,
                new.keys,
                new.priority,
                why,
                new.flags,
            )
        )

    def _cause_before(self, new: Grown, gaps: GapTable) -> int:
        before = self.table.near(0, new.from_ns).stop
        if not before:
            return NO_GAP
        since = int(self.table.reach()[before - 1])
        noted = list(gaps.causes(since, new.from_ns)) if since < new.from_ns else []
        if noted:
            return int(noted[-1][2])
        same_run = self.table.rows["run"][before - 1] == new.run
        return int(GapCause.UNKNOWN) if same_run and new.from_ns - since > TOUCH_NS else NO_GAP

    def of_slot(self, slot: int, generation: int) -> npt.NDArray[np.bool_]:
        rows = self.table.rows
        found: npt.NDArray[np.bool_] = (rows["slot"] == slot) & (rows["generation"] == generation)
        return found

    def vanish(self, slot: int, generation: int) -> list[tuple[int, int]]:
        """Removes the rows of one life of a slot; returns their [from, to)."""
        gone = self.of_slot(slot, generation)
        if not gone.any():
            return []
        ranges = [(int(row["from"]), int(row["to"])) for row in self.table.rows[gone]]
        self.table.drop(gone)
        return ranges

    def withdraw(self, slot: int, generation: int, fragments: int) -> None:
        """Of this life of the slot only fragments below `fragments` exist."""
        rows = self.table.rows
        mine = self.of_slot(slot, generation)
        ends = {f: to for s, g, f, to in self._recent if s == slot and g == generation}
        for at in np.flatnonzero(mine & (rows["first"] < fragments) & (rows["first"] + rows["count"] > fragments)):
            row = rows[at]
            kept = fragments - int(row["first"])
            known = [to for fragment, to in ends.items() if fragment < fragments]
            if known and max(fragment for fragment in ends if fragment < fragments) == fragments - 1:
                row["to"] = min(int(row["to"]), max(known))
            else:
                row["to"] = int(row["from"]) + (int(row["to"]) - int(row["from"])) * kept // int(row["count"])
                row["flags"] |= ESTIMATED
            row["keys"] = int(row["keys"]) * kept // int(row["count"])
            row["count"] = kept
        self._recent = deque(
            (r for r in self._recent if r[0] != slot or r[1] != generation or r[2] < fragments), maxlen=_RECENT
        )
        self.table.touched()
        gone = mine & ((rows["first"] >= fragments) | (rows["to"] <= rows["from"]))
        if gone.any():
            self.table.drop(gone)

    def take_out(self, slot: int, generation: int, fragment: int, cause: GapCause) -> tuple[int, int] | None:
        """Takes one fragment out; returns the [from, to) that is gone, estimated from the fragment numbers of its row. What follows in the
        row has `cause` before it."""
        rows = self.table.rows
        last = rows["first"] + rows["count"]
        found = np.flatnonzero(self.of_slot(slot, generation) & (rows["first"] <= fragment) & (last > fragment))
        if not len(found):
            return None
        row = rows[found[0]].copy()
        start, length, count = int(row["from"]), int(row["to"]) - int(row["from"]), int(row["count"])
        before = fragment - int(row["first"])
        gone_from = start + length * before // count
        gone_to = start + length * (before + 1) // count
        self._cut_row(int(found[0]), gone_from, gone_to, before, before + 1, ESTIMATED, cause)
        return gone_from, gone_to

    def hide(self, from_ns: int, to_ns: int, run: int | None = None) -> list[tuple[int, int]]:
        """Cuts [from, to) out of all rows, or out of those of one run; returns what was cut."""
        cut: list[tuple[int, int]] = []
        near = self.table.near(from_ns, to_ns)
        rows = self.table.rows[near]
        hit = (rows["to"] > from_ns) & (rows["from"] < to_ns)
        if run is not None:
            hit &= rows["run"] == run
        if not hit.any():
            return cut
        whole = hit & (rows["from"] >= from_ns) & (rows["to"] <= to_ns)
        cut += [(int(row["from"]), int(row["to"])) for row in rows[whole]]
        for at in (np.flatnonzero(hit & ~whole) + near.start)[::-1].tolist():
            row = self.table.rows[at]
            a, b = max(int(row["from"]), from_ns), min(int(row["to"]), to_ns)
            cut.append((a, b))
            self._cut_row(at, a, b, None, None, CUT, NO_GAP)
        if whole.any():
            rows = self.table.rows
            gone = (rows["from"] >= from_ns) & (rows["to"] <= to_ns)
            if run is not None:
                gone &= rows["run"] == run
            self.table.drop(gone)
        return sorted(cut)

    def _cut_row(self, at: int, a: int, b: int, before: int | None, after: int | None, flag: int, cause: int) -> None:
        """Replaces row `at` by what lies before `a` and behind `b`, the latter with the cause of a gap before it; fragment numbers are
        split where they are known."""
        row = self.table.rows[at].copy()
        drop = np.zeros(len(self.table), np.bool_)
        drop[at] = True
        self.table.drop(drop)
        count = int(row["count"])
        for start, stop, first, fragments in (
            (int(row["from"]), a, 0, count if before is None else before),
            (b, int(row["to"]), after or 0, count if after is None else count - after),
        ):
            if stop <= start or fragments <= 0:
                continue
            part = row.copy()
            part["from"], part["to"] = start, stop
            part["first"], part["count"] = int(row["first"]) + first, fragments
            part["flags"] |= flag
            if start != row["from"]:
                part["cause"] = int(cause)
                part["flags"] |= CONTINUES
            self.table.insert(tuple(part.tolist()))

    def merge_neighbours(self, target: int) -> None:
        """Brings the table down to about `target` rows by joining, within one life of a slot and one run, across the shortest gaps."""
        rows = self.table.rows
        surplus = len(rows) - target
        if surplus <= 0 or len(rows) < 2:
            return
        left, right = rows[:-1], rows[1:]
        same = (
            (left["slot"] == right["slot"])
            & (left["generation"] == right["generation"])
            & (left["run"] == right["run"])
            & (left["writer"] == right["writer"])
            & ((left["flags"] | right["flags"]) & CUT == 0)  # what was deleted must not come back inside a merged row
            & (left["first"] + left["count"] <= right["first"])
        )
        candidates = np.flatnonzero(same)
        between = right["from"][candidates] - left["to"][candidates]
        joins = np.zeros(len(rows), np.bool_)
        joins[1 + candidates[np.argsort(between, kind="stable")[:surplus]]] = True
        if not joins.any():
            return
        group = np.cumsum(~joins) - 1
        kept = rows[~joins].copy()
        np.maximum.at(kept["to"], group, rows["to"])
        ends = np.zeros(len(kept), np.int64)
        np.maximum.at(ends, group, rows["first"].astype(np.int64) + rows["count"])
        kept["count"] = ends - kept["first"]
        kept["keys"] = np.bincount(group, weights=rows["keys"]).astype(np.uint32)
        np.bitwise_or.at(kept["flags"], group, rows["flags"] & DAMAGED)
        kept["flags"][np.bincount(group) > 1] |= MERGED
        self.table.load(kept.tobytes())
