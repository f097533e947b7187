"""Page-aligned buffers for O_DIRECT, reused.

Anonymous mappings are page-aligned by nature. Sizes are rounded up to powers of two, so that a handful of mappings serves all writers; what
is held for reuse is bounded.
"""

from __future__ import annotations

import mmap
from typing import Final

_SMALLEST: Final = 64 * 1024


class Buffer:
    """`view` has exactly the size asked for; its content is whatever the last user left."""

    __slots__ = ("_map", "size", "view")

    def __init__(self, mapping: mmap.mmap, size: int) -> None:
        self._map = mapping
        self.size = size
        self.view = memoryview(mapping)[:size]

    @property
    def mapping(self) -> mmap.mmap:
        return self._map


class BufferPool:
    def __init__(self, *, keep_bytes: int = 32 << 20) -> None:
        self._keep_bytes = keep_bytes
        self._held = 0
        self._free: dict[int, list[mmap.mmap]] = {}
        self.taken = 0  # buffers out now

    def take(self, size: int) -> Buffer:
        room = max(_SMALLEST, 1 << (size - 1).bit_length())
        free = self._free.get(room)
        if free:
            mapping = free.pop()
            self._held -= room
        else:
            mapping = mmap.mmap(-1, room)
        self.taken += 1
        return Buffer(mapping, size)

    def give(self, buffer: Buffer) -> None:
        """Takes the buffer back. Never call it while a disk call may still use the memory."""
        self.taken -= 1
        buffer.view.release()
        room = len(buffer.mapping)
        if self._held + room <= self._keep_bytes:
            self._free.setdefault(room, []).append(buffer.mapping)
            self._held += room
