"""The record in front of every fragment."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, field
from typing import Final

from recorderd.model.ports import Anchor
from recorderd.model.stream import SenderReport
from recorderd.ring.layout.blocks import (
    BLOCK,
    MAJOR,
    MAX_KEYS,
    MAX_TRACKS,
    CorruptStructure,
    UnknownFeature,
    crc32,
    uuid_box_header,
)
from recorderd.ring.layout.slot import RECORD_BOX

# After the box header (24): version, flags, tracks, keys; generation, sequence, fragment bytes, payload offset and bytes; run; track
# mask, epoch; wall, first and last arrival; boot id, disk id; payload crc, writer serial; digest, key id, nonce; reserved; record crc.
_RECORD: Final = struct.Struct("<HHHHQIIIIQIIqQQ16s16sII32s16s12s56s")
RECORD_BYTES: Final = 256
_RECORD_CRC_AT: Final = RECORD_BYTES - 4
_PART: Final = struct.Struct("<BBHIqqqqQIIQqQ")
_KEY: Final = struct.Struct("<IB3xq")
_PART_REPORT: Final = 1
assert 24 + _RECORD.size + 4 == RECORD_BYTES


@dataclass(frozen=True, slots=True)
class TrackPart:
    """One track's share of a fragment. Times are media times (unwrapped RTP) except `base`: media time minus time in the slot.

    `lead` is what the slot's file adds to the time in the slot (`media.fragmenter.LEAD_S`).
    """

    track: int
    samples: int
    first_pts: int
    end_pts: int
    base: int
    anchor: Anchor
    lead: int = 0


@dataclass(frozen=True, slots=True)
class KeyPoint:
    """A random access point: `sample` counts from 0 within the track's share of the fragment."""

    track: int
    sample: int
    pts: int


@dataclass(frozen=True, slots=True)
class FragmentRecord:
    """The first 256 bytes of a fragment, followed by one 80-byte part per track and 16 bytes per key point (all in one `uuid` box)."""

    disk_id: uuid.UUID
    generation: int
    sequence: int
    fragment_bytes: int  # record, moof, mdat and pad: the next fragment begins there
    payload_bytes: int  # moof and mdat
    run: int
    epoch: int
    wall_ns: int
    from_ns: int  # first arrival, boot time
    to_ns: int
    boot_id: uuid.UUID
    writer_serial: int
    parts: tuple[TrackPart, ...]
    keys: tuple[KeyPoint, ...] = ()
    flags: int = 0
    payload_crc: int = 0
    digest: bytes = bytes(32)
    key_id: bytes = bytes(16)
    nonce: bytes = bytes(12)
    payload_offset: int = field(default=0)  # set by `unpack`; `pack` derives it

    @property
    def track_mask(self) -> int:
        mask = 0
        for part in self.parts:
            mask |= 1 << part.track
        return mask

    def pack(self, *, payload_crc: int | None = None) -> bytes:
        """The whole record box, with the checksum of the payload where it was not known before."""
        size = record_bytes(len(self.parts), len(self.keys))
        if not 1 <= len(self.parts) <= MAX_TRACKS or len(self.keys) > MAX_KEYS:
            raise ValueError(f"{len(self.parts)} tracks, {len(self.keys)} key points")
        core = uuid_box_header(size, RECORD_BOX) + _RECORD.pack(
            MAJOR,
            self.flags,
            len(self.parts),
            len(self.keys),
            self.generation,
            self.sequence,
            self.fragment_bytes,
            size,
            self.payload_bytes,
            self.run,
            self.track_mask,
            self.epoch,
            self.wall_ns,
            self.from_ns,
            self.to_ns,
            self.boot_id.bytes,
            self.disk_id.bytes,
            self.payload_crc if payload_crc is None else payload_crc,
            self.writer_serial,
            self.digest,
            self.key_id,
            self.nonce,
            bytes(56),
        )
        rest = b"".join(_pack_part(part) for part in self.parts)
        rest += b"".join(_KEY.pack(key.sample, key.track, key.pts) for key in self.keys)
        return core + struct.pack("<I", crc32(core, rest)) + rest

    @classmethod
    def unpack(cls, data: bytes | memoryview, *, room: int) -> FragmentRecord:
        """From the first bytes of a block; `room` is how many bytes the slot has from here to its end.

        Raises CorruptStructure also when `data` is shorter than the record says (`record_size` tells how much to read).
        """
        view = memoryview(data)
        size = record_size(view)
        if size > len(view):
            raise CorruptStructure("fragment record: cut off")
        fields = _RECORD.unpack_from(view, 24)
        (version, flags, tracks, keys, generation, sequence, total, offset, payload, run, mask, epoch, *rest) = fields
        (wall, from_ns, to_ns, boot, disk, payload_crc, serial, digest, key_id, nonce, _) = rest
        if struct.unpack_from("<I", view, _RECORD_CRC_AT)[0] != crc32(view[:_RECORD_CRC_AT], view[RECORD_BYTES:size]):
            raise CorruptStructure("fragment record: checksum does not match")
        if version != MAJOR:
            raise UnknownFeature(f"fragment record: version {version}")
        if size != record_bytes(tracks, keys) or offset != size:
            raise CorruptStructure("fragment record: wrong size")
        if total % BLOCK or total > room or payload > total - size:
            raise CorruptStructure(f"fragment record: {total} bytes with a payload of {payload}")
        parts = tuple(_unpack_part(view, RECORD_BYTES + i * _PART.size) for i in range(tracks))
        start = RECORD_BYTES + tracks * _PART.size
        points = []
        for i in range(keys):
            sample, track, pts = _KEY.unpack_from(view, start + i * _KEY.size)
            points.append(KeyPoint(track, sample, pts))
        record = cls(
            uuid.UUID(bytes=disk),
            generation,
            sequence,
            total,
            payload,
            run,
            epoch,
            wall,
            from_ns,
            to_ns,
            uuid.UUID(bytes=boot),
            serial,
            parts,
            tuple(points),
            flags,
            payload_crc,
            digest,
            key_id,
            nonce,
            offset,
        )
        tracks_here = {part.track for part in parts}
        if (
            record.track_mask != mask
            or len(tracks_here) != len(parts)
            or max(tracks_here, default=0) >= MAX_TRACKS
            or any(point.track not in tracks_here for point in points)
        ):
            raise CorruptStructure("fragment record: track mask does not match")
        return record


def record_bytes(tracks: int, keys: int) -> int:
    """Size of the record box."""
    return RECORD_BYTES + tracks * _PART.size + keys * _KEY.size


def record_size(view: memoryview) -> int:
    """The size a record box claims; CorruptStructure when `view` does not begin with one."""
    if len(view) < RECORD_BYTES:
        raise CorruptStructure("fragment record: cut off")
    size, kind, user = struct.unpack_from(">I4s16s", view)
    if kind != b"uuid" or user != RECORD_BOX.bytes:
        raise CorruptStructure("fragment record: none here")
    if not record_bytes(1, 0) <= size <= record_bytes(MAX_TRACKS, MAX_KEYS):
        raise CorruptStructure(f"fragment record: {size} bytes")
    return int(size)


def _pack_part(part: TrackPart) -> bytes:
    report = part.anchor.report
    return _PART.pack(
        part.track,
        _PART_REPORT if report is not None else 0,
        0,
        part.samples,
        part.first_pts,
        part.end_pts,
        part.base,
        part.anchor.media_time,
        part.anchor.boottime_ns,
        part.anchor.session,
        part.lead,
        report.ntp if report is not None else 0,
        report.rtp if report is not None else 0,
        report.arrival_ns if report is not None else 0,
    )


def _unpack_part(view: memoryview, at: int) -> TrackPart:
    (track, flags, _, samples, first, end, base, media, boot, session, lead, ntp, rtp, arrival) = _PART.unpack_from(
        view, at
    )
    report = SenderReport(ntp, rtp, arrival) if flags & _PART_REPORT else None
    return TrackPart(track, samples, first, end, base, Anchor(track, media, boot, session, report), lead)


def payload_crc(payload: bytes | memoryview) -> int:
    """The checksum of `moof` and `mdat`. Drops the GIL on large buffers."""
    return crc32(payload)
