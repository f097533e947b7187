"""Retention: how long and how much each recording keeps (format.md sections 8 and 13).

A recording's oldest media goes when it is older than its maximum, or when the recording holds more slots than its quota; its minimum
keeps slots from being recycled for others. Age is judged with care, because a wrong clock must not delete evidence:

- within a boot only boot time counts, so no step of the clock makes media of this boot older than it is;
- true time never runs backwards along ring time, so a date that lies before that of older media is taken to be at least that late;
- dates in the future and dates of boots whose clock was never set count as those of the next media that is dated well;
- while the clock is not trusted now, only boot time summed over the known boots proves that media is too old.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from recorderd.ring.border import SlotRef
from recorderd.ring.ledger.boots import MAX_RING_NS, BootTable
from recorderd.ring.ledger.intervals import Times
from recorderd.ring.ledger.locks import is_locked
from recorderd.ring.ledger.tables import Tables

_FIRST_ROWS = 256


@dataclass(frozen=True, slots=True)
class Rule:
    """What a recording may and must keep. None and 0: no such rule. Bytes and times become slots when the rules are applied."""

    maximum_ns: int | None = None
    minimum_ns: int = 0
    minimum_slots: int = 0
    quota_slots: int | None = None
    quota_bytes: int = 0

    def quota(self, slot_bytes: int) -> int | None:
        """In slots; a quota smaller than a slot is one slot."""
        if self.quota_slots is not None or not self.quota_bytes:
            return self.quota_slots
        return max(1, self.quota_bytes // slot_bytes)


def floor_due(tables: Tables, track: int, maximum_ns: int, now_ring_ns: int) -> int:
    """Ring time below which the track's media is older than `maximum_ns`; 0 when none is."""
    floor = proven_before(tables.boots, now_ring_ns, maximum_ns)
    table = tables.spans.get(track)
    if table is None or not len(table):
        return floor
    size = _FIRST_ROWS
    while True:  # the oldest rows decide, nearly always the first few
        ends = table.table.reach()[:size]
        dates = _dates(tables, ends, now_ring_ns)
        if dates is None:
            return floor
        date_now, date, offset = dates
        expired = np.flatnonzero(date <= date_now - maximum_ns)
        if len(expired) < len(ends) or len(ends) == len(table):
            break
        size *= 8
    if len(expired):
        floor = max(floor, int(ends[expired[-1]]))
    at = int(expired[-1]) + 1 if len(expired) else 0
    if at < len(ends) and int(date[at]) == int(ends[at]) + int(
        offset[at]
    ):  # dated by its own boot: the part that is too old goes
        cutoff = date_now - maximum_ns - int(offset[at])
        if cutoff > int(table.rows["from"][at]):
            floor = max(floor, min(cutoff, int(ends[at])))
    return floor


def _dates(tables: Tables, ends: Times, now_ring_ns: int) -> tuple[int, Times, Times] | None:
    """(now, latest date each end can have had, its boot's offset) for ends ascending in ring time; None while the clock is not trusted.

    Within a boot time passes as its clock counts, whatever steps the wall clock made; of the offsets that trusted clocks showed in a boot
    the one counts that makes media younger.
    """
    lowest, highest, known = tables.epochs.offsets()
    current = tables.boots.stretch_at(now_ring_ns)
    if not known[current]:
        return None
    offset = highest
    offset[current] = lowest[current]
    now = now_ring_ns + int(lowest[current])
    boot = np.maximum(np.searchsorted(np.array(tables.boots.starts, np.int64), ends - 1, "right") - 1, 0)
    dates = ends + offset[boot]
    sound = known[boot] & (dates <= now)
    latest = np.maximum.accumulate(np.where(sound, dates, np.iinfo(np.int64).min))
    following = np.where(sound, np.arange(len(ends)), len(ends))
    following = np.minimum.accumulate(following[::-1])[::-1]
    return now, np.where(sound, latest, np.append(latest, now)[following]), offset[boot]


def proven_before(boots: BootTable, now_ring_ns: int, duration_ns: int) -> int:
    """The latest ring time from which at least `duration_ns` have certainly passed; 0 when there is none."""
    if not len(boots):
        return 0
    left = duration_ns
    newest = boots.stretch_at(now_ring_ns)
    for position in range(newest, -1, -1):
        high = now_ring_ns if position == newest else boots.end_of(position)
        passed = high - boots.starts[position]
        if passed >= left:
            return high - left
        left -= max(0, passed)
    return 0


def over_quota(tables: Tables, recording: int, quota_slots: int) -> list[SlotRef]:
    """The oldest closed, unlocked slots that a recording holds beyond its quota."""
    mine = tables.slots.of_recording(recording)
    surplus = len(mine) - quota_slots
    chosen: list[SlotRef] = []
    for slot in mine.tolist():
        if len(chosen) >= surplus:
            break
        row = tables.slots.rows[slot]
        ref = SlotRef(slot, int(row["generation"]))
        if row["order"] and not is_locked(tables, *ref):
            chosen.append(ref)
    return chosen


def slots_since(tables: Tables, recording: int, ring_from_ns: int) -> int:
    """How many slots hold media of the recording that is younger than a ring time."""
    young: set[int] = set()
    for entry in tables.catalogue.tracks_of(recording):
        table = tables.spans.get(entry.index)
        if table is not None:
            rows = table.rows[table.table.near(ring_from_ns, MAX_RING_NS - 1)]
            young.update(np.unique(rows["slot"][rows["to"] > ring_from_ns]).tolist())
    return len(young)


def below_minimum(tables: Tables, recording: int, minimum_slots: int) -> bool:
    """Whether the recording needs every slot it has."""
    return minimum_slots > 0 and tables.slots.count(recording) <= minimum_slots


def expired_slots(tables: Tables, recording: int) -> list[int]:
    """Numbers of the closed slots of a recording that lie wholly below the floors of its tracks."""
    floor = max((tables.floors.get(e.index, 0) for e in tables.catalogue.tracks_of(recording)), default=0)
    rows = tables.slots.rows
    below = (rows["used"] == 1) & (rows["recording"] == recording) & (rows["order"] > 0) & (rows["to"] <= floor)
    found: list[int] = np.flatnonzero(below).tolist()
    return found


def empty_slots(tables: Tables, recording: int, candidates: Iterable[int]) -> list[SlotRef]:
    """Of these slots of a recording the closed ones of which nothing can be read any more."""
    rows = tables.slots.rows
    wanted = [n for n in candidates if rows["used"][n] and rows["recording"][n] == recording and rows["order"][n]]
    used: set[int] = set()
    for entry in tables.catalogue.tracks_of(recording):
        table = tables.spans.get(entry.index)
        if table is not None and wanted:
            used.update(np.unique(table.rows["slot"][np.isin(table.rows["slot"], wanted)]).tolist())
    return [SlotRef(n, int(rows["generation"][n])) for n in wanted if n not in used]
