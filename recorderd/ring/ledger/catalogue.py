"""The catalogue: u32 index -> 128-bit id, kind, names, codec. Tables hold indices.

A ring that lost everything else still says what it holds.
Entries are never renumbered while anything refers to them. An id is never used for something else (format.md section 2), so a deleted
entry stays as the proof that its data is dead, with `deleted` set, also when the tombstones themselves are lost.
"""

from __future__ import annotations

import enum
import struct
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

MAX_ENTRIES = 8192
MAX_NAME_BYTES = 64
NONE = 0xFFFF_FFFF

_MAGIC = b"RCRDCAT1"
_HEAD = struct.Struct("<8sQII")  # magic, sequence, 0, length of the body
_ENTRY = struct.Struct("<I16sIBBBB")  # index, id, parent, kind, flags, length of name, length of codec
_DELETED = 1
_REPLACES = 2


class Kind(enum.IntEnum):
    """What an entry names. The numbers are stored."""

    RECORDING = 1
    TRACK = 2
    JOB = 3


@dataclass(frozen=True, slots=True)
class Entry:
    index: int
    id: uuid.UUID
    kind: Kind
    name: str
    parent: int = NONE  # a track's recording
    codec: str = ""
    deleted: bool = False
    replaces: bool = False  # takes over the index of an entry that nothing refers to any more


class Catalogue:
    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._by_id: dict[uuid.UUID, int] = {}
        self.bound = MAX_ENTRIES

    def full(self) -> bool:
        return len(self._entries) >= self.bound

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __getitem__(self, index: int) -> Entry:
        """Raises KeyError for an index that was never given."""
        if not 0 <= index < len(self._entries):
            raise KeyError(f"catalogue index {index}")
        return self._entries[index]

    def find(self, identity: uuid.UUID) -> Entry | None:
        index = self._by_id.get(identity)
        return None if index is None else self._entries[index]

    def propose(
        self, identity: uuid.UUID, kind: Kind, name: str, parent: int = NONE, codec: str = "", unused: int | None = None
    ) -> Entry | None:
        """The entry to `put` so that the catalogue holds this id under this name; None when it does already.

        `unused` is an index that a new id may take over when the catalogue is full. Raises ValueError when the id names something else or
        was deleted, or when there is no room.
        """
        name, codec = bounded(name), bounded(codec)
        known = self.find(identity)
        if known is None:
            if self.full():
                if unused is None:
                    raise ValueError(f"the ring already holds {self.bound} recordings, tracks and jobs")
                return Entry(unused, identity, kind, name, parent, codec, replaces=True)
            return Entry(len(self._entries), identity, kind, name, parent, codec)
        if known.kind is not kind or known.parent != parent:
            raise ValueError(f"{identity} is {known.kind.name.lower()} {known.name!r} already")
        if known.deleted:
            raise ValueError(f"{kind.name.lower()} {known.name!r} was deleted; its id cannot be used again")
        name, codec = name or known.name, codec or known.codec
        if (name, codec) == (known.name, known.codec):
            return None
        return replace(known, name=name, codec=codec)

    def put(self, entry: Entry) -> None:
        """Adds or renames. Raises ValueError when it would leave a hole or change what an index means."""
        if entry.index < len(self._entries):
            known = self._entries[entry.index]
            if known.id != entry.id and entry.replaces and entry.id not in self._by_id:
                del self._by_id[known.id]
                self._entries[entry.index] = entry
                self._by_id[entry.id] = entry.index
                return
            if known.id != entry.id or known.kind is not entry.kind:
                raise ValueError(f"catalogue index {entry.index} names {known.id} already")
            self._entries[entry.index] = replace(entry, deleted=entry.deleted or known.deleted)
            return
        if entry.index != len(self._entries) or entry.index >= MAX_ENTRIES:
            raise ValueError(f"catalogue index {entry.index} does not follow {len(self._entries) - 1}")
        if entry.id in self._by_id:
            raise ValueError(f"{entry.id} is in the catalogue already")
        if entry.kind is Kind.TRACK and not (
            entry.parent < len(self._entries) and self._entries[entry.parent].kind is Kind.RECORDING
        ):
            raise ValueError(f"track {entry.id} belongs to no recording")
        self._entries.append(entry)
        self._by_id[entry.id] = entry.index

    def tracks_of(self, recording: int) -> list[Entry]:
        return [e for e in self._entries if e.kind is Kind.TRACK and e.parent == recording]

    def of_kind(self, kind: Kind) -> list[Entry]:
        return [e for e in self._entries if e.kind is kind]

    def dump(self) -> bytes:
        return b"".join(map(encode_entry, self._entries))

    @classmethod
    def load(cls, body: bytes) -> Catalogue:
        """The inverse of `dump`. Raises ValueError on anything that `dump` could not have written."""
        catalogue = cls()
        offset = 0
        while offset < len(body):
            entry, offset = decode_entry(body, offset)
            catalogue.put(entry)
        return catalogue


def image(body: bytes, sequence: int) -> bytes:
    """One of the files `catalogue.a` and `catalogue.b`: head, the `body` of `Catalogue.dump`, CRC32 of both."""
    head = _HEAD.pack(_MAGIC, sequence, 0, len(body))
    return head + body + zlib.crc32(head + body).to_bytes(4, "little")


def read_image(data: bytes) -> tuple[int, Catalogue]:
    """(sequence, catalogue) of one file, which may be longer than its content. Raises ValueError when it is not whole."""
    if len(data) < _HEAD.size:
        raise ValueError("catalogue: too short")
    magic, sequence, _, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    if magic != _MAGIC or end + 4 > len(data):
        raise ValueError("catalogue: not a catalogue")
    if int.from_bytes(data[end : end + 4], "little") != zlib.crc32(data[:end]):
        raise ValueError("catalogue: checksum does not hold")
    return sequence, Catalogue.load(data[_HEAD.size : end])


def encode_entry(entry: Entry) -> bytes:
    name, codec = entry.name.encode(), entry.codec.encode()
    flags = (_DELETED if entry.deleted else 0) | (_REPLACES if entry.replaces else 0)
    return (
        _ENTRY.pack(entry.index, entry.id.bytes, entry.parent, entry.kind, flags, len(name), len(codec)) + name + codec
    )


def decode_entry(body: bytes, offset: int = 0) -> tuple[Entry, int]:
    """(entry, offset behind it). Raises ValueError when it is cut short or not one."""
    if offset + _ENTRY.size > len(body):
        raise ValueError("catalogue entry: cut short")
    index, raw, parent, kind, flags, name_length, codec_length = _ENTRY.unpack_from(body, offset)
    middle = offset + _ENTRY.size + name_length
    end = middle + codec_length
    if end > len(body):
        raise ValueError("catalogue entry: cut short")
    name = body[offset + _ENTRY.size : middle].decode()
    codec = body[middle:end].decode()
    deleted, replaces = bool(flags & _DELETED), bool(flags & _REPLACES)
    return Entry(index, uuid.UUID(bytes=raw), Kind(kind), name, parent, codec, deleted, replaces), end


def bounded(text: str) -> str:
    """`text` cut to MAX_NAME_BYTES of UTF-8, at a character."""
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= MAX_NAME_BYTES else raw[:MAX_NAME_BYTES].decode("utf-8", "ignore")
