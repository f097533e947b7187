"""Media of deleted recordings and tracks: it goes with the object, or after the exports that read it (5.21), or when its disk is back.

What is to be deleted is written down in the change that deletes the object, so neither a power cut nor a crash in between leaves media
that belongs to nothing and that nobody can delete.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import cast

from recorderd.model.deletion import PendingDeletion
from recorderd.model.faults import CannotDelete, StateUnavailable, StorageUnavailable
from recorderd.model.objects import Objects
from recorderd.model.ports import Clock
from recorderd.recording.media import StoredMedia
from recorderd.recording.operations import Operations

log = logging.getLogger(__name__)

RETRY_S = 30.0


class Deletions:
    """`forget(token)` removes a pending deletion from the state file."""

    def __init__(
        self,
        *,
        objects: Objects,
        media: StoredMedia,
        operations: Operations,
        forget: Callable[[str], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._pending = cast("dict[str, PendingDeletion]", objects.tables["deletion"])
        self._media = media
        self._operations = operations
        self._forget = forget
        self._clock = clock
        self._under_way: set[str] = set()  # or waiting for an export
        self._now: dict[str, asyncio.Event] = {}  # being deleted
        self._said: set[str] = set()

    async def run(self) -> None:
        """Takes up what a restart or a missing disk left undone, and tries again for as long as it takes."""
        while True:
            await self.take_up()
            await self._clock.sleep(RETRY_S)

    async def take_up(self) -> None:
        """Does what can be done now. Returns with the media deleted, or with its deletion waiting."""
        for pending in list(self._pending.values()):
            if pending.token in self._now:
                await self._now[pending.token].wait()
            elif pending.token not in self._under_way:
                self._under_way.add(pending.token)
                await self._operations.when_free(pending.recording.id, lambda each=pending: self._delete(each))  # type: ignore[misc]

    async def _delete(self, pending: PendingDeletion) -> None:
        recording = pending.recording
        track = recording.track(pending.track)
        self._media.remember(recording)
        done = self._now.setdefault(pending.token, asyncio.Event())
        try:
            await self._media.delete(recording.id, track=track.id if track is not None else None)
            await self._forget(pending.token)
        except (CannotDelete, StateUnavailable, StorageUnavailable) as fault:
            if pending.token not in self._said:
                self._said.add(pending.token)
                log.warning("the data of deleted %s waits: %s", recording.token, fault)
        finally:
            self._under_way.discard(pending.token)
            self._now.pop(pending.token, None)
            done.set()
