"""Boots laid end to end on one axis, so that everything stored has an order that no wall clock can disturb (invariant I7).

**Ring time** is a single int64 in nanoseconds: `base of the boot + CLOCK_BOOTTIME`. Tables in RAM hold ring time, the disk holds boot
number and boot time; the boot table turns one into the other without loss. The bases leave a minute between boots, since the last
fragments before a power cut may be newer than the last record that told of them. `elapsed_ns` does not count those minutes: it is the
time that is *proven* to have passed, a lower bound, because nobody knows how long the recorder was switched off.

A disk that returns to a boot which other boots have followed meanwhile (it was carried to another recorder and back) gets a second
stretch of that boot with a base of its own, so ring time still grows.
"""

from __future__ import annotations

import bisect
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from recorderd.model.timeline import Instant

BETWEEN_BOOTS_NS = 60_000_000_000
MAX_BOOT_NS = 1 << 59  # 18 years of uptime: more is nonsense
MAX_BOOTS = 65_535
MAX_NUMBER = (1 << 32) - 1
MAX_RING_NS = 1 << 62
ROOM_NS = 1 << 61  # of the axis, for the boots that a rebuild finds in the slots while recording goes on behind them
_ROOM_NUMBERS = 1 << 16
_ROOM_BETWEEN_NS = 366 * 86_400_000_000_000  # at most: media of a boot may be newer than what its slots' heads say

_ROW = struct.Struct("<I16sqqq")


@dataclass(frozen=True, slots=True)
class Stretch:
    """One boot, or a later stretch of one: CLOCK_BOOTTIME from `from_ns` up to `through_ns` as far as anything was noted."""

    boot_id: uuid.UUID
    from_ns: int
    base_ns: int
    through_ns: int

    @property
    def start_ring_ns(self) -> int:
        return self.base_ns + self.from_ns


class UnknownBoot(LookupError):
    """An instant of a boot that the table does not hold."""


class BootTable:
    """The stretches in order. Their numbers grow and are never reused; those that nothing refers to any more can be forgotten."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._stretches: list[Stretch] = []
        self._starts: list[int] = []  # start_ring_ns of each, ascending
        self.version = 0  # grows with every change that moves the axis
        self._first = (0, 0)  # number and ring time of the first stretch

    def __len__(self) -> int:
        return len(self._stretches)

    def __getitem__(self, number: int) -> Stretch:
        return self._stretches[self._position(number)]

    def _position(self, number: int) -> int:
        at = bisect.bisect_left(self._numbers, number)
        if at == len(self._numbers) or self._numbers[at] != number:
            raise UnknownBoot(f"boot number {number} is not known to this ring")
        return at

    @property
    def starts(self) -> list[int]:
        """Ring time at which each stretch begins, ascending."""
        return self._starts

    def last_seen_ring_ns(self) -> int:
        """The newest moment of which anything was noted; 0 in an empty table."""
        if not self._stretches:
            return 0
        return self._stretches[-1].base_ns + self._stretches[-1].through_ns

    def current(self, boot_id: uuid.UUID) -> int | None:
        """Number of the newest stretch when it belongs to `boot_id`."""
        if self._stretches and self._stretches[-1].boot_id == boot_id:
            return self._numbers[-1]
        return None

    def next_stretch(self, boot_id: uuid.UUID, now_ns: int) -> tuple[int, Stretch]:
        """What `add` takes for a boot first seen at `now_ns`. What arrived earlier in that boot has its place too, if the boot is new."""
        _check_boot_ns(now_ns)
        from_ns = now_ns if any(s.boot_id == boot_id for s in self._stretches) else 0
        number, start = self._first
        if self._stretches:
            number, start = self._numbers[-1] + 1, self.last_seen_ring_ns() + BETWEEN_BOOTS_NS
        return number, Stretch(boot_id, from_ns, start - from_ns, now_ns)

    def leave_room(self) -> None:
        """Of an empty table: what comes first lies so far along that every earlier boot fits in before it (`earlier`)."""
        self._first = (_ROOM_NUMBERS, ROOM_NS)

    def earlier(self, boots: Sequence[tuple[uuid.UUID, int]]) -> list[tuple[int, Stretch]]:
        """Places before the first stretch, for `add`, of boots in the order in which they were: (boot id, boot time it reached at least).

        Boots that are known are left out, and the oldest ones for which there is no room.
        """
        known = {stretch.boot_id for stretch in self._stretches}
        found = [(boot, through) for boot, through in boots if boot not in known and 0 <= through < MAX_BOOT_NS]
        found = found[-min(MAX_BOOTS - len(self._stretches), self._numbers[0]) :] if self._numbers else []
        while found and sum(through for _, through in found) + len(found) * BETWEEN_BOOTS_NS >= self._starts[0]:
            del found[0]
        if not found:
            return []
        left = self._starts[0] - sum(through for _, through in found)
        between = min(_ROOM_BETWEEN_NS, left // len(found))
        placed, at = [], 0
        for number, (boot, through) in enumerate(found):
            placed.append((number, Stretch(boot, 0, at, through)))
            at += through + between
        return placed

    def add(self, number: int, stretch: Stretch) -> None:
        """Adds a stretch behind the others, or where `earlier` placed it; again is harmless. Raises ValueError when it cannot be there."""
        if self._numbers and number <= self._numbers[-1]:
            if number not in self._numbers:
                self._insert(number, stretch)
            elif self[number].boot_id != stretch.boot_id:
                raise ValueError(f"boot {number} is another boot already")
            return
        if number > MAX_NUMBER or len(self._stretches) >= MAX_BOOTS:
            raise ValueError(f"too many boots: {number}")
        _check_boot_ns(stretch.from_ns)
        _check_boot_ns(stretch.through_ns)
        start = stretch.start_ring_ns
        if not 0 <= start < MAX_RING_NS:
            raise ValueError(f"boot {number} begins outside ring time")
        if self._stretches and start <= self.last_seen_ring_ns():
            raise ValueError(f"boot {number} overlaps the one before")
        self._numbers.append(number)
        self._stretches.append(stretch)
        self._starts.append(start)
        self.version += 1

    def _insert(self, number: int, stretch: Stretch) -> None:
        """Between others, if it fits; one that was forgotten, because nothing of it is stored any more, need not fit."""
        at = bisect.bisect_left(self._numbers, number)
        start, end = stretch.start_ring_ns, stretch.base_ns + stretch.through_ns
        _check_boot_ns(stretch.from_ns)
        _check_boot_ns(stretch.through_ns)
        if start < 0 or end >= self._starts[at] or (at and start <= self.end_of(at - 1)) or self.full():
            return
        self._numbers.insert(at, number)
        self._stretches.insert(at, stretch)
        self._starts.insert(at, start)
        self.version += 1

    def full(self) -> bool:
        return len(self._stretches) >= MAX_BOOTS

    def forget(self, used: set[int]) -> None:
        """Drops every stretch but the newest whose position (as `stretch_at` gives it) is not in `used`."""
        last = len(self._stretches) - 1
        kept = [at for at in range(len(self._stretches)) if at in used or at == last]
        self._numbers = [self._numbers[at] for at in kept]
        self._stretches = [self._stretches[at] for at in kept]
        self._starts = [self._starts[at] for at in kept]
        self.version += 1

    def seen(self, number: int, ns: int) -> None:
        """Notes that boot time reached `ns` in a stretch, as far as there is room for it before the next one."""
        if not self._numbers:
            return
        at = bisect.bisect_left(self._numbers, number)
        if at == len(self._numbers) or self._numbers[at] != number or ns <= self._stretches[at].through_ns:
            return
        _check_boot_ns(ns)
        if at + 1 < len(self._starts):
            ns = min(ns, self._starts[at + 1] - 1 - self._stretches[at].base_ns)
        if ns > self._stretches[at].through_ns:
            self._stretches[at] = replace(self._stretches[at], through_ns=ns)

    def place(self, instant: Instant) -> tuple[int, int]:
        """(stretch number, boot ns) of an instant. Raises UnknownBoot."""
        _check_boot_ns(instant.ns)
        chosen: int | None = None
        for number, stretch in zip(reversed(self._numbers), reversed(self._stretches), strict=True):
            if stretch.boot_id == instant.boot_id:
                chosen = number
                if stretch.from_ns <= instant.ns:
                    break
        if chosen is None:
            raise UnknownBoot(f"boot {instant.boot_id} is not known to this ring")
        return chosen, instant.ns

    def ring_ns(self, number: int, ns: int) -> int:
        """Ring time of boot time `ns` in a stretch, held inside that stretch's room on the axis."""
        _check_boot_ns(ns)
        position = self._position(number)
        at = max(self._stretches[position].base_ns + ns, self._starts[position])
        if position + 1 < len(self._starts):
            return min(at, self._starts[position + 1] - 1)
        return at

    def ring_of(self, instant: Instant) -> int:
        return self.ring_ns(*self.place(instant))

    def stretch_at(self, ring_ns: int) -> int:
        """Position of the stretch whose room holds `ring_ns`."""
        if not self._starts:
            raise UnknownBoot("this ring knows no boot yet")
        return max(0, bisect.bisect_right(self._starts, ring_ns) - 1)

    def end_of(self, position: int) -> int:
        """Ring time at which the stretch at `position` was last heard of."""
        return self._stretches[position].base_ns + self._stretches[position].through_ns

    def split(self, ring_ns: int) -> tuple[int, int]:
        """(stretch number, boot ns), as the disk holds it."""
        position = self.stretch_at(ring_ns)
        return self._numbers[position], max(0, ring_ns - self._stretches[position].base_ns)

    def instant(self, ring_ns: int) -> Instant:
        number, ns = self.split(ring_ns)
        return Instant(self[number].boot_id, ns)

    def elapsed_ns(self, from_ring: int, to_ring: int) -> int:
        """Time proven to have passed between two moments: boot time summed over the boots between, off times not counted."""
        if to_ring <= from_ring:
            return 0
        first, last = self.stretch_at(from_ring), self.stretch_at(to_ring)
        if first == last:
            return to_ring - from_ring
        begin, end = self._stretches[first], self._stretches[last]
        total = max(0, begin.base_ns + begin.through_ns - from_ring)
        total += sum(each.through_ns - each.from_ns for each in self._stretches[first + 1 : last])
        return total + max(0, to_ring - end.start_ring_ns)

    def dump(self) -> bytes:
        rows = zip(self._numbers, self._stretches, strict=True)
        return b"".join(_ROW.pack(n, s.boot_id.bytes, s.from_ns, s.base_ns, s.through_ns) for n, s in rows)

    def load(self, section: bytes) -> None:
        """Replaces everything. Raises ValueError on anything that `dump` could not have written."""
        if len(section) % _ROW.size or len(section) // _ROW.size > MAX_BOOTS:
            raise ValueError("boot table: bad length")
        self._numbers, self._stretches, self._starts = [], [], []
        self.version += 1
        for number, raw, from_ns, base_ns, through_ns in _ROW.iter_unpack(section):
            if self._numbers and number <= self._numbers[-1]:
                raise ValueError("boot table: out of order")
            self.add(number, Stretch(uuid.UUID(bytes=raw), from_ns, base_ns, through_ns))


def _check_boot_ns(ns: int) -> None:
    if not 0 <= ns < MAX_BOOT_NS:
        raise ValueError(f"boot time {ns} ns is out of range")
