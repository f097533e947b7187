"""Puts what a commit adds to its slots on the disk: head, fragments, mask; and at the end of a slot its tail.

The loop decides what goes where; a disk thread copies the media into a pooled buffer, computes the checksums, packs the records in front
and writes. What sixteen cameras send in a second is three jobs of a disk thread, not sixteen: handing one over costs more than copying its
media does. Several jobs are on their way at a time, bounded by what they hold in buffers. Nothing is flushed here.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from recorderd.ring.buffers import BufferPool, WritesInFlight
from recorderd.ring.device import Device, UnsafeFile
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.files import slot_path, write_bytes
from recorderd.ring.layout import (
    BLOCK,
    free_box,
    pack_head,
    pack_tail,
    payload_crc,
    record_bytes,
)
from recorderd.ring.open_slot import OpenSlot, Placed, pad_box

_JOB_BYTES: Final = 4 << 20  # written by one job of a disk thread; neighbours in a slot by one write
IN_FLIGHT_BYTES: Final = 16 << 20  # being copied, checksummed and written at a time, over all slots
IN_FLIGHT_WRITES: Final = 6  # as many as there are disk threads
# A virgin slot that closes early is written out to its end when it lacks no more than this; a full one always is.
_ZERO_GAP: Final = 1 << 20
GONE: Final = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.EROFS, errno.ESHUTDOWN, errno.ENOMEDIUM, errno.ESTALE, errno.EBADF}
)


@dataclass(frozen=True, slots=True)
class Io:
    device: Device
    calls: DiskCalls
    buffers: BufferPool
    in_flight: WritesInFlight = field(default_factory=lambda: WritesInFlight(IN_FLIGHT_BYTES, IN_FLIGHT_WRITES))


@dataclass(slots=True, eq=False)
class Batch:
    """What one commit writes to one slot, and how that went."""

    slot: OpenSlot
    placed: list[Placed] = field(default_factory=list)
    closing: bool = False
    full: bool = False  # closing because the next fragment does not fit
    good: int = 0  # of `placed`, from the front
    tail_bytes: int = 0  # written at closing; 0: no tail
    written_out: bool = False  # every byte of the slot has been written
    error: OSError | UnsafeFile | None = None


async def write_batches(io: Io, batches: Sequence[Batch], *, wall_ns: int, epoch: int, mask: bool) -> None:
    """Each of another slot. Never raises for the disk: `good`, `error`, `tail_bytes` of each batch tell.

    Returns when all writes are over, for files may be closed then.
    """
    await asyncio.gather(*(_open(io, batch) for batch in batches if batch.slot.handle < 0))
    pieces = {
        id(batch): _pieces(batch, wall_ns=wall_ns, epoch=epoch, mask=mask)
        for batch in batches
        if batch.placed and batch.error is None
    }
    await asyncio.gather(*(_write_job(io, job) for job in _jobs(chain.from_iterable(pieces.values()))))
    for batch in batches:
        _count_good(batch, pieces.get(id(batch), ()))
    await asyncio.gather(*(_write_end(io, batch) for batch in batches if batch.closing and batch.error is None))


async def _open(io: Io, batch: Batch) -> None:
    slot = batch.slot
    try:
        slot.handle = await io.calls.run(io.device.open, slot_path(slot.ref.slot), writable=True, size=slot.slot_bytes)
    except OSError as error:
        batch.error = error


@dataclass(slots=True)
class _Piece:
    """Neighbours in a slot, written together: `head` (may be empty), fragments, `mask` (may be empty). `error`: why it was not written."""

    handle: int
    start: int
    head: bytes
    placed: Sequence[Placed]
    mask: bytes
    error: OSError | None = None

    @property
    def size(self) -> int:
        last = self.placed[-1]
        return last.offset + last.record.fragment_bytes - self.start + len(self.mask)


def _pieces(batch: Batch, *, wall_ns: int, epoch: int, mask: bool) -> list[_Piece]:
    slot = batch.slot
    groups: list[list[Placed]] = []
    size = 0
    for one in batch.placed:
        if not groups or size + one.record.fragment_bytes > _JOB_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += one.record.fragment_bytes
    pieces = [_Piece(slot.handle, group[0].offset, b"", group, b"") for group in groups]
    if not slot.head_written:
        slot.identity = slot.make_identity(wall_ns=wall_ns, epoch=epoch)
        pieces[0].start, pieces[0].head = 0, pack_head(slot.identity, slot.ftyp, slot.moov)
    if mask:
        pieces[-1].mask = mask_block(slot.slot_bytes - slot.end)
    return pieces


def _jobs(pieces: Iterable[_Piece]) -> list[list[_Piece]]:
    jobs: list[list[_Piece]] = []
    size = 0
    for piece in pieces:
        if not jobs or size + piece.size > _JOB_BYTES:
            jobs.append([])
            size = 0
        jobs[-1].append(piece)
        size += piece.size
    return jobs


async def _write_job(io: Io, job: Sequence[_Piece]) -> None:
    largest = max(piece.size for piece in job)
    async with io.in_flight.room(largest):
        buffer = io.buffers.take(largest)
        try:
            await io.calls.run(_fill_and_write_all, io.device, buffer.view, job)
        except OSError as error:  # the threads were given up: one of them may still use the buffer
            for piece in job:
                piece.error = piece.error or error
            return
        io.buffers.give(buffer)


def _fill_and_write_all(device: Device, view: memoryview, job: Sequence[_Piece]) -> None:
    """In a disk thread. A piece that cannot be written is no reason to leave out the next, which may be another slot's."""
    for piece in job:
        try:
            with view[: piece.size] as own:
                _fill_and_write(device, own, piece)
        except OSError as error:
            piece.error = error


def _fill_and_write(device: Device, view: memoryview, piece: _Piece) -> None:
    """The media is copied and then checksummed fragment by fragment, while it is in the processor's cache."""
    view[: len(piece.head)] = piece.head
    for one in piece.placed:
        record = one.record
        at = one.offset - piece.start
        with view[at : at + record.fragment_bytes] as fragment:
            begin = record_bytes(len(record.parts), len(record.keys))
            with fragment[begin : begin + record.payload_bytes] as payload:
                one.pending.body.write_into(payload, record.sequence, one.media_base)
                crc = payload_crc(payload)
            fragment[:begin] = record.pack(payload_crc=crc)
            pad_box(record, fragment)
    if piece.mask:
        view[-len(piece.mask) :] = piece.mask
    device.write(piece.handle, view, piece.start)


def _count_good(batch: Batch, pieces: Sequence[_Piece]) -> None:
    """What counts is what was written without a hole before it."""
    for piece in pieces:
        if piece.error is not None:
            batch.error = piece.error
            return
        batch.good += len(piece.placed)
        batch.slot.head_written = True


def mask_block(size: int) -> bytes:
    """A block that begins with a `free` box of `size` bytes."""
    return free_box(size).ljust(BLOCK, b"\0")


async def _write_end(io: Io, batch: Batch) -> None:
    slot = batch.slot
    tail = pack_tail(slot.disk_id, slot.ref, slot.entries)
    fill = (slot.slot_bytes if batch.full else _ZERO_GAP) if slot.virgin else 0
    try:
        batch.tail_bytes, batch.written_out = await write_end(
            io, slot.handle, tail, slot.end, slot.slot_bytes, fill=fill
        )
    except OSError as error:
        batch.error = error


async def write_end(io: Io, handle: int, tail: bytes, end: int, slot_bytes: int, *, fill: int = 0) -> tuple[int, bool]:
    """Mask and `tail` behind `end`. A gap of at most `fill` bytes between them is zeroed.

    Returns the tail's size (0 when it has no room) and whether every byte behind `end` has now been written.
    """
    start = slot_bytes - len(tail)
    if start < end:
        if end < slot_bytes:
            await write_bytes(io.device, io.calls, io.buffers, handle, end, mask_block(slot_bytes - end))
        return 0, False
    gap = start - end
    writes = [write_bytes(io.device, io.calls, io.buffers, handle, start, tail)]
    if gap:
        mask = free_box(gap).ljust(gap if gap <= fill else BLOCK, b"\0")
        writes.append(write_bytes(io.device, io.calls, io.buffers, handle, end, mask))
    for error in await asyncio.gather(*writes, return_exceptions=True):  # all are over before the file may be closed
        if error is not None:
            raise error
    return len(tail), gap <= max(fill, BLOCK)
