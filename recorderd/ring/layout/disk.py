"""`recorderd.id`: what makes a folder a ring."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import Final

from recorderd.ring.layout.blocks import (
    BLOCK,
    MAJOR,
    MAX_CHECKPOINT_BYTES,
    MAX_JOURNAL_BLOCKS,
    MAX_SLOT_BYTES,
    MAX_SLOTS,
    MIN_SLOT_BYTES,
    MINOR,
    CorruptStructure,
    check_block,
    check_features,
    seal_block,
)

_DISK: Final = struct.Struct("<8sHHIQ16sqIIIIQII")
_DISK_MAGIC: Final = b"RECRING\0"


@dataclass(frozen=True, slots=True)
class DiskIdentity:
    """`recorderd.id`: two copies, one block each; the valid one with the higher sequence counts."""

    disk_id: uuid.UUID
    formatted_ns: int  # wall
    slot_bytes: int
    slots: int
    journal_blocks: int
    checkpoint_bytes: int  # size of each of ckpt.a and ckpt.b
    catalogue_bytes: int  # size of each of catalogue.a and catalogue.b
    profile: int  # profiles.Profile.number
    alignment: int = BLOCK
    sequence: int = 1
    incompatible: int = 0

    def pack(self) -> bytes:
        return seal_block(
            _DISK.pack(
                _DISK_MAGIC,
                MAJOR,
                MINOR,
                self.incompatible,
                self.sequence,
                self.disk_id.bytes,
                self.formatted_ns,
                self.slot_bytes,
                self.slots,
                self.journal_blocks,
                self.profile,
                self.checkpoint_bytes,
                self.catalogue_bytes,
                self.alignment,
            )
        )

    @classmethod
    def unpack(cls, block: bytes | memoryview) -> DiskIdentity:
        view = check_block(block, "recorderd.id")
        (
            magic,
            major,
            _,
            incompatible,
            sequence,
            disk,
            formatted,
            slot_bytes,
            slots,
            journal,
            profile,
            ckpt,
            cat,
            unit,
        ) = _DISK.unpack_from(view)
        if magic != _DISK_MAGIC:
            raise CorruptStructure("recorderd.id: not a ring")
        check_features("recorderd.id", major, incompatible)
        check_slot_bytes(slot_bytes)
        if not 4 <= slots <= MAX_SLOTS:
            raise CorruptStructure(f"recorderd.id: {slots} slots")
        if not 16 <= journal <= MAX_JOURNAL_BLOCKS:
            raise CorruptStructure(f"recorderd.id: journal of {journal} blocks")
        if not 2 * BLOCK <= ckpt <= MAX_CHECKPOINT_BYTES or ckpt % BLOCK or cat > MAX_CHECKPOINT_BYTES or cat % BLOCK:
            raise CorruptStructure(f"recorderd.id: checkpoint of {ckpt} bytes, catalogue of {cat} bytes")
        if unit < 512 or unit & (unit - 1) or unit > 1 << 20:
            raise CorruptStructure(f"recorderd.id: alignment {unit}")
        return cls(
            uuid.UUID(bytes=disk),
            formatted,
            slot_bytes,
            slots,
            journal,
            ckpt,
            cat,
            profile,
            unit,
            sequence,
            incompatible,
        )


def check_slot_bytes(slot_bytes: int) -> None:
    """Raises CorruptStructure unless `slot_bytes` is a power of two within bounds."""
    if not MIN_SLOT_BYTES <= slot_bytes <= MAX_SLOT_BYTES or slot_bytes & (slot_bytes - 1):
        raise CorruptStructure(f"slot size of {slot_bytes} bytes")
