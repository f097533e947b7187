"""Makes a ring: allocates every file it will ever have. Afterwards none is created, removed, renamed, extended or truncated (I6).

`recorderd.id` is written last, so a format that was interrupted leaves no ring behind.
"""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Final

from recorderd.model.disk_files import CONFIGURATION_BYTES, CONFIGURATIONS
from recorderd.ring.buffers import BufferPool
from recorderd.ring.checkpoints import CheckpointFiles, Snapshot
from recorderd.ring.device import ALLOCATING_KINDS, FormatDevice, Space
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.files import (
    CATALOGUES,
    CHECKPOINTS,
    HISTORIES,
    IDENTITY,
    IDENTITY_BYTES,
    JOURNAL,
    PIECE,
    SLOTS,
    slot_folder,
    slot_path,
    write_bytes,
)
from recorderd.ring.layout import BLOCK, COUNTERS_SECTION, TABLE_SECTION, DiskIdentity, align
from recorderd.ring.profiles import HDD, Profile
from recorderd.ring.table import ROW, SlotTable

SLOTS_PER_WRITER: Final = 64
_SLOT_SIZES: Final = (64 << 20, 32 << 20, 16 << 20, 8 << 20)
_CATALOGUE_BYTES: Final = 1 << 20
_HISTORY_MOST_BYTES: Final = 8 << 20


class FormatRefused(Exception):
    """The file system or its size does not suit a ring; the text says why and what would."""


def check_file_system(space: Space, *, durability: str) -> None:
    """Only file systems that keep what fallocate promises, in place: overwriting must never need space."""
    if durability == "direct" and space.kind not in ALLOCATING_KINDS:
        raise FormatRefused(
            f"the file system is {space.kind}: a ring needs {' or '.join(ALLOCATING_KINDS)} "
            "(copy-on-write, network and memory file systems cannot promise space or order)"
        )


def overhead_bytes(slots: int, journal_blocks: int, ledger_bytes: int) -> int:
    """What the files beside the slots take."""
    checkpoint = checkpoint_bytes(slots, ledger_bytes)
    return (
        IDENTITY_BYTES
        + journal_blocks * BLOCK
        + 2 * checkpoint
        + 2 * _CATALOGUE_BYTES
        + 2 * _HISTORY_MOST_BYTES
        + 2 * CONFIGURATION_BYTES
    )


def checkpoint_bytes(slots: int, ledger_bytes: int) -> int:
    return align(2 * BLOCK + align(slots * ROW.itemsize) + ledger_bytes + 32 * BLOCK)


def journal_blocks_for(slots: int) -> int:
    return min(4096, max(256, slots))


def ledger_bytes_for(usable_bytes: int) -> int:
    """Checkpoint room for the ledger: spans are bounded to 64 MiB (format.md section 10)."""
    return align(min(80 << 20, max(1 << 20, usable_bytes // 512)))


def history_bytes_for(slots_bytes: int) -> int:
    """Size of each file of the event history."""
    return align(min(_HISTORY_MOST_BYTES, max(64 << 10, slots_bytes // 1024)))


def choose_geometry(free_bytes: int, writers: int, slot_bytes: int | None = None) -> tuple[int, int]:
    """Slot size and count: the largest power of two from 64 to 8 MiB that gives 64 slots per planned writer. Raises FormatRefused."""
    usable = free_bytes - (8 << 20) - free_bytes // 256  # the file system's own growth: directories, its journal
    for size in (slot_bytes,) if slot_bytes is not None else _SLOT_SIZES:
        slots = usable // size
        while slots > 0:
            need = overhead_bytes(slots, journal_blocks_for(slots), ledger_bytes_for(usable))
            if slots * size + need <= usable:
                break
            slots -= max(1, (slots * size + need - usable) // size)
        if slots >= SLOTS_PER_WRITER * writers or (slot_bytes is not None and slots >= 16):
            return size, slots
    needed = SLOTS_PER_WRITER * writers * (slot_bytes or _SLOT_SIZES[-1])
    raise FormatRefused(
        f"{free_bytes / 1e9:.1f} GB are free; {writers} streams need at least {needed * 1.05 / 1e9:.1f} GB "
        f"({SLOTS_PER_WRITER} slots of {(slot_bytes or _SLOT_SIZES[-1]) >> 20} MiB each)"
    )


async def format_ring(
    device: FormatDevice,
    calls: DiskCalls,
    *,
    formatted_ns: int,
    writers: int = 16,
    profile: Profile = HDD,
    durability: str = "direct",
    slot_bytes: int | None = None,
    slots: int | None = None,
    journal_blocks: int | None = None,
    ledger_bytes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DiskIdentity:
    """Formats the (empty) folder of `device`. `progress(done, total)` counts slots. Raises FormatRefused, OSError."""
    space = await calls.run(device.space)
    check_file_system(space, durability=durability)
    present = [name for name in await calls.run(device.names, "") if name != "lost+found"]
    if present:
        what = "already holds a ring" if IDENTITY in present else f"is not empty ({', '.join(present[:3])} ...)"
        raise FormatRefused(f"the folder {what}")
    if slots is None:
        slot_bytes, slots = choose_geometry(space.free_bytes, writers, slot_bytes)
    elif slot_bytes is None:
        raise ValueError("slots without slot_bytes")
    blocks = journal_blocks if journal_blocks is not None else journal_blocks_for(slots)
    room = ledger_bytes if ledger_bytes is not None else ledger_bytes_for(slots * slot_bytes)
    identity = DiskIdentity(
        disk_id=uuid.uuid4(),
        formatted_ns=formatted_ns,
        slot_bytes=slot_bytes,
        slots=slots,
        journal_blocks=blocks,
        checkpoint_bytes=checkpoint_bytes(slots, room),
        catalogue_bytes=_CATALOGUE_BYTES,
        profile=profile.number,
    )
    identity = DiskIdentity.unpack(identity.pack())  # the bounds of reading hold for writing
    buffers = BufferPool()
    try:
        await calls.run(device.make_folder, SLOTS)
        await _create_zeroed(device, calls, buffers, JOURNAL, blocks * BLOCK)
        for name in CATALOGUES:
            await _create_zeroed(device, calls, buffers, name, identity.catalogue_bytes)
        for name in HISTORIES:
            await _create_zeroed(device, calls, buffers, name, history_bytes_for(slots * slot_bytes))
        for name in CONFIGURATIONS:
            await _create_zeroed(device, calls, buffers, name, CONFIGURATION_BYTES)
        for name in CHECKPOINTS:
            await calls.run(device.create, name, identity.checkpoint_bytes)
        for slot in range(slots):
            folder = slot_folder(slot)
            if slot % 1024 == 0:
                await calls.run(device.make_folder, folder)
            await calls.run(device.create, slot_path(slot), slot_bytes)
            if slot % 1024 == 1023 or slot == slots - 1:
                await calls.run(device.sync_folder, folder)
            if progress is not None and (slot % 64 == 63 or slot == slots - 1):
                progress(slot + 1, slots)
        await calls.run(device.create, IDENTITY, IDENTITY_BYTES)
        table = SlotTable(slots)
        sections = {TABLE_SECTION: table.dump(), COUNTERS_SECTION: table.counters().pack()}
        files = CheckpointFiles(device, calls, buffers, identity.disk_id, identity.checkpoint_bytes)
        for _ in CHECKPOINTS:
            await files.write(Snapshot(1, sections))
        await calls.run(device.sync_folder, SLOTS)
        await calls.run(device.sync_folder, "")
        await calls.run(device.syncfs)
        async with opened(device, calls, IDENTITY, IDENTITY_BYTES) as handle:
            await write_bytes(device, calls, buffers, handle, 0, identity.pack() * 2)
        await calls.run(device.syncfs)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise FormatRefused(f"the file system ({space.kind}) cannot allocate files in advance") from error
        if error.errno == errno.ENOSPC:
            raise FormatRefused(f"no room for {slots} slots of {slot_bytes >> 20} MiB: {error}") from error
        raise
    return identity


@contextlib.asynccontextmanager
async def opened(device: FormatDevice, calls: DiskCalls, name: str, size: int) -> AsyncIterator[int]:
    handle = await calls.run(device.open, name, writable=True, size=size)
    try:
        yield handle
    finally:
        await calls.run(device.close, handle)


async def _create_zeroed(device: FormatDevice, calls: DiskCalls, buffers: BufferPool, name: str, size: int) -> None:
    """A file whose extents are all written: overwriting it later never touches the file system's journal."""
    await calls.run(device.create, name, size)
    async with opened(device, calls, name, size) as handle:
        for at in range(0, size, PIECE):
            await write_bytes(device, calls, buffers, handle, at, bytes(min(PIECE, size - at)))
