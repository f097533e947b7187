"""The epoch table: ring time to wall time and back (format.md section 9).

A **point** says: at this boot time the wall clock showed this. Points of one epoch are joined by straight lines, which is what slewing
looks like; a step of the clock by more than 100 ms begins a new epoch. When a clock becomes trusted late, the earlier epochs of that boot
take its offset: boot time runs through a step undisturbed, so the trusted clock says when they really were. Nothing stored changes;
the lines are derived from the points whenever a point comes, so older footage is re-dated on reading.
"""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recorderd.model.timeline import Trust
from recorderd.ring.ledger.boots import MAX_RING_NS, BootTable

Times = npt.NDArray[np.int64]

STEP_NS = 100_000_000
SLEW_NS = 5_000_000  # the error of the straight line at which a new point is worth its place
MAX_RATE_PPB = 1_000_000  # adjtimex allows 500 ppm; twice that is a broken clock, and is kept as points instead
MAX_POINTS = 1 << 17
MAX_WALL_NS = 1 << 62

_ROW = struct.Struct("<qqiBB2x")


@dataclass(frozen=True, slots=True)
class EpochPoint:
    """From `ring_ns` on the wall clock runs from `wall_ns` at (1 + rate_ppb / 1e9) seconds per second of boot time."""

    ring_ns: int
    wall_ns: int  # since 1970
    rate_ppb: int
    trust: Trust
    step: bool  # begins a new epoch


class Piece(NamedTuple):
    """A stretch of ring time, [start, stop), in which wall time is one straight line."""

    start_ns: int
    stop_ns: int
    wall_at_start_ns: int
    wall_at_stop_ns: int


class EpochTable:
    def __init__(self, boots: BootTable) -> None:
        self._boots = boots
        self.bound = MAX_POINTS
        self._points: list[EpochPoint] = []
        self._stale = True
        self.dating = 0  # grows when dates move by more than slewing
        # One entry per straight line: where it begins, a point on it, its slope beyond 1, its trust, and whether wall time jumps there.
        self._start = self._at = self._wall = np.zeros(0, np.int64)
        self._slope = np.zeros(0, np.float64)
        self._trust = np.zeros(0, np.int8)
        self._jumps = np.zeros(0, np.int64)

    @property
    def points(self) -> tuple[EpochPoint, ...]:
        return tuple(self._points)

    def points_between(self, from_ns: int, to_ns: int) -> tuple[EpochPoint, ...]:
        """The points that date [from, to): those inside, and the one in force at its start."""
        first = bisect.bisect_right(self._points, from_ns, key=lambda point: point.ring_ns)
        last = bisect.bisect_left(self._points, to_ns, key=lambda point: point.ring_ns)
        return tuple(self._points[max(0, first - 1) : max(first, last)])

    def observe(self, ring_ns: int, wall_ns: int, trust: Trust) -> EpochPoint | None:
        """The point that the table lacks to agree with the clock now; None while the last line still fits and trust is the same."""
        wall_ns = min(max(wall_ns, 0), MAX_WALL_NS - 1)
        last = self._points[-1] if self._points else None
        if last is None or self._boots.stretch_at(last.ring_ns) != self._boots.stretch_at(ring_ns):
            return EpochPoint(ring_ns, wall_ns, 0, trust, True)
        passed = ring_ns - last.ring_ns
        if passed <= 0:
            return None
        expected = last.wall_ns + passed + passed * last.rate_ppb // 1_000_000_000
        error = wall_ns - expected
        if abs(error) > STEP_NS:
            return EpochPoint(ring_ns, wall_ns, 0, trust, True)
        if abs(error) <= SLEW_NS and trust == last.trust:
            return None
        rate = (wall_ns - last.wall_ns - passed) * 1_000_000_000 // passed
        return EpochPoint(ring_ns, wall_ns, rate if abs(rate) <= MAX_RATE_PPB else 0, trust, False)

    def add(self, point: EpochPoint) -> None:
        """Adds a point, usually at the end; a rebuild tells of earlier ones. Of two at the same moment the one with the earlier date
        counts: a rebuild comes closer to the truth with every slot, from above.

        Raises ValueError when out of range.
        """
        if not 0 <= point.ring_ns < MAX_RING_NS or not 0 <= point.wall_ns < MAX_WALL_NS:
            raise ValueError("epoch point out of range")
        if self._points and point.ring_ns <= self._points[-1].ring_ns:
            at = bisect.bisect_left(self._points, point.ring_ns, key=lambda known: known.ring_ns)
            if self._points[at].ring_ns == point.ring_ns:
                if point.wall_ns < self._points[at].wall_ns:
                    self._points[at] = point
                    self.dating += 1
                    self._stale = True
                return
            self._points.insert(at, point)
            self.dating += 1
            self._stale = True
            return
        if point.step or point.trust != self._points[-1].trust:
            self.dating += 1
        self._points.append(point)
        if len(self._points) > self.bound:
            self._thin()
        self._stale = True

    def _thin(self) -> None:
        """Drops every second slewing point of the older half: dates there move by milliseconds, steps stay."""
        half = len(self._points) // 2
        old = [p for i, p in enumerate(self._points[:half]) if p.step or i % 2 == 0]
        if len(old) == half:  # steps alone fill it: the oldest go, and what they dated goes by its neighbours
            old = old[half // 4 :]
        self._points = old + self._points[half:]

    def drop_before(self, ring_ns: int) -> None:
        """Forgets the boots that ended before `ring_ns`, when nothing older is stored any more."""
        if not self._points:
            return
        first = self._boots.starts[self._boots.stretch_at(ring_ns)]
        kept = [p for p in self._points if p.ring_ns >= first]
        if kept and len(kept) < len(self._points):
            self._points = kept
            self._stale = True

    def to_wall(self, ring_ns: npt.ArrayLike) -> Times:
        """Wall time of each moment, int64 of the same shape. Without any point the answer is ring time itself (trust NONE)."""
        self._refresh()
        times = np.asarray(ring_ns, np.int64)
        if not len(self._start):
            return times.copy()
        line = self._line_of(times)
        passed = times - self._at[line]
        return self._wall[line] + passed + np.rint(passed * self._slope[line]).astype(np.int64)

    def wall(self, ring_ns: int) -> int:
        return int(self.to_wall(ring_ns))

    def trust_at(self, ring_ns: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """How far the wall time of each moment can be relied on, as `Trust` values."""
        self._refresh()
        times = np.asarray(ring_ns, np.int64)
        if not len(self._start):
            return np.zeros(times.shape, np.int8)
        return self._trust[self._line_of(times)]

    @property
    def jumps(self) -> Times:
        """Ring times, ascending, at which wall time does not go on smoothly: steps of the clock and starts of boots."""
        self._refresh()
        return self._jumps

    @property
    def steps(self) -> Times:
        """Those of the jumps at which the clock was stepped within a boot."""
        self._refresh()
        return self._jumps[~np.isin(self._jumps, np.array(self._boots.starts, np.int64))]

    def offsets(self) -> tuple[Times, Times, npt.NDArray[np.bool_]]:
        """(lowest, highest, known) per stretch of the boot table: wall minus ring time as far as trusted clocks showed it in that boot."""
        self._refresh()
        count = len(self._boots)
        lowest = np.full(count, np.iinfo(np.int64).max, np.int64)
        highest = np.full(count, np.iinfo(np.int64).min, np.int64)
        trusted = np.flatnonzero(self._trust > Trust.NONE)
        if trusted.size:
            boot = np.searchsorted(np.array(self._boots.starts, np.int64), self._start[trusted], "right") - 1
            offset = self._wall[trusted] - self._at[trusted]
            np.minimum.at(lowest, boot, offset)
            np.maximum.at(highest, boot, offset)
        known = lowest <= highest
        return np.where(known, lowest, 0), np.where(known, highest, 0), known

    def pieces(self, wall_from_ns: int, wall_to_ns: int) -> list[Piece]:
        """The stretches of ring time whose wall time lies in [from, to), ascending; more than one when the clock stepped back.

        The last line reaches into the future, the first of each boot back to the start of that boot.
        """
        self._refresh()
        if wall_to_ns <= wall_from_ns:
            return []
        if not len(self._start):
            low, high = max(0, wall_from_ns), min(wall_to_ns, MAX_RING_NS)
            return [Piece(low, high, low, high)] if low < high else []
        line_stop = np.append(self._start[1:], MAX_RING_NS)
        lows = np.maximum(self._start, self._back(wall_from_ns))
        highs = np.minimum(line_stop, self._back(wall_to_ns))
        found = np.flatnonzero(lows < highs)
        jumps = set(self._jumps.tolist())
        pieces: list[Piece] = []
        for line in found.tolist():
            a, b = int(lows[line]), int(highs[line])
            wall_a, wall_b = self._on(line, a), self._on(line, b)
            if pieces and pieces[-1].stop_ns == a and a not in jumps:
                before = pieces[-1]
                pieces[-1] = Piece(before.start_ns, b, before.wall_at_start_ns, wall_b)
            else:
                pieces.append(Piece(a, b, wall_a, wall_b))
        return pieces

    def _on(self, line: int, ring_ns: int) -> int:
        passed = ring_ns - int(self._at[line])
        return int(self._wall[line]) + passed + round(passed * float(self._slope[line]))

    def _back(self, wall_ns: int) -> Times:
        """For every line the ring time at which it shows `wall_ns`."""
        passed = np.clip(wall_ns, -MAX_WALL_NS, MAX_WALL_NS) - self._wall
        moved = passed - np.rint(passed * (self._slope / (1.0 + self._slope))).astype(np.int64)
        there: Times = np.clip(self._at + moved, -1, MAX_RING_NS)
        return there

    def _line_of(self, times: Times) -> npt.NDArray[np.intp]:
        return np.maximum(np.searchsorted(self._start, times, "right") - 1, 0)

    def _refresh(self) -> None:
        if self._stale or self._boots.version != self._compiled_boots:
            self._compile()

    _compiled_boots = -1

    def _compile(self) -> None:
        """Turns points into straight lines, boot by boot."""
        by_stretch: dict[int, list[EpochPoint]] = {}
        for point in self._points:
            by_stretch.setdefault(self._boots.stretch_at(point.ring_ns), []).append(point)
        lines: list[tuple[int, int, int, float, int]] = []
        jumps: list[int] = []
        for index, boot_start in enumerate(self._boots.starts):
            points = by_stretch.get(index)
            if not points:
                if lines:  # an undated boot follows the one before: late by the time it was off, and untrusted
                    _, at, wall, slope, _ = lines[-1]
                    lines.append((boot_start, at, wall, slope, Trust.NONE))
                    jumps.append(boot_start)
                continue
            for number, line in enumerate(_lines_of_boot(points)):
                start = boot_start if number == 0 else points[number].ring_ns
                if number == 0 or points[number].step:
                    jumps.append(start)
                lines.append((start, *line))
        self._start = np.array([line[0] for line in lines], np.int64)
        self._at = np.array([line[1] for line in lines], np.int64)
        self._wall = np.array([line[2] for line in lines], np.int64)
        self._slope = np.array([line[3] for line in lines], np.float64)
        self._trust = np.array([line[4] for line in lines], np.int8)
        self._jumps = np.array(jumps, np.int64)
        self._stale = False
        self._compiled_boots = self._boots.version

    def dump(self) -> bytes:
        return b"".join(_ROW.pack(p.ring_ns, p.wall_ns, p.rate_ppb, p.trust, p.step) for p in self._points)

    def load(self, section: bytes) -> None:
        """Replaces the points by those of `dump`. Raises ValueError on anything that `dump` could not have written."""
        if len(section) % _ROW.size or len(section) // _ROW.size > MAX_POINTS:
            raise ValueError("epoch table: bad length")
        self._points = []
        for ring_ns, wall_ns, rate, trust, step in _ROW.iter_unpack(section):
            if self._points and ring_ns <= self._points[-1].ring_ns:
                raise ValueError("epoch table: out of order")
            self.add(EpochPoint(ring_ns, wall_ns, rate, Trust(trust), bool(step)))
        self._stale = True


def _lines_of_boot(points: list[EpochPoint]) -> list[tuple[int, int, float, int]]:
    """(ring ns of a point on the line, its wall ns, slope beyond 1, trust) from each point of one boot on."""
    epochs: list[list[EpochPoint]] = []
    for point in points:
        if point.step or not epochs:
            epochs.append([])
        epochs[-1].append(point)
    lines: list[tuple[int, int, float, int]] = []
    best: EpochPoint | None = None  # the beginning of the first epoch among the most trusted of those that follow
    for epoch in reversed(epochs):
        trust = max(point.trust for point in epoch)
        if best is not None and best.trust > trust:
            lines += [(best.ring_ns, best.wall_ns, 0.0, best.trust)] * len(epoch)
            continue
        best = EpochPoint(epoch[0].ring_ns, epoch[0].wall_ns, 0, trust, True)
        lines.append((epoch[-1].ring_ns, epoch[-1].wall_ns, epoch[-1].rate_ppb / 1e9, trust))
        for point, following in zip(epoch[-2::-1], epoch[:0:-1], strict=True):
            passed = following.ring_ns - point.ring_ns
            slope = (following.wall_ns - point.wall_ns - passed) / passed
            lines.append((point.ring_ns, point.wall_ns, slope, trust))
    return lines[::-1]
