"""Makes all tables of a ring anew from its slots alone, when both checkpoints are lost.

The slots say who wrote them, when by boot time and by wall clock, and which runs they hold; their side blocks carry locks, deletions and
the causes of runs; the catalogue files, if one is left, say what was deleted as a whole. What nothing tells any more is said in the report.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from recorderd.model.ports import Clock
from recorderd.ring.border import SlotRef
from recorderd.ring.buffers import BufferPool
from recorderd.ring.checkpoints import CheckpointFiles
from recorderd.ring.device import Device, UnsafeFile
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.files import JOURNAL, read_bytes, slot_path
from recorderd.ring.fsck.findings import Progress, Report, Severity, no_progress
from recorderd.ring.journal import Journal
from recorderd.ring.layout import (
    BLOCK,
    SIDE_OFFSETS,
    Close,
    CorruptStructure,
    DiskIdentity,
    Durable,
    FragmentRecord,
    Open,
    Reserve,
    SideBlock,
    SlotIdentity,
    index_entry,
    pack_tail,
    unpack_journal_block,
)
from recorderd.ring.leases import Leases
from recorderd.ring.ledger.adopting import adopt_boots, adopt_dates, adopt_names, settle_runs
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.open_slot import span_updates
from recorderd.ring.profiles import profile_by_number
from recorderd.ring.recovery import begin, read_identity
from recorderd.ring.scan import read_slot_identity, walk_fragments
from recorderd.ring.slot_writing import Io, write_end
from recorderd.ring.store import Store
from recorderd.ring.table import SlotTable


@dataclass(frozen=True, slots=True)
class Found:
    """What one slot holds."""

    identity: SlotIdentity
    records: tuple[FragmentRecord, ...]
    length: int
    tail_bytes: int
    side: bytes

    @property
    def end_ns(self) -> int:
        return max((record.to_ns for record in self.records), default=self.identity.start_ns)


async def rebuild(
    device: Device,
    calls: DiskCalls,
    *,
    ledger: RingLedger,
    clock: Clock,
    boot_id: uuid.UUID,
    progress: Progress = no_progress,
) -> tuple[Store, Report]:
    """A ring whose tables come from its slots, written to both checkpoints. Reads every slot.

    Raises NotARing, UnknownFeature, UnsafeFile, OSError.
    """
    report = Report()
    buffers = BufferPool()
    identity = await read_identity(device, calls, buffers)
    io = Io(device, calls, buffers)
    found: list[Found] = []
    for slot in range(identity.slots):
        one = await _read_slot(io, identity, slot, report)
        if one is not None:
            found.append(one)
        progress(slot + 1, identity.slots)
    found.sort(key=lambda each: each.identity.ref.generation)
    table = _table(identity, found)
    checkpoints = CheckpointFiles(device, calls, buffers, identity.disk_id, identity.checkpoint_bytes)
    await checkpoints.load()
    handle = await calls.run(device.open, JOURNAL, writable=True, size=identity.journal_blocks * BLOCK)
    journal = Journal(device, calls, buffers, handle, identity.disk_id, identity.journal_blocks)
    store = Store(
        io,
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
    try:
        await _fill_ledger(store, ledger, found, report)
        ledger.recovered()
        await begin(store, await _beyond(io, handle, identity))
    except BaseException:
        await calls.run(device.close, handle)
        raise
    return store, report


async def _read_slot(io: Io, disk: DiskIdentity, slot: int, report: Report) -> Found | None:
    """The slot's content, with its end and index written anew; None when it holds nothing of this ring."""
    try:
        handle = await io.calls.run(io.device.open, slot_path(slot), writable=True, size=disk.slot_bytes)
    except (OSError, UnsafeFile) as error:
        report.add(Severity.ERROR, "I6", f"slot {slot}", f"cannot be opened: {error}")
        return None
    try:
        identity = await read_slot_identity(io, handle)
        if identity is None or identity.disk_id != disk.disk_id or identity.ref.slot != slot:
            return None
        walk = await walk_fragments(io, handle, disk, identity.ref, identity.data_offset, claimed=0, beyond=True)
        report.slots_checked += 1
        report.fragments_checked += len(walk.good)
        if not walk.good:
            return None
        tail = pack_tail(disk.disk_id, identity.ref, [index_entry(record, at) for record, at in walk.good])
        tail_bytes, _ = await write_end(io, handle, tail, walk.end, disk.slot_bytes)
        side = await _newest_side_block(io, handle, disk, identity.ref)
        return Found(identity, tuple(record for record, _ in walk.good), walk.end, tail_bytes, side)
    except OSError as error:
        report.add(Severity.ERROR, "I1", f"slot {slot}", f"cannot be read: {error.strerror or error}")
        return None
    finally:
        await io.calls.run(io.device.close, handle)


async def _newest_side_block(io: Io, handle: int, disk: DiskIdentity, ref: SlotRef) -> bytes:
    best = SideBlock(disk.disk_id, ref, -1, b"")
    for offset in SIDE_OFFSETS:
        with contextlib.suppress(CorruptStructure):
            block = SideBlock.unpack(await read_bytes(io.device, io.calls, io.buffers, handle, offset, BLOCK))
            if (block.disk_id, block.ref) == (disk.disk_id, ref) and block.sequence > best.sequence:
                best = block
    return best.payload


def _table(identity: DiskIdentity, found: Sequence[Found]) -> SlotTable:
    """Closed slots in the order in which they ended, as near as generation and time tell."""
    table = SlotTable(identity.slots)
    order_of_boot: dict[uuid.UUID, int] = {}
    for each in found:
        order_of_boot.setdefault(each.identity.boot_id, len(order_of_boot))
    ended = sorted(found, key=lambda each: (order_of_boot[each.identity.boot_id], each.end_ns))
    for order, each in enumerate(ended, start=1):
        ref, who = each.identity.ref, each.identity
        count = each.records[-1].sequence + 1
        flags = int(table.flags(ref.slot))
        table.apply(Reserve(ref))
        table.apply(Open(ref, who.writer_serial, who.start_ns, who.boot_id, who.recording))
        table.apply(Durable(ref, count, each.length, each.end_ns))
        table.apply(Close(ref, order, count, each.length, each.tail_bytes, flags, each.end_ns))
    return table


async def _fill_ledger(store: Store, ledger: RingLedger, found: Sequence[Found], report: Report) -> None:
    ledger.load({})
    ledger.attach(store)
    catalogue, faults = await store.catalogue.read()
    for fault in faults:
        report.add(Severity.WARNING, "I10", "catalogue", fault)
    if catalogue is not None:
        adopt_names(ledger.book, catalogue)
    else:
        report.add(
            Severity.WARNING,
            "I11",
            "catalogue",
            "is lost: recordings deleted as a whole come back as far as slots hold them",
        )
    last_ns: dict[uuid.UUID, int] = {}
    for each in found:
        last_ns[each.identity.boot_id] = max(last_ns.get(each.identity.boot_id, 0), each.end_ns)
    adopt_boots(ledger.book, list(last_ns.items()))
    adopt_dates(ledger.book, _dates(found, list(last_ns)))
    for each in found:
        who = each.identity
        ledger.writer_names(who.recording, who.recording_name, [(t.track, t.name, t.codec) for t in who.tracks])
        for record in each.records:
            for update in span_updates(record, who.ref, who):
                ledger.media_written(update)
        ledger.slot_closed(who.ref, int(store.table.rows["order"][who.ref.slot]))
    mirrors = 0
    for each in found:
        if not each.side:
            continue
        try:
            ledger.load_side_block(each.identity.ref, each.side)
            mirrors += 1
        except ValueError as error:
            report.add(Severity.WARNING, "I10", f"slot {each.identity.ref.slot}", f"its side block is damaged: {error}")
    unknown = settle_runs(ledger.book)
    if unknown:
        report.add(
            Severity.WARNING,
            "I10",
            "runs",
            f"of {unknown} runs only the media is known, not their cause (no side block told of them)",
        )
    report.add(
        Severity.NOTICE,
        "I10",
        "tables",
        "the causes of gaps and how far each clock was trusted are not kept in slots and are lost",
    )
    report.add(Severity.NOTICE, "I10", "tables", f"rebuilt from {len(found)} slots, {mirrors} of them with side blocks")


def _dates(found: Sequence[Found], boots: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, int, int]]:
    """(boot, boot time, wall time) at the start of each epoch. Records are sealed some time after their last arrival: the least counts."""
    seen: dict[tuple[int, int], tuple[int, int]] = {}  # (boot, epoch) -> (first boot time, wall minus boot time)
    position = {boot: number for number, boot in enumerate(boots)}
    for each in found:
        for record in each.records:
            key = (position[each.identity.boot_id], record.epoch)
            first, offset = seen.get(key, (record.from_ns, record.wall_ns - record.to_ns))
            seen[key] = (min(first, record.from_ns), min(offset, record.wall_ns - record.to_ns))
    ordered = sorted((boot, first, offset) for (boot, _), (first, offset) in seen.items())
    return [(boots[boot], first, max(0, first + offset)) for boot, first, offset in ordered]


async def _beyond(io: Io, handle: int, identity: DiskIdentity) -> int:
    """A journal sequence above everything that the old journal can hold: no old block may be taken for a new one."""
    newest = 0
    for at in range(0, identity.journal_blocks * BLOCK, 1 << 20):
        size = min(1 << 20, identity.journal_blocks * BLOCK - at)
        data = await read_bytes(io.device, io.calls, io.buffers, handle, at, size)
        for start in range(0, size, BLOCK):
            with contextlib.suppress(CorruptStructure):
                newest = max(newest, unpack_journal_block(data[start : start + BLOCK], identity.disk_id).sequence)
    return newest + 1
