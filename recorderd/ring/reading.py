"""Reads fragments under a lease. What is handed on was checked against disk, generation, sequence and checksum (format.md section 14)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from recorderd.ring.border import SlotRef
from recorderd.ring.files import close_file, open_file, read_bytes, slot_path
from recorderd.ring.layout import (
    MOOV_OFFSET,
    CorruptStructure,
    FragmentRecord,
    IndexEntry,
    SlotIdentity,
    SlotState,
    payload_crc,
)
from recorderd.ring.leases import Lease
from recorderd.ring.scan import load_index, read_slot_identity
from recorderd.ring.store import Store


class Recycled(Exception):
    """The slot no longer holds this generation."""


class Rotten(Exception):
    """The fragment's bytes do not match their checksum any more."""


@dataclass(frozen=True, slots=True)
class FragmentData:
    """A fragment as it was appended: `payload` is `moof` and `mdat`."""

    record: FragmentRecord
    payload: memoryview


class SlotReader:
    """One life of one slot, leased. Made by `read_slot`."""

    def __init__(self, store: Store, lease: Lease, handle: int) -> None:
        self._store = store
        self._handle = handle
        self.lease = lease
        self._entries: tuple[IndexEntry, ...] | None = None

    @property
    def ref(self) -> SlotRef:
        return self.lease.ref

    @property
    def descriptor(self) -> int:
        """Of the slot, for reading only, to be passed to a worker: while `read_slot` lasts. It reads whole aligned blocks."""
        return self._handle

    async def moov(self, identity: SlotIdentity) -> bytes:
        """The slot's `moov`, unchecked: a disk is input. Raises Recycled, OSError."""
        io = self._store.io
        data = await read_bytes(io.device, io.calls, io.buffers, self._handle, MOOV_OFFSET, identity.moov_bytes)
        self.check()
        return data

    async def entries(self, *, refresh: bool = False) -> tuple[IndexEntry, ...]:
        """The durable fragments in order; `refresh` looks again (an open slot grows). Raises Recycled, OSError."""
        if self._entries is None or refresh:
            self._entries = await load_index(self._store, self._handle, self.ref)
            self.check()
        return self._entries

    async def identity(self) -> SlotIdentity | None:
        """Who wrote the slot; None when its identity block is damaged. Raises Recycled, OSError."""
        identity = await read_slot_identity(self._store.io, self._handle)
        self.check()
        return identity if identity is not None and identity.ref == self.ref else None

    async def fragment(self, entry: IndexEntry) -> FragmentData:
        """Raises Recycled, Rotten (the ledger has been told), OSError."""
        io = self._store.io
        data = memoryview(
            await read_bytes(io.device, io.calls, io.buffers, self._handle, entry.offset, entry.fragment_bytes)
        )
        self.check()
        try:
            record = FragmentRecord.unpack(data, room=self._store.identity.slot_bytes - entry.offset)
            payload = data[record.payload_offset : record.payload_offset + record.payload_bytes]
            if (
                record.disk_id != self._store.disk_id
                or record.generation != self.ref.generation
                or record.sequence != entry.sequence
            ):
                raise CorruptStructure("another fragment")
            if await io.calls.run(payload_crc, payload) != record.payload_crc:
                raise CorruptStructure("checksum does not match")
        except ValueError as error:
            if self.ref.slot not in self._store.unscanned:  # there the scan tells rot from a torn tail
                self._store.statistics.rotten_fragments += 1
                self._store.ledger.media_rotten(self.ref, entry.sequence)
            raise Rotten(f"slot {self.ref.slot}, fragment {entry.sequence}: {error}") from None
        return FragmentData(record, payload)

    def check(self) -> None:
        """Raises Recycled."""
        state = self._store.table.state(self.ref.slot)
        if not self._store.table.is_current(self.ref) or state not in (SlotState.OPEN, SlotState.CLOSED):
            raise Recycled(f"slot {self.ref.slot} no longer holds generation {self.ref.generation}")


@contextlib.asynccontextmanager
async def read_slot(
    store: Store, ref: SlotRef, *, seconds: float = 60.0, hold: bool = False
) -> AsyncIterator[SlotReader]:
    """Leases and opens a slot. Raises Recycled, OSError, UnsafeFile."""
    if not store.table.is_current(ref):
        raise Recycled(f"slot {ref.slot} no longer holds generation {ref.generation}")
    lease = store.leases.take(ref, seconds, hold=hold)
    try:
        io = store.io
        handle = await open_file(
            io.device, io.calls, slot_path(ref.slot), writable=False, size=store.identity.slot_bytes
        )
        try:
            reader = SlotReader(store, lease, handle)
            reader.check()
            yield reader
        finally:
            await close_file(io.device, io.calls, handle)
    finally:
        store.leases.end(lease)
