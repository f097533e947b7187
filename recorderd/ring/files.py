"""Names of the ring's files, and whole-file reading and writing in aligned pieces."""

from __future__ import annotations

import threading
from typing import Final

from recorderd.ring.buffers import BufferPool
from recorderd.ring.device import Device
from recorderd.ring.disk_threads import DiskCalls, DiskClosed, DiskStuck
from recorderd.ring.layout import BLOCK, align

IDENTITY: Final = "recorderd.id"
IDENTITY_BYTES: Final = 2 * BLOCK
CHECKPOINTS: Final = ("ckpt.a", "ckpt.b")
CATALOGUES: Final = ("catalogue.a", "catalogue.b")
JOURNAL: Final = "events.jnl"
HISTORIES: Final = ("history.a", "history.b")  # of events; their blocks are `recorderd.events.tape`'s
SLOTS: Final = "slots"
SLOTS_PER_FOLDER: Final = 1024
PIECE: Final = 1 << 20


def slot_folder(slot: int) -> str:
    return f"{SLOTS}/{slot // SLOTS_PER_FOLDER:03d}"


def slot_path(slot: int) -> str:
    return f"{slot_folder(slot)}/{slot:06d}.mp4"


async def read_bytes(
    device: Device, calls: DiskCalls, buffers: BufferPool, handle: int, offset: int, size: int
) -> bytes:
    """`size` bytes from `offset` (a multiple of the block size), read in whole blocks.

    A buffer goes back to the pool only after its call returned: a call given up (cancelled, stuck) may still use the memory.
    """
    out = bytearray()
    while len(out) < size:
        part = min(PIECE, align(size - len(out)))
        buffer = buffers.take(part)
        await calls.run(device.read, handle, buffer.view, offset + len(out))
        out += buffer.view
        buffers.give(buffer)
    del out[size:]
    return bytes(out)


async def open_file(device: Device, calls: DiskCalls, path: str, *, writable: bool, size: int) -> int:
    """As `Device.open`. Nothing stays open when it is given up: cancelled, or the disk was let go. Raises OSError, UnsafeFile."""
    lock = threading.Lock()
    opened: list[int] = []
    wanted = True

    def call() -> int:
        handle = device.open(path, writable=writable, size=size)
        with lock:
            if wanted:
                opened.append(handle)
                return handle
        device.close(handle)
        raise DiskClosed("nobody waits for the file any more")

    try:
        return await calls.run(call)
    except BaseException:
        with lock:
            wanted = False
        for handle in opened:
            device.close(handle)
        raise


async def close_file(device: Device, calls: DiskCalls, handle: int) -> None:
    """Also when the disk has been let go meanwhile: a file that was only read closes without it."""
    try:
        await calls.run(device.close, handle)
    except (DiskClosed, DiskStuck):
        device.close(handle)


async def write_bytes(
    device: Device, calls: DiskCalls, buffers: BufferPool, handle: int, offset: int, data: bytes | memoryview
) -> None:
    """`data` at `offset` (a multiple of the block size), padded with zeros to whole blocks."""
    view = memoryview(data)
    for at in range(0, len(view), PIECE):
        piece = view[at : at + PIECE]
        buffer = buffers.take(align(len(piece)))
        buffer.view[: len(piece)] = piece
        buffer.view[len(piece) :] = bytes(len(buffer.view) - len(piece))
        await calls.run(device.write, handle, buffer.view, offset + at)
        buffers.give(buffer)
