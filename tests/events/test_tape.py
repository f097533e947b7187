"""The event history's two files: what was durable survives every cut, and nothing that was not written is read."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from recorderd.events.tape import BLOCK, ROOM, Block, Piece, Tape, pack, read, unpack

SIZE = 8 * BLOCK


def written(files: list[bytearray], pieces: list[Piece]) -> None:
    for piece in pieces:
        files[piece.file][piece.offset : piece.offset + len(piece.data)] = piece.data


def content(files: list[bytearray]) -> bytes:
    found = sorted((s for f in files if (s := read(bytes(f))) is not None), key=lambda s: s.generation)
    return b"".join(s.text for s in found)


def lines_of(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line]


def whole_lines(files: list[bytearray]) -> list[bytes]:
    """Those that were written: each says how long it is."""
    return [line for line in lines_of(content(files)) if line[6:13].isdigit() and len(line) == int(line[6:13])]


def lines(number: int, size: int) -> bytes:
    filler = random.Random(number).randbytes(size // 2 + 1).hex().encode()  # sectors of two lines are never alike
    return (b"%06d%07d" % (number, size - 1) + filler)[: size - 1] + b"\n"


@given(st.integers(0, 1 << 60), st.integers(0, 1 << 30), st.binary(max_size=ROOM))
def test_a_block_comes_back_or_is_none(generation: int, index: int, data: bytes) -> None:
    block = Block(generation, index, index ^ 5, data)
    packed = pack(block)
    assert len(packed) == BLOCK
    assert unpack(packed) == block
    assert unpack(bytes(BLOCK)) is None
    damaged = bytearray(packed)
    damaged[(generation + index) % BLOCK] ^= 1
    assert unpack(damaged) is None


def test_a_full_file_is_followed_by_the_other_one() -> None:
    files = [bytearray(SIZE), bytearray(SIZE)]
    tape = Tape.after(SIZE, [None, None])
    whole = b""
    for number in range(200):
        data = lines(number, 700)
        whole += data
        written(files, tape.add(data))
        held = content(files)
        assert whole.endswith(held), "the newest, without a hole"
        assert len(held) >= min(len(whole), SIZE // 2), "at least a file's worth of it"
    assert tape.generation > 4


@settings(max_examples=150, deadline=None)
@example(
    [14, 14, 3834, 208, 208, 14, 194], 1447
)  # a torn block of the first start is made whole by a torn write of the third
@given(st.lists(st.integers(14, 3 * ROOM), min_size=1, max_size=40), st.integers(0, 2**32))
def test_a_cut_in_any_write_keeps_what_was_durable(sizes: list[int], seed: int) -> None:
    chance = random.Random(seed)
    files = [bytearray(SIZE), bytearray(SIZE)]
    tape = Tape.after(SIZE, [None, None])
    ever: list[bytes] = []
    for number, size in enumerate(sizes):
        data = lines(number, size)
        moved = tape.copy()
        pieces = moved.add(data)
        torn = [bytearray(file) for file in files]
        for piece in pieces:  # sectors arrive in any number
            for at in range(0, len(piece.data), 512):
                if chance.random() < 0.5:
                    torn[piece.file][piece.offset + at : piece.offset + at + 512] = piece.data[at : at + 512]
        left = whole_lines(torn)
        assert moved.file != tape.file or left[: len(whole_lines(files))] == whole_lines(files), (
            "nothing durable is lost"
        )
        ever += lines_of(data)
        assert set(left) <= set(ever), "nothing that was never written"
        assert left == sorted(set(left)), "nothing comes twice or out of order"
        again = Tape.after(SIZE, [read(bytes(file)) for file in torn])
        if chance.random() < 0.3:  # the recorder starts again from what the cut left
            tape, files = again, torn
            continue
        written(files, pieces)
        tape = moved
