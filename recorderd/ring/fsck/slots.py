"""Checks one slot on the disk: head, index, and (when asked) every byte of media against its checksum."""

from __future__ import annotations

from recorderd.model.causes import GapCause
from recorderd.ring.border import SlotRef
from recorderd.ring.device import UnsafeFile
from recorderd.ring.disk_threads import DiskClosed, DiskStuck
from recorderd.ring.files import close_file, open_file, read_bytes, slot_path
from recorderd.ring.fsck.findings import Report, Severity
from recorderd.ring.fsck.heads import SlotHead, moov_is_good
from recorderd.ring.layout import (
    MIN_DATA_OFFSET,
    CorruptStructure,
    SlotState,
    index_entry,
    pack_tail,
    unpack_tail,
)
from recorderd.ring.leases import Lease
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.open_slot import span_updates
from recorderd.ring.scan import Walk, read_slot_identity, walk_fragments
from recorderd.ring.slot_writing import write_end
from recorderd.ring.store import Store

_LEASE_S = 120.0


async def check_slot(
    store: Store, ledger: RingLedger, slot: int, report: Report, *, deep: bool, repair: bool
) -> SlotHead | None:
    """I1, I2, I5 for a closed slot, under a lease; how its head is. Slots in other states, and those recovery still has to
    scan, are left alone."""
    if slot in store.unscanned or store.table.state(slot) is not SlotState.CLOSED:
        return None
    ref = store.table.ref(slot)
    lease = store.leases.take(ref, _LEASE_S)
    try:
        return await _check(store, ledger, ref, lease, report, deep=deep, repair=repair)
    except UnsafeFile as error:
        report.add(Severity.ERROR, "I6", f"slot {slot}", str(error))
    except (DiskClosed, DiskStuck):
        raise
    except OSError as error:
        report.add(Severity.ERROR, "I1", f"slot {slot}", f"cannot be read: {error.strerror or error}")
    finally:
        store.leases.end(lease)
    return None


async def _check(
    store: Store, ledger: RingLedger, ref: SlotRef, lease: Lease, report: Report, *, deep: bool, repair: bool
) -> SlotHead | None:
    io, slot_bytes = store.io, store.identity.slot_bytes
    handle = await open_file(io.device, io.calls, slot_path(ref.slot), writable=repair, size=slot_bytes)
    try:
        identity = await read_slot_identity(io, handle)
        subject = f"slot {ref.slot}"
        fragments = int(store.table.rows["fragments"][ref.slot])
        if identity is not None and (identity.disk_id, identity.ref) != (store.disk_id, ref):
            report.add(
                Severity.ERROR,
                "I2",
                subject,
                f"says it is slot {identity.ref.slot}, generation {identity.ref.generation}",
            )
            return None
        tail_good = await _tail_is_good(store, handle, ref)
        if deep or not tail_good:
            start = identity.data_offset if identity is not None else MIN_DATA_OFFSET
            walk = await walk_fragments(io, handle, store.identity, ref, start, claimed=fragments, beyond=deep)
            lease.renew(_LEASE_S)
            if not store.table.is_current(ref):
                return None  # recycled meanwhile
            if deep:
                _judge(ledger, ref, walk, fragments, report, repair=repair)
            if not tail_good and repair:
                tail = pack_tail(store.disk_id, ref, [index_entry(record, at) for record, at in walk.good])
                await write_end(io, handle, tail, walk.end, slot_bytes)
                await io.calls.run(io.device.datasync, handle)
            if not tail_good:
                done = "written anew" if repair else ""
                report.add(
                    Severity.WARNING, "I5", subject, "its index is damaged (readers walk the fragments instead)", done
                )
        report.slots_checked += 1
        return SlotHead(ref, identity, identity is None or await moov_is_good(io, handle, identity))
    finally:
        await close_file(io.device, io.calls, handle)


async def show_slot(store: Store, ref: SlotRef) -> str:
    """Tells the ledger again of everything in a closed slot; returns what was done. Raises OSError."""
    io = store.io
    lease = store.leases.take(ref, _LEASE_S)
    handle = await open_file(io.device, io.calls, slot_path(ref.slot), writable=False, size=store.identity.slot_bytes)
    try:
        identity = await read_slot_identity(io, handle)
        if identity is None or (identity.disk_id, identity.ref) != (store.disk_id, ref):
            return ""
        fragments = int(store.table.rows["fragments"][ref.slot])
        walk = await walk_fragments(
            io, handle, store.identity, ref, identity.data_offset, claimed=fragments, beyond=False
        )
    finally:
        await close_file(io.device, io.calls, handle)
        store.leases.end(lease)
    for record, _ in walk.good:
        for update in span_updates(record, ref, identity):
            store.ledger.media_written(update)
    store.ledger.slot_closed(ref, int(store.table.rows["order"][ref.slot]))
    return f"{len(walk.good)} fragments shown again"


def _judge(ledger: RingLedger, ref: SlotRef, walk: Walk, fragments: int, report: Report, *, repair: bool) -> None:
    report.fragments_checked += len(walk.good)
    report.bytes_checked += sum(record.fragment_bytes for record, _ in walk.good)
    missing = [number for number in walk.missing if number < fragments]
    shown = [number for number in missing if _is_shown(ledger, ref, number)]
    known = [number for number in missing if number not in shown]
    cut = sum(_was_cut(ledger, ref, number) for number in known)
    for count, what in ((len(known) - cut, "are rotten"), (cut, "were cut off by a power failure, never acknowledged")):
        if count:
            text = f"{count} of {fragments} fragments {what}; no timeline shows them"
            report.add(Severity.NOTICE, "I1", f"slot {ref.slot}", text)
    if not shown:
        return
    done = ""
    if repair:
        for number in shown:
            ledger.media_rotten(ref, number)
        done = "taken off the timeline"
    named = ", ".join(map(str, shown[:8])) + (" ..." if len(shown) > 8 else "")
    text = f"{len(shown)} of {fragments} fragments do not match their checksums: {named}"
    report.add(Severity.ERROR, "I1", f"slot {ref.slot}", text, done)


def _was_cut(ledger: RingLedger, ref: SlotRef, fragment: int) -> bool:
    """Whether recovery found this hole: what follows it in the slot says so. A slot is never written to by two lives of the recorder."""
    for spans in ledger.tables.spans.values():
        rows = spans.rows[spans.of_slot(*ref)]
        behind = rows[rows["first"] > fragment]
        if len(behind) and behind["cause"][behind["first"].argmin()] == GapCause.RECORDER_CRASH:
            return True
    return False


def _is_shown(ledger: RingLedger, ref: SlotRef, fragment: int) -> bool:
    for spans in ledger.tables.spans.values():
        rows = spans.rows[spans.of_slot(*ref)]
        if ((rows["first"] <= fragment) & (rows["first"] + rows["count"] > fragment)).any():
            return True
    return False


async def _tail_is_good(store: Store, handle: int, ref: SlotRef) -> bool:
    """Whether the index agrees with the table; a slot that was closed without one (no room) is good as it is."""
    row = store.table.rows[ref.slot]
    tail_bytes = int(row["tail_bytes"])
    if not tail_bytes:
        return True
    io, slot_bytes = store.io, store.identity.slot_bytes
    tail = await read_bytes(io.device, io.calls, io.buffers, handle, slot_bytes - tail_bytes, tail_bytes)
    try:
        entries = unpack_tail(tail, store.disk_id, ref, slot_bytes)
    except CorruptStructure:
        return False
    numbers = [entry.sequence for entry in entries]
    return numbers == sorted(set(numbers)) and (not numbers or numbers[-1] < int(row["fragments"]))
