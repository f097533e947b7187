"""The journal: a preallocated ring of 4 KiB blocks holding one transaction per commit.

Block `sequence % blocks` of the file holds the block with that sequence number, so stale content is recognised by its number alone. A
transaction counts only when all its parts are there. `write` does not advance the sequence: a commit whose flush failed writes the same
place again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from recorderd.ring.border import Item
from recorderd.ring.buffers import BufferPool
from recorderd.ring.device import Device
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.files import PIECE, read_bytes, write_bytes
from recorderd.ring.layout import BLOCK, CorruptStructure, JournalBlock, pack_transaction, unpack_journal_block


class JournalFull(Exception):
    """The transaction would overwrite blocks that no checkpoint contains yet."""


class Journal:
    def __init__(
        self, device: Device, calls: DiskCalls, buffers: BufferPool, handle: int, disk_id: uuid.UUID, blocks: int
    ) -> None:
        self._device = device
        self._calls = calls
        self._buffers = buffers
        self.handle = handle
        self._disk_id = disk_id
        self.blocks = blocks
        self.sequence = 1  # of the next block
        self.kept_from = 1  # the first block that no valid checkpoint contains
        self._written = 0

    def used(self) -> int:
        """Blocks that the newest checkpoint does not contain."""
        return self.sequence - self.kept_from

    async def write(self, items: Sequence[Item]) -> int:
        """Writes one transaction without flushing; the sequence number after it. Raises OSError, JournalFull."""
        packed = pack_transaction(self._disk_id, self.sequence, items)
        if self.used() + len(packed) > self.blocks:
            raise JournalFull(f"{len(packed)} blocks, {self.blocks - self.used()} left")
        first = self.sequence % self.blocks
        head = packed[: self.blocks - first]
        await write_bytes(self._device, self._calls, self._buffers, self.handle, first * BLOCK, b"".join(head))
        if len(head) < len(packed):
            rest = b"".join(packed[len(head) :])
            await write_bytes(self._device, self._calls, self._buffers, self.handle, 0, rest)
        self._written = len(packed)
        return self.sequence + len(packed)

    def flushed(self) -> None:
        """The transaction last written is durable."""
        self.sequence += self._written
        self._written = 0


@dataclass(frozen=True, slots=True)
class Transaction:
    sequence: int
    items: tuple[Item, ...]


async def read_journal(
    device: Device,
    calls: DiskCalls,
    buffers: BufferPool,
    handle: int,
    disk_id: uuid.UUID,
    blocks: int,
    first: int,
) -> tuple[list[Transaction], int]:
    """The complete transactions from sequence number `first` on, and the number after the last of them."""
    found: list[Transaction] = []
    parts: list[JournalBlock] = []
    sequence, done = first, first
    per_read = PIECE // BLOCK
    while sequence < first + blocks:
        position = sequence % blocks
        count = min(per_read, blocks - position, first + blocks - sequence)
        data = await read_bytes(device, calls, buffers, handle, position * BLOCK, count * BLOCK)
        for at in range(0, len(data), BLOCK):
            try:
                block = unpack_journal_block(data[at : at + BLOCK], disk_id)
            except CorruptStructure:
                return found, done
            if block.sequence != sequence or block.part != len(parts) or (parts and block.parts != parts[0].parts):
                return found, done
            parts.append(block)
            sequence += 1
            if len(parts) == block.parts:
                found.append(Transaction(done, tuple(item for part in parts for item in part.items)))
                parts = []
                done = sequence
    return found, done
