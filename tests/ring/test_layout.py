"""Golden bytes of every structure, and what readers say to bytes that nobody vouches for.

`golden_layout.txt` lists the non-zero 16-byte lines of each structure. A change there is a change of the format: disks in the field.
"""

from __future__ import annotations

import contextlib
import random
import struct
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.model.ports import Anchor
from recorderd.model.stream import Codec, SenderReport
from recorderd.ring import layout
from recorderd.ring.border import Item, SlotRef
from recorderd.ring.layout import (
    BLOCK,
    Bad,
    CheckpointHeader,
    Close,
    CorruptStructure,
    Counters,
    DiskIdentity,
    Durable,
    FragmentRecord,
    Free,
    IndexEntry,
    IndexPart,
    KeyPoint,
    Open,
    Reserve,
    SideBlock,
    SlotIdentity,
    SlotTrack,
    TrackPart,
    UnknownFeature,
)

DISK = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
BOOT = uuid.UUID("b0070000-0000-0000-0000-000000000001")
REF = SlotRef(5, 0x1122334455)
GOLDEN = Path(__file__).with_name("golden_layout.txt")

IDENTITY = DiskIdentity(DISK, 1_700_000_000_000_000_000, 64 << 20, 29_000, 4096, 8 << 20, 256 << 10, 1)
SLOT = SlotIdentity(
    DISK, REF, 64 << 20, 32768, 700, 77, uuid.UUID(int=1), uuid.UUID(int=2), BOOT, 123_456_789, 1_700_000_000_123_456_789, 3,
    (SlotTrack(uuid.UUID(int=3), Codec.H264, 90_000, "VIDEO001"), SlotTrack(uuid.UUID(int=4), Codec.AAC, 48_000, "AUDIO001")),
    "Gate – north", "gate camera", -2, SlotRef(4, 9), bytes(range(32)), 0, 0xC0FFEE,
)  # fmt: skip
RECORD = FragmentRecord(
    DISK, REF.generation, 6, 8192, 5000, 12, 3, 1_700_000_000_000_000_001, 111, 222, BOOT, 77,
    (
        TrackPart(0, 25, 90_000, 180_000, -7, Anchor(0, 93_600, 1_000_000, 4, SenderReport(1 << 63, 90_001, 999_999))),
        TrackPart(1, 47, 48_000, 96_000, 5, Anchor(1, 48_000, 1_000_001, 4), 48_000),
    ),
    (KeyPoint(0, 0, 93_600), KeyPoint(0, 12, 140_000)), 3, 0xDEADBEEF, bytes(range(32)), bytes(range(16)), bytes(range(12)),
)  # fmt: skip
ENTRIES = [
    IndexEntry(
        0,
        32768,
        8192,
        0,
        1,
        2,
        (IndexPart(0, 25, 0, 90_000, -9), IndexPart(1, 9, 1, 2, 0, 90_000)),
        (KeyPoint(0, 0, 5),),
    ),
    IndexEntry(2, 40960, 4096, 1, 3, 4, (IndexPart(0, 25, 90_000, 180_000, -9),), ()),
]
ITEMS = [
    Reserve(REF).item(),
    Open(REF, 77, 123, BOOT, uuid.UUID(int=1)).item(),
    Durable(REF, 9, 1 << 20, 456).item(),
    Close(REF, 1234, 9, 1 << 20, 8192, 3, 456).item(),
    Free(REF).item(),
    Bad(REF).item(),
    Item(40, b"of the ledger", 1),
]

STRUCTURES: dict[str, Callable[[], bytes]] = {
    "disk identity": IDENTITY.pack,
    "slot head": lambda: layout.pack_head(SLOT, b"\0\0\0\x10ftypiso6\0\0\0\0", b"m" * 700),
    "side block": SideBlock(DISK, REF, 8, b"locks").pack,
    "fragment record": RECORD.pack,
    "tail": lambda: layout.pack_tail(DISK, REF, ENTRIES),
    "journal block": lambda: layout.pack_transaction(DISK, 99, ITEMS)[0],
    "checkpoint header": CheckpointHeader(DISK, 7, 100, ((1, 0xAABBCCDD, 4096, 960), (32, 1, 8192, 5))).pack,
    "counters": Counters(1 << 33, 5, 6, 7).pack,
    "unscanned": lambda: layout.pack_unscanned({9: 3, 4: 0}),
}


def dump(name: str, data: bytes) -> str:
    lines = [f"{name}, {len(data)} bytes"]
    starts = [at for at in range(0, len(data), 16) if any(data[at : at + 16])]
    return "\n".join([*lines, *(f"  {at:06x} {data[at : at + 16].hex(' ')}" for at in starts)])


def test_golden_bytes() -> None:
    text = "\n".join(dump(name, pack()) for name, pack in STRUCTURES.items()) + "\n"
    assert text == GOLDEN.read_text()


def test_everything_unpacks_to_what_was_packed() -> None:
    assert DiskIdentity.unpack(IDENTITY.pack()) == IDENTITY
    head = STRUCTURES["slot head"]()
    assert SlotIdentity.unpack_block(head[:BLOCK]) == SLOT
    assert SideBlock.unpack(SideBlock(DISK, REF, 8, b"locks").pack()) == SideBlock(DISK, REF, 8, b"locks")
    packed = RECORD.pack().ljust(BLOCK, b"\0")
    assert FragmentRecord.unpack(packed, room=8192) == replace(RECORD, payload_offset=256 + 2 * 80 + 2 * 16)
    tail = layout.pack_tail(DISK, REF, ENTRIES)
    assert layout.tail_bytes(tail[-BLOCK:]) == len(tail)
    assert list(layout.unpack_tail(tail, DISK, REF, 64 << 20)) == ENTRIES
    blocks = [layout.unpack_journal_block(b, DISK) for b in layout.pack_transaction(DISK, 99, ITEMS)]
    assert [item for block in blocks for item in block.items] == ITEMS
    events = [layout.unpack_store_event(item).item() for item in ITEMS[:6]]
    assert events == ITEMS[:6]
    assert layout.unpack_unscanned(layout.pack_unscanned({9: 3, 4: 0}), 10) == {9: 3, 4: 0}


def test_a_slot_head_is_boxes_all_the_way() -> None:
    head = STRUCTURES["slot head"]()
    at, kinds = 0, []
    while at < len(head):
        size, kind = struct.unpack_from(">I4s", head, at)
        kinds.append(kind)
        at += size if kind != b"mmmm" else 700
    assert at == len(head) == SLOT.data_offset
    assert kinds == [b"ftyp", b"uuid", b"uuid", b"uuid", b"mmmm", b"free", b"free"]


def test_a_large_transaction_is_split_between_items() -> None:
    items = [Item(40, bytes([n % 256]) * 1500) for n in range(11)]
    packed = layout.pack_transaction(DISK, 50, items)
    blocks = [layout.unpack_journal_block(block, DISK) for block in packed]
    assert [(b.sequence, b.part, b.parts) for b in blocks] == [(50 + n, n, len(blocks)) for n in range(len(blocks))]
    assert [item for block in blocks for item in block.items] == items


@pytest.mark.parametrize("bit", [0, 5, 31])
def test_unknown_incompatible_features_are_refused(bit: int) -> None:
    with pytest.raises(UnknownFeature, match="incompatible"):
        DiskIdentity.unpack(replace(IDENTITY, incompatible=1 << bit).pack())
    with pytest.raises(UnknownFeature, match="incompatible"):
        SlotIdentity.unpack_block(replace(SLOT, incompatible=1 << bit).pack_block(b""))
    header = CheckpointHeader(DISK, 7, 100, (), 1 << bit)
    with pytest.raises(UnknownFeature, match="incompatible"):
        CheckpointHeader.unpack(header.pack(), DISK, 1 << 20)


UNPACKERS: dict[str, Callable[[bytes], object]] = {
    "disk identity": DiskIdentity.unpack,
    "side block": SideBlock.unpack,
    "fragment record": lambda data: FragmentRecord.unpack(data, room=8192),
    "tail": lambda data: layout.unpack_tail(data, DISK, REF, 64 << 20),
    "journal block": lambda data: layout.unpack_journal_block(data, DISK),
    "checkpoint header": lambda data: CheckpointHeader.unpack(data, DISK, 1 << 20),
    "slot head": lambda data: SlotIdentity.unpack_block(data[:BLOCK]),
}


@pytest.mark.parametrize("name", UNPACKERS)
def test_every_flipped_bit_is_noticed(name: str) -> None:
    data = STRUCTURES[name]()
    whole = UNPACKERS[name](data)
    rng = random.Random(3)
    covered = BLOCK if name == "slot head" else len(data)
    for at in rng.sample(range(covered), min(600, covered)):
        torn = bytearray(data)
        torn[at] ^= 1 << rng.randrange(8)
        try:
            assert UNPACKERS[name](bytes(torn)) == whole  # padding outside the checksum may change, the content never
        except CorruptStructure:
            continue


@pytest.mark.parametrize("name", UNPACKERS)
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_hostile_bytes_raise_and_nothing_else(name: str, data: st.DataObject) -> None:
    """Also with a right checksum: an attacker can compute one."""
    raw = bytearray(STRUCTURES[name]()[:BLOCK] if name == "slot head" else STRUCTURES[name]())
    for _ in range(data.draw(st.integers(1, 6))):
        first = len(raw) - 600 if name == "tail" else 0
        at = first + data.draw(st.integers(0, min(len(raw), 600) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    if name == "tail":
        index_end = max(0, len(raw) - struct.unpack(">I", raw[-4:])[0] - 16)
        start = index_end + 16 - struct.unpack_from("<I", raw, index_end + 8)[0]
        if 0 <= start < index_end:
            struct.pack_into("<I", raw, index_end + 12, layout.crc32(bytes(raw[start:index_end])))
    elif len(raw) == BLOCK:
        raw[-4:] = struct.pack("<I", layout.crc32(bytes(raw[:-4])))
    elif name == "fragment record":
        raw[252:256] = struct.pack("<I", layout.crc32(bytes(raw[:252]), bytes(raw[256:])))
    with contextlib.suppress(CorruptStructure, UnknownFeature):
        UNPACKERS[name](bytes(raw))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(list(layout.StoreKind)))
def test_hostile_journal_items(payload: bytes, kind: layout.StoreKind) -> None:
    with contextlib.suppress(CorruptStructure):
        layout.unpack_store_event(Item(kind, payload))
