"""Media time of one session: whether units follow sensibly on those before, when they can have been sent, how far they are apart.

**The lean path.** Nearly every sweep completes a picture or two and some audio frames, each a little after the one before. `follow` takes
all of them at once and looks only at each track's newest: units that arrive together say nothing more about delays than the newest of
them does, and none of them can be too early when it is not. Whatever is not so plain it leaves to `jumped` and `note`, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

from recorderd.ingest.silence import MediaWatch
from recorderd.model.stream import AccessUnit
from recorderd.rtsp.arrival import ArrivalEstimate

JUMP_NS = 1_000_000_000
REORDER_FRAMES = (
    18  # no picture is further behind in output order: 16 in a decoder's buffer (ITU-T H.264, A.3.1), and two to spare
)


class MediaTime:
    """`rates` are the tracks' clocks in Hz; `watched` is the track whose frame intervals `watch` is told, -1: none.

    Implements `ports.ArrivalTimes`.
    """

    def __init__(self, rates: Sequence[int], watched: int, watch: MediaWatch) -> None:
        self._rates = tuple(rates)
        self._watched = watched
        self._watch = watch
        self._arrivals = tuple(ArrivalEstimate(rate) for rate in rates)
        self._last_ns = [0] * len(rates)

    def arrival_ns(self, track: int, pts: int) -> int:
        return self._arrivals[track].arrival_ns(pts)

    def last_ns(self, track: int) -> int:
        return self._last_ns[track]

    def follow(self, units: Sequence[AccessUnit]) -> bool:
        """Notes all of `units` when nothing about them is in question. Otherwise `jumped` and `note` are to look at all of them, of which
        some may have been noted: to note a unit twice makes no difference."""
        arrival_ns = units[-1].arrival_ns
        if units[0].arrival_ns != arrival_ns:
            return False
        arrivals, rates, watched = self._arrivals, self._rates, self._watched
        newest: dict[int, int] = {}
        frames = longest = 0
        for unit in units:
            track, pts = unit.track, unit.pts
            before = newest[track] if track in newest else arrivals[track].newest
            step, limit = pts - before, rates[track]
            if 0 < step <= limit:
                newest[track] = pts
            else:  # reordered, perhaps
                newest[track] = before
                step = -step
                if not 0 < step < limit:
                    return False
            if not before:  # the track's first
                return False
            if track == watched:
                frames += 1
                if step > longest:
                    longest = step
        for track, pts in newest.items():
            if not arrivals[track].observe_unless_early(pts, arrival_ns, JUMP_NS):
                return False
            self._last_ns[track] = arrival_ns
        if frames:
            self._watch.interval(longest * 1_000_000_000 // rates[watched], arrival_ns, frames)
        return True

    def jumped(self, unit: AccessUnit) -> bool:
        """Whether the unit's media time has no sensible relation to the time before: arrived a second before it can have been sent,
        or lies further back than any reordering reaches."""
        arrival = self._arrivals[unit.track]
        if arrival.early_ns(unit.pts, unit.arrival_ns) > JUMP_NS:
            return True
        back = arrival.newest - unit.pts
        if back <= 0 or arrival.newest == 0:
            return False
        back_ns = back * 1_000_000_000 // self._rates[unit.track]
        return back_ns > JUMP_NS and back_ns > REORDER_FRAMES * self._watch.longest_ns

    def note(self, unit: AccessUnit, *, whole: bool) -> None:
        """A unit that has not jumped; `whole`: nothing between it and the one before was lost."""
        arrival = self._arrivals[unit.track]
        before = arrival.newest
        arrival.observe(unit.pts, unit.arrival_ns)
        self._last_ns[unit.track] = unit.arrival_ns
        if before and whole and unit.track == self._watched:
            step_ns = abs(unit.pts - before) * 1_000_000_000 // self._rates[unit.track]
            self._watch.interval(step_ns, unit.arrival_ns)
