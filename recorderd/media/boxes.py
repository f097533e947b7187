"""ISO base media boxes as functions: bytes in, a box out (ISO/IEC 14496-12)."""

from __future__ import annotations

UNITY_MATRIX = b"".join(n.to_bytes(4, "big") for n in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
UNDETERMINED = 0x55C4  # language "und", three 5-bit letters


def box(kind: bytes, *payload: bytes) -> bytes:
    size = 8 + sum(map(len, payload))
    return b"".join((size.to_bytes(4, "big"), kind, *payload))


def full_box(kind: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    return box(kind, (version << 24 | flags).to_bytes(4, "big"), *payload)


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def i64(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def fixed16(value: float) -> bytes:
    """16.16, for picture sizes and rates."""
    return round(value * 65536).to_bytes(4, "big")


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", major, u32(0), *compatible)


def mvhd(timescale: int, duration: int, next_track: int) -> bytes:
    return full_box(
        b"mvhd", 1, 0,
        bytes(16), u32(timescale), u64(duration), u32(0x10000), u16(0x100), bytes(10), UNITY_MATRIX, bytes(24), u32(next_track),
    )  # fmt: skip


def tkhd(track_id: int, duration: int, width: int, height: int, *, audio: bool) -> bytes:
    return full_box(
        b"tkhd", 1, 7,  # enabled, in movie, in preview
        bytes(16), u32(track_id), bytes(4), u64(duration), bytes(8), u16(0), u16(0), u16(0x100 if audio else 0), bytes(2),
        UNITY_MATRIX, fixed16(width), fixed16(height),
    )  # fmt: skip


def mdhd(timescale: int, duration: int) -> bytes:
    return full_box(b"mdhd", 1, 0, bytes(16), u32(timescale), u64(duration), u16(UNDETERMINED), bytes(2))


def hdlr(handler: bytes, name: str) -> bytes:
    return full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), name.encode() + b"\x00")


def dinf() -> bytes:
    """All media is in this file."""
    return box(b"dinf", full_box(b"dref", 0, 0, u32(1), full_box(b"url ", 0, 1)))


def free(size: int) -> bytes:
    """A free box of `size` bytes in all, at least 8; its payload is zeros."""
    return box(b"free", bytes(size - 8))
