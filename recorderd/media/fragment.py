"""One fragment: `moof` and `mdat` of what a writer's tracks received since the last one (format.md section 4; ISO/IEC 14496-12 8.8).

Sizes are known and the header is laid out before a byte of media moves; `write_into` then copies each access unit once, straight into
the buffer that goes to the disk. Composition offsets are signed (`trun` version 1), though only a source that violates its reorder depth
has negative ones.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from operator import sub

import msgspec

from recorderd.media.errors import MediaError
from recorderd.media.moof import MDAT_HEADER, SEQUENCE_AT, Columns, moof
from recorderd.model.ports import SampleRun
from recorderd.model.stream import MediaKind

_MAX_BYTES = 1 << 30


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One access unit with its place in decoding order. Times are media times in the track's clock."""

    data: bytes
    pts: int
    dts: int
    duration: int  # to the next dts
    key: bool
    damaged: bool = False
    arrival_ns: int = 0  # CLOCK_BOOTTIME


@dataclass(frozen=True, slots=True)
class TrackSamples:
    """The samples of one track in one fragment, in decoding order; at least one.

    Each lasts until the decoding time of the next; only the last one's `duration` is gone by.
    """

    track: int  # index in WriterSpec.tracks; its MP4 track id is one more
    kind: MediaKind
    clock_rate: int
    samples: Sequence[Sample]


class Fragment:
    """`ports.FragmentBody`. Holds references to the access units' bytes, not copies, until it is dropped."""

    __slots__ = ("_data", "_head", "_mdat_size", "_patches", "damaged", "runs", "size", "starts_with_key")

    def __init__(self, tracks: Sequence[TrackSamples], *, lead_s: int = 0) -> None:
        """`tracks` in the order of their ids, each at most once. Raises `MediaError` when there is none or it is over 1 GiB.

        `lead_s`: by how many seconds all tracks of the slot begin late, so that pictures decoded before time 0 have a decoding time.
        """
        if not tracks or not all(track.samples for track in tracks):
            raise MediaError("a fragment needs at least one sample per track")
        self._data: list[bytes] = []
        columns, runs, starts = [], [], []
        media = 0
        self.starts_with_key = True
        self.damaged = False
        for track in tracks:
            samples, lead = track.samples, lead_s * track.clock_rate
            data = [sample.data for sample in samples]
            pts = [sample.pts for sample in samples]
            dts = [sample.dts for sample in samples]
            keys = [sample.key for sample in samples]
            sizes = list(map(len, data))
            durations = [*map(sub, dts[1:], dts), samples[-1].duration]
            columns.append(Columns(track.track + 1, sizes, durations, list(map(sub, pts, dts)), keys))
            runs.append(_run(track, pts, durations, keys, lead))
            starts.append(dts[0] + lead)
            self._data += data
            media += sum(sizes)
            self.starts_with_key &= track.kind is not MediaKind.VIDEO or keys[0]
            self.damaged |= True in [sample.damaged for sample in samples]
        if media > _MAX_BYTES:
            raise MediaError(f"fragment of {media} bytes")
        head, places = moof(columns)
        self._head = bytes(head)
        self._patches = [(at, track.track, start) for at, track, start in zip(places, tracks, starts, strict=True)]
        self._mdat_size = MDAT_HEADER + media
        self.size: int = len(self._head) + self._mdat_size
        self.runs: Sequence[SampleRun] = tuple(runs)

    def write_into(self, buffer: memoryview, sequence: int, media_base: Sequence[int]) -> None:
        """Writes `size` bytes at the start of `buffer`.

        `sequence` goes into `mfhd`. `media_base[track]` is the media time at which the slot's timeline begins; `tfdt` is the first
        decoding time after it plus the lead, and 0 where that would be negative (the true time is in the fragment's anchor).
        """
        position = len(self._head)
        buffer[:position] = self._head
        struct.pack_into(">I", buffer, SEQUENCE_AT, sequence & 0xFFFF_FFFF)
        for at, track, dts in self._patches:
            struct.pack_into(">Q", buffer, at, max(0, dts - media_base[track]))
        struct.pack_into(">I4s", buffer, position, self._mdat_size, b"mdat")
        position += MDAT_HEADER
        for data in self._data:
            end = position + len(data)
            buffer[position:end] = data
            position = end


def _run(
    track: TrackSamples, pts: Sequence[int], durations: Sequence[int], keys: Sequence[bool], lead: int
) -> SampleRun:
    """Audio and metadata list no key samples: every one of them is one."""
    newest = max(pts)
    end = newest + durations[pts.index(newest)]
    at = [n for n, key in enumerate(keys) if key] if track.kind is MediaKind.VIDEO else []
    return SampleRun(track.track, min(pts), end, len(pts), tuple([pts[n] for n in at]), tuple(at), lead)
