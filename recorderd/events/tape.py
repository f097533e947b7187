"""How the event history lies on the disk: two files of fixed size, used in turn, never grown and never overwritten where it matters.

A file is 4 KiB blocks: two for the tail, A and B, then the body. The stream of lines fills body blocks one after the other; each is written
once, when it is full. What does not fill a block yet is the tail, and goes to A and B in turn. So a write that a power cut tears costs what
was not flushed yet, and nothing older. Every block names the body block before it by its CRC: what a torn write left behind it does not
fit what is written in its place later, and a block that does not begin with the tail before it is none. When a file is full the other one
begins anew, with the next generation.

Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

BLOCK: Final = 4096
_HEAD: Final = struct.Struct(
    ">4sIQIIH"
)  # magic, CRC of what follows it, generation, index in the body, CRC before it, bytes used
_MAGIC: Final = b"RDEH"
_CHECKED: Final = 8  # where the checked part begins
ROOM: Final = BLOCK - _HEAD.size
_SIDES: Final = 2


@dataclass(frozen=True, slots=True)
class Block:
    generation: int
    index: int
    before: int  # the CRC of the body block before it; 0 for the first
    data: bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """What is to be written: one or more whole blocks."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """What one file holds: `blocks` of them in the body, the last of them with the CRC `last`, and the tail that does not fill a block."""

    generation: int
    blocks: int
    last: int
    body: bytes
    tail: bytes
    side: int  # where the tail is

    @property
    def text(self) -> bytes:
        return self.body + self.tail


def pack(block: Block) -> bytes:
    head = _HEAD.pack(_MAGIC, 0, block.generation, block.index, block.before, len(block.data))
    checked = head[_CHECKED:] + block.data.ljust(ROOM, b"\0")
    return _MAGIC + zlib.crc32(checked).to_bytes(4, "big") + checked


def crc_of(packed: bytes | memoryview) -> int:
    return int.from_bytes(packed[4:_CHECKED], "big")


def unpack(data: bytes | memoryview) -> Block | None:
    """None for what is torn, empty or none of ours."""
    magic, crc, generation, index, before, used = _HEAD.unpack_from(data)
    if magic != _MAGIC or used > ROOM or zlib.crc32(data[_CHECKED:BLOCK]) != crc:
        return None
    return Block(generation, index, before, bytes(data[_HEAD.size : _HEAD.size + used]))


def read(file: bytes) -> Stored | None:
    """None for a file that was never written."""
    view = memoryview(file)[: len(file) // BLOCK * BLOCK]
    packed = [view[at : at + BLOCK] for at in range(0, len(view), BLOCK)]
    blocks = [unpack(data) for data in packed]
    generation = max((b.generation for b in blocks if b is not None), default=0)
    if not generation:
        return None
    body: list[bytes] = []
    last = 0
    side, tail = _tail(blocks, generation, 0, last)
    for block, data in zip(blocks[_SIDES:], packed[_SIDES:], strict=True):
        if block is None or (block.generation, block.index, block.before) != (generation, len(body), last):
            break
        if not block.data.startswith(tail):
            break  # a torn block of an earlier start, made whole by sectors that a later torn write has in common with it
        body.append(block.data)
        last = crc_of(data)
        side, tail = _tail(blocks, generation, len(body), last)
    return Stored(generation, len(body), last, b"".join(body), tail, side)


def _tail(blocks: Sequence[Block | None], generation: int, index: int, last: int) -> tuple[int, bytes]:
    """Which side holds the tail behind `index` body blocks, and its text: the longer one, empty if neither does."""
    side, tail = 0, b""
    for number, block in enumerate(blocks[:_SIDES]):
        fits = block is not None and (block.generation, block.index, block.before) == (generation, index, last)
        if block is not None and fits and len(block.data) >= len(tail):
            side, tail = number, block.data
    return side, tail


@dataclass(slots=True)
class Tape:
    """Where the next line goes. `add` says what to write; what was added counts once that is durable, and until then nothing more may
    be added, so that one of A and B always holds what a torn block would lose."""

    size: int  # of a file
    file: int = 0
    generation: int = 1
    blocks: int = 0
    last: int = 0
    tail: bytes = b""
    side: int = 0

    @classmethod
    def after(cls, size: int, files: Sequence[Stored | None]) -> Tape:
        """Goes on behind what the two files hold."""
        newest = max((0, 1), key=lambda n: found.generation if (found := files[n]) is not None else 0)
        last = files[newest]
        if last is None:
            return cls(size)
        if last.blocks >= size // BLOCK - _SIDES:
            return cls(size, 1 - newest, last.generation + 1)
        torn = b"" if last.text.endswith(b"\n") or not last.text else b"\n"  # ends a line that a cut left unfinished
        return cls(size, newest, last.generation, last.blocks, last.last, last.tail + torn, last.side)

    def copy(self) -> Tape:
        return replace(self)

    def add(self, data: bytes) -> list[Piece]:
        """`data` is at most a few blocks; a file never holds less than one `add`."""
        pieces: list[Piece] = []
        rest = self.tail + data
        if self.blocks + len(rest) // ROOM + 1 > self.size // BLOCK - _SIDES:
            if self.tail:
                pieces.append(self._body(self.tail))
            self.file, self.generation, self.blocks, self.last = 1 - self.file, self.generation + 1, 0, 0
            rest = data
        while len(rest) >= ROOM:
            pieces.append(self._body(rest[:ROOM]))
            rest = rest[ROOM:]
        self.tail = rest
        self.side = 1 - self.side
        tail = pack(Block(self.generation, self.blocks, self.last, rest))
        pieces.append(Piece(self.file, self.side * BLOCK, tail))
        return _joined(pieces)

    def _body(self, data: bytes) -> Piece:
        packed = pack(Block(self.generation, self.blocks, self.last, data))
        piece = Piece(self.file, (_SIDES + self.blocks) * BLOCK, packed)
        self.blocks, self.last = self.blocks + 1, crc_of(packed)
        return piece


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Neighbours as one write."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if last is not None and last.file == piece.file and last.offset + len(last.data) == piece.offset:
            found[-1] = Piece(last.file, last.offset, last.data + piece.data)
        else:
            found.append(piece)
    return found
