"""Puts what a commit adds to one slot on the disk: head, fragments, mask; and at the end of a slot its tail.

The loop copies the media into pooled buffers; a disk thread computes the checksums, packs the records in front and writes. Nothing is
flushed here.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from recorderd.ring.buffers import BufferPool
from recorderd.ring.device import Device, UnsafeFile
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.files import slot_path, write_bytes
from recorderd.ring.layout import (
    BLOCK,
    FragmentRecord,
    free_box,
    pack_head,
    pack_tail,
    payload_crc,
    record_bytes,
    with_payload_crc,
)
from recorderd.ring.open_slot import OpenSlot, Placed, pad_box

_PIECE: Final = 4 << 20  # one write holds fragments up to this size together
_ZERO_GAP: Final = 1 << 20  # a virgin slot whose unwritten rest is at most this is written out to the end
GONE: Final = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.EROFS, errno.ESHUTDOWN, errno.ENOMEDIUM, errno.ESTALE, errno.EBADF}
)


@dataclass(frozen=True, slots=True)
class Io:
    device: Device
    calls: DiskCalls
    buffers: BufferPool


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


async def write_batch(io: Io, batch: Batch, *, wall_ns: int, epoch: int, mask: bool) -> None:
    """Never raises for the disk: `batch.good`, `batch.error`, `batch.tail_bytes` tell."""
    slot = batch.slot
    try:
        if slot.handle < 0:
            slot.handle = await io.calls.run(
                io.device.open, slot_path(slot.ref.slot), writable=True, size=slot.slot_bytes
            )
        for piece in _pieces(batch.placed):
            await _write_piece(
                io, slot, piece, last=piece[-1] is batch.placed[-1], mask=mask, wall_ns=wall_ns, epoch=epoch
            )
            batch.good += len(piece)
        if batch.closing:
            await _write_end(io, batch)
    except OSError as error:
        batch.error = error


def _pieces(placed: Sequence[Placed]) -> list[list[Placed]]:
    pieces: list[list[Placed]] = []
    size = 0
    for one in placed:
        if not pieces or size + one.record.fragment_bytes > _PIECE:
            pieces.append([])
            size = 0
        pieces[-1].append(one)
        size += one.record.fragment_bytes
    return pieces


async def _write_piece(
    io: Io, slot: OpenSlot, piece: Sequence[Placed], *, last: bool, mask: bool, wall_ns: int, epoch: int
) -> None:
    first = not slot.head_written
    start = 0 if first else piece[0].offset
    end = piece[-1].offset + piece[-1].record.fragment_bytes
    masked = mask and last
    buffer = io.buffers.take(end - start + (BLOCK if masked else 0))
    view = buffer.view
    if first:
        slot.identity = slot.make_identity(wall_ns=wall_ns, epoch=epoch)
        view[: slot.data_offset] = pack_head(slot.identity, slot.ftyp, slot.moov)
    jobs: list[tuple[memoryview, FragmentRecord]] = []
    for one in piece:
        record = one.record
        fragment = view[one.offset - start : one.offset - start + record.fragment_bytes]
        at = record_bytes(len(record.parts), len(record.keys))
        one.pending.body.write_into(fragment[at : at + record.payload_bytes], record.sequence, one.media_base)
        pad_box(record, fragment)
        jobs.append((fragment, record))
    if masked:
        view[end - start :] = mask_block(slot.slot_bytes - end)
    await io.calls.run(_seal_and_write, io.device, slot.handle, view, start, jobs)
    for fragment, _ in jobs:
        fragment.release()
    io.buffers.give(buffer)
    slot.head_written = True


def _seal_and_write(
    device: Device, handle: int, view: memoryview, offset: int, jobs: Sequence[tuple[memoryview, FragmentRecord]]
) -> None:
    for fragment, record in jobs:
        at = record_bytes(len(record.parts), len(record.keys))
        crc = payload_crc(fragment[at : at + record.payload_bytes])
        fragment[:at] = with_payload_crc(record, crc).pack()
    device.write(handle, view, offset)


def mask_block(size: int) -> bytes:
    """A block that begins with a `free` box of `size` bytes."""
    return free_box(size).ljust(BLOCK, b"\0")


async def _write_end(io: Io, batch: Batch) -> None:
    slot = batch.slot
    tail = pack_tail(slot.disk_id, slot.ref, slot.entries)
    fill = _ZERO_GAP if slot.virgin else 0
    batch.tail_bytes, batch.written_out = await write_end(io, slot.handle, tail, slot.end, slot.slot_bytes, fill=fill)


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
    if gap:
        mask = free_box(gap).ljust(gap if gap <= fill else BLOCK, b"\0")
        await write_bytes(io.device, io.calls, io.buffers, handle, end, mask)
    await write_bytes(io.device, io.calls, io.buffers, handle, start, tail)
    return len(tail), gap <= max(fill, BLOCK)
