"""What is known of one mounted ring: table, journal, open slots, the pool of reserved slots. `commit.py` moves it forward."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from recorderd.model.ports import Clock, WriterSpec
from recorderd.ring.border import CATALOGUE_SECTION, Item, Ledger, Room, SlotRef, SlotSummary
from recorderd.ring.catalogue_files import CatalogueFiles
from recorderd.ring.checkpoints import CheckpointFiles, Snapshot
from recorderd.ring.files import IDENTITY, IDENTITY_BYTES, read_bytes
from recorderd.ring.formatting import checkpoint_bytes
from recorderd.ring.journal import Journal
from recorderd.ring.layout import (
    COUNTERS_SECTION,
    NO_SLOT,
    TABLE_SECTION,
    UNSCANNED_SECTION,
    Bad,
    DiskIdentity,
    Free,
    Reserve,
    RowFlag,
    SlotState,
    StoreEvent,
    pack_unscanned,
)
from recorderd.ring.leases import Leases
from recorderd.ring.open_slot import OpenSlot, WriterKey
from recorderd.ring.profiles import Profile
from recorderd.ring.reach import Consumption, slot_share
from recorderd.ring.slot_writing import Io
from recorderd.ring.table import SlotTable

_KEPT_FOR_NS: Final = 60_000_000_000
_FORECAST_EVERY_NS: Final = 5_000_000_000


class DiskFailed(Exception):
    """The disk cannot be used any more; everything not durable is back in the writers' queues."""


@dataclass(slots=True)
class Statistics:
    """Since the ring was opened. Times in boot nanoseconds."""

    commits: int = 0
    flushes: int = 0
    syncfs: int = 0
    write_errors: int = 0
    flush_errors: int = 0
    media_bytes: int = 0  # moof and mdat
    written_bytes: int = 0  # all of it, as handed to the disk
    fragments: int = 0
    lost_fragments: int = 0
    slots_closed: int = 0
    slots_reserved: int = 0
    checkpoints: int = 0
    rotten_fragments: int = 0
    last_commit_ns: int = 0
    last_commit_took_ns: int = 0
    slowest_commit_ns: int = 0
    worst_delay_ns: int = 0  # from a fragment's first arrival to its durability


@dataclass(slots=True)
class Rebuild:
    """How far the tables are made anew from the slots (`rebuilding.py`); `losses` says in words what could not be."""

    slots: int
    looked: int = 0
    told: int = 0
    done: bool = False
    losses: list[str] = field(default_factory=list)

    def words(self) -> str:
        if self.looked < self.slots:
            return f"the tables are being made anew: {self.looked} of {self.slots} slots looked at"
        return f"the tables are being made anew: {self.told} slots told of"


@dataclass(eq=False)
class Store:
    """State of one mounted ring. Changed only on the loop; `apply` is the only way a row of the table changes."""

    io: Io
    identity: DiskIdentity
    table: SlotTable
    journal: Journal
    checkpoints: CheckpointFiles
    ledger: Ledger
    clock: Clock
    profile: Profile
    boot_id: uuid.UUID
    leases: Leases
    statistics: Statistics = field(default_factory=Statistics)
    open: dict[WriterKey, OpenSlot] = field(default_factory=dict)
    live: dict[SlotRef, OpenSlot] = field(default_factory=dict)  # open ones, and closing ones until their last commit
    pool: deque[SlotRef] = field(default_factory=deque)  # reservations that are durable
    reserving: list[SlotRef] = field(default_factory=list)  # reservations of a commit not yet flushed
    retry_items: list[Item] = field(default_factory=list)  # of a commit whose flush failed
    corrections: list[StoreEvent] = field(default_factory=list)  # already applied; go into the next commit
    to_free: set[SlotRef] = field(default_factory=set)
    to_close: set[WriterKey] = field(default_factory=set)
    to_scrub: deque[SlotRef] = field(default_factory=deque)
    quarantine: set[int] = field(default_factory=set)  # slots an abandoned call may still write to
    unscanned: dict[int, int] = field(
        default_factory=dict
    )  # slots recovery must still look at -> fragments proven there
    last_slot: dict[WriterKey, SlotRef] = field(default_factory=dict)
    error_times: deque[int] = field(default_factory=deque)
    stale_handles: list[int] = field(default_factory=list)  # to be closed after the next good commit
    flush_failures: int = 0
    need_syncfs: bool = False
    flush_asked: int = 0  # writes beside slots and journal that wait for a flush
    flushed_for: int = 0  # up to which of them it has been made
    starving: int = 0  # writers waiting for a slot
    pool_target: int = 2
    snapshot: Snapshot | None = None
    snapshot_ready: asyncio.Event = field(default_factory=asyncio.Event)
    checkpoint_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    consumption: Consumption = field(default_factory=Consumption)
    catalogue: CatalogueFiles = field(init=False)
    _kept: set[SlotRef] = field(
        default_factory=set
    )  # lately found kept: thousands of locked slots are not asked for each time
    _kept_until_ns: int = 0
    _forecast_due_ns: int = 0
    _forecast_ns: int | None = None
    faults: list[str] = field(default_factory=list)  # what opening found wrong, in words
    rebuild: Rebuild | None = None

    def __post_init__(self) -> None:
        self.catalogue = CatalogueFiles(self.io, self.identity.catalogue_bytes)

    def ask_for_flush(self) -> int:
        """What was written beside slots and journal is covered by the next commit: when `flushed_for` has reached what is returned."""
        self.flush_asked += 1
        return self.flush_asked

    # --- events ---

    def apply(self, event: StoreEvent) -> Item:
        self.table.apply(event)
        return event.item()

    def correct(self, *events: StoreEvent) -> None:
        """Events outside a commit: applied now, durable with the next one."""
        for event in events:
            self.table.apply(event)
            self.corrections.append(event)

    # --- slots ---

    def take_slot(self, key: WriterKey, spec: WriterSpec, head: tuple[bytes, bytes]) -> OpenSlot | None:
        """A durably reserved slot for this writer, or None when there is none right now (I3)."""
        if not self.pool:
            return None
        ref = self.pool.popleft()
        ftyp, moov = head
        slot = OpenSlot(
            ref=ref,
            key=key,
            spec=spec,
            disk_id=self.identity.disk_id,
            boot_id=self.boot_id,
            slot_bytes=self.identity.slot_bytes,
            writer_serial=self.table.next_writer_serial,
            virgin=RowFlag.VIRGIN in self.table.flags(ref.slot),
            ftyp=ftyp,
            moov=moov,
            previous=self.last_slot.get(key, NO_SLOT),
        )
        self.table.next_writer_serial += 1
        self.open[key] = slot
        self.live[ref] = slot
        self.last_slot[key] = ref
        return slot

    def reserve(self, count: int) -> list[StoreEvent]:
        """Events that reserve up to `count` slots: free ones first, then the lowest order that nothing keeps (I4)."""
        events: list[StoreEvent] = []
        wanted: list[SlotRef] = []
        for ref in self._candidates(wanted):
            if len([e for e in events if isinstance(e, Reserve)]) >= count:
                break
            flags = self.table.flags(ref.slot)
            state = self.table.state(ref.slot)
            if state is SlotState.CLOSED:
                self.ledger.slot_vanishes(ref)
            if flags & (RowFlag.RETIRED | RowFlag.REFUSED):
                events.append(Bad(ref))
                self.table.apply(events[-1])
                continue
            events.append(Reserve(SlotRef(ref.slot, self.table.next_generation)))
            self.table.apply(events[-1])
            self.reserving.append(events[-1].ref)
            self.statistics.slots_reserved += 1
        self.leases.recall(wanted)
        return events

    def _candidates(self, wanted: list[SlotRef]) -> Iterator[SlotRef]:
        for slot in self.table.in_state(SlotState.FREE):
            if slot not in self.quarantine:
                yield self.table.ref(slot)
        now_ns = self.clock.boottime_ns()
        if now_ns >= self._kept_until_ns:
            self._kept.clear()
            self._kept_until_ns = now_ns + _KEPT_FOR_NS
        yield from self._recyclable(wanted)
        if self._kept:  # nothing else is left: perhaps some of these are no longer kept
            self._kept.clear()
            yield from self._recyclable(wanted)

    def _recyclable(self, wanted: list[SlotRef]) -> Iterator[SlotRef]:
        for ref in self.table.closed_by_order():
            if ref in self._kept or ref.slot in self.quarantine or ref.slot in self.unscanned:
                continue
            if not self.ledger.may_recycle(ref):
                self._kept.add(ref)
                continue
            if self.leases.is_leased(ref):
                wanted.append(ref)
                continue
            yield ref

    def frees(self) -> list[StoreEvent]:
        """Events for slots the ledger gave back, except those still being read."""
        events: list[StoreEvent] = []
        for ref in sorted(self.to_free):
            if not self.table.is_current(ref) or self.table.state(ref.slot) is not SlotState.CLOSED:
                self.to_free.discard(ref)
                continue
            if ref.slot in self.unscanned:
                continue
            if self.leases.is_leased(ref):
                self.leases.recall([ref])
                continue
            self.to_free.discard(ref)
            retired = self.table.flags(ref.slot) & (RowFlag.RETIRED | RowFlag.REFUSED)
            self.ledger.slot_vanishes(ref)
            events.append(Bad(ref) if retired else Free(ref))
            self.table.apply(events[-1])
            self.to_scrub.append(ref)
        return events

    def usable_slots(self) -> int:
        """Slots that hold closed data once the ring is full."""
        return max(1, len(self.table) - self.table.count(SlotState.BAD) - self.pool_target - len(self.open))

    def forecast_ns(self) -> int | None:
        """How far back the ring will reach once it is full, at the present rates; None while nothing was recorded."""
        now_ns = self.clock.boottime_ns()
        if now_ns >= self._forecast_due_ns:
            self._forecast_due_ns = now_ns + _FORECAST_EVERY_NS
            self._forecast_ns = self._forecast(now_ns)
        return self._forecast_ns

    def _forecast(self, now_ns: int) -> int | None:
        retention = {key: self.ledger.max_slot_reach_ns(slot.spec.recording) for key, slot in self.open.items()}
        limits = {key: ns for key, ns in retention.items() if ns is not None}
        return self.consumption.forecast_ns(self.usable_slots(), self.identity.slot_bytes, now_ns, limits)

    def max_slot_reach_ns(self) -> int | None:
        """A slot that spans more than this closes before it is full, so that what it keeps from recycling stays small."""
        forecast = self.forecast_ns()
        return None if forecast is None else round(forecast * slot_share(self.usable_slots(), len(self.open)))

    def update_pool_target(self) -> None:
        """About 2 and what fills within 10 s, at most a sixteenth of the ring (format.md section 8).

        Cameras that began together fill their slots together: who has to wait for a reservation costs a flush of its own.
        """
        rates = self.consumption.rates(self.clock.boottime_ns())
        filling = sum(slot.slot_bytes - slot.end < 10 * rates.get(key, 0.0) for key, slot in self.open.items())
        wanted = 2 + max(filling, round(sum(rates.values()) * 10 / self.identity.slot_bytes))
        self.pool_target = max(1, min(wanted, len(self.table) // 16))

    # --- checkpoints ---

    def take_snapshot(self, journal_sequence: int) -> Snapshot:
        """Everything the journal says before `journal_sequence`. Only directly after the ledger's items were taken."""
        sections = {
            TABLE_SECTION: self.table.dump(),
            COUNTERS_SECTION: self.table.counters().pack(),
            UNSCANNED_SECTION: pack_unscanned(self.unscanned),
        }
        return Snapshot(journal_sequence, sections | self.ledger.dump())

    def offer_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.snapshot_ready.set()

    async def write_checkpoint(self) -> None:
        """Writes the offered snapshot, if there is one. Raises OSError."""
        async with self.checkpoint_lock:
            snapshot, self.snapshot = self.snapshot, None
            self.snapshot_ready.clear()
            if snapshot is None:
                return
            await self.checkpoints.write(snapshot)
            await self.catalogue.write(snapshot.sections.get(CATALOGUE_SECTION, b""))
            self.journal.kept_from = snapshot.journal_sequence
            self.statistics.checkpoints += 1

    async def disk_answers(self) -> bool:
        """Whether the disk as such can be read: tells a bad place from a disk that is gone."""
        try:
            calls, device = self.io.calls, self.io.device
            handle = await calls.run(device.open, IDENTITY, writable=False, size=IDENTITY_BYTES)
            try:
                await read_bytes(device, calls, self.io.buffers, handle, 0, IDENTITY_BYTES)
            finally:
                await calls.run(device.close, handle)
        except OSError:
            return False
        return True

    # --- the end ---

    def close_files(self) -> None:
        """Closes every file of the ring, so that its disk can be unmounted. Blocks; for a disk thread."""
        handles = [self.journal.handle, *self.stale_handles, *(slot.handle for slot in self.live.values())]
        self.stale_handles.clear()
        for handle in handles:
            if handle >= 0:
                with contextlib.suppress(OSError):
                    self.io.device.close(handle)
        with contextlib.suppress(OSError):
            self.io.device.release()

    # --- border.SlotView ---

    @property
    def disk_id(self) -> uuid.UUID:
        return self.identity.disk_id

    @property
    def ledger_bytes(self) -> int:
        return self.identity.checkpoint_bytes - checkpoint_bytes(len(self.table), 0)

    def room(self) -> Room:
        free = self.table.count(SlotState.FREE) + len(self.pool) + len(self.reserving)
        retired = self.table.rows["flags"] & int(RowFlag.RETIRED | RowFlag.REFUSED) != 0
        closed = int(((self.table.rows["state"] == int(SlotState.CLOSED)) & ~retired).sum())
        writers = len(self.open) + self.starving
        return Room(len(self.table), self.identity.slot_bytes, free, closed, self.pool_target, writers)

    def summary(self, slot: int) -> SlotSummary:
        return self.table.summary(slot)

    def summaries(self) -> Iterable[SlotSummary]:
        for slot in self.table.in_state(SlotState.OPEN, SlotState.CLOSED):
            yield self.table.summary(slot)

    def free_slot(self, ref: SlotRef) -> None:
        self.to_free.add(ref)

    def close_slots_of(self, recording: uuid.UUID) -> None:
        self.to_close.update(key for key, slot in self.open.items() if slot.spec.recording == recording)

    def wake(self) -> None:
        """The next tick looks at the ledger's queue by itself."""
