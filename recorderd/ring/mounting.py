"""Opening the ring on its disk: for the first time, after the disk had failed, and never for longer than a disk may take to answer."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from recorderd.model.causes import GapCause
from recorderd.model.ports import Clock
from recorderd.ring.border import Ledger
from recorderd.ring.checkpoints import CheckpointHistory
from recorderd.ring.device import Device
from recorderd.ring.disk_memory import DiskMemory, NoMemory
from recorderd.ring.disk_threads import DiskCalls
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.rebuilding import begin_rebuild
from recorderd.ring.recovery import NeedsRebuild, NotARing, open_store, reopen_store
from recorderd.ring.store import Store

_STUCK_S: Final = 60.0
UNREADABLE_S: Final = 60.0
_MOUNT_ERRORS: Final = (
    OSError,
    NotARing,
    NeedsRebuild,
    ValueError,
)  # UnsafeFile, UnknownFeature and CorruptStructure are some of these


class CannotMount(Exception):
    """There is no usable ring now; `cause` for the timeline, the text for the operator."""

    def __init__(self, cause: GapCause, words: str) -> None:
        super().__init__(words)
        self.cause = cause


@dataclass(slots=True)
class Mounting:
    """Where a ring is and what is expected there; see `Ring.at` for the fields."""

    open_device: Callable[[], Device]
    make_calls: Callable[[], DiskCalls]
    ledger: Ledger
    clock: Clock
    boot_id: uuid.UUID
    memory: DiskMemory = field(default_factory=NoMemory)
    rebuild_after_s: float | None = UNREADABLE_S
    history: CheckpointHistory = field(default_factory=CheckpointHistory)
    unreadable_since_ns: int | None = None

    async def mount(self, last: Store | None) -> Store:
        """The ring, read from its disk; or `last`, the state of a disk that had failed, on the same disk again. Raises CannotMount."""
        calls = self.make_calls()
        device: Device | None = None
        try:
            async with giving_up_when_stuck(calls, self.clock):
                device = await calls.run(self.open_device)
                if last is not None:
                    store = await reopen_store(last, device, calls, history=self.history)
                else:
                    store = await self._open(device, calls)
                self.unreadable_since_ns = None
                return store
        except _MOUNT_ERRORS as error:
            if device is not None:
                with contextlib.suppress(OSError):
                    device.release()
            calls.close()
            missing = isinstance(error, (FileNotFoundError, NotARing))
            raise CannotMount(GapCause.DISK_MISSING if missing else GapCause.DISK_ERROR, _in_words(error)) from error

    async def _open(self, device: Device, calls: DiskCalls) -> Store:
        try:
            return await open_store(
                device,
                calls,
                ledger=self.ledger,
                clock=self.clock,
                boot_id=self.boot_id,
                memory=self.memory,
                history=self.history,
            )
        except NeedsRebuild as error:
            if not self._is_time(error) or not isinstance(self.ledger, RingLedger):
                raise
            return await begin_rebuild(
                device,
                calls,
                ledger=self.ledger,
                clock=self.clock,
                boot_id=self.boot_id,
                why=str(error),
                memory=self.memory,
                history=self.history,
            )

    def _is_time(self, error: NeedsRebuild) -> bool:
        """Whether to give the checkpoints up. What the disk only fails to give out may come back: a cable, a sector read the tenth time."""
        if self.rebuild_after_s is None:
            return False
        if not error.unreadable:
            return True
        now_ns = self.clock.boottime_ns()
        if self.unreadable_since_ns is None:
            self.unreadable_since_ns = now_ns
        return now_ns - self.unreadable_since_ns >= self.rebuild_after_s * 1_000_000_000


@contextlib.asynccontextmanager
async def giving_up_when_stuck(calls: DiskCalls, clock: Clock) -> AsyncIterator[None]:
    """Abandons the calls when one of them does not return: while mounting and closing, when nobody else watches."""

    async def watch() -> None:
        while calls.oldest_s() <= _STUCK_S:
            await clock.sleep(1.0)
        calls.abandon()

    guard = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        guard.cancel()
        await asyncio.wait([guard])


def _in_words(error: Exception) -> str:
    """One line for the operator."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
