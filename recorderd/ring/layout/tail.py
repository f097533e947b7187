"""The tail of a closed slot: the index of its fragments, and `mfra` for players."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from recorderd.ring.border import SlotRef
from recorderd.ring.layout.blocks import (
    BLOCK,
    MAX_KEYS,
    MAX_TRACKS,
    CorruptStructure,
    align,
    box_header,
    crc32,
    free_box,
    uuid_box_header,
)
from recorderd.ring.layout.fragment import FragmentRecord, KeyPoint, record_bytes
from recorderd.ring.layout.slot import INDEX_BOX

_INDEX: Final = struct.Struct("<8s16sIIQIII4x")
_INDEX_FRAGMENT: Final = struct.Struct("<IIHHIQQ")
_INDEX_PART: Final = struct.Struct("<B3sIqqq")
_LEAD_MASK: Final = (1 << 24) - 1
_INDEX_KEY: Final = struct.Struct("<IIB3xqI")
_INDEX_FOOTER: Final = struct.Struct("<8sII")
_INDEX_MAGIC: Final = b"RECINDX\0"


@dataclass(frozen=True, slots=True)
class IndexPart:
    track: int
    samples: int
    first_pts: int
    end_pts: int
    base: int
    lead: int = 0  # below 2**24


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One fragment as a reader finds it. `offset` and `fragment_bytes` in bytes; times of arrival in boot time."""

    sequence: int
    offset: int
    fragment_bytes: int
    flags: int
    from_ns: int
    to_ns: int
    parts: tuple[IndexPart, ...]
    keys: tuple[KeyPoint, ...] = ()


def index_entry(record: FragmentRecord, offset: int) -> IndexEntry:
    parts = tuple(
        IndexPart(p.track, p.samples, p.first_pts, p.end_pts, p.base, p.lead & _LEAD_MASK) for p in record.parts
    )
    return IndexEntry(
        record.sequence, offset, record.fragment_bytes, record.flags, record.from_ns, record.to_ns, parts, record.keys
    )


def index_growth(tracks: int, keys: int) -> int:
    """Bytes by which one more fragment makes the tail longer at most (index and `mfra`)."""
    return _INDEX_FRAGMENT.size + tracks * _INDEX_PART.size + keys * (_INDEX_KEY.size + 22)


def tail_fixed_bytes() -> int:
    """Bytes of a tail without fragments, one block of padding included."""
    return BLOCK + 24 + _INDEX.size + _INDEX_FOOTER.size + 8 + MAX_TRACKS * 24 + 16


def pack_tail(disk_id: uuid.UUID, ref: SlotRef, entries: Sequence[IndexEntry]) -> bytes:
    """`free`, index and `mfra`, a whole number of blocks that ends with the slot."""
    body = bytearray()
    keys = 0
    for e in entries:
        body += _INDEX_FRAGMENT.pack(e.sequence, e.offset, e.flags, len(e.parts), e.fragment_bytes, e.from_ns, e.to_ns)
        for p in e.parts:
            body += _INDEX_PART.pack(p.track, p.lead.to_bytes(3, "little"), p.samples, p.first_pts, p.end_pts, p.base)
    for number, e in enumerate(entries):
        for k in e.keys:
            body += _INDEX_KEY.pack(number, k.sample, k.track, k.pts, 0)
            keys += 1
    size = 24 + _INDEX.size + len(body) + _INDEX_FOOTER.size
    head = uuid_box_header(size, INDEX_BOX) + _INDEX.pack(
        _INDEX_MAGIC, disk_id.bytes, ref.slot, 0, ref.generation, len(entries), keys, size
    )
    index = head + bytes(body)
    index += _INDEX_FOOTER.pack(_INDEX_MAGIC, size, crc32(index))
    mfra = _pack_mfra(entries)
    total = align(8 + len(index) + len(mfra))
    return free_box(total - len(index) - len(mfra)).ljust(total - len(index) - len(mfra), b"\0") + index + mfra


def tail_bytes(end: bytes | memoryview) -> int:
    """From the last block of a slot: how long its tail is, padding included. CorruptStructure when there is none."""
    view = memoryview(end)
    length, kind, _, mfra = struct.unpack_from(">I4sII", view, len(view) - 16)
    if kind != b"mfro" or length != 16 or not 24 <= mfra <= len(view) - _INDEX_FOOTER.size:
        raise CorruptStructure("slot index: no mfro")
    magic, size, _ = _INDEX_FOOTER.unpack_from(view, len(view) - mfra - _INDEX_FOOTER.size)
    if magic != _INDEX_MAGIC:
        raise CorruptStructure("slot index: no footer")
    return align(int(size) + int(mfra) + 8)


def unpack_tail(tail: bytes | memoryview, disk_id: uuid.UUID, ref: SlotRef, slot_bytes: int) -> tuple[IndexEntry, ...]:
    """The entries of a tail of `tail_bytes`. Raises CorruptStructure, also when it belongs to another life of the slot."""
    view = memoryview(tail)
    if len(view) < BLOCK:
        raise CorruptStructure("slot index: cut off")
    length, kind, _, mfra = struct.unpack_from(">I4sII", view, len(view) - 16)
    end = len(view) - mfra
    if kind != b"mfro" or length != 16 or end < _INDEX_FOOTER.size:
        raise CorruptStructure("slot index: no mfro")
    magic, size, crc = _INDEX_FOOTER.unpack_from(view, end - _INDEX_FOOTER.size)
    start = end - size
    if magic != _INDEX_MAGIC or start < 0 or size < 24 + _INDEX.size + _INDEX_FOOTER.size:
        raise CorruptStructure("slot index: no footer")
    if crc32(view[start : end - _INDEX_FOOTER.size]) != crc:
        raise CorruptStructure("slot index: checksum does not match")
    magic, disk, slot, _, generation, fragments, keys, _ = _INDEX.unpack_from(view, start + 24)
    if magic != _INDEX_MAGIC or disk != disk_id.bytes or (slot, generation) != ref:
        raise CorruptStructure("slot index: of another life of the slot")
    return tuple(
        _unpack_entries(view[: end - _INDEX_FOOTER.size], start + 24 + _INDEX.size, fragments, keys, slot_bytes)
    )


def _unpack_entries(view: memoryview, at: int, fragments: int, keys: int, slot_bytes: int) -> Iterator[IndexEntry]:
    if fragments > slot_bytes // BLOCK or keys > fragments * MAX_KEYS:
        raise CorruptStructure(f"slot index: {fragments} fragments, {keys} key points")
    plain: list[IndexEntry] = []
    points: list[list[KeyPoint]] = []
    try:
        for _ in range(fragments):
            sequence, offset, flags, tracks, size, from_ns, to_ns = _INDEX_FRAGMENT.unpack_from(view, at)
            at += _INDEX_FRAGMENT.size
            if offset % BLOCK or size % BLOCK or offset + size > slot_bytes or tracks > MAX_TRACKS:
                raise CorruptStructure("slot index: fragment outside the slot")
            parts = []
            for _ in range(tracks):
                track, lead, samples, first, end, base = _INDEX_PART.unpack_from(view, at)
                parts.append(IndexPart(track, samples, first, end, base, int.from_bytes(lead, "little")))
                at += _INDEX_PART.size
            plain.append(IndexEntry(sequence, offset, size, flags, from_ns, to_ns, tuple(parts)))
            points.append([])
        for _ in range(keys):
            number, sample, track, pts, _ = _INDEX_KEY.unpack_from(view, at)
            at += _INDEX_KEY.size
            if number >= fragments:
                raise CorruptStructure("slot index: key point without fragment")
            points[number].append(KeyPoint(track, sample, pts))
    except struct.error:
        raise CorruptStructure("slot index: cut off") from None
    for entry, found in zip(plain, points, strict=True):
        yield replace(entry, keys=tuple(found))


def _pack_mfra(entries: Iterable[IndexEntry]) -> bytes:
    """ISO/IEC 14496-12, 8.8.9 to 8.8.11; times as the fragments have them, lead included.

    The `moof` follows the record box; trafs are numbered in the order of a fragment's parts.
    """
    rows: dict[int, bytearray] = {}
    for e in entries:
        moof = e.offset + record_bytes(len(e.parts), len(e.keys))
        numbers = {p.track: (i + 1, p.base - p.lead) for i, p in enumerate(e.parts)}
        for k in e.keys:
            traf, base = numbers[k.track]
            if k.pts >= base:
                rows.setdefault(k.track, bytearray()).extend(
                    struct.pack(">QQBBI", k.pts - base, moof, traf, 1, k.sample + 1)
                )
    boxes = b""
    for track in sorted(rows):
        data = rows[track]
        boxes += struct.pack(">I4sIIII", 24 + len(data), b"tfra", 1 << 24, track + 1, 3, len(data) // 22) + data
    size = 8 + len(boxes) + 16
    return box_header(size, b"mfra") + boxes + struct.pack(">I4sII", 16, b"mfro", 0, size)
