"""Journal blocks, and the items of the store in them."""

from __future__ import annotations

import enum
import struct
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from recorderd.ring.border import MAX_ITEM_BYTES, Item, SlotRef
from recorderd.ring.layout.blocks import BLOCK, CorruptStructure, check_block, seal_block


class StoreKind(enum.IntEnum):
    """Journal items of the store."""

    RESERVE = 1
    OPEN = 2
    DURABLE = 3
    CLOSE = 4
    FREE = 5
    BAD = 6


_JOURNAL: Final = struct.Struct("<4sHHQ16sHHI")
_JOURNAL_MAGIC: Final = b"RJNL"
_ITEM: Final = struct.Struct("<BBH")
JOURNAL_ROOM: Final = BLOCK - 4 - _JOURNAL.size
assert MAX_ITEM_BYTES + _ITEM.size <= JOURNAL_ROOM


def pack_transaction(disk_id: uuid.UUID, sequence: int, items: Iterable[Item]) -> list[bytes]:
    """The blocks of one transaction. Block i has sequence number `sequence + i`; an item never spans two blocks."""
    bodies: list[tuple[bytearray, int]] = [(bytearray(), 0)]
    for item in items:
        if len(item.payload) > MAX_ITEM_BYTES:
            raise ValueError(f"journal item of {len(item.payload)} bytes")
        raw = _ITEM.pack(item.kind, item.flags, len(item.payload)) + item.payload
        body, count = bodies[-1]
        if len(body) + len(raw) > JOURNAL_ROOM:
            body, count = bytearray(), 0
            bodies.append((body, count))
        body += raw
        bodies[-1] = (body, count + 1)
    parts = len(bodies)
    return [
        seal_block(_JOURNAL.pack(_JOURNAL_MAGIC, i, parts, sequence + i, disk_id.bytes, len(body), count, 0) + body)
        for i, (body, count) in enumerate(bodies)
    ]


@dataclass(frozen=True, slots=True)
class JournalBlock:
    sequence: int
    part: int
    parts: int
    items: tuple[Item, ...]


def unpack_journal_block(block: bytes | memoryview, disk_id: uuid.UUID) -> JournalBlock:
    """Raises CorruptStructure, also for a block of another ring."""
    view = check_block(block, "journal")
    magic, part, parts, sequence, disk, used, count, _ = _JOURNAL.unpack_from(view)
    if magic != _JOURNAL_MAGIC or disk != disk_id.bytes:
        raise CorruptStructure("journal: not of this ring")
    if part >= parts or used > JOURNAL_ROOM:
        raise CorruptStructure(f"journal: part {part} of {parts}, {used} bytes")
    items = []
    at, end = _JOURNAL.size, _JOURNAL.size + used
    for _ in range(count):
        if at + _ITEM.size > end:
            raise CorruptStructure("journal: item outside its block")
        kind, flags, length = _ITEM.unpack_from(view, at)
        at += _ITEM.size
        if at + length > end:
            raise CorruptStructure("journal: item outside its block")
        items.append(Item(kind, bytes(view[at : at + length]), flags))
        at += length
    if at != end:
        raise CorruptStructure("journal: bytes behind the last item")
    return JournalBlock(sequence, part, parts, tuple(items))


_REF: Final = struct.Struct("<IQ")
_OPEN: Final = struct.Struct("<IQIQ16s16s")
_DURABLE: Final = struct.Struct("<IQIIQ")
_CLOSE: Final = struct.Struct("<IQQIIIBQ")


@dataclass(frozen=True, slots=True)
class Reserve:
    ref: SlotRef

    def item(self) -> Item:
        return Item(StoreKind.RESERVE, _REF.pack(*self.ref))


@dataclass(frozen=True, slots=True)
class Free:
    ref: SlotRef

    def item(self) -> Item:
        return Item(StoreKind.FREE, _REF.pack(*self.ref))


@dataclass(frozen=True, slots=True)
class Bad:
    ref: SlotRef

    def item(self) -> Item:
        return Item(StoreKind.BAD, _REF.pack(*self.ref))


@dataclass(frozen=True, slots=True)
class Open:
    """A reserved slot got its writer."""

    ref: SlotRef
    writer_serial: int
    start_ns: int
    boot_id: uuid.UUID
    recording: uuid.UUID

    def item(self) -> Item:
        packed = _OPEN.pack(*self.ref, self.writer_serial, self.start_ns, self.boot_id.bytes, self.recording.bytes)
        return Item(StoreKind.OPEN, packed)


@dataclass(frozen=True, slots=True)
class Durable:
    """After this commit the slot holds `fragments` fragments in its first `length` bytes."""

    ref: SlotRef
    fragments: int
    length: int
    end_ns: int

    def item(self) -> Item:
        return Item(StoreKind.DURABLE, _DURABLE.pack(*self.ref, self.fragments, self.length, self.end_ns))


@dataclass(frozen=True, slots=True)
class Close:
    ref: SlotRef
    order: int
    fragments: int
    length: int
    tail_bytes: int
    flags: int  # RowFlag
    end_ns: int

    def item(self) -> Item:
        packed = _CLOSE.pack(
            *self.ref, self.order, self.fragments, self.length, self.tail_bytes, self.flags, self.end_ns
        )
        return Item(StoreKind.CLOSE, packed)


StoreEvent = Reserve | Free | Bad | Open | Durable | Close


def unpack_store_event(item: Item) -> StoreEvent:
    """Raises CorruptStructure for a kind or length that no store event has."""
    try:
        kind = StoreKind(item.kind)
        if kind is StoreKind.OPEN:
            slot, generation, serial, start, boot, recording = _OPEN.unpack(item.payload)
            return Open(SlotRef(slot, generation), serial, start, uuid.UUID(bytes=boot), uuid.UUID(bytes=recording))
        if kind is StoreKind.DURABLE:
            slot, generation, *rest = _DURABLE.unpack(item.payload)
            return Durable(SlotRef(slot, generation), *rest)
        if kind is StoreKind.CLOSE:
            slot, generation, *rest = _CLOSE.unpack(item.payload)
            return Close(SlotRef(slot, generation), *rest)
        ref = SlotRef(*_REF.unpack(item.payload))
    except (ValueError, struct.error) as error:
        raise CorruptStructure(f"journal item of kind {item.kind}: {error}") from None
    if kind is StoreKind.RESERVE:
        return Reserve(ref)
    return Free(ref) if kind is StoreKind.FREE else Bad(ref)
