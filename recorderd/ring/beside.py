"""The ring's two files for the event history: written in place through the ring's threads, made durable by its commits.

Nothing here flushes: what is written asks the next commit for the flush that it makes anyway while something is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence

from recorderd.model.causes import GapCause
from recorderd.model.ports import StoreUnavailable
from recorderd.ring.files import HISTORIES, close_file, open_file, read_bytes, write_bytes
from recorderd.ring.formatting import history_bytes_for
from recorderd.ring.ring import Ring
from recorderd.ring.store import Store

_LOOK_S = 0.5


class HistoryFiles:
    """Of the disk that is mounted now."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._soon = False

    @property
    def disk(self) -> uuid.UUID | None:
        """Which disk there is; None without a usable one."""
        store = self._ring.store
        return store.identity.disk_id if store is not None else None

    @property
    def size(self) -> int:
        """Of one file. Raises StoreUnavailable."""
        return _size(self._store())

    def _store(self) -> Store:
        store = self._ring.store
        if store is None:
            raise StoreUnavailable(GapCause.DISK_MISSING, "there is no disk")
        return store

    async def read(self, file: int) -> bytes:
        """All of it. Raises StoreUnavailable, OSError (UnsafeFile, FileNotFoundError: the ring was made without one)."""
        store = self._store()
        async with self._opened(store, file, writable=False) as handle:
            return await read_bytes(store.io.device, store.io.calls, store.io.buffers, handle, 0, _size(store))

    async def write(self, pieces: Sequence[tuple[int, int, bytes]]) -> None:
        """(file, offset, whole blocks). Returns when all of it is durable; after an error nothing of it counts. Raises StoreUnavailable,
        OSError."""
        store = self._store()
        errors = store.statistics.flush_errors
        for file, offset, data in pieces:
            async with self._opened(store, file, writable=True) as handle:
                await write_bytes(store.io.device, store.io.calls, store.io.buffers, handle, offset, data)
        ticket = store.ask_for_flush()
        if self._soon:
            self._ring.commit_soon()
        while True:
            if self._ring.store is not store:
                raise StoreUnavailable(GapCause.DISK_ERROR, "the disk went away")
            if store.statistics.flush_errors != errors:  # the next flush may succeed without having written this
                raise OSError("a flush failed")
            if store.flushed_for >= ticket:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ring.commit_after().wait(), _LOOK_S)

    def commit_soon(self) -> None:
        """From now on what is written, and what was already, does not wait for the next tick: the recorder ends."""
        self._soon = True
        self._ring.commit_soon()

    @contextlib.asynccontextmanager
    async def _opened(self, store: Store, file: int, *, writable: bool) -> AsyncIterator[int]:
        io = store.io
        handle = await open_file(io.device, io.calls, HISTORIES[file], writable=writable, size=_size(store))
        try:
            yield handle
        finally:
            await close_file(io.device, io.calls, handle)


def _size(store: Store) -> int:
    return history_bytes_for(store.identity.slots * store.identity.slot_bytes)
