"""Walks the fragments of one slot on the disk: to close a slot that a crash left open, or to find fragments where the tail is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from recorderd.ring.border import SlotRef
from recorderd.ring.files import read_bytes, slot_path
from recorderd.ring.layout import (
    BLOCK,
    MIN_DATA_OFFSET,
    Bad,
    Close,
    CorruptStructure,
    DiskIdentity,
    Durable,
    FragmentRecord,
    Free,
    IndexEntry,
    Open,
    RowFlag,
    SlotIdentity,
    SlotState,
    align,
    index_entry,
    pack_tail,
    payload_crc,
    record_size,
    unpack_tail,
)
from recorderd.ring.open_slot import span_updates
from recorderd.ring.slot_writing import Io, write_end
from recorderd.ring.store import Store

_WINDOW: Final = 1 << 20


@dataclass(slots=True)
class Walk:
    """What the slot holds. `missing`: sequence numbers below `claimed` that are not there or do not match their checksum: rot where they
    were proven to be durable, else cut off by the power."""

    good: list[tuple[FragmentRecord, int]] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    end: int = 0  # behind the last good fragment

    def keep_below(self, sequence: int) -> None:
        """Drops what lies behind a number of fragments."""
        while self.good and self.good[-1][0].sequence >= sequence:
            _, self.end = self.good.pop()

    @property
    def count(self) -> int:
        return self.good[-1][0].sequence + 1 if self.good else 0


class _Window:
    """Reads ahead, so that walking is one sequential read."""

    def __init__(self, io: Io, handle: int, slot_bytes: int, *, ahead: int) -> None:
        self._io = io
        self._handle = handle
        self._slot_bytes = slot_bytes
        self._ahead = ahead
        self._start = 0
        self._data = b""

    async def at(self, offset: int, size: int) -> memoryview:
        """`size` bytes from the block offset `offset`, fewer at the slot's end."""
        size = min(size, self._slot_bytes - offset)
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._data):
            length = min(max(align(size), self._ahead), self._slot_bytes - offset)
            io = self._io
            self._data = await read_bytes(io.device, io.calls, io.buffers, self._handle, offset, length)
            self._start = offset
            begin = 0
        return memoryview(self._data)[begin : begin + size]


async def walk_fragments(
    io: Io, handle: int, disk: DiskIdentity, ref: SlotRef, data_offset: int, *, claimed: int, beyond: bool
) -> Walk:
    """Walks from `data_offset`. `claimed` fragments should be there; after a bad one among them the walk finds the next good one.

    With `beyond`, payloads are checked, and good fragments behind the claimed ones are taken until the first bad one. Without it only the
    records are read, and the walk ends with the claimed ones. Raises OSError.
    """
    window = _Window(io, handle, disk.slot_bytes, ahead=_WINDOW if beyond else BLOCK)
    walk = Walk(end=data_offset)
    offset, expected = data_offset, 0

    async def record_at(position: int) -> FragmentRecord | None:
        if position + BLOCK > disk.slot_bytes:
            return None
        head = await window.at(position, BLOCK)
        try:
            size = record_size(head)
            if size > len(head):
                head = await window.at(position, align(size))
            record = FragmentRecord.unpack(head, room=disk.slot_bytes - position)
        except ValueError:
            return None
        return record if belongs(record, disk, ref) else None

    while beyond or expected < claimed:
        record = await record_at(offset)
        if record is None or record.sequence != expected:
            if expected >= claimed:
                break
            found = await _resynchronise(record_at, offset, disk.slot_bytes, range(expected + 1, claimed))
            if found is None:
                break
            record, offset = found
            walk.missing += range(expected, record.sequence)
            expected = record.sequence
        if beyond and not await _payload_is_good(io, window, record, offset):
            if expected >= claimed:
                break
            walk.missing.append(expected)
        else:
            walk.good.append((record, offset))
            walk.end = offset + record.fragment_bytes
        expected += 1
        offset += record.fragment_bytes
    walk.missing += range(max(walk.count, (walk.missing[-1] + 1) if walk.missing else 0), claimed)
    return walk


def belongs(record: FragmentRecord, disk: DiskIdentity, ref: SlotRef) -> bool:
    """Whether a sound record is of this ring and this life of the slot, and not what an earlier one left (I2)."""
    return record.disk_id == disk.disk_id and record.generation == ref.generation


async def _payload_is_good(io: Io, window: _Window, record: FragmentRecord, offset: int) -> bool:
    data = await window.at(offset, record.fragment_bytes)
    payload = data[record.payload_offset : record.payload_offset + record.payload_bytes]
    return await io.calls.run(payload_crc, payload) == record.payload_crc


async def _resynchronise(
    record_at: Callable[[int], Awaitable[FragmentRecord | None]],
    offset: int,
    slot_bytes: int,
    wanted: range,
) -> tuple[FragmentRecord, int] | None:
    for position in range(offset + BLOCK, slot_bytes, BLOCK):
        record = await record_at(position)
        if record is not None and record.sequence in wanted:
            return record, position
    return None


async def scan_open_slot(store: Store, slot: int) -> None:
    """Closes a slot that was open (or reserved) when the recorder stopped, with what it truly holds. Durable with the next commit.

    Raises OSError; the slot stays unscanned then.
    """
    io = store.io
    ref = store.table.ref(slot)
    handle = await io.calls.run(io.device.open, slot_path(slot), writable=True, size=store.identity.slot_bytes)
    try:
        identity = await read_slot_identity(io, handle)
        ours = identity is not None and identity.disk_id == store.disk_id and identity.ref == ref
        claimed = int(store.table.rows["fragments"][slot])
        if not ours and claimed == 0:
            store.unscanned.pop(slot, None)
            store.correct(Free(ref))
            return
        data_offset = identity.data_offset if ours and identity is not None else MIN_DATA_OFFSET
        walk = await walk_fragments(io, handle, store.identity, ref, data_offset, claimed=claimed, beyond=True)
        if ours and identity is not None:
            known = len(identity.tracks)
            walk.good = [(r, at) for r, at in walk.good if all(part.track < known for part in r.parts)]
        if not ours or store.table.state(slot) is SlotState.CLOSED:
            walk.keep_below(claimed)  # what a closed slot has behind its end was written again elsewhere
        proven = store.unscanned.get(slot, 0)
        count = max(walk.count, proven)
        tail_bytes = 0
        if count:
            entries = [index_entry(record, at) for record, at in walk.good]
            tail = pack_tail(store.disk_id, ref, entries)
            tail_bytes, _ = await write_end(io, handle, tail, walk.end, store.identity.slot_bytes)
            store.need_syncfs |= RowFlag.VIRGIN in store.table.flags(slot)
    finally:
        await io.calls.run(io.device.close, handle)
    # From here on without waiting: the next commit takes all of it, or none.
    store.unscanned.pop(slot, None)
    if claimed > count:
        store.ledger.media_withdrawn(ref, count)
    if count == 0:
        store.correct(Free(ref))
        return
    for sequence in walk.missing:
        if sequence < proven:
            store.ledger.media_rotten(ref, sequence)
            store.statistics.rotten_fragments += 1
        elif sequence < min(count, claimed):
            store.ledger.media_cut(ref, sequence)
    end_ns = int(store.table.rows["end_ns"][slot])
    if identity is not None and ours:
        if store.table.state(slot) is SlotState.RESERVED:
            store.correct(Open(ref, identity.writer_serial, identity.start_ns, identity.boot_id, identity.recording))
        for record, _ in walk.good:
            if record.sequence >= claimed:
                for update in span_updates(record, ref, identity):
                    store.ledger.media_written(update)
                    end_ns = max(end_ns, update.to_ns)
    order = int(store.table.rows["order"][slot]) or store.table.next_order
    flags = int(store.table.flags(slot))
    store.correct(Durable(ref, count, walk.end, end_ns), Close(ref, order, count, walk.end, tail_bytes, flags, end_ns))
    store.ledger.slot_closed(ref, order)


def close_unreadable(store: Store, slot: int) -> None:
    """A slot that cannot be scanned is closed as the journal has it, and not used again."""
    ref = store.table.ref(slot)
    row = store.table.rows[slot]
    fragments, length, end_ns = int(row["fragments"]), int(row["length"]), int(row["end_ns"])
    store.unscanned.pop(slot, None)
    if fragments == 0:
        store.correct(Bad(ref))
        return
    order = int(row["order"]) or store.table.next_order
    flags = int(store.table.flags(slot) | RowFlag.RETIRED)
    store.correct(Close(ref, order, fragments, length, 0, flags, end_ns))
    store.ledger.slot_closed(ref, order)


async def read_slot_identity(io: Io, handle: int) -> SlotIdentity | None:
    """The identity block, or None when it is damaged or of another format."""
    try:
        return SlotIdentity.unpack_block(await read_bytes(io.device, io.calls, io.buffers, handle, 0, BLOCK))
    except ValueError:
        return None


async def load_index(store: Store, handle: int, ref: SlotRef) -> tuple[IndexEntry, ...]:
    """The durable fragments of a slot, from RAM while it is open, from its tail, or by walking. Raises OSError, CorruptStructure."""
    live = store.live.get(ref)
    if live is not None:
        return tuple(live.entries[: live.durable])
    io, slot_bytes = store.io, store.identity.slot_bytes
    row = store.table.rows[ref.slot]
    fragments, tail_bytes = int(row["fragments"]), int(row["tail_bytes"])
    if tail_bytes and tail_bytes % BLOCK == 0:
        tail = await read_bytes(io.device, io.calls, io.buffers, handle, slot_bytes - tail_bytes, tail_bytes)
        with contextlib.suppress(CorruptStructure):  # then the fragments' own records tell
            return unpack_tail(tail, store.disk_id, ref, slot_bytes)
    identity = await read_slot_identity(io, handle)
    start = identity.data_offset if identity is not None and identity.ref == ref else MIN_DATA_OFFSET
    walk = await walk_fragments(io, handle, store.identity, ref, start, claimed=fragments, beyond=False)
    return tuple(index_entry(record, at) for record, at in walk.good)
