"""The head of a slot: identity, side blocks, room for `moov`; states and flags of its table row."""

from __future__ import annotations

import enum
import struct
import uuid
from dataclasses import dataclass
from typing import Final

from recorderd.model.stream import Codec
from recorderd.ring.border import SlotRef
from recorderd.ring.layout.blocks import (
    BLOCK,
    MAJOR,
    MAX_TRACKS,
    MINOR,
    CorruptStructure,
    align,
    check_block,
    check_features,
    clip,
    free_box,
    seal_block,
    text,
    uuid_box_header,
)
from recorderd.ring.layout.disk import check_slot_bytes

IDENTITY_BOX: Final = uuid.UUID("9a1c7f0e-5d2b-4c1e-8f36-52454349444e")
SIDE_BOX: Final = uuid.UUID("9a1c7f0e-5d2b-4c1e-8f36-524543534944")
RECORD_BOX: Final = uuid.UUID("9a1c7f0e-5d2b-4c1e-8f36-524543465247")
INDEX_BOX: Final = uuid.UUID("9a1c7f0e-5d2b-4c1e-8f36-524543494458")

SIDE_OFFSETS: Final = (BLOCK, 2 * BLOCK)
MOOV_OFFSET: Final = 3 * BLOCK
SIDX_ROOM: Final = 2 * BLOCK
MIN_DATA_OFFSET: Final = 8 * BLOCK
MAX_SIDE_PAYLOAD: Final = 3900
NO_SLOT: Final = SlotRef(0, 0)


class SlotState(enum.IntEnum):
    FREE = 0
    RESERVED = 1  # promised to a coming writer; old content is gone
    OPEN = 2
    CLOSED = 3
    BAD = 4  # never used again


class RowFlag(enum.IntFlag):
    VIRGIN = 1  # holds bytes that were never written: a commit needs syncfs while it is open
    RETIRED = 2  # a write failed here: readable, but becomes BAD instead of being reserved again
    SCRUB = 8  # freed: its head is still to be overwritten
    ADOPT = 16  # of an earlier life of the tables: what it holds is still to be found out and told (`rebuilding.py`)
    REFUSED = 4  # the file is not what format made (links, size, shared extents)


class FragmentFlag(enum.IntFlag):
    CONTINUES = 1  # begins inside a GOP
    DAMAGED = 2
    ENCRYPTED = 4


CODEC_NUMBERS: Final[dict[Codec, int]] = {
    Codec.H264: 1,
    Codec.H265: 2,
    Codec.AV1: 3,
    Codec.MJPEG: 4,
    Codec.AAC: 16,
    Codec.PCMU: 17,
    Codec.PCMA: 18,
    Codec.G726: 19,
    Codec.OPUS: 20,
    Codec.ONVIF_METADATA: 32,
}
_CODECS: Final = {number: codec for codec, number in CODEC_NUMBERS.items()}


_SLOT: Final = struct.Struct("<8sHHI16sIIQQIII16s16s16sQqI4xIIQ32s64s64sB3x")
_SLOT_TRACK: Final = struct.Struct("<16sB3xI32s")
_SLOT_MAGIC: Final = b"RECSLOT\0"
_IDENTITY_AT: Final = 64  # in block 0: room for ftyp and the uuid box header


@dataclass(frozen=True, slots=True)
class SlotTrack:
    track: uuid.UUID
    codec: Codec
    timescale: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class SlotIdentity:
    """Who wrote this life of the slot: block 0 together with `ftyp`."""

    disk_id: uuid.UUID
    ref: SlotRef
    slot_bytes: int
    data_offset: int
    moov_bytes: int
    writer_serial: int
    recording: uuid.UUID
    receiver: uuid.UUID
    boot_id: uuid.UUID
    start_ns: int  # boot time, also media time 0 of the slot
    start_wall_ns: int
    epoch: int
    tracks: tuple[SlotTrack, ...]
    recording_name: str = ""
    source: str = ""
    priority: int = 0
    previous: SlotRef = NO_SLOT  # of the same writer; generation 0: none
    previous_digest: bytes = bytes(32)
    incompatible: int = 0
    moov_crc: int = 0  # 0: not known

    def pack_block(self, ftyp: bytes) -> bytes:
        """Block 0: `ftyp` (at most 40 bytes), then the identity as one `uuid` box that fills the block."""
        if len(ftyp) > _IDENTITY_AT - 24:
            raise ValueError("ftyp is too long")
        if not 1 <= len(self.tracks) <= MAX_TRACKS:
            raise ValueError(f"{len(self.tracks)} tracks")
        head = ftyp + uuid_box_header(BLOCK - len(ftyp), IDENTITY_BOX)
        body = _SLOT.pack(
            _SLOT_MAGIC,
            MAJOR,
            MINOR,
            self.incompatible,
            self.disk_id.bytes,
            self.slot_bytes,
            self.ref.slot,
            self.ref.generation,
            self.moov_crc,
            self.data_offset,
            self.moov_bytes,
            self.writer_serial,
            self.recording.bytes,
            self.receiver.bytes,
            self.boot_id.bytes,
            self.start_ns,
            self.start_wall_ns,
            self.epoch,
            self.priority & 0xFFFFFFFF,
            self.previous.slot,
            self.previous.generation,
            self.previous_digest,
            clip(self.recording_name, 64),
            clip(self.source, 64),
            len(self.tracks),
        )
        tracks = b"".join(
            _SLOT_TRACK.pack(t.track.bytes, CODEC_NUMBERS[t.codec], t.timescale, clip(t.name, 32)) for t in self.tracks
        )
        return seal_block(head.ljust(_IDENTITY_AT, b"\0") + body + tracks)

    @classmethod
    def unpack_block(cls, block: bytes | memoryview) -> SlotIdentity:
        view = check_block(block, "slot identity")
        fields = _SLOT.unpack_from(view, _IDENTITY_AT)
        (magic, major, _, incompatible, disk, slot_bytes, slot, generation, moov_crc, data, moov, serial, *rest) = (
            fields
        )
        (
            recording,
            receiver,
            boot,
            start,
            wall,
            epoch,
            priority,
            prev_slot,
            prev_generation,
            digest,
            name,
            source,
            n,
        ) = rest
        if magic != _SLOT_MAGIC:
            raise CorruptStructure("slot identity: not a slot of a ring")
        check_features("slot identity", major, incompatible)
        check_slot_bytes(slot_bytes)
        if data % BLOCK or not MIN_DATA_OFFSET <= data < slot_bytes or moov > data - MOOV_OFFSET - SIDX_ROOM:
            raise CorruptStructure(f"slot identity: data at {data}, moov of {moov} bytes")
        if not 1 <= n <= MAX_TRACKS:
            raise CorruptStructure(f"slot identity: {n} tracks")
        tracks = []
        for i in range(n):
            track, codec, timescale, track_name = _SLOT_TRACK.unpack_from(
                view, _IDENTITY_AT + _SLOT.size + i * _SLOT_TRACK.size
            )
            if codec not in _CODECS or timescale == 0:
                raise CorruptStructure(f"slot identity: codec {codec}, timescale {timescale}")
            tracks.append(SlotTrack(uuid.UUID(bytes=track), _CODECS[codec], timescale, text(track_name)))
        return cls(
            uuid.UUID(bytes=disk),
            SlotRef(slot, generation),
            slot_bytes,
            data,
            moov,
            serial,
            uuid.UUID(bytes=recording),
            uuid.UUID(bytes=receiver),
            uuid.UUID(bytes=boot),
            start,
            wall,
            epoch,
            tuple(tracks),
            text(name),
            text(source),
            priority - (1 << 32) if priority >> 31 else priority,
            SlotRef(prev_slot, prev_generation),
            digest,
            incompatible,
            moov_crc,
        )


def data_offset_for(moov_bytes: int) -> int:
    """Where fragments begin behind a `moov` of this size."""
    return max(MIN_DATA_OFFSET, align(MOOV_OFFSET + moov_bytes + 8) + SIDX_ROOM)


def pack_head(identity: SlotIdentity, ftyp: bytes, moov: bytes) -> bytes:
    """The first `identity.data_offset` bytes of a slot, side blocks empty."""
    if len(moov) != identity.moov_bytes or identity.data_offset != data_offset_for(len(moov)):
        raise ValueError("identity does not describe this moov")
    room = identity.data_offset - SIDX_ROOM
    sides = b"".join(SideBlock(identity.disk_id, identity.ref, i, b"").pack() for i in (0, 1))
    head = identity.pack_block(ftyp) + sides + moov + free_box(room - MOOV_OFFSET - len(moov))
    return (head.ljust(room, b"\0") + free_box(SIDX_ROOM)).ljust(identity.data_offset, b"\0")


_SIDE: Final = struct.Struct("<16sIIQQH6x")


@dataclass(frozen=True, slots=True)
class SideBlock:
    """Mirror of the ledger's locks and flags of one slot; the valid block with the higher sequence counts."""

    disk_id: uuid.UUID
    ref: SlotRef
    sequence: int
    payload: bytes

    def pack(self) -> bytes:
        if len(self.payload) > MAX_SIDE_PAYLOAD:
            raise ValueError("side block payload is too long")
        header = _SIDE.pack(self.disk_id.bytes, self.ref.slot, 0, self.ref.generation, self.sequence, len(self.payload))
        return seal_block(uuid_box_header(BLOCK, SIDE_BOX) + header + self.payload)

    @classmethod
    def unpack(cls, block: bytes | memoryview) -> SideBlock:
        view = check_block(block, "side block")
        if bytes(view[:24]) != uuid_box_header(BLOCK, SIDE_BOX):
            raise CorruptStructure("side block: wrong box")
        disk, slot, _, generation, sequence, length = _SIDE.unpack_from(view, 24)
        if length > MAX_SIDE_PAYLOAD:
            raise CorruptStructure(f"side block: payload of {length} bytes")
        start = 24 + _SIDE.size
        return cls(uuid.UUID(bytes=disk), SlotRef(slot, generation), sequence, bytes(view[start : start + length]))
