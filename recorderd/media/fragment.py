"""One fragment: `moof` and `mdat` of what a writer's tracks received since the last one (format.md section 4; ISO/IEC 14496-12 8.8).

Sizes are known and the header is laid out before a byte of media moves; `write_into` then copies each access unit once, straight into
the buffer that goes to the disk. Composition offsets are signed (`trun` version 1), though only a source that violates its reorder depth
has negative ones.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

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
    """The samples of one track in one fragment, in decoding order; at least one. `end_pts` as in `SampleRun`."""

    track: int  # index in WriterSpec.tracks; its MP4 track id is one more
    kind: MediaKind
    clock_rate: int
    samples: Sequence[Sample]
    end_pts: int


class Fragment:
    """`ports.FragmentBody`. Holds references to the access units' bytes, not copies, until it is dropped."""

    __slots__ = ("_data", "_head", "_mdat_size", "_patches", "damaged", "runs", "size", "starts_with_key")

    def __init__(self, tracks: Sequence[TrackSamples], *, lead_s: int = 0) -> None:
        """`tracks` in the order of their ids, each at most once. Raises `MediaError` when there is none or it is over 1 GiB.

        `lead_s`: by how many seconds all tracks of the slot begin late, so that pictures decoded before time 0 have a decoding time.
        """
        if not tracks or any(not track.samples for track in tracks):
            raise MediaError("a fragment needs at least one sample per track")
        media = sum(len(sample.data) for track in tracks for sample in track.samples)
        if media > _MAX_BYTES:
            raise MediaError(f"fragment of {media} bytes")
        self._data = [sample.data for track in tracks for sample in track.samples]
        head, places = moof([_columns(track) for track in tracks])
        self._head = bytes(head)
        self._patches = [
            (at, track.track, track.samples[0].dts + lead_s * track.clock_rate)
            for at, track in zip(places, tracks, strict=True)
        ]
        self._mdat_size = MDAT_HEADER + media
        self.size: int = len(self._head) + self._mdat_size
        self.runs: Sequence[SampleRun] = tuple(_run(track, lead_s * track.clock_rate) for track in tracks)
        video = [track for track in tracks if track.kind is MediaKind.VIDEO]
        self.starts_with_key: bool = all(track.samples[0].key for track in video)
        self.damaged: bool = any(sample.damaged for track in tracks for sample in track.samples)

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


def _run(track: TrackSamples, lead: int) -> SampleRun:
    """Audio and metadata list no key samples: every one of them is one."""
    keys = [n for n, sample in enumerate(track.samples) if sample.key] if track.kind is MediaKind.VIDEO else []
    return SampleRun(
        track.track,
        min(sample.pts for sample in track.samples),
        track.end_pts,
        len(track.samples),
        tuple(track.samples[n].pts for n in keys),
        tuple(keys),
        lead,
    )


def _columns(track: TrackSamples) -> Columns:
    return Columns(
        track.track + 1,
        [len(sample.data) for sample in track.samples],
        [sample.duration for sample in track.samples],
        [sample.pts - sample.dts for sample in track.samples],
        [sample.key for sample in track.samples],
    )
