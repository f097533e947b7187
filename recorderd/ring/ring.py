"""`Ring`: one disk's ring as the recorder sees it (`ports.MediaStore`), through good days and bad.

`run` mounts the ring, commits once per tick, scans old slots and writes checkpoints beside that. When the disk fails or is pulled, the ring
is degraded and says why; fragments stay queued in RAM up to a bound, and `run` tries again until the same disk is back. It never exits
because of the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from recorderd.media.init_segment import FTYP, moov
from recorderd.model.causes import GapCause
from recorderd.model.ports import Clock, DurableSink, StoreUnavailable, WriterSpec
from recorderd.model.timeline import RunCause
from recorderd.ring.border import Ledger, SlotRef
from recorderd.ring.commit import Committed, FlushFailed, commit
from recorderd.ring.device import Device, FileDevice
from recorderd.ring.disk_memory import DiskMemory, NoMemory
from recorderd.ring.disk_threads import DiskCalls, DiskClosed, DiskStuck, DiskThreads
from recorderd.ring.layout import SlotState
from recorderd.ring.mounting import UNREADABLE_S, CannotMount, Mounting, giving_up_when_stuck
from recorderd.ring.reading import SlotReader, read_slot
from recorderd.ring.ring_status import Condition, RingHealth, health_of, status_of
from recorderd.ring.ring_status import RingState as RingState
from recorderd.ring.ring_status import RingStatus as RingStatus
from recorderd.ring.store import DiskFailed, Store
from recorderd.ring.upkeep import look_at_old_slots, remember, watch, write_checkpoints
from recorderd.ring.writers import QueueBound, RingWriter

log = logging.getLogger(__name__)

STUCK_S: Final = 30.0  # the watchdog's bound
AWAY_TICK_S: Final = 1.0


HeadBuilder = Callable[[WriterSpec], tuple[bytes, bytes]]  # ftyp and moov of a writer's slots


def slot_head(spec: WriterSpec) -> tuple[bytes, bytes]:
    return FTYP, moov(spec)


class Ring:
    """See `at`. All methods are to be called on the loop."""

    def __init__(
        self,
        *,
        open_device: Callable[[], Device],
        make_calls: Callable[[], DiskCalls],
        ledger: Ledger,
        clock: Clock,
        boot_id: uuid.UUID,
        head: HeadBuilder = slot_head,
        queue_bytes: int = 256 << 20,
        retry_s: float = 5.0,
        memory: DiskMemory | None = None,
        rebuild_after_s: float | None = UNREADABLE_S,
        name: str = "ring",
    ) -> None:
        self.ledger = ledger
        self._memory = memory if memory is not None else NoMemory()
        self._mounting = Mounting(open_device, make_calls, ledger, clock, boot_id, self._memory, rebuild_after_s)
        self._clock = clock
        self._head = head
        self._retry_s = retry_s
        self._name = name
        self._store: Store | None = None
        self._last_store: Store | None = None  # of a disk that failed: its state in RAM is the newest there is
        self._writers: list[RingWriter] = []
        self._feeders: list[Callable[[int], None]] = []
        self._bound = QueueBound(queue_bytes)
        self._urge = asyncio.Event()
        self._stop = asyncio.Event()
        self._stopped = asyncio.Event()
        self._running = False
        self._ejected = False
        self._away = asyncio.Event()
        self._commit_lock = asyncio.Lock()
        self._committed = asyncio.Event()
        self._commits = 0
        self._condition = Condition(name)

    @classmethod
    def at(
        cls,
        folder: Path,
        *,
        ledger: Ledger,
        clock: Clock,
        boot_id: uuid.UUID,
        durability: str = "direct",
        queue_bytes: int = 256 << 20,
        retry_s: float = 5.0,
        memory: DiskMemory | None = None,
        rebuild_after_s: float | None = UNREADABLE_S,
    ) -> Ring:
        """The ring in `folder`, not mounted yet: `run` does that.

        `memory`: how far the disk had come, so that an older copy of it is refused. Lost tables are made anew from the slots; when the disk
        does not give the checkpoints out, for `rebuild_after_s` (None: never).
        `durability` as in `FileDevice`.
        """
        return cls(
            open_device=lambda: FileDevice(folder, durability=durability),
            make_calls=lambda: DiskThreads(clock=clock, name=folder.name or "disk"),
            ledger=ledger,
            clock=clock,
            boot_id=boot_id,
            queue_bytes=queue_bytes,
            retry_s=retry_s,
            memory=memory,
            rebuild_after_s=rebuild_after_s,
            name=str(folder),
        )

    # --- ports.MediaStore ---------------------------------------------------------------------------------

    def open_writer(self, spec: WriterSpec, sink: DurableSink) -> RingWriter:
        """Raises StoreUnavailable when the ring was never mounted, ValueError for a deleted recording or track or a format that no slot
        can hold."""
        self._need_state()
        self.ledger.writer_opened(spec)
        writer = RingWriter(
            spec,
            sink,
            head=self._head(spec),
            bound=self._bound,
            refusal=self._refusal,
            urge=self._urge.set,
        )
        self._writers.append(writer)
        return writer

    def start_run(
        self,
        recording: uuid.UUID,
        job: uuid.UUID,
        source: str,
        cause: RunCause,
        tracks: Sequence[uuid.UUID],
        at_ns: int,
    ) -> int:
        """Raises StoreUnavailable when the ring was never mounted: its run numbers are not known then."""
        self._need_state()
        return self.ledger.start_run(recording, job, source, cause, tracks, at_ns)

    def stop_run(self, run: int, at_ns: int) -> None:
        self._need_state()
        self.ledger.stop_run(run, at_ns)

    def note_gap(
        self, recording: uuid.UUID, tracks: Sequence[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int | None
    ) -> None:
        self._need_state()
        self.ledger.note_gap(recording, tracks, cause, from_ns, to_ns)

    def before_tick(self, feeder: Callable[[int], None]) -> None:
        self._feeders.append(feeder)

    def _need_state(self) -> None:
        if self._store is None and self._last_store is None:
            raise self._condition.unavailable()

    def _refusal(self, size: int) -> StoreUnavailable | None:
        if self._store is None and self._last_store is None:
            return self._condition.unavailable()
        if self._bound.has_room(size):
            return None
        if self._store is None:
            return self._condition.unavailable()
        if self._condition.cause is GapCause.RING_FULL_OF_LOCKS:
            return self._condition.unavailable()
        return StoreUnavailable(GapCause.DISK_SLOW, f"{self._bound.bytes >> 20} MiB wait for the disk")

    # --- reading ------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def read_slot(self, ref: SlotRef, *, seconds: float = 60.0, hold: bool = False) -> AsyncIterator[SlotReader]:
        """A leased slot. Raises StoreUnavailable, also in the middle when the ring lets its disk go; Recycled, OSError, UnsafeFile."""
        store = self.mounted()
        try:
            async with read_slot(store, ref, seconds=seconds, hold=hold) as reader:
                yield reader
        except OSError as error:
            if self._store is store and not isinstance(error, (DiskClosed, DiskStuck)):
                raise
            raise self._condition.unavailable() from error

    def mounted(self) -> Store:
        """Raises StoreUnavailable."""
        if self._store is None:
            raise self._condition.unavailable()
        return self._store

    def commit_after(self) -> asyncio.Event:
        """Set by the next commit, or when none will come because the disk is let go: what follows the live edge takes it before it looks,
        then waits for it."""
        return self._committed

    def commit_soon(self) -> None:
        """Does not wait for the next tick."""
        self._urge.set()

    def stuck(self) -> str | None:
        """Why the process should be restarted: data waits, the disk is believed healthy, and no commit completes (design, section 10)."""
        store = self._store
        if store is None or not self._bound.bytes or self._condition.state is not RingState.HEALTHY:
            return None
        if not store.statistics.last_commit_ns:
            return None
        age_s = (self._clock.boottime_ns() - store.statistics.last_commit_ns) / 1e9
        return f"{self._name}: data waits and nothing was committed for {age_s:.0f} s" if age_s > STUCK_S else None

    async def make_durable(self) -> None:
        """Returns when what the ledger queued before the call is durable. Raises StoreUnavailable when the disk fails first."""
        wanted = self._commits + (
            2 if self._commit_lock.locked() else 1
        )  # one under way may have taken its items already
        while self._commits < wanted:
            self.mounted()
            self._urge.set()
            await self._wait(self._committed, 0.5)

    def writers(self) -> Sequence[RingWriter]:
        """The open ones, with what each has queued and what a power cut would have cost it at worst."""
        return tuple(self._writers)

    @property
    def store(self) -> Store | None:
        """The mounted store, for readers, fsck and lists; None while there is no usable disk."""
        return self._store

    # --- life ---------------------------------------------------------------------------------------------

    async def mount(self) -> bool:
        """Opens the ring on its disk; False when that is not possible now (state and cause say why)."""
        try:
            store = await self._mounting.mount(self._last_store)
        except CannotMount as error:
            self._condition.degrade(error.cause, str(error))
            return False
        for fault in store.faults:
            log.warning("%s: %s", self._name, fault)
        self._store, self._last_store = store, None
        self._condition.recover()
        return True

    async def eject(self) -> None:
        """Commits, closes everything on the disk, so that it can be unmounted, and stays away from it until `insert`."""
        self._ejected = True
        self._away.clear()
        self._urge.set()
        if self._running:
            await self._away.wait()
        elif self._store is not None:
            await self._part_from(self._store)

    @property
    def remembers(self) -> bool:
        """Whether a ring that is not there now was in use: only that one will be taken back."""
        return self._last_store is not None

    def insert(self) -> None:
        """The disk may be used again."""
        self._ejected = False
        self._urge.set()

    async def _part_from(self, store: Store) -> None:
        await self._end(store, will_be_back=True)
        self._condition.degrade(GapCause.DISK_MISSING, "the disk was taken out of use")

    async def _end(self, store: Store, *, will_be_back: bool) -> None:
        try:
            await self._last_commits(store)
            self._leave(store if will_be_back else None)
            await store.io.calls.run(store.close_files)
            store.io.calls.close()
        except (DiskFailed, FlushFailed, OSError) as error:
            log.error("%s: the last commit failed: %s", self._name, error)
            self._leave(store if will_be_back else None)
            self._let_go(store)

    async def run(self) -> None:
        """Commits until `close`. Comes back from every disk failure."""
        self._running = True
        try:
            while not self._stop.is_set():
                if self._ejected:
                    if self._store is not None:
                        await self._part_from(self._store)
                    self._away.set()
                    self._urge.clear()
                    async with self._feeding():
                        await self._wait(self._urge, self._retry_s)
                    continue
                if self._store is None:
                    async with self._feeding():
                        if not await self.mount():
                            await self._wait(self._stop, self._retry_s)
                            continue
                await self._serve()
        finally:
            self._running = False
            self._stopped.set()

    async def close(self) -> None:
        """Commits what is queued, closes the open slots, writes a checkpoint and lets the disk go."""
        self._stop.set()
        self._urge.set()
        if self._running:
            await self._stopped.wait()
        store = self._store
        if store is not None:
            async with giving_up_when_stuck(store.io.calls, self._clock):
                await self._end(store, will_be_back=False)
        self._condition.close()

    async def tick(self) -> Committed:
        """One commit tick: feeders, then commits until nothing that can be stored now waits. Raises DiskFailed, FlushFailed."""
        store = self._store
        if store is None:
            raise DiskFailed(self._condition.detail)
        async with self._commit_lock:
            self._feed()
            self.ledger.tick()
            store.update_pool_target()
            while (done := await commit(store, self._writers)).more:
                pass
            self._writers = [writer for writer in self._writers if writer.queue or not writer.closed]
            self._after_commit(store)
        return done

    def _feed(self) -> None:
        now_ns = self._clock.boottime_ns()
        for feeder in self._feeders:
            feeder(now_ns)

    @contextlib.asynccontextmanager
    async def _feeding(self) -> AsyncIterator[None]:
        """Without a disk the feeders are called all the same: what waits stays within its bounds, and why it waits is told."""

        async def feed_on() -> None:
            while True:
                self._feed()
                await asyncio.sleep(AWAY_TICK_S)

        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed_on())
            try:
                yield
            finally:
                feeding.cancel()

    def _after_commit(self, store: Store) -> None:
        self._commits += 1
        self._wake_readers()
        if store.starving and not store.pool and store.table.count(SlotState.FREE) == 0:
            if store.rebuild is not None and not store.rebuild.done:
                self._condition.degrade(GapCause.DISK_ERROR, store.rebuild.words())
                return
            self._condition.degrade(
                GapCause.RING_FULL_OF_LOCKS, "no slot can be recycled: locks, minima or readers keep all of them"
            )
        else:
            self._condition.recover()

    async def _serve(self) -> None:
        store = self._store
        assert store is not None
        failure: str | None = None
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(watch(store, self._clock, self._name, partial(self._note_age, store))),
                group.create_task(write_checkpoints(store, self._clock, self._name, self._retry_s)),
                group.create_task(look_at_old_slots(store, self._next_commit, self._urge.set, self._name)),
                group.create_task(remember(store, self._memory, self._clock, self._name)),
            ]
            try:
                failure = await self._ticks(store)
            finally:
                for task in beside:
                    task.cancel()
        if failure is not None:
            self._fail(store, failure)

    async def _ticks(self, store: Store) -> str | None:
        """Until `close` (None) or until the disk fails (why)."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not (self._stop.is_set() or self._ejected):
            self._urge.clear()
            try:
                await self.tick()
            except FlushFailed as error:
                log.error("%s: a flush failed, what it should have covered is written again: %s", self._name, error)
                self._condition.degrade(GapCause.DISK_ERROR, f"a flush failed: {error}")
                continue
            except DiskFailed as error:
                return str(error)
            now = loop.time()
            if now >= due:
                due = max(due + store.profile.tick_s, now)
            await self._wait(self._urge, max(0.0, due - now))
        return None

    @staticmethod
    async def _wait(event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)

    def _note_age(self, store: Store, oldest_s: float) -> None:
        """The age of the disk's oldest call, once a second."""
        self._condition.slow = oldest_s > store.profile.slow_after_s
        if self._condition.slow:
            self._condition.degrade(GapCause.DISK_SLOW, f"the disk has not answered for {oldest_s:.0f} s")

    async def scan_now(self) -> None:
        """Scans without `run`, for tools."""
        if self._store is not None:
            await look_at_old_slots(self._store, self._next_commit, self._urge.set, self._name)

    async def _next_commit(self) -> None:
        """Returns after a commit; makes it when `run` does not."""
        if self._running:
            await self._committed.wait()
        else:
            await self.tick()

    async def _last_commits(self, store: Store) -> None:
        await self.tick()
        store.to_close.update(store.open)
        async with self._commit_lock:
            await commit(store, self._writers)
            await commit(store, self._writers)  # side blocks of the slots that have just been closed
        store.offer_snapshot(store.take_snapshot(store.journal.sequence))
        await store.write_checkpoint()

    def _fail(self, store: Store, why: str) -> None:
        self._leave(store)
        self._condition.degrade(GapCause.DISK_ERROR, why)
        self._let_go(store)

    def _leave(self, last: Store | None) -> None:
        """From here on nobody gets at the disk: who reads is told at his next call, who waits for a commit now."""
        self._store, self._last_store = None, last
        self._wake_readers()

    def _wake_readers(self) -> None:
        waiters, self._committed = self._committed, asyncio.Event()
        waiters.set()

    def _let_go(self, store: Store) -> None:
        """Closes what is open without waiting for a disk that may never answer."""
        store.io.calls.close(store.close_files)

    # --- state --------------------------------------------------------------------------------------------

    @property
    def state(self) -> RingState:
        return self._condition.state

    @property
    def cause(self) -> GapCause | None:
        return self._condition.cause

    def health(self) -> RingHealth:
        return health_of(self._store or self._last_store, self._condition)

    def status(self) -> RingStatus:
        return status_of(self._store or self._last_store, self._condition, self._bound.bytes)
