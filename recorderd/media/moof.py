"""The `moof` box: movie fragment header and one `traf` with one `trun` per track (ISO/IEC 14496-12 8.8.4 to 8.8.8, 8.8.12)."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

# sample_flags, 8.8.3.1: sample_depends_on 2 (on none) for random access; 1 and sample_is_non_sync_sample otherwise.
KEY_FLAGS = 0x0200_0000
DELTA_FLAGS = 0x0101_0000
MDAT_HEADER = 8

_DEFAULT_BASE_IS_MOOF = 0x02_0000
_DEFAULT_DURATION, _DEFAULT_FLAGS = 0x08, 0x20
_DATA_OFFSET, _FIRST_FLAGS, _DURATIONS, _SIZES, _FLAGS, _OFFSETS = 0x001, 0x004, 0x100, 0x200, 0x400, 0x800
_MAX_DURATION = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Columns:
    """One track's samples in decoding order, at least one; the columns are of equal length. Times in the track's clock."""

    track_id: int
    sizes: Sequence[int]
    durations: Sequence[int]
    composition: Sequence[int]  # pts - dts
    keys: Sequence[bool]


def moof(tracks: Sequence[Columns]) -> tuple[bytearray, list[int]]:
    """The box with sequence number and decoding times still 0, for an `mdat` that follows at once and holds the tracks' samples one
    track after the other. Also returns where each track's 64-bit decoding time goes; the sequence number's place is `SEQUENCE_AT`.
    """
    trafs = [_traf(track) for track in tracks]
    size = 8 + 16 + sum(len(traf) for traf, _, _ in trafs)
    out = bytearray(struct.pack(">I4sI4sII", size, b"moof", 16, b"mfhd", 0, 0))
    places = []
    data_offset = size + MDAT_HEADER
    for track, (traf, time_at, data_offset_at) in zip(tracks, trafs, strict=True):
        struct.pack_into(">i", traf, data_offset_at, data_offset)
        places.append(len(out) + time_at)
        out += traf
        data_offset += sum(track.sizes)
    return out, places


SEQUENCE_AT = 20


def _traf(track: Columns) -> tuple[bytearray, int, int]:
    """(traf, offset of tfdt's time in it, offset of trun's data_offset in it).

    Whatever is the same for all samples goes into `tfhd`: at 256 kbit/s, 16 bytes a sample would be more than the ring's own overhead.
    """
    count = len(track.sizes)
    durations = track.durations
    if max(durations) > _MAX_DURATION:
        durations = [min(duration, _MAX_DURATION) for duration in durations]
    keys = track.keys
    trun_flags = _DATA_OFFSET | _SIZES
    every_key = all(keys)
    columns: list[Sequence[int]] = []
    if durations.count(durations[0]) != count:
        trun_flags |= _DURATIONS
        columns.append(durations)
    columns.append(track.sizes)
    first = b""
    if not every_key and any(keys):
        if any(keys[1:]):
            trun_flags |= _FLAGS
            columns.append([KEY_FLAGS if key else DELTA_FLAGS for key in keys])
        else:
            trun_flags |= _FIRST_FLAGS
            first = struct.pack(">I", KEY_FLAGS)
    if any(track.composition):
        trun_flags |= _OFFSETS
        columns.append([_signed(offset) for offset in track.composition])
    tfhd_flags = _DEFAULT_BASE_IS_MOOF | _DEFAULT_DURATION | _DEFAULT_FLAGS
    default_flags = KEY_FLAGS if every_key else DELTA_FLAGS
    out = bytearray(8)
    out += struct.pack(">I4sIIII", 24, b"tfhd", tfhd_flags, track.track_id, durations[0], default_flags)
    out += struct.pack(">I4sIQ", 20, b"tfdt", 1 << 24, 0)
    time_at = len(out) - 8
    out += struct.pack(">I4sIIi", 20 + len(first) + 4 * len(columns) * count, b"trun", 1 << 24 | trun_flags, count, 0)
    data_offset_at = len(out) - 4
    out += first
    out += interleaved(columns)
    struct.pack_into(">I4s", out, 0, len(out), b"traf")
    return out, time_at, data_offset_at


def interleaved(columns: Sequence[Sequence[int]]) -> bytes:
    """Rows of unsigned 32-bit big-endian fields out of columns of equal length."""
    fields = array("I", bytes(4 * len(columns) * len(columns[0])))
    for index, column in enumerate(columns):
        fields[index :: len(columns)] = array("I", column)
    if sys.byteorder == "little":
        fields.byteswap()
    return fields.tobytes()


def _signed(offset: int) -> int:
    """A composition offset as the 32 bits that store it."""
    return max(-(1 << 31), min(offset, (1 << 31) - 1)) & 0xFFFF_FFFF
