"""What is dead: tombstones of deleted data and the retention floors, as ranges of ring time per track (format.md section 13).

Ring time is never used twice, so "what was written up to now, in this range" stays exact for ever, whatever the clock shows later and
whatever the recording is called. A tombstone is kept until every slot that could hold its data has been reserved anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from recorderd.ring.ledger.items import NO_TRACK, Buried
from recorderd.ring.ledger.ranges import Ranges, overlaps, subtract, union

MAX_TOMBSTONES = 1 << 16


class Tombstones:
    def __init__(self) -> None:
        self.records: dict[int, Buried] = {}
        self.next_id = 1
        self.bound = MAX_TOMBSTONES
        self._pieces: dict[int, Ranges] = {}  # by tombstone, in ring time
        self._by_recording: dict[int, list[int]] = {}
        self._newest: dict[int, int] = {}  # by recording: where the youngest deleted range ends

    def __len__(self) -> int:
        return len(self.records)

    def put(self, record: Buried, pieces: Ranges) -> None:
        """Adds or replaces a tombstone; `pieces` are those of the record in ring time. Raises ValueError at the bound."""
        self.next_id = max(self.next_id, record.tombstone + 1)
        known = self.records.get(record.tombstone)
        if known is not None and known.recording != record.recording:
            raise ValueError(f"deletion {record.tombstone} is of another recording already")
        if known is None:
            if len(self.records) >= self.bound:
                raise ValueError(
                    f"{self.bound} deletions are remembered already; older ones go when their slots are recycled"
                )
            self._by_recording.setdefault(record.recording, []).append(record.tombstone)
        self.records[record.tombstone] = record
        self._pieces[record.tombstone] = union(pieces)
        end = max((stop for _, stop in pieces), default=0)
        self._newest[record.recording] = max(end, self._newest.get(record.recording, 0))

    def pieces(self, tombstone: int) -> Ranges:
        return self._pieces[tombstone]

    def dead(self, recording: int, track: int, run: int, after_ns: int = 0) -> Ranges:
        """The ranges behind `after_ns` (at least) in which media of this track and run is dead."""
        numbers = self._by_recording.get(recording)
        if not numbers or after_ns >= self._newest[recording]:
            return []
        found: Ranges = []
        for number in numbers:
            record = self.records[number]
            if record.track in (NO_TRACK, track) and record.run in (0, run):
                found += self._pieces[number]
        return union(found)

    def between(self, recording: int, from_ns: int, to_ns: int) -> bool:
        """Whether anything of the recording in [from, to) was deleted."""
        numbers = self._by_recording.get(recording)
        if not numbers or from_ns >= self._newest[recording]:
            return False
        return any(overlaps(self._pieces[number], from_ns, to_ns) for number in numbers)

    def forget_before(self, ring_ns: int) -> list[int]:
        """Drops tombstones of which nothing is stored any more, because everything stored is newer than `ring_ns`."""
        gone = [n for n, pieces in self._pieces.items() if all(stop <= ring_ns for _, stop in pieces)]
        for number in gone:
            record = self.records.pop(number)
            del self._pieces[number]
            self._by_recording[record.recording].remove(number)
        return gone


def visible(
    from_ns: int, to_ns: int, dead: Iterable[tuple[int, int]], floor_ns: int, locked: Callable[[], Ranges]
) -> Ranges:
    """What of [from, to) may be read: not dead, and not below the floor unless a lock keeps it."""
    holes = list(dead)
    if from_ns < floor_ns:
        holes += subtract([(0, floor_ns)], locked())
    if not holes:
        return [(from_ns, to_ns)]
    return subtract([(from_ns, to_ns)], holes)
