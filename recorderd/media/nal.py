"""NAL units: splitting, joining and unescaping (ITU-T H.264 Annex B and 7.4.1, ISO/IEC 14496-15 4.3).

Access units are stored as ISO base media wants them: every NAL unit behind a 4-byte big-endian length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from recorderd.media.errors import BitstreamError

_START_CODE = re.compile(rb"\x00\x00\x01")


def unescape(nal: bytes) -> bytes:
    """The NAL unit's payload with emulation prevention bytes (00 00 03) removed."""
    if b"\x00\x00\x03" not in nal:
        return nal
    out = bytearray()
    start = 0
    while (found := nal.find(b"\x00\x00\x03", start)) >= 0:
        out += nal[start : found + 2]
        start = found + 3
    out += nal[start:]
    return bytes(out)


def escape(rbsp: bytes) -> bytes:
    """The inverse of `unescape`: for tests and generated NAL units."""
    out = bytearray()
    zeros = 0
    for byte in rbsp:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def split_annex_b(stream: bytes) -> list[bytes]:
    """The NAL units of a byte stream with start codes; empty ones are left out."""
    starts = [match.end() for match in _START_CODE.finditer(stream)]
    ends = [start - 3 for start in starts[1:]] + [len(stream)]
    # A zero before a start code belongs to the code; a NAL unit never ends in one.
    units = (stream[start:end].rstrip(b"\x00") for start, end in zip(starts, ends, strict=True))
    return [unit for unit in units if unit]


def split_lengths(unit: bytes | memoryview) -> Iterator[memoryview]:
    """The NAL units of a length-prefixed access unit, as views. Raises `BitstreamError` when lengths do not add up."""
    view = memoryview(unit)
    position, end = 0, len(view)
    while position < end:
        if position + 4 > end:
            raise BitstreamError("length prefix is cut short")
        length = int.from_bytes(view[position : position + 4], "big")
        position += 4
        if length == 0 or length > end - position:
            raise BitstreamError(f"NAL unit of {length} bytes with {end - position} left")
        yield view[position : position + length]
        position += length


def join_lengths(nals: Iterable[bytes | memoryview]) -> bytes:
    """A length-prefixed access unit."""
    parts: list[bytes | memoryview] = []
    for nal in nals:
        parts.append(len(nal).to_bytes(4, "big"))
        parts.append(nal)
    return b"".join(parts)
