"""Turns a writer's access units into fragments: decoding times, durations, and what is due when (format.md section 4).

The decoding time of the i-th access unit is the i-th smallest presentation time of its track, less a delay that keeps it at or before
its presentation. With a reorder depth of R it is known once R later units are there, and its duration with one more: R+1 units per track
are held back. Where the source pauses, nothing is held longer than `hold_ns`: its decoding time is then made of the smallest known, its
duration is the one before.

The delay is what the first R+2 units show, 0 for a stream without reordering, and grows when it must. (Without it composition offsets
would be negative, which ISO/IEC 14496-12 allows; but FFmpeg 5.1 and 8.1 and GStreamer 1.22 then shift the whole track, measured, and
sound is no longer in time with the picture.) Decoding times in a file cannot be negative, so where pictures are reordered all tracks begin
`LEAD_S` late, in time with each other. (An edit list that takes the lead away again suits FFmpeg, but GStreamer 1.22 then skips to the
first key frame behind it: measured, 25 of 75 pictures lost.)

A source that violates its R (a presentation time below one already used) gets a larger one at once; the units concerned keep their
presentation times and get decoding times that still grow. A presentation time that jumps by more than `_JUMP_S` either way starts a new
part, as `flush` does: a fragment never holds samples of two parts, so its anchors say where media time goes on.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from msgspec import Struct, structs

from recorderd.media.fragment import Fragment, Sample, TrackSamples
from recorderd.model.stream import AccessUnit, MediaKind, TrackFormat

MIN_BYTES = 128 * 1024
MAX_AGE_NS = 4_000_000_000
HOLD_NS = 1_500_000_000
MAX_BYTES = 4 * 1024 * 1024
MAX_SAMPLES = 4096  # per fragment: bounds the moof
MAX_REORDER = 16
LEAD_S = 1
_JUMP_S = 10


@dataclass(frozen=True, slots=True)
class FirstSample:
    """What an anchor is made of: the first sample of a track in a fragment, in decoding order."""

    track: int
    pts: int
    arrival_ns: int


@dataclass(frozen=True, slots=True)
class Cut:
    """One fragment and when its units arrived, CLOCK_BOOTTIME.

    Everything pushed that arrived up to `arrived_to_ns` is in this fragment or an earlier one; units that are still held back arrived
    after it.
    """

    fragment: Fragment
    firsts: tuple[FirstSample, ...]  # one per track of the fragment, in track order
    arrived_from_ns: int
    arrived_to_ns: int


class _Ready(Struct, frozen=True, gc=False):
    track: int
    sample: Sample
    arrival_ns: int
    part: int


class _Track:
    """One track's held-back units, in decoding order, and the presentation times not yet given out as decoding times."""

    def __init__(self, index: int, form: TrackFormat) -> None:
        self.index = index
        self.kind = form.kind
        self.clock_rate = form.clock_rate
        self.reorder = min(max(form.reorder_depth, 0), MAX_REORDER)
        self.held: deque[AccessUnit] = deque()
        self.times: list[int] = []  # heap
        self.delay = 0
        self.newest: int | None = None  # presentation time of the unit pushed last
        self.last_time: int | None = None  # taken out of `times` last
        self.last_dts: int | None = None
        self.last_duration = _nominal_duration(form)
        self.excused = 0  # units that may come below `last_time` because it was used early

    def push(self, unit: AccessUnit) -> None:
        self.held.append(unit)
        heapq.heappush(self.times, unit.pts)
        self.newest = unit.pts
        if self.excused:
            self.excused -= 1
        elif self.last_time is not None and unit.pts <= self.last_time:
            self.reorder = min(self.reorder + 1, MAX_REORDER)

    def jumped(self, unit: AccessUnit) -> bool:
        """Whether `unit` is too far from the newest one for reordering or a pause to explain it."""
        return self.newest is not None and abs(unit.pts - self.newest) > _JUMP_S * self.clock_rate

    def restart(self) -> None:
        """The next unit begins a new part. Nothing may be held."""
        self.newest = self.last_time = self.last_dts = None
        self.excused = 0

    def exchange(self, unit: AccessUnit, part: int) -> _Ready | None:
        """`push` and `release` in one, for what most streams are: no reordering, one unit held, the next in order. None otherwise."""
        held = self.held
        if self.reorder or self.delay or len(held) != 1 or self.excused:
            return None
        before = held[0]
        duration = unit.pts - before.pts
        if not 0 < duration <= _JUMP_S * self.clock_rate or (self.last_dts is not None and before.pts <= self.last_dts):
            return None
        held[0] = unit
        self.times[0] = self.newest = unit.pts
        self.last_time = self.last_dts = before.pts
        self.last_duration = duration
        sample = Sample(before.data, before.pts, before.pts, duration, before.key, before.damaged)
        return _Ready(self.index, sample, before.arrival_ns, part)

    def release(self, part: int, out: deque[_Ready], *, keep: int, expired_before_ns: int = 0) -> int:
        """Moves units that need not be held to `out`: all but the newest `keep`, and those that arrived before `expired_before_ns`.
        Returns their bytes."""
        size = 0
        while self.held and (len(self.held) > keep or self.held[0].arrival_ns < expired_before_ns):
            if len(self.held) <= keep:
                self.excused = self.reorder + 1
            if self.last_time is None:
                ordered = sorted(self.times)
                self._delay_at_least(max(time - unit.pts for time, unit in zip(ordered, self.held, strict=True)))
            unit = self.held.popleft()
            self.last_time = heapq.heappop(self.times)
            self._delay_at_least(self.last_time - unit.pts)
            dts = self.last_time - self.delay
            if self.last_dts is not None and dts <= self.last_dts:
                dts = self.last_dts + 1
            if self.times:
                self.last_duration = max(1, self.times[0] - self.delay - dts)
            self.last_dts = dts
            sample = Sample(unit.data, unit.pts, dts, self.last_duration, unit.key, unit.damaged)
            out.append(_Ready(self.index, sample, unit.arrival_ns, part))
            size += len(unit.data)
        return size

    def reorders(self) -> bool:
        """Whether pictures are decoded before their turn: as seen, or as declared while none was."""
        return self.delay > 0 if self.last_time is not None else self.reorder > 0

    def _delay_at_least(self, ticks: int) -> None:
        """Bounded by the lead that a slot's timeline has when pictures are reordered."""
        self.delay = min(max(self.delay, ticks), LEAD_S * self.clock_rate)


class Fragmenter:
    """For one writer. `formats` in the order of `WriterSpec.tracks`; pushed units carry the index of their track in it."""

    def __init__(self, formats: Sequence[TrackFormat], *, hold_ns: int = HOLD_NS) -> None:
        self._tracks = [_Track(index, form) for index, form in enumerate(formats)]
        self._ready: deque[_Ready] = deque()
        self._ready_bytes = 0
        self._held_bytes = 0
        self._hold_ns = hold_ns
        self._part = 0
        self._lead_s: int | None = None  # settled by the first fragment

    @property
    def pending_bytes(self) -> int:
        """Media bytes pushed and not yet taken."""
        return self._ready_bytes + self._held_bytes

    @property
    def oldest_arrival_ns(self) -> int | None:
        """Arrival of the oldest unit pushed and not yet taken; None when there is none."""
        arrivals = [track.held[0].arrival_ns for track in self._tracks if track.held]
        if self._ready:
            arrivals.append(self._ready[0].arrival_ns)
        return min(arrivals, default=None)

    def push(self, unit: AccessUnit, track: int | None = None) -> None:
        """Takes one unit; `track` where its index in the session is not that of the writer. Units of a track in decoding order."""
        into = self._tracks[unit.track if track is None else track]
        self._held_bytes += len(unit.data)
        ready = into.exchange(unit, self._part)
        if ready is not None:
            self._ready.append(ready)
            self._moved(len(ready.sample.data))
            return
        if into.jumped(unit):
            self._moved(into.release(self._part, self._ready, keep=0))
            into.restart()
            self._part += 1
        into.push(unit)
        self._moved(into.release(self._part, self._ready, keep=into.reorder + 1))

    def set_format(self, track: int, new: TrackFormat) -> None:
        """New parameter sets in mid-stream: a larger reorder depth counts from here on; a smaller one would gain nothing."""
        into = self._tracks[track]
        into.reorder = min(max(new.reorder_depth, into.reorder), MAX_REORDER)

    def due(self, now_ns: int, *, min_bytes: int = MIN_BYTES, max_age_ns: int = MAX_AGE_NS) -> bool:
        """Whether `take` should be called at the commit tick of boot time `now_ns`."""
        oldest = self.oldest_arrival_ns
        return self._ready_bytes >= min_bytes or (oldest is not None and now_ns - oldest >= max_age_ns)

    def take(self, now_ns: int, *, max_bytes: int = MAX_BYTES) -> Cut | None:
        """One fragment of what need not be held back, oldest first, up to `max_bytes` (one unit at least); None when there is nothing.

        Call again while `due` still says so.
        """
        for track in self._tracks:
            expired_ns = now_ns - self._hold_ns
            self._moved(track.release(self._part, self._ready, keep=track.reorder + 1, expired_before_ns=expired_ns))
        return self._cut(max_bytes)

    def flush(self, *, max_bytes: int = MAX_BYTES) -> Cut | None:
        """The same with nothing held back, at the end of a session, a run or the writer. Call until it returns None."""
        for track in self._tracks:
            self._moved(track.release(self._part, self._ready, keep=0))
            track.restart()
        self._part += 1
        return self._cut(max_bytes)

    def _moved(self, size: int) -> None:
        """From held to ready."""
        self._ready_bytes += size
        self._held_bytes -= size

    def _cut(self, max_bytes: int) -> Cut | None:
        if not self._ready:
            return None
        taken: list[list[_Ready]] = [[] for _ in self._tracks]
        part = self._ready[0].part
        size = count = 0
        while self._ready and self._ready[0].part == part and count < MAX_SAMPLES:
            length = len(self._ready[0].sample.data)
            if count and size + length > max_bytes:
                break
            item = self._ready.popleft()
            taken[item.track].append(item)
            size += length
            count += 1
        self._ready_bytes -= size
        groups = [group for group in taken if group]
        if self._lead_s is None:
            self._lead_s = LEAD_S if any(track.reorders() for track in self._tracks) else 0
        samples = [_track_samples(group, self._tracks[group[0].track]) for group in groups]
        fragment = Fragment(samples, lead_s=self._lead_s)
        firsts = tuple(FirstSample(group[0].track, group[0].sample.pts, group[0].arrival_ns) for group in groups)
        arrivals = [item.arrival_ns for group in groups for item in group]
        left = [track.held[0].arrival_ns for track in self._tracks if track.held]
        left += [item.arrival_ns for item in self._ready]
        arrived_to = min(max(arrivals), min(left) - 1) if left else max(arrivals)
        return Cut(fragment, firsts, min(*arrivals, arrived_to), arrived_to)


def _track_samples(group: Sequence[_Ready], track: _Track) -> TrackSamples:
    """Durations inside the fragment follow from the decoding times, which a violation of R may have moved since the release."""
    samples = [item.sample for item in group]
    timed = [
        sample
        if sample.dts + sample.duration == after.dts
        else structs.replace(sample, duration=after.dts - sample.dts)
        for sample, after in pairwise(samples)
    ]
    timed.append(samples[-1])
    newest = max(timed, key=lambda sample: sample.pts)
    return TrackSamples(track.index, track.kind, track.clock_rate, timed, newest.pts + newest.duration)


def _nominal_duration(form: TrackFormat) -> int:
    """A duration for a track's only sample so far, until two of them say it."""
    if form.frame_rate > 0:
        return max(1, round(form.clock_rate / form.frame_rate))
    if form.kind is MediaKind.AUDIO:
        return max(1, form.clock_rate // 50)
    return max(1, form.clock_rate // 25)
