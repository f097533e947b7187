"""Finds out what the slots of a ring hold whose tables were lost (`rebuilding`), while recording goes on.

1. It looks at the head of every slot. Those with nothing in them are free at once, and recorded into.
2. The heads tell the boots and their order, and the dates.
3. Slot by slot, oldest first, it tells the ledger what is there, and closes the slot, which can then be recycled like any other.

Recycling goes by generation for what was found: the order in which slots were begun, since the order in which they were closed is kept in
tables only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from recorderd.ring.border import SlotRef
from recorderd.ring.files import read_bytes, slot_path
from recorderd.ring.layout import (
    BLOCK,
    MAX_COUNTER,
    MIN_DATA_OFFSET,
    SIDE_OFFSETS,
    Bad,
    Close,
    CorruptStructure,
    Durable,
    FragmentRecord,
    Free,
    Open,
    Reserve,
    RowFlag,
    SideBlock,
    SlotIdentity,
    UnknownFeature,
    align,
    free_box,
    index_entry,
    pack_tail,
    record_size,
    tail_bytes,
    unpack_tail,
)
from recorderd.ring.ledger import adopting, mirror
from recorderd.ring.ledger.book import Book
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.open_slot import span_updates
from recorderd.ring.scan import Walk, read_slot_identity, walk_fragments
from recorderd.ring.slot_writing import write_end
from recorderd.ring.store import Rebuild, Store

log = logging.getLogger(__name__)

_AT_ONCE: Final = 4  # heads read at the same time
_TOLD_BYTES: Final = 80  # of journal, for each track of a fragment
_LOOKED_BYTES: Final = 24  # for each slot
_MOST_PER_COMMIT: Final = 256 * 1024
_WORTH_NOTING_NS: Final = 1_000_000
_MOST_GENERATION: Final = MAX_COUNTER >> 1

LetCommit = Callable[[], Awaitable[None]]


class _Sealed(NamedTuple):
    """When a fragment was sealed: its last arrival against the wall clock of that moment."""

    boot_id: uuid.UUID
    epoch: int
    from_ns: int
    wall_less_boot_ns: int


class _Head(NamedTuple):
    """What is kept of the beginning of a slot: there may be a hundred thousand of them."""

    generation: int
    boot_id: uuid.UUID
    reached_ns: int  # boot time that its media reach at least
    sealed: tuple[_Sealed, ...]  # the first fragment
    points: tuple[mirror.Dated, ...]  # what its side block says of the clock


async def take_stock(store: Store, let_commit: LetCommit, name: str) -> None:
    """Works until every slot is told of. `let_commit` returns after the next commit.

    Raises OSError when the disk is gone, or whatever `let_commit` raises.
    """
    progress, ledger = store.rebuild, store.ledger
    if progress is None or progress.done:
        return
    assert isinstance(ledger, RingLedger)
    log.warning("%s: looking at %d slots to make the tables anew", name, progress.slots)
    heads = await _look_at_all(store, progress, let_commit)
    _adopt_boots(ledger, heads)
    dates = _Dates(ledger.book)
    for head in sorted(heads.values(), key=lambda each: not each.points):
        dates.hear(head.sealed, head.points)
    told, room = 0, _journal_share(store)
    for slot in sorted(heads, key=lambda each: heads[each].generation):
        told += await _adopt(store, ledger, slot, progress, dates)
        progress.told += 1
        if told * _TOLD_BYTES >= room:
            told = 0
            await let_commit()
    await let_commit()
    unknown = adopting.unknown_runs(ledger.book)
    if unknown:
        progress.losses.append(
            f"of {unknown} runs only the media is known, not their cause (no side block told of them)"
        )
    progress.done = True
    log.warning("%s: the tables are made anew from %d slots", name, progress.told)


async def _look_at_all(store: Store, progress: Rebuild, let_commit: LetCommit) -> dict[int, _Head]:
    """The heads of all slots that hold something. Those of which the journal told come first: there the reserved ones are among them."""
    waiting = store.table.to_adopt()
    waiting.sort(key=lambda slot: store.table.rows["generation"][slot] == 0)
    progress.slots, progress.looked = len(waiting), 0
    heads: dict[int, _Head] = {}
    looked, room = 0, _journal_share(store)
    for at in range(0, len(waiting), _AT_ONCE):
        some = waiting[at : at + _AT_ONCE]
        found = await asyncio.gather(*(_look(store, slot, progress) for slot in some))
        heads.update({slot: head for slot, head in zip(some, found, strict=True) if head is not None})
        progress.looked += len(some)
        looked += len(some)
        if looked * _LOOKED_BYTES >= room:
            looked = 0
            await let_commit()
    return heads


def _journal_share(store: Store) -> int:
    """Bytes of journal that one commit may spend on a rebuild."""
    return min(_MOST_PER_COMMIT, store.journal.blocks * BLOCK // 8)


async def _look(store: Store, slot: int, progress: Rebuild) -> _Head | None:
    """The head of a slot whose content is alive; None frees the slot, or gives it up when it cannot be read."""
    try:
        data = await _read_head(store, slot)
    except OSError as error:
        if not await store.disk_answers():
            raise
        _give_up(store, slot, progress, f"slot {slot} cannot be read: {error.strerror or error}")
        return None
    try:
        identity = SlotIdentity.unpack_block(data[:BLOCK])
    except CorruptStructure:
        identity = None
    except UnknownFeature as error:
        _give_up(store, slot, progress, f"slot {slot} was written by a later version: {error}")
        return None
    youngest = store.table.ref(slot)
    if identity is None or (identity.disk_id, identity.ref.slot) != (store.disk_id, slot):
        scrubbed = data.startswith(free_box(store.identity.slot_bytes))
        record = None if scrubbed else _record_at(data, store, MIN_DATA_OFFSET)
        if record is not None and youngest.generation <= record.generation < _MOST_GENERATION:
            _keep_unknown(store, SlotRef(slot, record.generation), progress)
        else:
            _free(store, youngest, scrub=not scrubbed and any(data))
        return None
    if not youngest.generation <= identity.ref.generation < _MOST_GENERATION:
        _free(store, youngest, scrub=True)
        return None
    if identity.ref.generation > youngest.generation:
        store.correct(Reserve(identity.ref))
    record = _record_at(data, store, identity.data_offset)
    sealed = record is not None and record.generation == identity.ref.generation
    return _Head(
        identity.ref.generation,
        identity.boot_id,
        record.to_ns if record is not None and sealed else identity.start_ns,
        (_sealed(record),) if record is not None and sealed else (),
        tuple(mirror.dates(_side_block(data, store, identity.ref))),
    )


def _sealed(record: FragmentRecord) -> _Sealed:
    return _Sealed(record.boot_id, record.epoch, record.from_ns, record.wall_ns - record.to_ns)


async def _read_head(store: Store, slot: int) -> bytes:
    """Identity, side blocks and the block of the first fragment, where it is usually."""
    io = store.io
    handle = await io.calls.run(io.device.open, slot_path(slot), writable=False, size=store.identity.slot_bytes)
    try:
        size = min(MIN_DATA_OFFSET + BLOCK, store.identity.slot_bytes)
        return await read_bytes(io.device, io.calls, io.buffers, handle, 0, size)
    finally:
        await io.calls.run(io.device.close, handle)


def _side_block(data: bytes, store: Store, ref: SlotRef) -> bytes:
    best = SideBlock(store.disk_id, ref, -1, b"")
    for offset in SIDE_OFFSETS:
        with contextlib.suppress(CorruptStructure):
            block = SideBlock.unpack(data[offset : offset + BLOCK])
            if (block.disk_id, block.ref) == (store.disk_id, ref) and block.sequence > best.sequence:
                best = block
    return best.payload


def _record_at(data: bytes, store: Store, offset: int) -> FragmentRecord | None:
    view = memoryview(data)[offset:]
    try:
        if record_size(view) > len(view):
            return None
        record = FragmentRecord.unpack(view, room=store.identity.slot_bytes - offset)
    except ValueError:
        return None
    return record if record.disk_id == store.disk_id else None


def _free(store: Store, ref: SlotRef, *, scrub: bool) -> None:
    store.unscanned.pop(ref.slot, None)
    store.correct(Free(ref))
    if scrub:
        store.to_scrub.append(ref)
    else:
        store.table.rows["flags"][ref.slot] &= ~int(RowFlag.SCRUB) & 0xFF


def _give_up(store: Store, slot: int, progress: Rebuild, why: str) -> None:
    store.unscanned.pop(slot, None)
    store.correct(Bad(store.table.ref(slot)))
    store.statistics.write_errors += 1
    progress.losses.append(why)


def _keep_unknown(store: Store, ref: SlotRef, progress: Rebuild) -> None:
    """Media whose slot's head is damaged: nobody can say whose it is. It is kept until its turn comes to be recycled."""
    store.unscanned.pop(ref.slot, None)
    if ref.generation > store.table.ref(ref.slot).generation:
        store.correct(Reserve(ref))
    flags = int(store.table.flags(ref.slot) & ~RowFlag.ADOPT)
    store.correct(Close(ref, ref.generation, 1, MIN_DATA_OFFSET + BLOCK, 0, flags, 0))
    progress.losses.append(f"slot {ref.slot} holds media, but its head is damaged: whose it is cannot be said")


# --- boots and dates --------------------------------------------------------------------------------------


def _adopt_boots(ledger: RingLedger, heads: Mapping[int, _Head]) -> None:
    reached: dict[uuid.UUID, int] = {}
    for head in sorted(heads.values(), key=lambda each: each.generation):
        reached[head.boot_id] = max(head.reached_ns, reached.get(head.boot_id, 0))
    adopting.adopt_boots(ledger.book, list(reached.items()))


@dataclass(slots=True)
class _Dates:
    """What the clock showed in each epoch: by the side block of a slot of it, else by records.

    A record is sealed some time after its last arrival, so the least distance between the two clocks is the truest.
    """

    book: Book
    known: dict[tuple[uuid.UUID, int], tuple[int, int]] = field(
        default_factory=dict
    )  # (boot, epoch) -> (boot time, wall minus boot time)
    exact: set[tuple[uuid.UUID, int]] = field(default_factory=set)

    def hear(self, sealed: Sequence[_Sealed], points: Sequence[mirror.Dated]) -> None:
        """Notes epochs that are new, or dates them better: by fragments of one slot and what its side block says."""
        for instant, point in points:
            with contextlib.suppress(ValueError, LookupError):
                adopting.adopt_point(self.book, instant, point)
        if points:
            self.exact.update((each.boot_id, each.epoch) for each in sealed)
            return
        better: set[tuple[uuid.UUID, int]] = set()
        for boot_id, number, from_ns, offset in sealed:
            key = boot_id, number
            at, least = self.known.get(key, (from_ns, offset + _WORTH_NOTING_NS + 1))
            if offset < least - _WORTH_NOTING_NS and key not in self.exact:
                self.known[key] = (at, offset)
                better.add(key)
        for boot, epoch in better:
            at, offset = self.known[boot, epoch]
            if boot != self.book.boot_id():  # the running boot dates itself
                with contextlib.suppress(ValueError, LookupError):  # no room for it: it follows what lies before
                    adopting.adopt_date(self.book, boot, at, max(0, at + offset))


# --- slot by slot -----------------------------------------------------------------------------------------


async def _adopt(store: Store, ledger: RingLedger, slot: int, progress: Rebuild, dates: _Dates) -> int:
    """Tells of one slot and closes it; how many tracks' shares of fragments it holds. Raises OSError when the disk is gone."""
    io, ref, slot_bytes = store.io, store.table.ref(slot), store.identity.slot_bytes
    try:
        handle = await io.calls.run(io.device.open, slot_path(slot), writable=True, size=slot_bytes)
        try:
            identity = await read_slot_identity(io, handle)
            if identity is None or identity.ref != ref:
                _give_up(store, slot, progress, f"slot {slot}: its head has changed meanwhile")
                return 0
            side = _side_block(await read_bytes(io.device, io.calls, io.buffers, handle, 0, 3 * BLOCK), store, ref)
            walk, tail = await _walk(store, handle, identity)
            if walk.good and not tail:
                entries = [index_entry(record, at) for record, at in walk.good]
                tail, _ = await write_end(io, handle, pack_tail(store.disk_id, ref, entries), walk.end, slot_bytes)
                store.need_syncfs = True
        finally:
            await io.calls.run(io.device.close, handle)
    except OSError as error:
        if not await store.disk_answers():
            raise
        _give_up(store, slot, progress, f"slot {slot} cannot be read: {error.strerror or error}")
        return 0
    # From here on without waiting: the next commit takes all of it, or none.
    if not walk.good:
        _free(store, ref, scrub=True)
        return 0
    _close(store, identity, walk, tail)
    try:
        dates.hear([_sealed(record) for record, _ in walk.good], mirror.dates(side))
        _tell(store, ledger, identity, walk)
        if side:
            ledger.load_side_block(ref, side)
    except (ValueError, LookupError) as error:
        progress.losses.append(f"slot {slot} cannot be shown whole: {error}")
    adopting.settle_runs(ledger.book, ref)
    if side:
        ledger.keeper.is_mirrored(ref)
    return sum(len(record.parts) for record, _ in walk.good)


async def _walk(store: Store, handle: int, identity: SlotIdentity) -> tuple[Walk, int]:
    """What the slot holds, and the size of its tail. With a sound tail only records are read, else every byte."""
    io, disk, ref = store.io, store.identity, identity.ref
    with contextlib.suppress(CorruptStructure):
        last = await read_bytes(io.device, io.calls, io.buffers, handle, disk.slot_bytes - BLOCK, BLOCK)
        size = tail_bytes(last)
        if size <= disk.slot_bytes - identity.data_offset:
            at = disk.slot_bytes - align(size)
            tail = await read_bytes(io.device, io.calls, io.buffers, handle, at, align(size))
            entries = unpack_tail(tail, disk.disk_id, ref, disk.slot_bytes)
            claimed = entries[-1].sequence + 1 if entries else 0
            walk = await walk_fragments(io, handle, disk, ref, identity.data_offset, claimed=claimed, beyond=False)
            if walk.count == claimed:
                return _of_known_tracks(walk, identity), size
    claimed = disk.slot_bytes // BLOCK  # behind a bad one another good one is looked for, up to the slot's end
    walk = await walk_fragments(io, handle, disk, ref, identity.data_offset, claimed=claimed, beyond=True)
    return _of_known_tracks(walk, identity), 0


def _of_known_tracks(walk: Walk, identity: SlotIdentity) -> Walk:
    known = len(identity.tracks)
    walk.good = [(record, at) for record, at in walk.good if all(part.track < known for part in record.parts)]
    return walk


def _close(store: Store, identity: SlotIdentity, walk: Walk, tail: int) -> None:
    ref, table = identity.ref, store.table
    store.unscanned.pop(ref.slot, None)
    end_ns = max(record.to_ns for record, _ in walk.good)
    flags = int(table.flags(ref.slot) & ~RowFlag.ADOPT)
    store.correct(
        Open(ref, identity.writer_serial, identity.start_ns, identity.boot_id, identity.recording),
        Durable(ref, walk.count, walk.end, end_ns),
        Close(ref, ref.generation, walk.count, walk.end, tail, flags, end_ns),
    )


def _tell(store: Store, ledger: RingLedger, identity: SlotIdentity, walk: Walk) -> None:
    names = [(track.track, track.name, track.codec) for track in identity.tracks]
    ledger.writer_names(identity.recording, identity.recording_name, names)
    for record, _ in walk.good:
        for update in span_updates(record, identity.ref, identity):
            ledger.media_written(update)
    ledger.slot_closed(identity.ref, identity.ref.generation)
    for sequence in walk.missing:
        if sequence < walk.count:
            ledger.media_rotten(identity.ref, sequence)
            store.statistics.rotten_fragments += 1
