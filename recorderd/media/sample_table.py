"""Reads fragments back: the samples of each track out of a `moof` and `mdat` that nobody vouches for (a disk is input).

Strict: exactly the structure that `fragment` writes, every count and length bounded before it is used, every sample inside the `mdat`.
Samples are columns, not objects: an hour of one camera is 300,000 of them.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from recorderd.media.box_reader import Box, boxes, need
from recorderd.media.errors import BoxError

MAX_MOOF_BYTES = 4 << 20
MAX_SAMPLES = 1 << 16  # per track
MAX_TRACKS = 16

_NON_SYNC = 0x0001_0000
_TFHD_ALLOWED = 0x02_0000 | 0x08 | 0x10 | 0x20
_TRUN_ALLOWED = 0x001 | 0x004 | 0x100 | 0x200 | 0x400 | 0x800


@dataclass(frozen=True, slots=True)
class TrackTable:
    """One track's samples in decoding order: their bytes follow each other from `offset` on. Times in the track's clock."""

    track: int  # MP4 track id less one: index in WriterSpec.tracks
    offset: int  # of the first sample, from the start of the moof
    tfdt: int
    sizes: Sequence[int]
    durations: Sequence[int]
    composition: Sequence[int]  # pts - dts
    keys: Sequence[bool]

    @property
    def count(self) -> int:
        return len(self.sizes)

    @property
    def bytes(self) -> int:
        return sum(self.sizes)

    def decode_times(self) -> list[int]:
        """Of each sample, from 0 for the first."""
        return list(accumulate(self.durations[:-1], initial=0))

    def presentation_times(self) -> list[int]:
        """Of each sample in decoding order, from 0 for the first sample's."""
        first = self.composition[0]
        return [dts + offset - first for dts, offset in zip(self.decode_times(), self.composition, strict=True)]

    def starts(self) -> list[int]:
        """Where each sample's bytes begin, from the start of the moof."""
        return list(accumulate(self.sizes[:-1], initial=self.offset))


def parse_fragment(payload: bytes | memoryview, tracks: int) -> tuple[TrackTable, ...]:
    """The tables of a `moof` + `mdat`, of which `payload` is all; in the order of their `traf`. Raises `BoxError`."""
    view = memoryview(payload)
    top = list(boxes(view, 0, len(view)))
    if [box.kind for box in top] != [b"moof", b"mdat"]:
        raise BoxError("not one moof and one mdat")
    moof, mdat = top
    if moof.end > MAX_MOOF_BYTES:
        raise BoxError(f"moof of {moof.end} bytes")
    inner = list(boxes(view, moof.body, moof.end))
    if not inner or inner[0].kind != b"mfhd" or any(box.kind != b"traf" for box in inner[1:]):
        raise BoxError("moof is not mfhd and traf")
    if not 1 <= len(inner) - 1 <= min(tracks, MAX_TRACKS):
        raise BoxError(f"{len(inner) - 1} traf for {tracks} tracks")
    tables = tuple(_traf(view, box, mdat, tracks) for box in inner[1:])
    if len({table.track for table in tables}) != len(tables):
        raise BoxError("two traf of one track")
    return tables


def sequence_number(payload: bytes | memoryview) -> int:
    """Of the `mfhd` of a fragment that `parse_fragment` accepts."""
    number: int = struct.unpack_from(">I", payload, 20)[0]
    return number


def _traf(view: memoryview, traf: Box, mdat: Box, tracks: int) -> TrackTable:
    found = {box.kind: box for box in boxes(view, traf.body, traf.end)}
    if list(found) != [b"tfhd", b"tfdt", b"trun"]:
        raise BoxError("traf is not tfhd, tfdt and one trun")
    tfhd, tfdt, trun = need(found, b"tfhd", 8), need(found, b"tfdt", 12), need(found, b"trun", 12)
    flags, track_id = struct.unpack_from(">II", view, tfhd.body)
    if flags & ~_TFHD_ALLOWED or not flags & 0x02_0000 or not 1 <= track_id <= tracks:
        raise BoxError(f"tfhd with flags {flags:#x} of track {track_id}")
    wanted = [bit for bit in (0x08, 0x10, 0x20) if flags & bit]
    if tfhd.end - tfhd.body != 8 + 4 * len(wanted):
        raise BoxError("length of tfhd")
    values = dict(zip(wanted, struct.unpack_from(f">{len(wanted)}I", view, tfhd.body + 8), strict=True))
    if view[tfdt.body] != 1 or tfdt.end - tfdt.body != 12:
        raise BoxError("tfdt is not of version 1")
    decode_time: int = struct.unpack_from(">Q", view, tfdt.body + 4)[0]
    return _trun(view, trun, mdat, track_id - 1, decode_time, values)


def _trun(view: memoryview, trun: Box, mdat: Box, track: int, decode_time: int, defaults: dict[int, int]) -> TrackTable:
    version_flags, count, data_offset = struct.unpack_from(">IIi", view, trun.body)
    flags = version_flags & 0xFF_FFFF
    if flags & ~_TRUN_ALLOWED or not flags & 0x001 or (flags & 0x404) == 0x404 or version_flags >> 24 > 1:
        raise BoxError(f"trun with flags {version_flags:#x}")
    if not 1 <= count <= MAX_SAMPLES:
        raise BoxError(f"trun of {count} samples")
    position = trun.body + 12
    first_flags = None
    if flags & 0x004:
        if trun.end - position < 4:
            raise BoxError("trun is cut short")
        first_flags = int.from_bytes(view[position : position + 4], "big")
        position += 4
    present = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    if trun.end - position != 4 * count * len(present):
        raise BoxError("length of trun")
    fields = array("I")
    fields.frombytes(view[position : trun.end])
    if sys.byteorder == "little":
        fields.byteswap()
    columns = {bit: fields[index :: len(present)] for index, bit in enumerate(present)}
    sizes = _column(columns, 0x200, defaults.get(0x10), count, "size")
    durations = _column(columns, 0x100, defaults.get(0x08), count, "duration")
    sample_flags = columns.get(0x400)
    if sample_flags is not None:
        keys = [value & _NON_SYNC == 0 for value in sample_flags]
    else:
        keys = [defaults.get(0x20, 0) & _NON_SYNC == 0] * count
        if first_flags is not None:
            keys[0] = first_flags & _NON_SYNC == 0
    composition: Sequence[int] = array("i", bytes(4 * count))
    if 0x800 in columns:
        # Version 0 is unsigned, but no offset is ever past 31 bits.
        composition = array("i", columns[0x800].tobytes())
        if not version_flags >> 24 and min(composition) < 0:
            raise BoxError("composition offset")
    if data_offset < mdat.body or data_offset + sum(sizes) > mdat.end:
        raise BoxError("samples outside the mdat")
    return TrackTable(track, data_offset, decode_time, sizes, durations, composition, keys)


def _column(columns: dict[int, array[int]], bit: int, default: int | None, count: int, what: str) -> Sequence[int]:
    column = columns.get(bit)
    if column is not None:
        return column
    if default is None:
        raise BoxError(f"no sample {what}")
    return array("I", [default]) * count
