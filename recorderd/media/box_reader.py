"""Walks ISO base media boxes of untrusted bytes: every size is checked against what is there before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from recorderd.media.errors import BoxError

MAX_BOXES = 4096  # siblings


class Box(NamedTuple):
    kind: bytes
    start: int  # of the header
    body: int
    end: int


def boxes(view: memoryview, start: int, end: int) -> Iterator[Box]:
    """The boxes that fill `view[start:end]` exactly; only 32-bit sizes. Raises `BoxError`."""
    for _ in range(MAX_BOXES):
        if start == end:
            return
        if end - start < 8:
            raise BoxError("a box header is cut short")
        size = int.from_bytes(view[start : start + 4], "big")
        if size < 8 or size > end - start:
            raise BoxError(f"a box of {size} bytes with {end - start} left")
        yield Box(bytes(view[start + 4 : start + 8]), start, start + 8, start + size)
        start += size
    raise BoxError(f"more than {MAX_BOXES} boxes side by side")


def children(view: memoryview, parent: Box) -> dict[bytes, Box]:
    """The children of `parent` by kind; one of each. Raises `BoxError`."""
    found: dict[bytes, Box] = {}
    for box in boxes(view, parent.body, parent.end):
        if box.kind in found:
            raise BoxError(f"a second {box.kind!r}")
        found[box.kind] = box
    return found


def need(found: dict[bytes, Box], kind: bytes, size: int = 0) -> Box:
    """The child of this kind, whose body has at least `size` bytes. Raises `BoxError`."""
    box = found.get(kind)
    if box is None:
        raise BoxError(f"no {kind!r}")
    if box.end - box.body < size:
        raise BoxError(f"{kind!r} is cut short")
    return box
