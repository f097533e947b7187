"""Locks: what must not be recycled, expire or be deleted (format.md section 12).

A lock is asked for in wall time. What that meant when it was made is kept beside it as ranges of boot time, so that footage that is
re-dated later stays locked; what the wall-time range means now is locked as well, which is how a lock covers the running slot and the
future. Keeping a little too much is the lesser harm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recorderd.model.causes import GapCause
from recorderd.ring.ledger.boots import MAX_RING_NS
from recorderd.ring.ledger.items import LockPut
from recorderd.ring.ledger.ranges import overlaps
from recorderd.ring.ledger.tables import Tables

_SAMPLE = 16  # newest closed slots of a recording by which its use of slots is foreseen


class LockRefused(Exception):
    """The lock cannot be kept: `needed` slots would be left to recycle, `left` are."""

    cause = GapCause.RING_FULL_OF_LOCKS

    def __init__(self, left: int, needed: int, kept: int) -> None:
        super().__init__(
            f"the lock would leave {left} slots to record into and {needed} are needed; all locks together would keep {kept} slots"
        )
        self.left, self.needed, self.kept = left, needed, kept


def slots_kept_by(tables: Tables, lock: LockPut) -> npt.NDArray[np.intp]:
    """Numbers of the slots that a lock keeps: those with a span of its tracks in its ranges."""
    covered = tables.lock_ranges(lock)
    found: list[npt.NDArray[np.uint32]] = []
    for entry in tables.catalogue.tracks_of(lock.recording):
        spans = tables.spans.get(entry.index)
        if spans is None or (lock.tracks and entry.index not in lock.tracks):
            continue
        for start, stop in covered:
            near = spans.rows[spans.table.near(start, stop)]
            found.append(near["slot"][near["to"] > start])
    return np.unique(np.concatenate(found)).astype(np.intp) if found else np.zeros(0, np.intp)


def kept_slots(tables: Tables, more: LockPut | None = None) -> set[int]:
    """Numbers of all slots that locks keep, `more` included."""
    kept: set[int] = set()
    for lock in [*tables.locks.values(), *([more] if more else [])]:
        kept.update(slots_kept_by(tables, lock).tolist())
    return kept


def is_locked(tables: Tables, slot: int, generation: int) -> bool:
    """Whether a lock keeps this life of a slot."""
    if not tables.locks or not tables.slots.holds(slot, generation):
        return False
    row = tables.slots.rows[slot]
    recording, start, stop = int(row["recording"]), int(row["from"]), int(row["to"])
    for lock in tables.locks.values():
        if lock.recording != recording:
            continue
        covered = tables.lock_ranges(lock)
        if not overlaps(covered, start, stop):
            continue
        for entry in tables.catalogue.tracks_of(recording):
            spans = tables.spans.get(entry.index)
            if spans is None or (lock.tracks and entry.index not in lock.tracks):
                continue
            mine = spans.rows[spans.of_slot(slot, generation)]
            if any(overlaps(covered, int(row["from"]), int(row["to"])) for row in mine):
                return True
    return False


def slots_foreseen(tables: Tables, recording: int, future_ns: int) -> int:
    """How many slots the recording will fill in `future_ns`, by the pace of its newest closed slots; 0 when it never filled one."""
    numbers = [n for n in tables.slots.of_recording(recording) if tables.slots.rows["order"][n]][-_SAMPLE:]
    if not numbers or future_ns <= 0:
        return 0
    rows = tables.slots.rows[numbers]
    passed = int(rows["to"].max()) - int(rows["from"].min())
    return -(-future_ns * len(numbers) // max(passed, 1))


def covers_future(lock: LockPut, wall_now_ns: int) -> int:
    """Nanoseconds of the lock that lie ahead."""
    return max(0, min(lock.wall_to_ns, MAX_RING_NS) - max(lock.wall_from_ns, wall_now_ns))
