"""How far each disk's ring had come, kept apart from the disk: tells a copy that was made of it earlier from the disk itself.

A copy has the same id and is sound in itself. Recording on into it would bring back what was deleted since, and give out again the numbers
that the disk has used.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Final, Protocol

import msgspec

from recorderd.durable import replace_file

_MAX_DISKS: Final = 32
_MAX_BYTES: Final = 64 * 1024


class DiskMemory(Protocol):
    async def newest(self, disk: uuid.UUID) -> int:
        """The newest checkpoint that the disk is known to have had; 0 for a disk that is not known."""

    async def note(self, disk: uuid.UUID, checkpoint: int) -> None:
        """Remembers it. Raises OSError."""

    @property
    def where(self) -> str:
        """For the operator who wants an older copy used all the same."""


class NoMemory:
    """Remembers nothing: for tools."""

    where = "nowhere"

    async def newest(self, disk: uuid.UUID) -> int:  # noqa: ARG002
        return 0

    async def note(self, disk: uuid.UUID, checkpoint: int) -> None:
        """Forgotten at once."""


class FileDiskMemory:
    """A JSON file, replaced atomically: disk id -> newest checkpoint, the last one noted at the end. What cannot be read is no memory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def where(self) -> str:
        return str(self._path)

    async def newest(self, disk: uuid.UUID) -> int:
        return (await asyncio.to_thread(self._load)).get(str(disk), 0)

    async def note(self, disk: uuid.UUID, checkpoint: int) -> None:
        await asyncio.to_thread(self._save, str(disk), checkpoint)

    def _load(self) -> dict[str, int]:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_BYTES), type=dict[str, int])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return {}

    def _save(self, disk: str, checkpoint: int) -> None:
        known = self._load()
        known[disk] = max(checkpoint, known.pop(disk, 0))
        known = dict(list(known.items())[-_MAX_DISKS:])
        replace_file(self._path, msgspec.json.encode(known))
