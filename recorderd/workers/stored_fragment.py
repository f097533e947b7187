"""Reads one fragment through a slot's descriptor and believes none of it before it was checked (format.md section 14)."""

from __future__ import annotations

import mmap
import os
import uuid

from recorderd.media.errors import MediaError
from recorderd.protocol.work import Stored
from recorderd.ring.layout import BLOCK, MAX_SLOT_BYTES, CorruptStructure, FragmentRecord, UnknownFeature, payload_crc


class Rotten(Exception):
    """The bytes are not the fragment they should be."""


class FragmentReader:
    """Reads into one buffer, block-aligned so that a descriptor with O_DIRECT serves too; each call makes the last result invalid."""

    def __init__(self) -> None:
        self._buffer = mmap.mmap(-1, 1 << 20)

    def read(
        self, fd: int, stored: Stored, *, disk: uuid.UUID, generation: int, slot_bytes: int
    ) -> tuple[FragmentRecord, memoryview]:
        """The record and the payload (`moof` and `mdat`). Raises Rotten, OSError."""
        if (
            stored.offset % BLOCK
            or stored.bytes % BLOCK
            or not 0 < stored.bytes <= slot_bytes - stored.offset
            or slot_bytes > MAX_SLOT_BYTES
        ):
            raise Rotten(f"fragment {stored.sequence} lies outside its slot")
        if stored.bytes > len(self._buffer):
            self._buffer = mmap.mmap(-1, stored.bytes)
        view = memoryview(self._buffer)[: stored.bytes]
        done = 0
        while done < stored.bytes:
            count = os.preadv(fd, [view[done:]], stored.offset + done)
            if count == 0:
                raise Rotten(f"fragment {stored.sequence} is cut off")
            done += count
        try:
            record = FragmentRecord.unpack(view, room=slot_bytes - stored.offset)
        except (CorruptStructure, UnknownFeature) as error:
            raise Rotten(f"fragment {stored.sequence}: {error}") from error
        payload = view[record.payload_offset : record.payload_offset + record.payload_bytes]
        if (record.disk_id, record.generation, record.sequence) != (disk, generation, stored.sequence):
            raise Rotten(f"fragment {stored.sequence}: another one lies there")
        if payload_crc(payload) != record.payload_crc:
            raise Rotten(f"fragment {stored.sequence}: its checksum does not match")
        return record, payload


UNREADABLE = (Rotten, MediaError)
