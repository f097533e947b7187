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

What is pushed is only laid aside, and worked off when a commit tick asks whether anything is due: a second of a stream at once costs a
third of what it would sweep by sweep. Where no track is reordered, and each unit follows the one before, all of it goes through
`_Track.straight`; else unit by unit through `_Track.push`.

A source that violates its R (a presentation time below one already used) gets a larger one at once; the units concerned keep their
presentation times and get decoding times that still grow. A presentation time that jumps by more than `_JUMP_S` either way starts a new
part, as `flush` does: a fragment never holds samples of two parts, so its anchors say where media time goes on.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


class _Part:
    """Samples that are ready to be cut, by track; each track's in decoding order."""

    def __init__(self, tracks: int) -> None:
        self.samples: list[list[Sample]] = [[] for _ in range(tracks)]
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return any(self.samples)

    def take(self, max_bytes: int) -> list[list[Sample]]:
        """The oldest by arrival, up to `max_bytes` and `MAX_SAMPLES`, one at least."""
        if self.size_bytes <= max_bytes and sum(map(len, self.samples)) <= MAX_SAMPLES:
            taken, self.samples, self.size_bytes = self.samples, [[] for _ in self.samples], 0
            return taken
        counts = [0] * len(self.samples)
        left = max_bytes
        everything = [(track, sample) for track, samples in enumerate(self.samples) for sample in samples]
        for track, sample in sorted(everything, key=lambda item: item[1].arrival_ns)[:MAX_SAMPLES]:
            left -= len(sample.data)
            if left < 0 and any(counts):
                break
            counts[track] += 1
        taken = [samples[:count] for samples, count in zip(self.samples, counts, strict=True)]
        self.samples = [samples[count:] for samples, count in zip(self.samples, counts, strict=True)]
        self.size_bytes -= sum(len(sample.data) for samples in taken for sample in samples)
        return taken


class _Track:
    """One track's held-back units, in decoding order, and the presentation times not yet given out as decoding times."""

    def __init__(self, index: int, stream_track: int, form: TrackFormat) -> None:
        self.index = index
        self.stream_track = stream_track
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

    def straight(self, units: Sequence[AccessUnit]) -> list[Sample] | None:
        """The samples that these units complete: those held and all but the newest. None, and nothing has happened, where it takes
        `push` and `release` to say so: reordering, nothing held yet, times that do not grow, or a jump."""
        held = self.held
        if self.reorder or self.delay or len(held) != 1 or self.excused:
            return None
        first = held[0]
        if self.last_dts is not None and first.pts <= self.last_dts:
            return None
        limit = _JUMP_S * self.clock_rate
        samples = []
        before, pts = first, first.pts
        for unit in units:
            following = unit.pts
            duration = following - pts
            if not 0 < duration <= limit:
                return None
            samples.append(Sample(before.data, pts, pts, duration, before.key, before.damaged, before.arrival_ns))
            before, pts = unit, following
        return samples

    def went_straight(self, newest: AccessUnit, samples: Sequence[Sample]) -> None:
        """The units behind `samples` have left; `newest` is held now."""
        self.held[0] = newest
        self.times[0] = self.newest = newest.pts
        self.last_time = self.last_dts = samples[-1].pts
        self.last_duration = samples[-1].duration

    def release(self, out: list[Sample], *, keep: int, expired_before_ns: int = 0) -> int:
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
            out.append(Sample(unit.data, unit.pts, dts, self.last_duration, unit.key, unit.damaged, unit.arrival_ns))
            size += len(unit.data)
        return size

    def reorders(self) -> bool:
        """Whether pictures are decoded before their turn: as seen, or as declared while none was."""
        return self.delay > 0 if self.last_time is not None else self.reorder > 0

    def _delay_at_least(self, ticks: int) -> None:
        """Bounded by the lead that a slot's timeline has when pictures are reordered."""
        self.delay = min(max(self.delay, ticks), LEAD_S * self.clock_rate)


class Fragmenter:
    """For one writer. `formats` in the order of `WriterSpec.tracks`; pushed units carry the indices that their tracks have in the session,
    which are `stream_tracks` where they are not the same. Units of a track come in decoding order."""

    def __init__(
        self, formats: Sequence[TrackFormat], stream_tracks: Sequence[int] | None = None, *, hold_ns: int = HOLD_NS
    ) -> None:
        names = range(len(formats)) if stream_tracks is None else stream_tracks
        self._tracks = [_Track(n, name, form) for n, (name, form) in enumerate(zip(names, formats, strict=True))]
        self._by_stream = {track.stream_track: track for track in self._tracks}
        self._aside: list[AccessUnit] = []  # pushed, and not looked at yet
        self._parts = deque([_Part(len(formats))])  # ready, oldest first; the last is the one that grows
        self._held_bytes = 0
        self._hold_ns = hold_ns
        self._lead_s: int | None = None  # settled by the first fragment

    @property
    def pending_bytes(self) -> int:
        """Media bytes pushed and not yet taken."""
        return self._held_bytes + self._ready_bytes

    @property
    def _ready_bytes(self) -> int:
        return sum([part.size_bytes for part in self._parts])

    @property
    def oldest_arrival_ns(self) -> int | None:
        """Arrival of the oldest unit pushed and not yet taken; None when there is none."""
        self._work_off()
        return min(self._left(), default=None)

    def _left(self) -> list[int]:
        """Arrival of the oldest unit of each track in each place where units wait."""
        arrivals = [track.held[0].arrival_ns for track in self._tracks if track.held]
        return arrivals + [samples[0].arrival_ns for part in self._parts for samples in part.samples if samples]

    def push(self, unit: AccessUnit) -> None:
        self._aside.append(unit)
        self._held_bytes += len(unit.data)

    def push_all(self, units: Iterable[AccessUnit], size_bytes: int) -> None:
        """Units, and how many bytes they have together."""
        self._aside += units
        self._held_bytes += size_bytes

    def _work_off(self) -> None:
        """Brings in what was pushed since."""
        if not self._aside:
            return
        aside, self._aside = self._aside, []
        found: list[tuple[_Track, AccessUnit, list[Sample]]] = []
        for track in self._tracks:
            units = [unit for unit in aside if unit.track == track.stream_track]
            if not units:
                continue
            samples = track.straight(units)
            if samples is None:
                for unit in aside:
                    self._push(self._by_stream[unit.track], unit)
                return
            found.append((track, units[-1], samples))
        for track, newest, samples in found:
            track.went_straight(newest, samples)
            self._parts[-1].samples[track.index] += samples
            self._moved(sum([len(sample.data) for sample in samples]))

    def _push(self, into: _Track, unit: AccessUnit) -> None:
        if into.jumped(unit):
            self._release(into, keep=0)
            into.restart()
            self._end_part()
        into.push(unit)
        self._release(into, keep=into.reorder + 1)

    def _release(self, track: _Track, *, keep: int, expired_before_ns: int = 0) -> None:
        out = self._parts[-1].samples[track.index]
        self._moved(track.release(out, keep=keep, expired_before_ns=expired_before_ns))

    def _moved(self, size: int) -> None:
        """From held to ready."""
        self._parts[-1].size_bytes += size
        self._held_bytes -= size

    def _end_part(self) -> None:
        if self._parts[-1]:
            self._parts.append(_Part(len(self._tracks)))

    def set_format(self, track: int, new: TrackFormat) -> None:
        """New parameter sets in mid-stream: a larger reorder depth counts from here on; a smaller one would gain nothing."""
        self._work_off()
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
        self._work_off()
        for track in self._tracks:
            self._release(track, keep=track.reorder + 1, expired_before_ns=now_ns - self._hold_ns)
        return self._cut(max_bytes)

    def flush(self, *, max_bytes: int = MAX_BYTES) -> Cut | None:
        """The same with nothing held back, at the end of a session, a run or the writer. Call until it returns None."""
        self._work_off()
        for track in self._tracks:
            self._release(track, keep=0)
            track.restart()
        self._end_part()
        return self._cut(max_bytes)

    def _cut(self, max_bytes: int) -> Cut | None:
        if not self._parts[0] and len(self._parts) > 1:
            self._parts.popleft()
        if not self._parts[0]:
            return None
        taken = self._parts[0].take(max_bytes)
        groups = [(track, samples) for track, samples in zip(self._tracks, taken, strict=True) if samples]
        if self._lead_s is None:
            self._lead_s = LEAD_S if any(track.reorders() for track in self._tracks) else 0
        fragment = Fragment(
            [TrackSamples(track.index, track.kind, track.clock_rate, samples) for track, samples in groups],
            lead_s=self._lead_s,
        )
        firsts = tuple([FirstSample(track.index, samples[0].pts, samples[0].arrival_ns) for track, samples in groups])
        newest = max([samples[-1].arrival_ns for _, samples in groups])
        arrived_to = min([newest, *(oldest - 1 for oldest in self._left())])
        return Cut(fragment, firsts, min(arrived_to, *(first.arrival_ns for first in firsts)), arrived_to)


def _nominal_duration(form: TrackFormat) -> int:
    """A duration for a track's only sample so far, until two of them say it."""
    if form.frame_rate > 0:
        return max(1, round(form.clock_rate / form.frame_rate))
    if form.kind is MediaKind.AUDIO:
        return max(1, form.clock_rate // 50)
    return max(1, form.clock_rate // 25)
