"""Reads one fragment through a slot's descriptor and believes none of it before it was checked (format.md section 14)."""

from __future__ import annotations

import mmap
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from recorderd.protocol.work import Stored
from recorderd.ring.layout import BLOCK, MAX_SLOT_BYTES, CorruptStructure, FragmentRecord, UnknownFeature, payload_crc


class Rotten(Exception):
    """The bytes are not the fragment they should be."""


@dataclass(frozen=True, slots=True)
class Found:
    """A fragment that is what it should be (`record` and `payload`, its `moof` and `mdat`), or why it is not (`fault`)."""

    stored: Stored
    record: FragmentRecord | None = None
    payload: memoryview = field(default_factory=lambda: memoryview(b""))
    fault: str = ""


class FragmentReader:
    """Reads ahead by one: the disk and the checksum of the next fragment go on in a thread while the caller works on this one.

    Buffers are block-aligned, so that a descriptor with O_DIRECT serves too.
    """

    def __init__(self) -> None:
        self._buffers = [mmap.mmap(-1, 1 << 20), mmap.mmap(-1, 1 << 20)]
        self._thread = ThreadPoolExecutor(1)

    def read(
        self, fd: int, wanted: Sequence[Stored], *, disk: uuid.UUID, generation: int, slot_bytes: int
    ) -> Iterator[Found]:
        """One after the other; each holds until the next is asked for. Raises OSError."""
        ahead: Future[Found] | None = None
        for number in range(len(wanted) + 1):
            now = ahead
            if number < len(wanted):
                ahead = self._thread.submit(self._load, number % 2, fd, wanted[number], disk, generation, slot_bytes)
            if now is not None:
                yield now.result()

    def _load(self, buffer: int, fd: int, stored: Stored, disk: uuid.UUID, generation: int, slot_bytes: int) -> Found:
        try:
            record, payload = self._checked(buffer, fd, stored, disk, generation, slot_bytes)
        except Rotten as rotten:
            return Found(stored, fault=str(rotten))
        return Found(stored, record, payload)

    def _checked(
        self, buffer: int, fd: int, stored: Stored, disk: uuid.UUID, generation: int, slot_bytes: int
    ) -> tuple[FragmentRecord, memoryview]:
        if (
            stored.offset % BLOCK
            or stored.bytes % BLOCK
            or not 0 < stored.bytes <= slot_bytes - stored.offset
            or slot_bytes > MAX_SLOT_BYTES
        ):
            raise Rotten(f"fragment {stored.sequence} lies outside its slot")
        if stored.bytes > len(self._buffers[buffer]):
            self._buffers[buffer] = mmap.mmap(-1, stored.bytes)
        view = memoryview(self._buffers[buffer])[: stored.bytes]
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
