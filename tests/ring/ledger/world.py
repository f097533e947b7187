"""A ledger with a made-up store and clock: writes fragments, reboots, loses power, without any disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.timeline import RunCause, Trust
from recorderd.ring.border import Item, Room, SlotRef, SlotSummary, SpanUpdate
from recorderd.ring.ledger.ledger import RingLedger
from tests.simulated_time import FakeClock

S = 1_000_000_000
MINUTE = 60 * S
HOUR = 3600 * S
DAY = 24 * HOUR
SLOT_BYTES = 8 << 20


def identity(number: int) -> uuid.UUID:
    return uuid.UUID(int=(0xABCD << 64) + number)


class BootClock(FakeClock):
    """A clock that can also reboot."""

    def set(self, boottime_ns: int, wall_ns: int) -> None:
        self._by_hand_ns = boottime_ns
        self._offset_ns = wall_ns - boottime_ns


class FakeStore:
    def __init__(self) -> None:
        self.disk_id = identity(99)
        self.boot_id = identity(1000)
        self.freed: list[SlotRef] = []
        self.closed_for: list[uuid.UUID] = []
        self.wakes = 0
        self.ledger_bytes = 80 << 20
        self.now_room = Room(slots=1000, slot_bytes=SLOT_BYTES, free=500, closed=500, pool=4, open_writers=2)

    def room(self) -> Room:
        return self.now_room

    def summary(self, slot: int) -> SlotSummary:
        raise NotImplementedError

    def summaries(self) -> Iterable[SlotSummary]:
        raise NotImplementedError

    def free_slot(self, ref: SlotRef) -> None:
        self.freed.append(ref)

    def close_slots_of(self, recording: uuid.UUID) -> None:
        self.closed_for.append(recording)

    def wake(self) -> None:
        self.wakes += 1


@dataclass
class World:
    """One ring's ledger, driven by hand. `journal` is what the store would have written."""

    clock: BootClock = field(default_factory=BootClock)
    store: FakeStore = field(default_factory=FakeStore)
    journal: list[Item] = field(default_factory=list)
    generation: int = 0
    next_slot: int = 0
    fragments: dict[SlotRef, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock.set(10 * S, 1_760_000_000 * S)
        self.ledger = self.fresh()
        self.ledger.recovered()

    def fresh(self) -> RingLedger:
        ledger = RingLedger(clock=self.clock)
        ledger.attach(self.store)
        return ledger

    @property
    def now(self) -> int:
        return self.clock.boottime_ns()

    @property
    def wall(self) -> int:
        return self.clock.realtime_ns()

    def commit(self) -> None:
        self.ledger.tick()
        self.journal += self.ledger.take_items()

    def new_slot(self, slot: int | None = None) -> SlotRef:
        self.generation += 1
        if slot is None:
            slot, self.next_slot = self.next_slot, self.next_slot + 1
        ref = SlotRef(slot, self.generation)
        self.fragments[ref] = 0
        return ref

    def start(
        self, recording: int, tracks: tuple[int, ...], kind: RunKind = RunKind.CONTINUOUS, topic: str = ""
    ) -> int:
        return self.ledger.start_run(
            identity(recording),
            identity(recording + 500),
            f"camera {recording}",
            RunCause(kind, topic=topic),
            [identity(t) for t in tracks],
            self.now,
        )

    def write(
        self,
        ref: SlotRef,
        recording: int,
        track: int,
        run: int,
        from_ns: int,
        to_ns: int,
        *,
        priority: int = 0,
        fragment: int | None = None,
        boot: uuid.UUID | None = None,
    ) -> SpanUpdate:
        if fragment is None:
            fragment = self.fragments[ref]
            self.fragments[ref] = fragment + 1
        update = SpanUpdate(
            recording=identity(recording),
            track=identity(track),
            track_index=0,
            writer_serial=recording,
            priority=priority,
            run=run,
            boot_id=boot or self.store.boot_id,
            from_ns=from_ns,
            to_ns=to_ns,
            from_pts=from_ns // 11111,
            to_pts=to_ns // 11111,
            timescale=90_000,
            session=1,
            anchor_pts=0,
            anchor_ns=from_ns,
            report=None,
            ref=ref,
            fragment=fragment,
            first_key_pts=from_ns // 11111,
            keys=1,
            continues=False,
            damaged=False,
        )
        self.ledger.media_written(update)
        return update

    def record(
        self,
        ref: SlotRef,
        recording: int,
        track: int,
        run: int,
        seconds: float,
        *,
        step: float = 2.0,
        priority: int = 0,
    ) -> None:
        """Writes `seconds` of media from now on, a fragment every `step`, time passing."""
        left = seconds
        while left > 0:
            part = min(step, left)
            begin = self.now
            self.clock.advance(part)
            self.write(ref, recording, track, run, begin, self.now, priority=priority)
            self.commit()
            left -= part

    def power_cut(self, *, off_s: float = 60.0, new_boot: bool = True, checkpoint: bool = False) -> None:
        """Everything not in the journal is lost; then the recorder starts again."""
        sections = self.ledger.dump() if checkpoint else {}
        items = [] if checkpoint else list(self.journal)
        if new_boot:
            wall = self.wall + round(off_s * S)
            self.store.boot_id = identity(self.store.boot_id.int + 1 & 0xFFFF)
            self.clock.set(12 * S, wall)
        else:
            self.clock.advance(off_s)
        self.ledger = self.fresh()
        self.ledger.load(sections)
        for item in items:
            self.ledger.apply(item.kind, item.payload)
        self.ledger.recovered()
        self.commit()

    def bars(
        self, recording: int, track: int | None = None, from_ns: int = 0, to_ns: int | None = None
    ) -> list[tuple[float, float, object]]:
        """(start, stop, what) in seconds since 2025-10-09T08:53:20Z, where `what` is a RunKind or a GapCause."""
        rows = self.ledger.queries.timeline(
            identity(recording), None if track is None else identity(track), from_ns, to_ns or 1 << 61
        )
        zero = 1_760_000_000 * S
        return [
            (
                (int(r["start"]) - zero) / S,
                (int(r["stop"]) - zero) / S,
                GapCause(int(r["cause"])) if r["cause"] >= 0 else RunKind(int(r["kind"])) if r["kind"] >= 0 else None,
            )
            for r in rows
        ]


UNTRUSTED = Trust.NONE
