"""The sample tables of a movie that is not fragmented, as columns that grow, and the `trak` made of them (ISO/IEC 14496-12 8.6, 8.7).

Gaps keep their length as the duration of the sample before them. Measured with a gap of 7 s between two stretches of 3 s, H.264 and
H.265, with and without reordering, beside AAC and G.711:

- long sample duration: FFmpeg 5.1 (ffprobe, ffmpeg), FFmpeg 8.1 (PyAV) and GStreamer 1.22 (qtdemux, decoded too) all give every picture
  and sound once, at its time, without a word;
- an empty edit between two edits: FFmpeg 5.1 says "Missing key frame while searching for timestamp" and gives the samples again before
  and after the gap (301 of 150 packets), GStreamer loses the second stretch (76 of 150) and with H.265 does not end.

Edit lists are kept to what all of them play rightly: one empty edit at the start of a track that begins later than the movie, and one
edit that begins at the first presentation time.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from operator import add

from recorderd.media.boxes import box, dinf, full_box, hdlr, i64, mdhd, tkhd, u32, u64
from recorderd.media.errors import MediaError
from recorderd.media.sample_entry import handler, media_header, sample_entry
from recorderd.model.stream import MediaKind, TrackFormat

MOVIE_TIMESCALE = 90_000
MAX_SAMPLES = 1 << 24  # per track: two days of 48 kHz AAC, five of 30 pictures a second
_MAX_DELTA = (1 << 31) - 1  # readers take durations as signed
_TAIL = 32  # more samples than any stream reorders


class RunLengths:
    """A column of integers stored as (count, value)."""

    def __init__(self) -> None:
        self.counts = array("I")
        self.values = array("q")

    def add(self, value: int, count: int = 1) -> None:
        if self.values and self.values[-1] == value:
            self.counts[-1] += count
        else:
            self.values.append(value)
            self.counts.append(count)

    def extend(self, column: Sequence[int]) -> None:
        if len(column) and column.count(column[0]) == len(column):
            self.add(column[0], len(column))
            return
        for value, run in groupby(column):
            self.add(value, sum(1 for _ in run))

    def take_back(self, count: int) -> list[int]:
        """Removes the last `count` values (all, if there are fewer) and returns them in their order."""
        out: list[int] = []
        while self.values and len(out) < count:
            taken = min(self.counts[-1], count - len(out))
            out += [self.values[-1]] * taken
            self.counts[-1] -= taken
            if not self.counts[-1]:
                self.counts.pop()
                self.values.pop()
        return out[::-1]

    def __iter__(self) -> Iterator[int]:
        for count, value in zip(self.counts, self.values, strict=True):
            for _ in range(count):
                yield value

    def table(self, *, signed: bool = False) -> bytes:
        """Entry count, then (count, value) pairs."""
        pairs = b"".join(
            u32(count) + value.to_bytes(4, "big", signed=signed)
            for count, value in zip(self.counts, self.values, strict=True)
        )
        return u32(len(self.counts)) + pairs


class TrackColumns:
    """One track's samples. Times are ticks of the track's clock on the output's axis, whose 0 is the start of the movie."""

    def __init__(self, form: TrackFormat, name: str) -> None:
        self.clock_rate = form.clock_rate
        self.kind = form.kind
        self.name = name
        self.first_dts = 0
        self.last_dts = 0
        self._last_duration = 0
        self._shown_until = 0  # the latest end of a sample shown
        self._sizes = array("I")
        self._durations = RunLengths()  # all but the last sample's
        self._composition = RunLengths()
        self._sync = array("I")
        self._chunk_offsets = array("Q")
        self._chunks = RunLengths()  # samples per chunk * 256 + sample entry

    @property
    def count(self) -> int:
        return len(self._sizes)

    def extend(
        self,
        dts: int,
        sizes: Sequence[int],
        durations: Sequence[int],
        composition: Sequence[int],
        keys: Sequence[bool],
        entry: int,
        offset: int,
    ) -> None:
        """Samples that lie one after the other from `offset` of the file on. The sample before them lasts until `dts`.

        Where `dts` is not after the last one's, decoding times are dealt out anew and presentation times stay.
        """
        if self.count + len(sizes) > MAX_SAMPLES:
            raise MediaError(f"more than {MAX_SAMPLES} samples in a track")
        times = list(accumulate(durations[:-1], initial=dts))
        # A file that ends inside a group of reordered pictures shows its last one later than their durations add up to.
        self._shown_until = max(self._shown_until, max(map(add, times, composition)) + durations[-1])
        if self.count and dts <= self.last_dts:
            self._deal_out(times, composition)
        else:
            if self.count:
                self._durations.add(dts - self.last_dts)
            else:
                self.first_dts = dts
            self._durations.extend(durations[:-1])
            self._composition.extend(composition)
            self.last_dts = times[-1]
        self._last_duration = durations[-1]
        if self.kind is MediaKind.VIDEO:
            self._sync.extend(self.count + n + 1 for n, key in enumerate(keys) if key)
        self._sizes.extend(sizes)
        self._chunk_offsets.append(offset)
        self._chunks.add(len(sizes) << 8 | entry)

    def _deal_out(self, times: list[int], composition: Sequence[int]) -> None:
        """Two stretches that meet inside a group of reordered pictures: sorted together, their decoding times fit again."""
        tail = min(self.count, _TAIL)
        offsets = self._composition.take_back(tail)
        steps = self._durations.take_back(tail if self.count > tail else tail - 1)
        before = list(accumulate(reversed(steps), lambda at, step: at - step, initial=self.last_dts))[::-1]
        floor = before.pop(0) if self.count > tail else None
        shown = [*map(add, before, offsets), *map(add, times, composition)]
        dealt: list[int] = [] if floor is None else [floor]
        for time in sorted([*before, *times]):
            dealt.append(max(time, dealt[-1] + 1) if dealt else time)
        if floor is None:
            self.first_dts = dealt[0]
        self._durations.extend([after - time for time, after in pairwise(dealt)])
        self._composition.extend([at - time for at, time in zip(shown, dealt[-len(shown) :], strict=True)])
        self.last_dts = dealt[-1]

    def duration(self) -> int:
        """Of the media, in ticks."""
        return self.last_dts - self.first_dts + self._last_duration

    def end_tick(self) -> int:
        """Of the last sample shown, on the movie's axis."""
        return self._shown_until

    def presented(self) -> int:
        """From the start of the movie to the end of the track, in the movie's timescale."""
        return max(0, self.end_tick()) * MOVIE_TIMESCALE // self.clock_rate

    def trak(self, track_id: int, entries: Sequence[TrackFormat], *, in_band: bool) -> bytes:
        """The box; the track must have samples."""
        self._durations.add(self._last_duration)
        scale = -(-max(self._durations.values) // _MAX_DELTA)
        if scale > 1:
            self._coarsen(scale)
        minf = box(b"minf", media_header(self.kind), dinf(), self._stbl(entries, in_band=in_band))
        rate = self.clock_rate
        mdia = box(b"mdia", mdhd(rate, self.duration()), hdlr(handler(self.kind), self.name), minf)
        width, height = max(form.width for form in entries), max(form.height for form in entries)
        audio = self.kind is MediaKind.AUDIO
        return box(b"trak", tkhd(track_id, self.presented(), width, height, audio=audio), self._edts(), mdia)

    def _edts(self) -> bytes:
        """The track begins where its first presentation time says, after nothing; decoding before that is not shown."""
        shift = self._composition.values[0]
        start = (self.first_dts + shift) * MOVIE_TIMESCALE // self.clock_rate
        edits = []
        if start > 0:
            edits.append(u64(start) + i64(-1) + u32(0x10000))
        shown = (self._shown_until - self.first_dts - shift) * MOVIE_TIMESCALE // self.clock_rate
        edits.append(u64(shown) + i64(shift) + u32(0x10000))
        return box(b"edts", full_box(b"elst", 1, 0, u32(len(edits)), *edits))

    def _stbl(self, entries: Sequence[TrackFormat], *, in_band: bool) -> bytes:
        boxes = [
            full_box(b"stsd", 0, 0, u32(len(entries)), *(sample_entry(form, in_band=in_band) for form in entries)),
            full_box(b"stts", 0, 0, self._durations.table()),
        ]
        if any(self._composition.values):
            version = 1 if min(self._composition.values) < 0 else 0
            boxes.append(full_box(b"ctts", version, 0, self._composition.table(signed=bool(version))))
        if self.kind is MediaKind.VIDEO and len(self._sync) < self.count:
            boxes.append(full_box(b"stss", 0, 0, u32(len(self._sync)), _big_endian(self._sync)))
        stsc = bytearray()
        chunk = 1
        for run, value in zip(self._chunks.counts, self._chunks.values, strict=True):
            stsc += u32(chunk) + u32(value >> 8) + u32(value & 0xFF)
            chunk += run
        boxes.append(full_box(b"stsc", 0, 0, u32(len(self._chunks.counts)), bytes(stsc)))
        boxes.append(full_box(b"stsz", 0, 0, u32(0), u32(self.count), _big_endian(self._sizes)))
        if self._chunk_offsets[-1] > 0xFFFF_FFFF:
            offsets = full_box(b"co64", 0, 0, u32(len(self._chunk_offsets)), _big_endian(self._chunk_offsets))
        else:
            narrow = array("I", self._chunk_offsets)
            offsets = full_box(b"stco", 0, 0, u32(len(narrow)), _big_endian(narrow))
        return box(b"stbl", *boxes, offsets)

    def _coarsen(self, scale: int) -> None:
        """Divides the clock, because a gap is longer than a duration can say (6.6 hours at 90 kHz)."""
        while self.clock_rate % scale:
            scale += 1
        durations, composition = RunLengths(), RunLengths()
        dts = 0
        for duration, offset in zip(self._durations, self._composition, strict=True):
            at = dts // scale
            dts += duration
            durations.add(dts // scale - at)
            composition.add((dts - duration + offset) // scale - at)
        self._durations, self._composition = durations, composition
        self.clock_rate //= scale
        self.first_dts //= scale
        self._shown_until = -(-self._shown_until // scale)
        self._last_duration = durations.values[-1]
        self.last_dts = self.first_dts + dts // scale - self._last_duration


def _big_endian(column: array[int]) -> bytes:
    out = array(column.typecode, column)
    if sys.byteorder == "little":
        out.byteswap()
    return out.tobytes()
