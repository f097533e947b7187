"""What all structures share: blocks with a checksum, boxes, versions, bounds."""

from __future__ import annotations

import struct
import uuid
from typing import Final

try:
    from isal.isal_zlib import crc32 as _crc32  # the same checksum by carry-less multiplication: six times as fast
except ImportError:
    from zlib import crc32 as _crc32

BLOCK: Final = 4096
MAJOR: Final = 1
MINOR: Final = 0
KNOWN_INCOMPATIBLE: Final = 0  # bits this version understands; none are defined yet
MIN_SLOT_BYTES: Final = 64 * 1024
MAX_SLOT_BYTES: Final = 256 * 1024 * 1024
MAX_COUNTER: Final = 1 << 62  # generations, orders and sequence numbers stay below: no disk can make them overflow
MAX_SLOTS: Final = 1 << 22
MAX_TRACKS: Final = 16
MAX_KEYS: Final = 1024  # per fragment; later ones are found by reading the fragment
MAX_JOURNAL_BLOCKS: Final = 1 << 20
MAX_CHECKPOINT_BYTES: Final = 1 << 30
NO_UUID: Final = uuid.UUID(int=0)


class CorruptStructure(ValueError):
    """The bytes do not hold the structure they should."""


class UnknownFeature(ValueError):
    """The structure is sound but declares an incompatible feature (or major version) this software does not know."""


def align(value: int, to: int = BLOCK) -> int:
    """`value` rounded up to a multiple of `to`."""
    return -(-value // to) * to


def crc32(*parts: bytes | memoryview) -> int:
    crc = 0
    for part in parts:
        crc = _crc32(part, crc)
    return crc


def seal_block(body: bytes) -> bytes:
    """`body` padded to one block whose last four bytes are the CRC of the rest."""
    if len(body) > BLOCK - 4:
        raise ValueError(f"{len(body)} bytes do not fit into a block")
    padded = body.ljust(BLOCK - 4, b"\0")
    return padded + struct.pack("<I", crc32(padded))


def check_block(block: bytes | memoryview, what: str) -> memoryview:
    view = memoryview(block)
    if len(view) != BLOCK:
        raise CorruptStructure(f"{what}: {len(view)} bytes instead of {BLOCK}")
    if struct.unpack_from("<I", view, BLOCK - 4)[0] != crc32(view[: BLOCK - 4]):
        raise CorruptStructure(f"{what}: checksum does not match")
    return view


def check_features(what: str, major: int, incompatible: int) -> None:
    if major != MAJOR:
        raise UnknownFeature(f"{what}: format {major}, this software reads format {MAJOR}")
    if incompatible & ~KNOWN_INCOMPATIBLE:
        raise UnknownFeature(f"{what}: unknown incompatible features {incompatible & ~KNOWN_INCOMPATIBLE:#x}")


def text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("utf-8", "replace")


def clip(text: str, size: int) -> bytes:
    """At most `size` bytes of UTF-8, cut between characters."""
    return text.encode()[:size].decode("utf-8", "ignore").encode()


def box_header(size: int, kind: bytes) -> bytes:
    return struct.pack(">I4s", size, kind)


def uuid_box_header(size: int, kind: uuid.UUID) -> bytes:
    return struct.pack(">I4s16s", size, b"uuid", kind.bytes)


def free_box(size: int) -> bytes:
    """The header of a `free` box of `size` bytes (8 or more)."""
    if size < 8:
        raise ValueError("a box has at least 8 bytes")
    return box_header(size, b"free")
