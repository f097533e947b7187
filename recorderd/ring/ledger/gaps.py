"""Why there is nothing: the noted gaps of each track, in ring time.

A gap that lasts is open; the next data of its track ends it, a new cause takes over from it, and it ends with the run that missed the data.
The timeline shows a gap only where nothing was recorded, so a gap that overlaps data does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recorderd.model.causes import GapCause
from recorderd.ring.ledger.boots import MAX_RING_NS
from recorderd.ring.ledger.rows import SortedRows

GAP = np.dtype([("from", "<i8"), ("to", "<i8"), ("cause", "u1"), ("flags", "u1"), ("pad", "u1", (6,))])
OPEN_NS = MAX_RING_NS
MERGED = 1  # stands for several neighbouring gaps, and for the short recorded stretches between them
LIVE_LAG_NS = 15_000_000_000  # how far the newest durable data of a running run may lie back before it is a gap

RECORDER_AWAY = (GapCause.RECORDER_OFF, GapCause.RECORDER_CRASH)
_NO_PAD = (0,) * 6


class GapTable:
    """The noted gaps of one track."""

    def __init__(self) -> None:
        self.table = SortedRows(GAP, "from")
        self.open_from_ns: int | None = None
        self.open_cause = GapCause.UNKNOWN

    def __len__(self) -> int:
        return len(self.table)

    def note(self, cause: GapCause, from_ns: int, to_ns: int | None) -> None:
        """Notes [from, to), or an open gap. A second open gap ends the first, unless it says the same."""
        if to_ns is not None:
            if to_ns > from_ns and not self._holds(cause, from_ns, to_ns):
                self.table.insert((from_ns, to_ns, cause, 0, _NO_PAD))
            return
        if self.open_from_ns is not None:
            if self.open_cause == cause:
                return
            self.close(from_ns)
        self.open_from_ns, self.open_cause = from_ns, cause

    def _holds(self, cause: GapCause, from_ns: int, to_ns: int) -> bool:
        near = self.table.rows[self.table.near(from_ns, to_ns)]
        return bool(((near["from"] == from_ns) & (near["to"] == to_ns) & (near["cause"] == cause)).any())

    def close(self, at_ns: int) -> None:
        """Ends the open gap; one that would be empty is forgotten."""
        if self.open_from_ns is None:
            return
        if at_ns > self.open_from_ns:
            self.table.insert((self.open_from_ns, at_ns, self.open_cause, 0, _NO_PAD))
        self.open_from_ns = None

    def data(self, from_ns: int, to_ns: int, touch_ns: int) -> None:
        """Data came: ends the open gap, unless it is what had arrived before the gap began."""
        opened = self.open_from_ns
        if opened is not None and (from_ns > opened or to_ns > opened + touch_ns):
            self.close(max(opened, from_ns))

    def between(self, from_ns: int, to_ns: int) -> bool:
        """Whether any gap was noted that overlaps [from, to)."""
        if self.open_from_ns is not None and self.open_from_ns < to_ns:
            return True
        if not len(self.table) or int(self.table.reach()[-1]) <= from_ns:
            return False  # as every fragment finds that follows the one before
        near = self.table.rows[self.table.near(from_ns, to_ns)]
        return bool(((near["to"] > from_ns) & (near["from"] < to_ns)).any())

    def causes(self, from_ns: int, to_ns: int) -> Iterator[tuple[int, int, GapCause]]:
        """(from, to, cause) of the gaps overlapping [from, to), the open one last and reaching to `to`."""
        for row in self.table.rows[self.table.near(from_ns, to_ns)]:
            if row["to"] > from_ns:
                yield int(row["from"]), int(row["to"]), GapCause(int(row["cause"]))
        if self.open_from_ns is not None and self.open_from_ns < to_ns:
            yield self.open_from_ns, to_ns, self.open_cause

    def forget_before(self, ring_ns: int) -> None:
        """Drops gaps that ended before `ring_ns`: nothing around them is stored any more."""
        rows = self.table.rows
        if len(rows) and int(rows["from"][0]) < ring_ns:
            self.table.drop(rows["to"] <= ring_ns)

    def merge_neighbours(self, target: int) -> None:
        """Brings the table down to `target` rows by joining the neighbours that lie closest together; says so in their flags."""
        rows = self.table.rows
        surplus = len(rows) - max(target, 1)
        if surplus <= 0:
            return
        between = rows["from"][1:] - rows["to"][:-1]
        joins = np.zeros(len(rows), np.bool_)  # row i joins the row before it
        joins[1 + np.argsort(between, kind="stable")[:surplus]] = True
        group = np.cumsum(~joins) - 1
        kept = rows[~joins].copy()
        length = rows["to"] - rows["from"]
        order = np.lexsort((length, group))
        last = np.append(np.flatnonzero(np.diff(group[order])), len(order) - 1)
        kept["cause"] = rows["cause"][order[last]]  # the cause of the longest speaks for the group
        np.maximum.at(kept["to"], group, rows["to"])
        kept["flags"][np.bincount(group) > 1] |= MERGED
        self.table.load(kept.tobytes())
