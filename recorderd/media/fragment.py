"""One fragment: `moof` and `mdat` of what a writer's tracks received since the last one (format.md section 4; ISO/IEC 14496-12 8.8).

Sizes are known and the header is laid out before a byte of media moves; `write_into` then copies each access unit once, straight into
the buffer that goes to the disk. Composition offsets are signed (`trun` version 1), though only a source that violates its reorder depth
has negative ones.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from recorderd.media.errors import MediaError
from recorderd.model.ports import SampleRun
from recorderd.model.stream import MediaKind

# sample_flags, 8.8.3.1: sample_depends_on 2 (on none) for random access; 1 and sample_is_non_sync_sample otherwise.
KEY_FLAGS = 0x0200_0000
DELTA_FLAGS = 0x0101_0000

_DEFAULT_BASE_IS_MOOF = 0x02_0000
_DEFAULT_DURATION, _DEFAULT_FLAGS = 0x08, 0x20
_DATA_OFFSET, _FIRST_FLAGS, _DURATIONS, _SIZES, _FLAGS, _OFFSETS = 0x001, 0x004, 0x100, 0x200, 0x400, 0x800
_MDAT_HEADER = 8
_MAX_DURATION = 0xFFFF_FFFF
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Sample:
    """One access unit with its place in decoding order. Times are media times in the track's clock."""

    data: bytes
    pts: int
    dts: int
    duration: int  # to the next dts
    key: bool
    damaged: bool = False


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
        self._head, self._patches = _moof(tracks, lead_s)
        self._mdat_size = _MDAT_HEADER + media
        self.size: int = len(self._head) + self._mdat_size
        self.runs: Sequence[SampleRun] = tuple(_run(track) for track in tracks)
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
        struct.pack_into(">I", buffer, 20, sequence & 0xFFFF_FFFF)
        for at, track, dts in self._patches:
            struct.pack_into(">Q", buffer, at, max(0, dts - media_base[track]))
        struct.pack_into(">I4s", buffer, position, self._mdat_size, b"mdat")
        position += _MDAT_HEADER
        for data in self._data:
            end = position + len(data)
            buffer[position:end] = data
            position = end


def _run(track: TrackSamples) -> SampleRun:
    """Audio and metadata list no key samples: every one of them is one."""
    keys = [n for n, sample in enumerate(track.samples) if sample.key] if track.kind is MediaKind.VIDEO else []
    return SampleRun(
        track.track,
        min(sample.pts for sample in track.samples),
        track.end_pts,
        len(track.samples),
        tuple(track.samples[n].pts for n in keys),
        tuple(keys),
    )


def _moof(tracks: Sequence[TrackSamples], lead_s: int) -> tuple[bytes, list[tuple[int, int, int]]]:
    """The `moof` with sequence and tfdt still 0, and where each tfdt goes: (offset, track, first dts plus lead)."""
    trafs = [_traf(track) for track in tracks]
    size = 8 + 16 + sum(len(traf) for traf, _, _ in trafs)
    out = bytearray(struct.pack(">I4sI4sII", size, b"moof", 16, b"mfhd", 0, 0))
    patches = []
    data_offset = size + _MDAT_HEADER
    for track, (traf, tfdt_at, data_offset_at) in zip(tracks, trafs, strict=True):
        struct.pack_into(">i", traf, data_offset_at, data_offset)
        patches.append((len(out) + tfdt_at, track.track, track.samples[0].dts + lead_s * track.clock_rate))
        out += traf
        data_offset += sum(len(sample.data) for sample in track.samples)
    return bytes(out), patches


def _traf(track: TrackSamples) -> tuple[bytearray, int, int]:
    """(traf, offset of tfdt's time in it, offset of trun's data_offset in it).

    Whatever is the same for all samples goes into `tfhd`: at 256 kbit/s, 16 bytes a sample would be more than the ring's own overhead.
    """
    samples = track.samples
    durations = [min(sample.duration, _MAX_DURATION) for sample in samples]
    offsets = [_signed(sample.pts - sample.dts) for sample in samples]
    keys = [sample.key for sample in samples]
    trun_flags = _DATA_OFFSET | _SIZES
    default_flags = KEY_FLAGS if all(keys) else DELTA_FLAGS
    columns: list[Sequence[int]] = []
    if any(duration != durations[0] for duration in durations):
        trun_flags |= _DURATIONS
        columns.append(durations)
    columns.append([len(sample.data) for sample in samples])
    first = b""
    if any(keys) and not all(keys):
        if any(keys[1:]):
            trun_flags |= _FLAGS
            columns.append([KEY_FLAGS if key else DELTA_FLAGS for key in keys])
        else:
            trun_flags |= _FIRST_FLAGS
            first = struct.pack(">I", KEY_FLAGS)
    if any(offsets):
        trun_flags |= _OFFSETS
        columns.append(offsets)
    tfhd_flags = _DEFAULT_BASE_IS_MOOF | _DEFAULT_DURATION | _DEFAULT_FLAGS
    out = bytearray(8)
    out += struct.pack(">I4sIIII", 24, b"tfhd", tfhd_flags, track.track + 1, durations[0], default_flags)
    out += struct.pack(">I4sIQ", 20, b"tfdt", 1 << 24, 0)
    tfdt_at = len(out) - 8
    trun_size = 20 + len(first) + 4 * len(columns) * len(samples)
    out += struct.pack(">I4sIIi", trun_size, b"trun", 1 << 24 | trun_flags, len(samples), 0)
    data_offset_at = len(out) - 4
    out += first
    fields = [field for row in zip(*columns, strict=True) for field in row]
    out += struct.pack(f">{len(fields)}I", *fields)
    struct.pack_into(">I4s", out, 0, len(out), b"traf")
    return out, tfdt_at, data_offset_at


def _signed(offset: int) -> int:
    """A composition offset as the 32 bits that store it."""
    return max(-(1 << 31), min(offset, (1 << 31) - 1)) & 0xFFFF_FFFF
