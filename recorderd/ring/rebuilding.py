"""Mounts a ring of which neither checkpoint can be read: recording starts at once, and `stocktaking` finds out what the slots hold.

Every slot is marked ADOPT: promised to nobody, content unknown. What is left of the journal tells no state without a checkpoint, but of
each slot the youngest generation that was given out or freed there: what is older is dead and stays so. The marks are part of the
checkpoints that are written here, so nothing is lost when the power goes before all slots are told of.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from typing import Final

from recorderd.model.ports import Clock
from recorderd.ring.border import STORE_KINDS, Item
from recorderd.ring.buffers import BufferPool
from recorderd.ring.checkpoints import CheckpointFiles, CheckpointHistory
from recorderd.ring.device import Device
from recorderd.ring.disk_memory import DiskMemory
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.files import JOURNAL, PIECE, read_bytes
from recorderd.ring.journal import Journal
from recorderd.ring.layout import (
    BLOCK,
    MAX_COUNTER,
    Bad,
    CorruptStructure,
    DiskIdentity,
    Free,
    JournalBlock,
    Open,
    RowFlag,
    SlotState,
    unpack_journal_block,
    unpack_store_event,
)
from recorderd.ring.leases import Leases
from recorderd.ring.ledger import adopting
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.profiles import profile_by_number
from recorderd.ring.recovery import begin, read_identity
from recorderd.ring.slot_writing import Io
from recorderd.ring.store import Rebuild, Store
from recorderd.ring.table import SlotTable

_GENERATIONS_AHEAD: Final = 1 << 40  # above everything that a slot not looked at yet can hold
_SERIALS_AHEAD: Final = 1 << 20
_MOST_SERIALS: Final = 1 << 30


async def begin_rebuild(
    device: Device,
    calls: DiskCalls,
    *,
    ledger: RingLedger,
    clock: Clock,
    boot_id: uuid.UUID,
    why: str,
    memory: DiskMemory,
    history: CheckpointHistory | None = None,
) -> Store:
    """A mounted ring that knows of its slots only that they are there; both checkpoints say so. Reads the journal and the catalogue.

    Raises NotARing, UnknownFeature, UnsafeFile, OSError.
    """
    buffers = BufferPool()
    identity = await read_identity(device, calls, buffers)
    checkpoints = CheckpointFiles(device, calls, buffers, identity.disk_id, identity.checkpoint_bytes, history)
    await checkpoints.load()
    checkpoints.sequence = max(checkpoints.sequence, await memory.newest(identity.disk_id))
    handle = await calls.run(device.open, JOURNAL, writable=True, size=identity.journal_blocks * BLOCK)
    try:
        blocks = await _journal_blocks(device, calls, buffers, handle, identity)
        journal = Journal(device, calls, buffers, handle, identity.disk_id, identity.journal_blocks)
        items = [item for block in blocks for item in block.items]
        table = _blank_table(identity, items)
        store = Store(
            Io(device, calls, buffers),
            identity,
            table,
            journal,
            checkpoints,
            ledger,
            clock,
            profile_by_number(identity.profile),
            boot_id,
            Leases(clock),
        )
        store.unscanned = dict.fromkeys(range(identity.slots), 0)
        store.rebuild = Rebuild(identity.slots)
        catalogue, faults = await store.catalogue.read()
        ledger.load({})
        ledger.attach(store)
        adopting.begin(ledger.book, catalogue, items)
        ledger.recovered()
        store.faults = [f"neither checkpoint can be read ({why}): the tables are made anew from the slots"]
        store.rebuild.losses += [f"catalogue: {fault}" for fault in faults]
        if catalogue is None:
            store.rebuild.losses.append("the catalogue is lost: what was deleted as a whole may come back from slots")
        await begin(store, max((block.sequence for block in blocks), default=0) + 1)
    except BaseException:
        await calls.run(device.close, handle)
        raise
    return store


async def _journal_blocks(
    device: Device, calls: DiskCalls, buffers: BufferPool, handle: int, identity: DiskIdentity
) -> list[JournalBlock]:
    """All that can be read of the journal, oldest first, holes and earlier laps included."""
    found: list[JournalBlock] = []
    size = identity.journal_blocks * BLOCK
    for at in range(0, size, PIECE):
        data = await read_bytes(device, calls, buffers, handle, at, min(PIECE, size - at))
        for start in range(0, len(data), BLOCK):
            with contextlib.suppress(CorruptStructure):
                found.append(unpack_journal_block(data[start : start + BLOCK], identity.disk_id))
    return sorted((block for block in found if block.sequence < MAX_COUNTER >> 1), key=lambda block: block.sequence)


def _blank_table(identity: DiskIdentity, items: Sequence[Item]) -> SlotTable:
    """Every slot is one to be looked at; its generation is the youngest that can be alive there."""
    table = SlotTable(identity.slots)
    rows = table.rows
    rows["state"] = int(SlotState.RESERVED)
    rows["flags"] = int(RowFlag.VIRGIN | RowFlag.ADOPT)
    newest = serial = 0
    for item in items:
        if item.kind not in STORE_KINDS:
            continue
        try:
            event = unpack_store_event(item)
        except CorruptStructure:
            continue
        slot, generation = event.ref
        if slot >= identity.slots or generation >= MAX_COUNTER >> 1:
            continue
        alive = generation + 1 if isinstance(event, (Free, Bad)) else generation
        rows["generation"][slot] = max(alive, int(rows["generation"][slot]))
        newest = max(newest, alive)
        if isinstance(event, Open):
            serial = max(serial, min(event.writer_serial, _MOST_SERIALS))
    table.next_generation = table.next_order = newest + _GENERATIONS_AHEAD
    table.next_writer_serial = serial + _SERIALS_AHEAD
    return table
