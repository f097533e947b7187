"""Media out of the ring: stored fragments become one MP4, in a form that leaves no trace of how they were stored (format.md section 4).

Nothing is decoded: samples are copied as they are, except that parameter sets which the sample entry already has are taken out. Cuts fall
on random access points: after anything missing, a video track goes on at its next key frame, without the pictures that are shown before it
and need what is missing. Gaps keep their length. The output is written front to back and never sought in:

- progressive: `ftyp`, one `mdat` per stored fragment, `moov` last. What any player opens; needs its end.
- fragmented: `ftyp`, `moov`, then `moof` and `mdat` per stored fragment. Plays while it grows; parameter sets stay in band.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from recorderd.media.boxes import box, ftyp, mvhd
from recorderd.media.errors import MediaError
from recorderd.media.in_band import InBandSets
from recorderd.media.init_segment import FTYP, fragmented_moov
from recorderd.media.moof import MDAT_HEADER, SEQUENCE_AT, Columns, moof
from recorderd.media.movie_table import MOVIE_TIMESCALE, TrackColumns
from recorderd.media.sample_table import TrackTable
from recorderd.model.stream import MediaKind, TrackFormat

_PROGRESSIVE_FTYP = ftyp(b"isom", b"isom", b"iso6", b"mp41")
_LEAD_S = 1

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Take:
    """One track's share of a stored fragment.

    `first_pts` is the media time of the table's first sample, `tick` where that falls on the output's axis; both in the track's clock.
    `from_pts` and `to_pts` bound what is taken, in media time; a video track begins at a key frame at or after `from_pts`. `cold` says
    that something between the track's last share and this one is missing.
    """

    output: int
    table: TrackTable
    first_pts: int
    tick: int
    cold: bool = False
    from_pts: int | None = None
    to_pts: int | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive samples of one take that share a sample entry."""

    start: int
    stop: int
    entry: int
    sizes: Sequence[int]
    ranges: Sequence[tuple[int, int]]  # of the payload


class _Output:
    def __init__(self, form: TrackFormat, name: str) -> None:
        self.form = form
        self.columns = TrackColumns(form, name)
        self.sets = InBandSets(form)
        self.cold = form.kind is MediaKind.VIDEO
        self.skip_below: int | None = None  # leading pictures of a cold key frame end here


class Remux:
    """One output file. Feed the stored fragments in the order of their times; write what each call returns, in order."""

    def __init__(self, tracks: Sequence[TrackFormat], names: Sequence[str] = (), *, fragmented: bool = False) -> None:
        """`tracks` as stored; `fragmented` chooses the form. Raises `MediaError` when there is no track."""
        if not tracks:
            raise MediaError("no track to write")
        self._outputs = [_Output(form, names[n] if n < len(names) else "") for n, form in enumerate(tracks)]
        self._fragmented = fragmented
        self._begun = False
        self._position = 0
        self._sequence = 0
        self._lead_s = 0

    @property
    def samples(self) -> tuple[int, ...]:
        """Written so far, per output track."""
        return tuple(output.columns.count for output in self._outputs)

    def end_tick(self, output: int) -> int | None:
        """Where what the track holds ends on the axis, in its clock; None while it holds nothing."""
        columns = self._outputs[output].columns
        return columns.end_tick() if columns.count else None

    def duration_s(self) -> float:
        """From the start of the movie to the end of its longest track."""
        return max((o.columns.presented() for o in self._outputs if o.columns.count), default=0) / MOVIE_TIMESCALE

    def add(self, payload: memoryview, takes: Sequence[Take]) -> list[Bytes]:
        """`payload` is the `moof` and `mdat` that the takes' tables were read from. Views in the result are into it.

        Raises `MediaError` when a key frame is not what its length prefixes say.
        """
        chosen: list[tuple[Take, list[_Run]]] = []
        for take in takes:
            runs = self._runs(payload, take)
            if runs:
                chosen.append((take, runs))
        if not chosen:
            return []
        return self._add_fragment(payload, chosen) if self._fragmented else self._add_chunks(payload, chosen)

    def finish(self) -> list[Bytes]:
        """The end of the file; nothing may be added afterwards. Raises `MediaError` when no sample was written."""
        if not self._begun:
            raise MediaError("there is nothing to write")
        if self._fragmented:
            return []
        held = [output for output in self._outputs if output.columns.count]
        traks = [
            output.columns.trak(n + 1, output.sets.entries, in_band=output.sets.changed)
            for n, output in enumerate(held)
        ]
        longest = max(output.columns.presented() for output in held)
        return [box(b"moov", mvhd(MOVIE_TIMESCALE, longest, len(held) + 1), *traks)]

    def _runs(self, payload: memoryview, take: Take) -> list[_Run]:
        output = self._outputs[take.output]
        video = output.form.kind is MediaKind.VIDEO
        starts = [*take.table.starts(), take.table.offset + take.table.bytes]
        runs: list[_Run] = []
        for start, stop in _select(output, take):
            keys = [n for n in range(start, stop) if take.table.keys[n]] if video else []
            runs += _split(payload, take.table, starts, start, stop, keys, output.sets, strip=not self._fragmented)
        return runs

    def _add_chunks(self, payload: memoryview, chosen: list[tuple[Take, list[_Run]]]) -> list[Bytes]:
        out: list[Bytes] = []
        if not self._begun:
            self._begun = True
            out.append(_PROGRESSIVE_FTYP)
            self._position = len(_PROGRESSIVE_FTYP)
        size = MDAT_HEADER + sum(sum(run.sizes) for _, runs in chosen for run in runs)
        out.append(struct.pack(">I4s", size, b"mdat"))
        offset = self._position + MDAT_HEADER
        for take, runs in chosen:
            times = take.table.decode_times()
            zero = take.tick - take.table.composition[0]
            for run in runs:
                span = slice(run.start, run.stop)
                table = take.table
                self._outputs[take.output].columns.extend(
                    zero + times[run.start], run.sizes, table.durations[span], table.composition[span], table.keys[span],
                    run.entry, offset,
                )  # fmt: skip
                out += [payload[start:stop] for start, stop in run.ranges]
                offset += sum(run.sizes)
        self._position += size
        return out

    def _add_fragment(self, payload: memoryview, chosen: list[tuple[Take, list[_Run]]]) -> list[Bytes]:
        out: list[Bytes] = []
        if not self._begun:
            self._begun = True
            reorders = any(take.tick < take.table.composition[0] for take, _ in chosen)
            self._lead_s = _LEAD_S if reorders else 0
            entries = [output.sets.entries[0] for output in self._outputs]
            out += [FTYP, fragmented_moov(entries, [output.columns.name for output in self._outputs])]
        # One trun per track: what a cold start leaves out between two runs makes the sample before it longer.
        columns, times = [], []
        for take, runs in chosen:
            decode = take.table.decode_times()
            picked = [n for run in runs for n in range(run.start, run.stop)]
            at = [decode[n] for n in picked]
            durations = [after - before for before, after in pairwise(at)]
            durations.append(take.table.durations[picked[-1]])
            track = self._outputs[take.output].columns
            sizes = [take.table.sizes[n] for n in picked]
            composition = [take.table.composition[n] for n in picked]
            keys = [take.table.keys[n] for n in picked]
            dts = take.tick - take.table.composition[0] + at[0]
            columns.append(Columns(take.output + 1, sizes, durations, composition, keys))
            if track.count:
                dts = max(dts, track.last_dts + 1)  # what is written cannot be dealt out anew
            track.extend(dts, sizes, durations, composition, keys, 1, 0)
            times.append(max(0, dts + self._lead_s * track.clock_rate))
        head, places = moof(columns)
        self._sequence += 1
        struct.pack_into(">I", head, SEQUENCE_AT, self._sequence)
        for place, time in zip(places, times, strict=True):
            struct.pack_into(">Q", head, place, time)
        size = MDAT_HEADER + sum(sum(column.sizes) for column in columns)
        out += [bytes(head), struct.pack(">I4s", size, b"mdat")]
        out += [payload[start:stop] for _, runs in chosen for run in runs for start, stop in run.ranges]
        return out


def _select(output: _Output, take: Take) -> list[tuple[int, int]]:
    """Index ranges of the samples to take, in decoding order."""
    table = take.table
    if output.form.kind is not MediaKind.VIDEO:
        return _select_any(take)
    output.cold = output.cold or take.cold or take.from_pts is not None
    if not output.cold and output.skip_below is None and take.to_pts is None:
        return [(0, table.count)]
    pts = [take.first_pts + at for at in table.presentation_times()]
    stop = table.count
    if take.to_pts is not None:
        # What is decoded before the last picture shown in time stays, even if it is shown later.
        stop = max((n + 1 for n, at in enumerate(pts) if at < take.to_pts), default=0)
    start, key = 0, None
    if output.cold:
        floor = take.from_pts if take.from_pts is not None else min(pts)
        key = next((n for n in range(stop) if table.keys[n] and pts[n] >= floor), None)
        if key is None:
            return []
        output.cold = False
        output.skip_below = pts[key]
        start = key + 1
    if output.skip_below is not None:
        start = next((n for n in range(start, table.count) if pts[n] >= output.skip_below), table.count)
        if start < table.count:
            output.skip_below = None
    if key is None:
        return _range(start, stop)
    return [(key, max(stop, key + 1))] if start == key + 1 else [(key, key + 1), *_range(start, stop)]


def _select_any(take: Take) -> list[tuple[int, int]]:
    """Every sample can be decoded; those before the movie's start are left out."""
    floor = take.first_pts - take.tick
    if take.from_pts is not None:
        floor = max(floor, take.from_pts)
    ceiling = take.to_pts
    if take.first_pts >= floor and ceiling is None:
        return [(0, take.table.count)]
    pts = [take.first_pts + at for at in take.table.presentation_times()]
    inside = [n for n, at in enumerate(pts) if at >= floor and (ceiling is None or at < ceiling)]
    return _range(inside[0], inside[-1] + 1) if inside else []


def _range(start: int, stop: int) -> list[tuple[int, int]]:
    return [(start, stop)] if start < stop else []


def _split(
    payload: memoryview,
    table: TrackTable,
    starts: Sequence[int],
    start: int,
    stop: int,
    keys: Sequence[int],
    sets: InBandSets,
    *,
    strip: bool,
) -> list[_Run]:
    """Cuts a range of samples where the sample entry changes, and takes out of key frames what the entry has."""
    runs: list[_Run] = []
    begin, entry = start, len(sets.entries)
    sizes = list(table.sizes[start:stop])
    ranges: list[tuple[int, int]] = []
    copied = starts[start]
    for key in keys:
        kept = sets.key_frame(payload[starts[key] : starts[key + 1]], strip=strip)
        if len(sets.entries) != entry and key > begin:
            if starts[key] > copied:
                ranges.append((copied, starts[key]))
            runs.append(_Run(begin, key, entry, sizes[begin - start : key - start], ranges))
            begin, copied, ranges = key, starts[key], []
        entry = len(sets.entries)
        if kept is not None:
            if starts[key] > copied:
                ranges.append((copied, starts[key]))
            ranges += [(starts[key] + low, starts[key] + high) for low, high in kept]
            sizes[key - start] = sum(high - low for low, high in kept)
            copied = starts[key + 1]
    if starts[stop] > copied:
        ranges.append((copied, starts[stop]))
    runs.append(_Run(begin, stop, entry, sizes[begin - start :], ranges))
    return runs
