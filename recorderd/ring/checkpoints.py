"""Checkpoints: the whole state, written alternately to ckpt.a and ckpt.b, so that one of them is valid at any moment (I8)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from recorderd.ring.buffers import BufferPool
from recorderd.ring.device import Device
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.files import CHECKPOINTS, read_bytes, write_bytes
from recorderd.ring.layout import BLOCK, CheckpointHeader, CorruptStructure, align, crc32


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint holds: everything the journal says before `journal_sequence`."""

    journal_sequence: int
    sections: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    which: int  # 0: ckpt.a, 1: ckpt.b
    sequence: int
    journal_sequence: int
    sections: Mapping[int, bytes]


class CheckpointTooLarge(OSError):
    """The sections do not fit into the file that format made."""


@dataclass(slots=True)
class CheckpointHistory:
    """What this process did to the checkpoints of a disk; outlives remounting.

    `suspects` are files whose last writing failed: such a file may read well from the device's cache and still be gone after a power cut,
    so it is the one to be written next, and the other is not touched before that succeeded. `tried`: the newest sequence that may be
    on the disk, 0 for none.
    """

    suspects: set[int] = field(default_factory=set)
    tried: int = 0


class CheckpointFiles:
    def __init__(
        self,
        device: Device,
        calls: DiskCalls,
        buffers: BufferPool,
        disk_id: uuid.UUID,
        file_bytes: int,
        history: CheckpointHistory | None = None,
    ) -> None:
        self.history = history if history is not None else CheckpointHistory()
        self._device = device
        self._calls = calls
        self._buffers = buffers
        self._disk_id = disk_id
        self.file_bytes = file_bytes
        self.sequence = 0  # of the newest one on the medium
        self.older = 0  # which file is written next
        self.unreadable = 0  # how many of them the disk did not give out when they were loaded

    async def load(self) -> tuple[list[LoadedCheckpoint], list[str]]:
        """The valid checkpoints, newest first, and in words what is wrong with the others. Raises UnknownFeature, UnsafeFile."""
        valid: list[LoadedCheckpoint] = []
        faults: list[str] = []
        self.unreadable = 0
        for which, name in enumerate(CHECKPOINTS):
            try:
                valid.append(await self._read(which))
            except (CorruptStructure, OSError) as error:
                self.unreadable += isinstance(error, OSError)
                faults.append(f"{name}: {error}")
        valid.sort(key=lambda checkpoint: (checkpoint.which in self.history.suspects, -checkpoint.sequence))
        if valid:
            self.sequence = max(checkpoint.sequence for checkpoint in valid)
            self.older = 1 - valid[0].which
        return valid, faults

    async def _read(self, which: int) -> LoadedCheckpoint:
        handle = await self._calls.run(self._device.open, CHECKPOINTS[which], writable=False, size=self.file_bytes)
        try:
            block = await read_bytes(self._device, self._calls, self._buffers, handle, 0, BLOCK)
            header = CheckpointHeader.unpack(block, self._disk_id, self.file_bytes)
            sections = {}
            for number, crc, at, length in header.sections:
                data = await read_bytes(self._device, self._calls, self._buffers, handle, at, length)
                if await self._calls.run(crc32, data) != crc:
                    raise CorruptStructure(f"section {number}: checksum does not match")
                sections[number] = data
        finally:
            await self._calls.run(self._device.close, handle)
        return LoadedCheckpoint(which, header.sequence, header.journal_sequence, sections)

    async def write(self, snapshot: Snapshot) -> None:
        """Writes and flushes the older file. Raises OSError, CheckpointTooLarge; the newer file is untouched either way."""
        table = []
        at = BLOCK
        for number, data in snapshot.sections.items():
            table.append((number, await self._calls.run(crc32, data), at, len(data)))
            at = align(at + len(data))
        if at > self.file_bytes:
            raise CheckpointTooLarge(f"{at} bytes, the file holds {self.file_bytes}")
        header = CheckpointHeader(self._disk_id, self.sequence + 1, snapshot.journal_sequence, tuple(table))
        device, calls, buffers = self._device, self._calls, self._buffers
        self.history.suspects.add(self.older)
        self.history.tried = self.sequence + 1
        handle = await calls.run(device.open, CHECKPOINTS[self.older], writable=True, size=self.file_bytes)
        try:
            for (_, _, offset, _), data in zip(table, snapshot.sections.values(), strict=True):
                await write_bytes(device, calls, buffers, handle, offset, data)
            await write_bytes(device, calls, buffers, handle, 0, header.pack())
            await calls.run(device.datasync, handle)
        finally:
            await calls.run(device.close, handle)
        self.history.suspects.discard(self.older)
        self.sequence += 1
        self.older = 1 - self.older
