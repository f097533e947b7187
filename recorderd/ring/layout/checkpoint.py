"""Headers and counters of the checkpoints."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from recorderd.ring.layout.blocks import (
    BLOCK,
    MAJOR,
    MAX_COUNTER,
    MINOR,
    CorruptStructure,
    check_block,
    check_features,
    seal_block,
)

_CHECKPOINT: Final = struct.Struct("<4sHHI16sQQH6x")
_SECTION: Final = struct.Struct("<HHIQQ")
_CHECKPOINT_MAGIC: Final = b"RCKP"
MAX_SECTIONS: Final = (BLOCK - 4 - _CHECKPOINT.size) // _SECTION.size


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """The first block of a checkpoint. `journal_sequence` is the first journal block that is not contained."""

    disk_id: uuid.UUID
    sequence: int
    journal_sequence: int
    sections: tuple[tuple[int, int, int, int], ...]  # number, crc32, offset, length
    incompatible: int = 0

    def pack(self) -> bytes:
        if len(self.sections) > MAX_SECTIONS:
            raise ValueError(f"{len(self.sections)} checkpoint sections")
        head = _CHECKPOINT.pack(
            _CHECKPOINT_MAGIC,
            MAJOR,
            MINOR,
            self.incompatible,
            self.disk_id.bytes,
            self.sequence,
            self.journal_sequence,
            len(self.sections),
        )
        return seal_block(head + b"".join(_SECTION.pack(n, 0, crc, at, length) for n, crc, at, length in self.sections))

    @classmethod
    def unpack(cls, block: bytes | memoryview, disk_id: uuid.UUID, file_bytes: int) -> CheckpointHeader:
        view = check_block(block, "checkpoint")
        magic, major, _, incompatible, disk, sequence, journal, count = _CHECKPOINT.unpack_from(view)
        if magic != _CHECKPOINT_MAGIC or disk != disk_id.bytes:
            raise CorruptStructure("checkpoint: not of this ring")
        check_features("checkpoint", major, incompatible)
        if count > MAX_SECTIONS or sequence >= MAX_COUNTER or journal >= MAX_COUNTER:
            raise CorruptStructure(f"checkpoint: {count} sections, sequence {sequence}, journal at {journal}")
        sections = []
        for i in range(count):
            number, _, crc, at, length = _SECTION.unpack_from(view, _CHECKPOINT.size + i * _SECTION.size)
            if at % BLOCK or at < BLOCK or at + length > file_bytes:
                raise CorruptStructure(f"checkpoint: section {number} outside the file")
            sections.append((number, crc, at, length))
        return cls(disk_id, sequence, journal, tuple(sections), incompatible)


_COUNTERS: Final = struct.Struct("<QQIII")


@dataclass(frozen=True, slots=True)
class Counters:
    """Checkpoint section 2: what must never be handed out twice."""

    next_generation: int
    next_order: int
    next_writer_serial: int
    slots: int

    def pack(self) -> bytes:
        return _COUNTERS.pack(self.next_generation, self.next_order, self.next_writer_serial, self.slots, 0)

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Counters:
        if len(data) != _COUNTERS.size:
            raise CorruptStructure("checkpoint: counters")
        generation, order, serial, slots, _ = _COUNTERS.unpack(data)
        if generation >= MAX_COUNTER or order >= MAX_COUNTER or serial >= 1 << 31:
            raise CorruptStructure("checkpoint: counters")
        return cls(generation, order, serial, slots)


TABLE_SECTION: Final = 1
COUNTERS_SECTION: Final = 2
UNSCANNED_SECTION: Final = 3
_UNSCANNED: Final = struct.Struct("<II")


def pack_unscanned(proven: Mapping[int, int]) -> bytes:
    """Checkpoint section 3: slots still to be scanned, with the number of their fragments that a flush proves."""
    return b"".join(_UNSCANNED.pack(slot, fragments) for slot, fragments in sorted(proven.items()))


def unpack_unscanned(data: bytes, slots: int) -> dict[int, int]:
    if len(data) % _UNSCANNED.size:
        raise CorruptStructure("checkpoint: slots to be scanned")
    proven: dict[int, int] = dict(_UNSCANNED.iter_unpack(data))
    if any(slot >= slots for slot in proven):
        raise CorruptStructure("checkpoint: slots to be scanned")
    return proven
