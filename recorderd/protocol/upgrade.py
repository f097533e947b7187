"""What follows the reply to a call with `upgrade`: chunks of raw bytes, then a trailer that says whether they are complete.

Each chunk is its length as a 32-bit big-endian integer and that many bytes. Length 0 ends them; the trailer, one Varlink-framed JSON object
(`Trailer`), follows. A stream that ends without a trailer was cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from recorderd.protocol.framing import Framer

MAX_CHUNK_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    complete: bool
    reason: str = ""  # why not, in words
    notes: list[str] = []  # msgspec copies mutable defaults; what the receiver should know, e.g. gaps
    bytes: int = 0


def chunk_header(length: int) -> bytes:
    """Raises ValueError for a length that is not a chunk's."""
    if not 0 < length <= MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk has 1 to {MAX_CHUNK_BYTES} bytes, not {length}")
    return _LENGTH.pack(length)


def end(trailer: Trailer) -> bytes:
    return _LENGTH.pack(0) + msgspec.json.encode(trailer) + b"\0"


class MalformedStream(Exception):
    """The peer's raw bytes do not follow this format."""


class Unchunker:
    """Sans-IO receiver: `feed` yields payload pieces; `trailer` is set once it has come."""

    def __init__(self) -> None:
        self.trailer: Trailer | None = None
        self._header = bytearray()
        self._left = 0
        self._framer: Framer | None = None

    def feed(self, data: bytes) -> Iterator[memoryview]:
        view = memoryview(data)
        while view:
            if self._framer is not None:
                for message in self._framer.feed(view):
                    try:
                        self.trailer = msgspec.json.decode(message, type=Trailer)
                    except msgspec.DecodeError as error:
                        raise MalformedStream(f"trailer: {error}") from error
                return
            if self._left:
                piece, view = view[: self._left], view[self._left :]
                self._left -= len(piece)
                yield piece
                continue
            need = _LENGTH.size - len(self._header)
            self._header += view[:need]
            view = view[need:]
            if len(self._header) == _LENGTH.size:
                (self._left,) = _LENGTH.unpack(self._header)
                self._header.clear()
                if self._left > MAX_CHUNK_BYTES:
                    raise MalformedStream(f"chunk of {self._left} bytes")
                if self._left == 0:
                    self._framer = Framer()
