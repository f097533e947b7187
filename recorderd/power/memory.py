"""What of the power policy survives a restart, and the protocol of whoever stores it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from recorderd.durable import replace_file
from recorderd.power.schedules import OffWindow


class PortWish(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set on one port; None: as the board file says."""

    admin: bool = True
    priority: int | None = None
    limit_mw: int | None = None
    off: tuple[OffWindow, ...] = ()  # by the clock


class CycleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One power cycle by the camera rescue. Boot time counts within `boot_id`, wall time (ns since 1970) across boots."""

    device: uuid.UUID
    port: str
    boot_id: str
    boottime_ns: int
    utc_ns: int


class HoldRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The operator asked the rescue to leave a device alone until then; times as in `CycleRecord`."""

    device: uuid.UUID
    boot_id: str
    until_boottime_ns: int
    until_utc_ns: int


class PowerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything stored; small (a few KiB), rewritten as a whole."""

    wishes: dict[str, PortWish] = {}
    cycles: tuple[CycleRecord, ...] = ()
    holds: tuple[HoldRecord, ...] = ()


class PowerMemory(Protocol):
    """`save` returns once the record survives a power cut."""

    async def load(self) -> PowerRecord: ...

    async def save(self, record: PowerRecord) -> None: ...


class NotStored(Exception):
    """The record could not be written; the text is one line for the operator."""


class Keeper:
    """The one holder of the record: services change it through here, and a change is stored before it counts."""

    def __init__(self, store: PowerMemory) -> None:
        self._store = store
        self._turn = asyncio.Lock()
        self._loaded = False
        self.record = PowerRecord()

    async def load(self) -> PowerRecord:
        """Reads the store once."""
        async with self._turn:
            if not self._loaded:
                self.record = await self._store.load()
                self._loaded = True
            return self.record

    async def update(self, change: Callable[[PowerRecord], PowerRecord], *, even_unstored: bool = False) -> None:
        """Returns once the changed record is stored.

        Raises `NotStored` when it cannot be; then nothing has changed, unless `even_unstored`: what has happened counts, at least until
        the next restart.
        """
        await self.load()
        async with self._turn:
            changed = change(self.record)
            try:
                await self._store.save(changed)
            except OSError as error:
                if even_unstored:
                    self.record = changed
                raise NotStored(f"the state of power cannot be stored: {error.strerror or error}") from error
            self.record = changed


class VolatileMemory:
    """Survives the service, not the process: for tests and the demonstration."""

    def __init__(self) -> None:
        self.record = PowerRecord()
        self.saves = 0

    async def load(self) -> PowerRecord:
        return self.record

    async def save(self, record: PowerRecord) -> None:
        self.record = record
        self.saves += 1


class FileMemory:
    """A JSON file, replaced atomically. A file that cannot be read as a record counts as none; `unreadable` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.unreadable = ""

    async def load(self) -> PowerRecord:
        return await asyncio.to_thread(self._load)

    async def save(self, record: PowerRecord) -> None:
        await asyncio.to_thread(self._save, msgspec.json.encode(record))

    def _load(self) -> PowerRecord:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=PowerRecord)
        except FileNotFoundError:
            return PowerRecord()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.unreadable = f"{self._path}: {error}"
            return PowerRecord()

    def _save(self, data: bytes) -> None:
        replace_file(self._path, data)
