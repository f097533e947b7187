"""What is stored, as the services ask for it (`ports.MediaArchive`): locks, deletion and retention, durable when a call returns."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from recorderd.model.causes import GapCause
from recorderd.model.ports import DeletedMedia, LockRefused, MediaLocked, Retention, StoreUnavailable
from recorderd.model.timeline import Lock
from recorderd.ring.ledger import deletion, locks
from recorderd.ring.ledger.book import NoSuchThing, VanishedMedia
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.retention import Rule
from recorderd.ring.ring import Ring


class Archive:
    """One ring's archive."""

    def __init__(self, *, ring: Ring, ledger: RingLedger) -> None:
        self._ring = ring
        self._keeper = ledger.keeper
        self._ledger = ledger

    async def delete(
        self,
        recording: uuid.UUID,
        *,
        track: uuid.UUID | None = None,
        run: int | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> DeletedMedia:
        self._need_disk()
        try:
            done = self._keeper.delete(recording, track=track, run=run, start_ns=start_ns, stop_ns=stop_ns)
        except NoSuchThing:
            return DeletedMedia(0, 0, 0)
        except deletion.DeletionRefused as refused:
            raise MediaLocked(refused.locks) from refused
        slot_bytes = self._slot_bytes()
        await self._ring.make_durable()
        return DeletedMedia(
            len({changed for changed, _, _ in done.ranges}),
            len(done.freed) * slot_bytes,
            len(done.partial) * slot_bytes,
        )

    async def lock(
        self,
        recording: uuid.UUID,
        start_ns: int,
        stop_ns: int,
        owner: str,
        reason: str,
        tracks: Sequence[uuid.UUID] = (),
    ) -> Lock:
        self._need_disk()
        try:
            made = self._keeper.lock(recording, start_ns, stop_ns, owner, reason, tracks)
        except locks.LockRefused as refused:
            raise LockRefused(str(refused)) from refused
        except (NoSuchThing, ValueError) as error:
            raise LockRefused(str(error)) from error
        await self._ring.make_durable()
        return made

    async def unlock(self, lock: int) -> bool:
        self._need_disk()
        try:
            self._keeper.unlock(lock)
        except NoSuchThing:
            return False
        await self._ring.make_durable()
        return True

    def locks(self) -> Sequence[Lock]:
        return self._keeper.list_locks()

    def locked(self, recording: uuid.UUID, track: uuid.UUID | None = None) -> tuple[int, ...]:
        return tuple(
            lock.id
            for lock in self._keeper.list_locks(recording)
            if track is None or not lock.tracks or track in lock.tracks
        )

    def set_retention(self, recording: uuid.UUID, retention: Retention) -> None:
        rule = Rule(
            maximum_ns=retention.maximum_ns or None, minimum_ns=retention.minimum_ns, quota_bytes=retention.quota_bytes
        )
        self._keeper.set_rule(recording, rule)

    def on_vanished(self, listener: Callable[[uuid.UUID, uuid.UUID, int, int], None]) -> None:
        def told(gone: list[VanishedMedia]) -> None:
            for media in gone:
                listener(media.recording, media.track, media.start_ns, media.stop_ns)

        self._ledger.on_vanished(told)

    def _need_disk(self) -> None:
        if self._ring.store is None:
            status = self._ring.status()
            raise StoreUnavailable(status.cause or GapCause.DISK_MISSING, status.detail or "there is no disk")

    def _slot_bytes(self) -> int:
        return self._ring.store.identity.slot_bytes if self._ring.store is not None else 0
