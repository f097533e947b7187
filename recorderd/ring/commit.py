"""The commit: one tick's fragments of all writers, one journal transaction, one flush, and only then the acknowledgement.

    place     fragments into open slots; full slots close, reserved ones open                     (no I/O)
    write     head, fragments, mask, tails: O_DIRECT, through the disk threads, in parallel over slots
    build     store events and the ledger's items of exactly what was written; reservations       (no I/O, no await)
    journal   one transaction
    flush     one fdatasync, or one syncfs when an extent never written before was touched
    settle    sinks hear "durable", reservations may be used, closed slots' files are closed

What fails before the flush is over counts as not written. A slot with a failed write is closed at its last good fragment and never
appended to again; the rest goes to another slot within the same commit. After a failed flush nothing since the last good one counts:
every slot the commit touched is closed at its durable end, and all fragments are placed anew, elsewhere, by the next commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from recorderd.model.causes import GapCause
from recorderd.ring.border import Item, SlotRef
from recorderd.ring.device import UnsafeFile
from recorderd.ring.disk_threads import DiskStuck
from recorderd.ring.files import read_bytes, slot_path, write_bytes
from recorderd.ring.journal import JournalFull
from recorderd.ring.layout import (
    BLOCK,
    Bad,
    Close,
    CorruptStructure,
    Durable,
    Free,
    Open,
    RowFlag,
    SideBlock,
    SlotState,
    StoreEvent,
    free_box,
)
from recorderd.ring.layout import SIDE_OFFSETS as SIDES
from recorderd.ring.open_slot import FragmentTooLarge, OpenSlot, Pending, Placed, lost_tracks, span_updates
from recorderd.ring.slot_writing import GONE, Batch, write_batches
from recorderd.ring.store import DiskFailed, Store
from recorderd.ring.writers import RingWriter

MAX_COMMIT_BYTES: Final = 48 << 20  # copied into buffers at once
_MAX_ROUNDS: Final = 4
_MAX_ERRORS: Final = 5  # failed slots within _ERROR_WINDOW_NS: the disk has failed
_ERROR_WINDOW_NS: Final = 60 * 1_000_000_000
_MAX_FLUSH_FAILURES: Final = 3
_SCRUBS_PER_TICK: Final = 4


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit did. `more`: fragments are left that a further commit should take at once."""

    fragments: int
    media_bytes: int
    more: bool


@dataclass(slots=True)
class _Tick:
    """The commit being made."""

    batches: list[Batch] = field(default_factory=list)
    settled: list[tuple[RingWriter, list[Pending]]] = field(default_factory=list)
    virgin: bool = False
    wrote_outside: bool = False  # side blocks, scrubbed heads
    flush_asked: int = 0  # what was written by others before the commit began


async def commit(store: Store, writers: Sequence[RingWriter]) -> Committed:
    """Raises DiskFailed (all that is not durable is back in its queue)."""
    began_ns = store.clock.boottime_ns()
    if store.snapshot is not None and store.journal.used() > store.journal.blocks * 2 // 3:
        await _checkpoint(store)
    tick = _Tick(flush_asked=store.flush_asked)
    batches = _place(store, writers, _due_to_close(store))
    beside = [_write_side_blocks(store, tick), _scrub(store, tick, 1 if batches else _SCRUBS_PER_TICK)]
    for _ in range(_MAX_ROUNDS):
        tick.batches += batches
        tick.virgin |= any(batch.slot.virgin for batch in batches)
        await asyncio.gather(_write(store, batches), *beside)
        beside = []
        if not await _put_back_failed(store, tick, batches):
            break
        batches = _place(store, writers, [])
        if not batches:
            break
    items = _build(store, tick)
    if items or tick.wrote_outside or tick.flush_asked > store.flushed_for:
        await _make_durable(store, tick, items)
        await _settle(store, tick, began_ns)
    store.io.buffers.commit_over()
    done = [pending for _, pendings in tick.settled for pending in pendings]
    waiting = any(writer.queue for writer in writers)
    return Committed(len(done), sum(pending.body.size for pending in done), waiting and bool(store.pool))


# --- place ------------------------------------------------------------------------------------------------


def _due_to_close(store: Store) -> list[OpenSlot]:
    """Slots that end before they are full: asked for, or their reach grew too long (format.md section 8)."""
    due = []
    now_ns = store.clock.boottime_ns()
    limit = store.max_slot_reach_ns()
    for key, slot in list(store.open.items()):
        if not slot.entries:
            continue
        limits = [ns for ns in (limit, store.ledger.max_slot_reach_ns(slot.spec.recording)) if ns is not None]
        if key in store.to_close or (limits and now_ns - slot.start_ns > min(limits)):
            due.append(slot)
            del store.open[key]
    store.to_close.clear()
    return due


def _place(store: Store, writers: Sequence[RingWriter], closing: Sequence[OpenSlot]) -> list[Batch]:
    batches = {id(slot): Batch(slot, closing=True) for slot in closing}
    budget = MAX_COMMIT_BYTES
    wall_ns, epoch = store.clock.realtime_ns(), store.ledger.epoch()
    store.starving = 0
    for writer in writers:
        while writer.queue and budget > 0:
            slot = store.open.get(writer.key) or store.take_slot(writer.key, writer.spec, writer.head)
            if slot is None:
                store.starving += 1
                break
            pending = writer.queue[0]
            try:
                placed = slot.place(pending, wall_ns=wall_ns, epoch=epoch)
            except FragmentTooLarge:
                writer.queue.popleft()
                _lose(store, writer, pending, GapCause.RATE_CAP)
                continue
            batch = batches.setdefault(id(slot), Batch(slot))
            if placed is None:
                batch.closing = batch.full = True
                del store.open[writer.key]
                continue
            writer.queue.popleft()
            batch.placed.append(placed)
            budget -= placed.record.fragment_bytes
    return list(batches.values())


def _lose(store: Store, writer: RingWriter, pending: Pending, cause: GapCause) -> None:
    recording, tracks = lost_tracks(pending)
    store.ledger.media_lost(recording, tracks, cause, pending.from_ns, pending.to_ns)
    store.statistics.lost_fragments += 1
    writer.give_up(pending, cause)


# --- write ------------------------------------------------------------------------------------------------


async def _write(store: Store, batches: Sequence[Batch]) -> None:
    wall_ns, epoch = store.clock.realtime_ns(), store.ledger.epoch()
    await write_batches(store.io, batches, wall_ns=wall_ns, epoch=epoch, mask=store.profile.mask)


async def _put_back_failed(store: Store, tick: _Tick, batches: Sequence[Batch]) -> bool:
    """After failed writes: their fragments wait again, their slots end. Raises DiskFailed when the disk, not a slot, is at fault."""
    failed = [batch for batch in batches if batch.error is not None]
    now_ns = store.clock.boottime_ns()
    for batch in failed:
        slot = batch.slot
        slot.take_back(len(slot.entries) - len(batch.placed) + batch.good)
        _put_back(batch.placed[batch.good :])
        del batch.placed[batch.good :]
        if store.open.get(slot.key) is slot:
            del store.open[slot.key]
        store.statistics.write_errors += 1
        store.error_times.append(now_ns)
    while store.error_times and store.error_times[0] < now_ns - _ERROR_WINDOW_NS:
        store.error_times.popleft()
    gone = [b.error for b in failed if isinstance(b.error, DiskStuck) or getattr(b.error, "errno", None) in GONE]
    if gone or len(store.error_times) >= _MAX_ERRORS or (failed and not await store.disk_answers()):
        for batch in reversed(tick.batches):
            _put_back(batch.placed)
        raise DiskFailed(str(gone[0] if gone else failed[0].error))
    return bool(failed)


def _put_back(placed: Sequence[Placed]) -> None:
    for one in reversed(placed):
        assert isinstance(one.pending.writer, RingWriter)
        one.pending.writer.put_back([one.pending])


async def _write_side_blocks(store: Store, tick: _Tick) -> None:
    for ref in store.ledger.take_stale_side_blocks():
        if not store.table.is_current(ref) or store.table.state(ref.slot) not in (SlotState.OPEN, SlotState.CLOSED):
            continue
        payload = store.ledger.side_block(ref)
        try:
            await _write_side_block(store, ref, payload)
        except OSError:
            store.statistics.write_errors += 1  # a mirror: the journal has the lock itself
            continue
        tick.wrote_outside = True
        tick.virgin |= RowFlag.VIRGIN in store.table.flags(ref.slot)


async def _write_side_block(store: Store, ref: SlotRef, payload: bytes) -> None:
    io = store.io
    live = store.live.get(ref)
    if live is not None and live.handle >= 0 and live.head_written:
        sequence = live.side_sequence + 1
        block = SideBlock(store.disk_id, ref, sequence, payload).pack()
        await write_bytes(io.device, io.calls, io.buffers, live.handle, SIDES[sequence % 2], block)
        live.side_sequence = sequence
        return
    handle = await io.calls.run(io.device.open, slot_path(ref.slot), writable=True, size=store.identity.slot_bytes)
    try:
        which, sequence = await newest_side_block(store, handle, ref)
        block = SideBlock(store.disk_id, ref, sequence + 1, payload).pack()
        await write_bytes(io.device, io.calls, io.buffers, handle, SIDES[1 - which], block)
    finally:
        await io.calls.run(io.device.close, handle)


async def newest_side_block(store: Store, handle: int, ref: SlotRef) -> tuple[int, int]:
    """Which of the two side blocks is the newest valid one of this life of the slot, and its sequence (0, 0 when none is)."""

    data = await read_bytes(store.io.device, store.io.calls, store.io.buffers, handle, SIDES[0], 2 * BLOCK)
    newest = (0, 0)
    for which in (0, 1):
        try:
            block = SideBlock.unpack(data[which * BLOCK : (which + 1) * BLOCK])
        except CorruptStructure:
            continue
        if block.ref == ref and block.disk_id == store.disk_id and block.sequence >= newest[1]:
            newest = (which, block.sequence)
    return newest


async def _scrub(store: Store, tick: _Tick, count: int) -> None:
    """Overwrites heads of freed slots, so that a disk taken out does not play what was deleted."""
    io = store.io
    for _ in range(min(count, len(store.to_scrub))):
        ref = store.to_scrub.popleft()
        if not store.table.is_current(ref) or store.table.state(ref.slot) not in (SlotState.FREE, SlotState.BAD):
            continue
        try:
            handle = await io.calls.run(
                io.device.open, slot_path(ref.slot), writable=True, size=store.identity.slot_bytes
            )
            try:
                blank = free_box(store.identity.slot_bytes).ljust(SCRUB_BYTES, b"\0")
                await write_bytes(io.device, io.calls, io.buffers, handle, 0, blank)
            finally:
                await io.calls.run(io.device.close, handle)
        except OSError:
            store.statistics.write_errors += 1
            continue
        store.table.rows["flags"][ref.slot] &= (
            ~int(RowFlag.SCRUB) & 0xFF
        )  # not journalled: after a crash it is done again
        tick.wrote_outside = True
        tick.virgin |= RowFlag.VIRGIN in store.table.flags(ref.slot)


SCRUB_BYTES: Final = 8 * BLOCK


# --- build ------------------------------------------------------------------------------------------------


def _build(store: Store, tick: _Tick) -> list[Item]:
    """Everything the transaction says. Synchronous: table and ledger change together, and a snapshot taken right after agrees."""
    items = list(store.retry_items)
    items += [event.item() for event in store.corrections]
    for batch in tick.batches:
        items += [store.apply(event) for event in _slot_events(store, batch)]
        for one in batch.placed:
            for update in span_updates(one.record, batch.slot.ref, batch.slot.spec):
                store.ledger.media_written(update)
    items += [event.item() for event in store.frees()]
    wanted = store.pool_target + store.starving - len(store.pool) - len(store.reserving)
    if wanted > 0:
        items += [event.item() for event in store.reserve(wanted)]
    items += store.ledger.take_items()
    store.corrections.clear()
    store.retry_items = items
    return items


def _slot_events(store: Store, batch: Batch) -> list[StoreEvent]:
    slot = batch.slot
    ref = slot.ref
    events: list[StoreEvent] = []
    if not slot.entries:
        return [Bad(ref)] if batch.error is not None else []
    if store.table.state(ref.slot) is SlotState.RESERVED:
        events.append(Open(ref, slot.writer_serial, slot.start_ns, store.boot_id, slot.spec.recording))
    if batch.placed:
        events.append(Durable(ref, len(slot.entries), slot.end, slot.end_ns))
    if batch.closing or batch.error is not None:
        flags = store.table.flags(ref.slot)
        if batch.written_out:
            flags &= ~RowFlag.VIRGIN
        if batch.error is not None:
            flags |= RowFlag.REFUSED if isinstance(batch.error, UnsafeFile) else RowFlag.RETIRED
        tail = 0 if batch.error is not None else batch.tail_bytes
        order = store.table.next_order
        store.table.next_order += 1
        events.append(Close(ref, order, len(slot.entries), slot.end, tail, int(flags), slot.end_ns))
        store.ledger.slot_closed(ref, order)
    return events


# --- journal and flush ------------------------------------------------------------------------------------


async def _make_durable(store: Store, tick: _Tick, items: Sequence[Item]) -> None:
    journal = store.journal
    following = journal.sequence
    snapshot = None
    if items and store.snapshot is None and journal.used() > journal.blocks // 3 and not store.checkpoint_lock.locked():
        snapshot = store.take_snapshot(0)
    try:
        if items:
            following = await journal.write(items)
        await _flush(store, virgin=tick.virgin)
    except (OSError, JournalFull) as error:
        _flush_failed(store, tick, error)
    journal.flushed()
    store.retry_items = []
    store.flush_failures = 0
    store.flushed_for = max(store.flushed_for, tick.flush_asked)
    if snapshot is not None:
        store.offer_snapshot(type(snapshot)(following, snapshot.sections))


async def _flush(store: Store, *, virgin: bool) -> None:
    io = store.io
    if virgin or store.need_syncfs:
        store.need_syncfs = False  # what is written while this runs asks for the next one
        try:
            await io.calls.run(io.device.syncfs)
        except BaseException:
            store.need_syncfs = True
            raise
        store.statistics.syncfs += 1
    else:
        await io.calls.run(io.device.datasync, store.journal.handle)
    store.statistics.flushes += 1


def _flush_failed(store: Store, tick: _Tick, error: OSError | JournalFull) -> None:
    """Nothing since the last good flush counts. Always raises: FlushFailed, or DiskFailed when it will not get better."""
    store.statistics.flush_errors += 1
    store.flush_failures += 1
    store.need_syncfs = True
    for batch in reversed(tick.batches):
        _put_back(batch.placed)
    for slot in {id(batch.slot): batch.slot for batch in tick.batches}.values():
        store.ledger.media_withdrawn(slot.ref, slot.durable)
        if store.open.get(slot.key) is slot:
            del store.open[slot.key]
        slot.take_back(slot.durable)
        store.stale_handles.append(slot.handle)
        store.live.pop(slot.ref, None)
        _end_at_durable(store, slot)
    gone = isinstance(error, (DiskStuck, JournalFull)) or error.errno in GONE
    if gone or store.flush_failures >= _MAX_FLUSH_FAILURES:
        raise DiskFailed(str(error))
    raise FlushFailed(str(error))


class FlushFailed(Exception):
    """The commit did not become durable; its fragments wait for the next one."""


def _end_at_durable(store: Store, slot: OpenSlot) -> None:
    ref = slot.ref
    if store.table.state(ref.slot) in (SlotState.BAD, SlotState.FREE) or not store.table.is_current(ref):
        return
    if slot.durable == 0:
        store.correct(Free(ref))
        return
    flags = int(store.table.flags(ref.slot))
    order = store.table.next_order
    store.correct(Close(ref, order, slot.durable, slot.durable_end, 0, flags, slot.durable_end_ns))
    store.ledger.slot_closed(ref, order)


async def _checkpoint(store: Store) -> None:
    try:
        await store.write_checkpoint()
    except OSError as error:
        raise DiskFailed(f"checkpoint: {error}") from error


# --- settle -----------------------------------------------------------------------------------------------


async def _settle(store: Store, tick: _Tick, began_ns: int) -> None:
    io, statistics = store.io, store.statistics
    store.pool.extend(store.reserving)
    store.reserving.clear()
    now_ns = store.clock.boottime_ns()
    done: dict[int, tuple[RingWriter, list[Pending]]] = {}
    for batch in tick.batches:
        slot = batch.slot
        slot.durable = len(slot.entries)
        slot.durable_end, slot.durable_end_ns = slot.end, slot.end_ns
        for one in batch.placed:
            writer = one.pending.writer
            assert isinstance(writer, RingWriter)
            done.setdefault(id(writer), (writer, []))[1].append(one.pending)
            statistics.media_bytes += one.record.payload_bytes
            statistics.written_bytes += one.record.fragment_bytes + BLOCK
            statistics.worst_delay_ns = max(statistics.worst_delay_ns, now_ns - one.record.from_ns)
            statistics.fragments += 1
            store.consumption.note(slot.key, one.record.fragment_bytes, now_ns, slot.media_ns(one.record))
        statistics.slots_closed += batch.closing or batch.error is not None
        if batch.full:
            store.consumption.slot_was_full(slot.key, slot.end - slot.data_offset)
    for writer, pendings in done.values():
        writer.settle(pendings, now_ns)
        tick.settled.append((writer, pendings))
    took_ns = now_ns - began_ns
    statistics.commits += 1
    statistics.last_commit_ns = now_ns
    statistics.last_commit_took_ns = took_ns
    statistics.slowest_commit_ns = max(statistics.slowest_commit_ns, took_ns)
    for batch in tick.batches:
        if batch.closing or batch.error is not None:
            store.stale_handles.append(batch.slot.handle)
            batch.slot.handle = -1
            store.live.pop(batch.slot.ref, None)
    while store.stale_handles:
        handle = store.stale_handles.pop()
        if handle >= 0:
            await io.calls.run(io.device.close, handle)
