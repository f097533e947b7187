"""Keeps the mirror on the data disk in step with the configuration, at the pace of people and not of clients."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from recorderd.model.objects import KINDS, Objects
from recorderd.model.ports import Clock
from recorderd.state import mirror
from recorderd.state.migrations import MIGRATIONS, migrate
from recorderd.state.store import StateError, Store

T = TypeVar("T")
log = logging.getLogger(__name__)

SETTLE_S = 5.0  # after a change, so that a client that configures a whole recorder costs a write or two
LOOK_S = 30.0  # for a disk that was not there
READ_WAIT_S = 3.0  # a disk that hangs does not keep the recorder from starting


class InThread(Protocol):
    async def __call__(self, call: Callable[[], T], /) -> T: ...


class Mirroring:
    """`changed` after every change; `run` beside the other services. `failure` says why there is no mirror now, if so."""

    def __init__(
        self,
        *,
        ring: Path,
        objects: Objects,
        secrets: Callable[[], Collection[tuple[str, str, str]]],
        clock: Clock,
        usable: Callable[[], bool],
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        """`usable`: the disk is this recorder's, mounted and healthy. `in_thread` runs what blocks."""
        self._ring = ring
        self._objects = objects
        self._secrets = secrets
        self._clock = clock
        self._usable = usable
        self._in_thread = in_thread
        self._dirty = asyncio.Event()
        self._dirty.set()  # the disk may hold an older one, or none
        self.failure = ""
        self.offer: mirror.Mirror | None = None  # for a recorder without a configuration
        self.writes = 0

    def changed(self) -> None:
        self._dirty.set()

    async def offered(self) -> mirror.Mirror | None:
        """What the disk holds now for a recorder that has lost its configuration; None while it has one, or the disk none.

        Raises OSError.
        """
        if any(self._objects.tables.values()) or not self._usable():
            return None
        return await self._in_thread(lambda: mirror.read(self._ring))

    def troubles(self) -> list[str]:
        """For status."""
        found = [f"no copy on the data disk: {self.failure}"] if self.failure else []
        if self.offer is not None:
            found.append("there is none, but a copy is on the data disk: recorderctl configuration show")
        return found

    async def run(self) -> None:
        while True:
            await self._dirty.wait()
            await self._clock.sleep(SETTLE_S)
            self._dirty.clear()
            if not await self._write():
                self._dirty.set()
                await self._clock.sleep(LOOK_S)

    async def _write(self) -> bool:
        """Whether there is nothing left to do."""
        if not self._usable():
            return False
        if not any(self._objects.tables.values()):
            self.offer = await self._in_thread(lambda: read_in_time(self._ring))
            return True
        self.offer = None
        now = mirror.mirror_of(
            self._objects, self._secrets(), version=len(MIGRATIONS), written_ns=self._clock.realtime_ns()
        )
        try:
            written = await self._in_thread(lambda: mirror.write(self._ring, now))
        except OSError as error:
            if not self.failure:
                log.warning("the configuration cannot be mirrored on the data disk: %s", error)
            self.failure = str(error)
            return False
        self.failure = ""
        self.writes += written
        return written


def objects_of(held: mirror.Mirror) -> Objects:
    """The mirrored objects as this release has them: an older mirror goes through the migrations of the state file. Raises StateError."""
    if not 1 <= held.version <= len(MIGRATIONS):
        raise StateError(f"the mirrored configuration has version {held.version}, this release knows {len(MIGRATIONS)}")
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with closing(db):
        migrate(db, MIGRATIONS[: held.version])
        place = 0
        for kind, documents in held.tables.items():
            for document in documents:
                place += 1
                try:
                    key = msgspec.json.decode(document, type=dict[str, object]).get(KINDS[kind][1])
                except (KeyError, msgspec.DecodeError) as error:
                    raise StateError(f"the mirrored configuration has a {kind[:40]} that cannot be read") from error
                row = (kind, key, place, bytes(document))
                db.execute("INSERT INTO object (kind, key, place, body) VALUES (?, ?, ?, ?)", row)
        db.executemany("INSERT INTO number (kind, last) VALUES (?, ?)", held.numbers.items())
        migrate(db)
        with Store(db, Path("mirror")) as store:
            return store.load()


def read_in_time(ring: Path) -> mirror.Mirror | None:
    """The mirror, if the disk gives it at once. Blocks for `READ_WAIT_S` at most."""
    found: list[mirror.Mirror | None] = []

    def look() -> None:
        try:
            found.append(mirror.read(ring))
        except OSError as error:
            log.warning("the mirrored configuration cannot be read: %s", error)

    reader = threading.Thread(target=look, name="configuration mirror", daemon=True)
    reader.start()
    reader.join(READ_WAIT_S)
    return found[0] if found else None
