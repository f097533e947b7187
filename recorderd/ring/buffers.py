"""Page-aligned buffers for O_DIRECT, reused.

Anonymous mappings are page-aligned by nature. Small ones have 64 KiB, all others whole MiB, of which only what is used takes memory: so a
handful of mappings serves all writers, whatever their fragments' sizes. What is held for reuse is bounded, and given back once it was not
needed for a while: a burst after a stall leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

_SMALL: Final = 64 * 1024
_MIB: Final = 1 << 20
_IDLE_COMMITS: Final = 10


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
        self._commits = 0
        self._free: dict[
            int, list[tuple[int, mmap.mmap]]
        ] = {}  # by size; when each was given back, the longest ago first
        self.held_bytes = 0  # for reuse
        self.taken = 0  # buffers out now

    def take(self, size: int) -> Buffer:
        room = _SMALL if size <= _SMALL else -(-size // _MIB) * _MIB
        free = self._free.get(room)
        if free:
            _, mapping = free.pop()
            self.held_bytes -= room
        else:
            mapping = mmap.mmap(-1, room)
        self.taken += 1
        return Buffer(mapping, size)

    def give(self, buffer: Buffer) -> None:
        """Takes the buffer back. Never call it while a disk call may still use the memory."""
        self.taken -= 1
        buffer.view.release()
        room = len(buffer.mapping)
        if self.held_bytes + room <= self._keep_bytes:
            self._free.setdefault(room, []).append((self._commits, buffer.mapping))
            self.held_bytes += room

    def commit_over(self) -> None:
        """Gives back to the system what lay idle for ten commits. The newest is taken first, so what is too many gets old."""
        self._commits += 1
        for room, free in self._free.items():
            idle = sum(given <= self._commits - _IDLE_COMMITS for given, _ in free)
            self.held_bytes -= idle * room
            del free[:idle]


class WritesInFlight:
    """Lets so many writes of so many bytes be under way at a time, first come, first served.

    Buffers are then reused instead of mapped anew, and there are no more of them than threads to fill them. What is larger than the bound
    of bytes goes alone.
    """

    def __init__(self, limit_bytes: int, limit_writes: int) -> None:
        self._limit_bytes = limit_bytes
        self._limit_writes = limit_writes
        self._bytes = 0
        self._writes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        if self._waiting or not self._fits(size):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # its room was given already
                    self._leave(size)
                raise
        else:
            self._enter(size)
        try:
            yield
        finally:
            self._leave(size)

    def _fits(self, size: int) -> bool:
        return not self._writes or (self._writes < self._limit_writes and self._bytes + size <= self._limit_bytes)

    def _enter(self, size: int) -> None:
        self._bytes += size
        self._writes += 1

    def _leave(self, size: int) -> None:
        self._bytes -= size
        self._writes -= 1
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(wanted):
                    return
                self._enter(wanted)
                turn.set_result(None)
            self._waiting.popleft()
