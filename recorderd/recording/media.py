"""Locks, deletion and what is told of both: stored media in the words of recordings and tracks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import cast

from recorderd.events.broker import Broker
from recorderd.model.faults import (
    BadConfiguration,
    CannotDelete,
    MaxLocks,
    NoRecording,
    NotFound,
    NoTrack,
    StorageUnavailable,
)
from recorderd.model.objects import Objects
from recorderd.model.ports import DeletedMedia, LockRefused, MediaArchive, MediaLocked, StoreUnavailable
from recorderd.model.recording import Recording
from recorderd.model.timeline import Lock
from recorderd.protocol.wall import to_rfc3339
from recorderd.recording import topics

REMEMBERED = 1000  # names of what was deleted, for the events that follow


class StoredMedia:
    def __init__(self, *, archive: MediaArchive, broker: Broker, objects: Objects) -> None:
        self._archive = archive
        self._broker = broker
        self._recordings = cast("dict[str, Recording]", objects.tables["recording"])
        self._names: dict[
            uuid.UUID, str
        ] = {}  # of recordings and tracks, deleted ones too while data of them may vanish
        archive.on_vanished(self._vanished)

    # --- names ---------------------------------------------------------------------------------------------

    def remember(self, recording: Recording) -> None:
        self._names[recording.id] = recording.token
        self._names.update((t.id, t.token) for t in recording.tracks)
        while len(self._names) > REMEMBERED + 16 * (len(self._recordings) + 1):
            self._names.pop(next(iter(self._names)))

    def _find(self, recording: str, tracks: Sequence[str] = ()) -> tuple[Recording, list[uuid.UUID]]:
        held = self._recordings.get(recording)
        if held is None:
            raise NoRecording(f"there is no recording {recording!r}", argument="recording", got=recording)
        ids = []
        for token in tracks:
            track = held.track(token)
            if track is None:
                raise NoTrack(f"recording {recording} has no track {token!r}", argument="track", got=token)
            ids.append(track.id)
        return held, ids

    def _vanished(self, recording: uuid.UUID, track: uuid.UUID, start_ns: int, stop_ns: int) -> None:
        """DeleteTrackData with the exact range, for recycling and retention as for deletion."""
        for held in self._recordings.values():
            if held.id == recording:
                self.remember(held)
        where, what = self._names.get(recording), self._names.get(track)
        if where is not None and what is not None:
            self._broker.publish(topics.delete_track_data(where, what, to_rfc3339(start_ns), to_rfc3339(stop_ns)))

    # --- deletion ------------------------------------------------------------------------------------------

    def refuse_locked(self, recording: uuid.UUID, track: uuid.UUID | None = None) -> None:
        """Asked before the object goes, so that a refusal changes nothing. Raises `CannotDelete`, `StorageUnavailable`."""
        held = next((r for r in self._recordings.values() if r.id == recording), None)
        if held is not None:
            self.remember(held)
        try:
            locks = self._archive.locked(recording, track)
        except StoreUnavailable as error:
            raise StorageUnavailable(f"without its disk it cannot be deleted: {error.detail}") from error
        if locks:
            raise CannotDelete(f"its data is kept by lock {', '.join(map(str, locks))}", argument="recording")

    async def delete(self, recording: uuid.UUID, *, track: uuid.UUID | None = None) -> DeletedMedia:
        return await self._delete(recording, track=track)

    async def delete_range(
        self, recording: str, track: str | None, start_ns: int | None, stop_ns: int | None, run: int | None = None
    ) -> DeletedMedia:
        """Data of a recording, of one track or of one run, in a range of wall time. Raises `CannotDelete` for locked data."""
        held, ids = self._find(recording, [track] if track is not None else ())
        self.remember(held)
        if start_ns is not None and stop_ns is not None and start_ns >= stop_ns:
            raise BadConfiguration("a range ends after it begins", argument="stop")
        return await self._delete(held.id, track=ids[0] if ids else None, run=run, start_ns=start_ns, stop_ns=stop_ns)

    async def _delete(
        self,
        recording: uuid.UUID,
        *,
        track: uuid.UUID | None = None,
        run: int | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> DeletedMedia:
        try:
            return await self._archive.delete(recording, track=track, run=run, start_ns=start_ns, stop_ns=stop_ns)
        except MediaLocked as error:
            raise CannotDelete(str(error), argument="recording") from error
        except StoreUnavailable as error:
            raise StorageUnavailable(error.detail) from error

    # --- locks ---------------------------------------------------------------------------------------------

    async def lock(
        self, recording: str, tracks: Sequence[str], start_ns: int, stop_ns: int, owner: str, reason: str
    ) -> Lock:
        held, ids = self._find(recording, tracks)
        if start_ns >= stop_ns:
            raise BadConfiguration("a lock ends after it begins", argument="stop")
        try:
            return await self._archive.lock(held.id, start_ns, stop_ns, owner[:64], reason[:200], ids)
        except LockRefused as error:
            raise MaxLocks(str(error)) from error
        except StoreUnavailable as error:
            raise StorageUnavailable(error.detail) from error

    async def unlock(self, lock: int) -> None:
        try:
            if not await self._archive.unlock(lock):
                raise NotFound(f"there is no lock {lock}", argument="lock", got=str(lock))
        except StoreUnavailable as error:
            raise StorageUnavailable(error.detail) from error

    def locks(self, recording: str | None = None) -> list[tuple[Lock, str, tuple[str, ...]]]:
        """Locks with the names of their recording and tracks; of recordings that are gone, their ids."""
        names: dict[uuid.UUID, str] = {}
        for held in self._recordings.values():
            names[held.id] = held.token
            names.update((t.id, t.token) for t in held.tracks)
        wanted = self._find(recording)[0].id if recording is not None else None
        return [
            (lock, names.get(lock.recording, str(lock.recording)), tuple(names.get(t, str(t)) for t in lock.tracks))
            for lock in self._archive.locks()
            if wanted is None or lock.recording == wanted
        ]
