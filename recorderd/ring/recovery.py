"""Opening a ring: newest valid checkpoint, then the journal; slots that were open are scanned later, while recording already goes on.

What the journal proves. A transaction is written after its fragments but flushed together with them, so its being there does not prove
that they are. It proves that everything *before* it was flushed. Fragments claimed by the last transaction alone are therefore unproven:
bad ones among them were cut off by the power, at the end as a torn tail, before a good one as a hole; a bad one below what is proven is rot
(I5). A slot that the last transaction closes is scanned like an open one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from recorderd.model.ports import Clock
from recorderd.ring.border import STORE_KINDS, Ledger
from recorderd.ring.buffers import BufferPool
from recorderd.ring.checkpoints import CheckpointFiles, CheckpointHistory, LoadedCheckpoint
from recorderd.ring.device import Device
from recorderd.ring.disk_memory import DiskMemory
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.files import CHECKPOINTS, IDENTITY, IDENTITY_BYTES, JOURNAL, read_bytes
from recorderd.ring.journal import Journal, Transaction, read_journal
from recorderd.ring.layout import (
    BLOCK,
    COUNTERS_SECTION,
    TABLE_SECTION,
    UNSCANNED_SECTION,
    Close,
    CorruptStructure,
    Counters,
    DiskIdentity,
    Durable,
    Free,
    Open,
    RowFlag,
    SlotState,
    UnknownFeature,
    unpack_store_event,
    unpack_unscanned,
)
from recorderd.ring.leases import Leases
from recorderd.ring.profiles import profile_by_number
from recorderd.ring.slot_writing import Io
from recorderd.ring.store import Rebuild, Store
from recorderd.ring.table import SlotTable

GENERATION_GAP: Final = (
    1 << 16
)  # a reservation of the last boot that never became durable cannot come back under the same number
_JOURNAL_GAP: Final = 64  # a write of an abandoned thread may still land that far ahead


class NotARing(Exception):
    """There is no ring here, or it is not the one expected; the text says which."""


class OlderCopy(NotARing):
    """The ring had come further than what is there: a copy that was made of the disk earlier."""


class NeedsRebuild(Exception):
    """Neither checkpoint can be read: the tables must be rebuilt from the slots.

    `unreadable`: the disk did not give one of them out, which may pass; otherwise their content is wrong, which stays.
    """

    def __init__(self, words: str, *, unreadable: bool) -> None:
        super().__init__(words)
        self.unreadable = unreadable


async def read_identity(device: Device, calls: DiskCalls, buffers: BufferPool) -> DiskIdentity:
    """Raises NotARing, UnknownFeature, OSError, UnsafeFile."""
    try:
        handle = await calls.run(device.open, IDENTITY, writable=False, size=IDENTITY_BYTES)
    except FileNotFoundError:
        raise NotARing("there is no recorderd.id in the folder") from None
    try:
        data = await read_bytes(device, calls, buffers, handle, 0, IDENTITY_BYTES)
    finally:
        await calls.run(device.close, handle)
    found = []
    faults = []
    for at in (0, BLOCK):
        try:
            found.append(DiskIdentity.unpack(data[at : at + BLOCK]))
        except CorruptStructure as error:
            faults.append(str(error))
    if not found:
        raise NotARing(faults[0])
    return max(found, key=lambda identity: identity.sequence)


async def open_store(
    device: Device,
    calls: DiskCalls,
    *,
    ledger: Ledger,
    clock: Clock,
    boot_id: uuid.UUID,
    memory: DiskMemory,
    history: CheckpointHistory | None = None,
) -> Store:
    """Raises NotARing, NeedsRebuild, UnknownFeature, UnsafeFile, OSError. Nothing is written before everything was read."""
    buffers = BufferPool()
    identity = await read_identity(device, calls, buffers)
    checkpoints = CheckpointFiles(device, calls, buffers, identity.disk_id, identity.checkpoint_bytes, history)
    valid, faults = await checkpoints.load()
    known = await memory.newest(identity.disk_id)
    if valid and checkpoints.sequence < known - len(CHECKPOINTS) + len(valid):  # a damaged one may be the newest
        raise OlderCopy(
            f"this is an older copy of ring {identity.disk_id} (at checkpoint {checkpoints.sequence}, the disk was at {known}): "
            f"it is left alone; remove {memory.where} to use it all the same"
        )
    handle = await calls.run(device.open, JOURNAL, writable=True, size=identity.journal_blocks * BLOCK)
    try:
        journal = Journal(device, calls, buffers, handle, identity.disk_id, identity.journal_blocks)
        table = None
        for checkpoint in valid:
            try:
                table = _load(checkpoint, identity)
                ledger.load(_ledger_sections(checkpoint.sections))
            except ValueError as error:
                faults.append(f"checkpoint {checkpoint.sequence}: {error}")
                continue
            break
        else:
            raise NeedsRebuild("; ".join(faults), unreadable=checkpoints.unreadable > 0)
        assert table is not None
        transactions, following = await read_journal(
            device, calls, buffers, handle, identity.disk_id, identity.journal_blocks, checkpoint.journal_sequence
        )
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
        ledger.attach(store)
        store.unscanned = _unscanned(checkpoint, identity)
        _replay(store, transactions)
        store.to_scrub.extend(table.to_scrub())
        ledger.recovered()
        store.faults = faults
        if waiting := table.to_adopt():
            store.rebuild = Rebuild(len(waiting))
        await begin(store, following)
    except BaseException:
        await calls.run(device.close, handle)
        raise
    return store


async def begin(store: Store, journal_sequence: int) -> None:
    """Writes both checkpoints, with a journal that begins a whole lap later, so that no stale block can ever be taken for a new one."""
    store.table.next_generation += GENERATION_GAP
    journal = store.journal
    journal.sequence = journal_sequence + journal.blocks + _JOURNAL_GAP
    journal.kept_from = journal.sequence
    store.retry_items = []
    store.ledger.take_items()  # part of the snapshot
    for _ in range(2):
        store.offer_snapshot(store.take_snapshot(journal.sequence))
        await store.write_checkpoint()


async def reopen_store(
    old: Store, device: Device, calls: DiskCalls, *, history: CheckpointHistory | None = None
) -> Store:
    """The same ring again after its disk had failed: the state in RAM is newer than what the disk says, and goes on.

    Raises NotARing when it is another ring, or this one changed elsewhere; OSError, UnsafeFile as `open_store`.
    """
    buffers = BufferPool()
    identity = await read_identity(device, calls, buffers)
    if identity != old.identity:
        raise NotARing(f"this is ring {identity.disk_id}, expected {old.identity.disk_id}")
    checkpoints = CheckpointFiles(device, calls, buffers, identity.disk_id, identity.checkpoint_bytes, history)
    await checkpoints.load()
    if checkpoints.sequence > max(checkpoints.history.tried, old.checkpoints.sequence):
        raise NotARing(f"ring {identity.disk_id} was used by another recorder meanwhile")
    handle = await calls.run(device.open, JOURNAL, writable=True, size=identity.journal_blocks * BLOCK)
    journal = Journal(device, calls, buffers, handle, identity.disk_id, identity.journal_blocks)
    store = Store(
        Io(device, calls, buffers),
        identity,
        old.table,
        journal,
        checkpoints,
        old.ledger,
        old.clock,
        old.profile,
        old.boot_id,
        Leases(old.clock),
        statistics=old.statistics,
        last_slot=old.last_slot,
        quarantine=old.quarantine,
        unscanned=old.unscanned,
        consumption=old.consumption,
        to_free=old.to_free,
        to_scrub=old.to_scrub,
        rebuild=old.rebuild,
    )
    for slot in store.table.in_state(SlotState.RESERVED, SlotState.OPEN):
        if slot not in store.unscanned:
            _end_abandoned(store, slot)
    old.ledger.attach(store)
    try:
        await begin(store, old.journal.sequence)
    except BaseException:
        await calls.run(device.close, handle)
        raise
    return store


def _end_abandoned(store: Store, slot: int) -> None:
    ref = store.table.ref(slot)
    row = store.table.rows[slot]
    fragments, length, end_ns = int(row["fragments"]), int(row["length"]), int(row["end_ns"])
    if fragments == 0:
        store.table.apply(Free(ref))
        return
    order = store.table.next_order
    store.table.apply(Close(ref, order, fragments, length, 0, int(store.table.flags(slot)), end_ns))
    store.ledger.slot_closed(ref, order)


def _replay(store: Store, transactions: Sequence[Transaction]) -> None:
    """Applies the journal, and notes which slots must be scanned and how many of their fragments are proven."""
    table, unscanned = store.table, store.unscanned
    for number, transaction in enumerate(transactions):
        last = number == len(transactions) - 1
        proven = _proven(store) if last else {}
        for item in transaction.items:
            if item.kind not in STORE_KINDS:
                store.ledger.apply(item.kind, item.payload)
                continue
            event = unpack_store_event(item)
            slot = event.ref.slot
            table.apply(event)
            if isinstance(event, (Open, Durable)):
                continue
            unscanned.pop(slot, None)
            if last and isinstance(event, Close):
                unscanned[slot] = proven.get(slot, 0)
                # Whether its extents became "written" is as unproven as its fragments.
                table.rows["flags"][slot] |= int(RowFlag.VIRGIN)
    for slot in table.in_state(SlotState.RESERVED, SlotState.OPEN):
        unscanned.setdefault(slot, proven.get(slot, 0) if transactions else int(table.rows["fragments"][slot]))


def _proven(store: Store) -> dict[int, int]:
    rows = store.table.rows
    return {slot: int(rows["fragments"][slot]) for slot in store.table.in_state(SlotState.OPEN)} | store.unscanned


def _unscanned(checkpoint: LoadedCheckpoint, identity: DiskIdentity) -> dict[int, int]:
    return unpack_unscanned(checkpoint.sections.get(UNSCANNED_SECTION, b""), identity.slots)


def _load(checkpoint: LoadedCheckpoint, identity: DiskIdentity) -> SlotTable:
    sections = checkpoint.sections
    if TABLE_SECTION not in sections or COUNTERS_SECTION not in sections:
        raise CorruptStructure("no slot table")
    counters = Counters.unpack(sections[COUNTERS_SECTION])
    return SlotTable.load(sections[TABLE_SECTION], counters, identity.slots, identity.slot_bytes)


def _ledger_sections(sections: Mapping[int, bytes]) -> dict[int, bytes]:
    return {number: data for number, data in sections.items() if number >= 32}


__all__ = ["NeedsRebuild", "NotARing", "UnknownFeature", "open_store", "read_identity", "reopen_store"]
