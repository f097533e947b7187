"""Power cuts with the real ledger: deletion of ranges, runs and recordings, locks and retention across every write, fsck as second judge.

What a viewer may see is found the viewer's way: the span iterator's extents, then the fragments they name.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass

import pytest

from recorderd.model.causes import RunKind
from recorderd.model.ports import Anchor, Clock
from recorderd.model.timeline import RunCause
from recorderd.ring.border import Item, SlotRef, SpanUpdate
from recorderd.ring.fsck.check import check_ring as fsck
from recorderd.ring.fsck.findings import Severity
from recorderd.ring.ledger import items
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.retention import Rule
from recorderd.ring.playback import find_extents
from recorderd.ring.reading import Rotten
from recorderd.ring.ring import Ring
from tests.ring.fakes import BOOT, Body, Feed, feed, formatted, ring_on, serial_of, spec
from tests.ring.sim_disk import Cutter, File, Op, SimDisk
from tests.simulated_time import FakeClock, run_simulated

S = 1_000_000_000
MS = 1_000_000
RECORDINGS = (1, 2, 3)


class Noting(RingLedger):
    """Notes which serials were in slots that vanish."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.serials: dict[tuple[uuid.UUID, int], int] = {}  # track and media time -> serial
        self.held: dict[SlotRef, list[int]] = {}
        self.vanished: list[int] = []

    def media_written(self, update: SpanUpdate) -> None:
        serial = self.serials.get((update.track, update.from_pts))
        if serial is not None:
            self.held.setdefault(update.ref, []).append(serial)
        super().media_written(update)

    def slot_vanishes(self, ref: SlotRef) -> None:
        self.vanished += self.held.pop(ref, [])
        super().slot_vanishes(ref)


@dataclass(frozen=True)
class Mark:
    acknowledged: frozenset[int]
    vanished: int
    deleting: frozenset[int]
    deleted: frozenset[int]
    locked: frozenset[int]


@dataclass
class Recorded:
    base: dict[str, File]
    ops: list[Op]
    final: Mark
    vanished: list[int]
    clock_ns: int
    serials: dict[tuple[uuid.UUID, int], int]

    def mark(self, cut: int) -> Mark:
        mark = self.ops[cut].mark if cut < len(self.ops) else self.final
        assert isinstance(mark, Mark)
        return mark


async def record(clock: FakeClock, *, seed: int) -> Recorded:
    rng = random.Random(seed)
    disk = SimDisk()
    await formatted(disk, slots=24, slot_bytes=128 * 1024, journal_blocks=48)
    ledger = Noting(clock)
    ring = ring_on(disk, clock, ledger)
    assert await ring.mount()
    feeds = [feed(ring, clock, n) for n in RECORDINGS]
    for n, f in zip(RECORDINGS, feeds, strict=True):
        f.pts = n * 10_000_000
    wall_of: dict[int, tuple[int, int]] = {}  # serial -> recording, wall time
    deleting: set[int] = set()
    deleted: set[int] = set()
    locked: set[int] = set()
    ended: set[int] = set()

    def mark() -> Mark:
        acknowledged = frozenset(s for f in feeds for s in f.acknowledged)
        return Mark(acknowledged, len(ledger.vanished), frozenset(deleting), frozenset(deleted), frozenset(locked))

    disk.mark = mark
    base = disk.start_recording()
    runs: dict[int, int] = {}
    serial = 0
    for tick in range(60):
        now = clock.boottime_ns()
        for n, f in zip(RECORDINGS, feeds, strict=True):
            if n in ended:
                continue
            if tick % 13 == 0:
                tracks = [track.track for track in f.writer.spec.tracks]
                if n in runs:
                    ring.stop_run(runs[n], now)
                cause = RunCause(RunKind.CONTINUOUS)
                runs[n] = ring.start_run(f.writer.spec.recording, BOOT, "x", cause, tracks, now)
            ledger.serials[(f.writer.spec.tracks[0].track, f.pts)] = serial
            wall_of[serial] = (n, clock.realtime_ns())
            put(f, serial, rng.randrange(500, 30_000), runs[n], now)
            serial += 1
        keeper = ledger.keeper
        wall = clock.realtime_ns()
        if tick == 20:  # keeps a range of recording 2 from recycling
            keeper.lock(spec(2).recording, wall - 6 * S, wall - 2 * S, owner="test", reason="evidence")
            locked |= {s for s, (n, at) in wall_of.items() if n == 2 and wall - 6 * S <= at < wall - 2 * S}
        if tick in (24, 40):  # a range in the middle of recording 1
            low, high = wall - 9 * S, wall - 4 * S
            keeper.delete(spec(1).recording, start_ns=low, stop_ns=high)
            deleting |= {s for s, (n, at) in wall_of.items() if n == 1 and low <= at < high}
        if tick == 33:  # a whole recording, while it records
            feeds[2].writer.close()
            ring.stop_run(runs[3], now)
            ended.add(3)
            keeper.delete(spec(3).recording)
            deleting |= {s for s, (n, _) in wall_of.items() if n == 3}
        if tick == 45:  # retention
            keeper.set_rule(spec(1).recording, Rule(maximum_ns=30 * S))
        await ring.tick()
        deleted |= deleting
        clock.advance(1)
    return Recorded(base, disk.ops, mark(), ledger.vanished, clock.boottime_ns(), ledger.serials)


def put(f: Feed, serial: int, size: int, run: int, now: int) -> None:
    body = Body(serial, size, f.pts)
    f.writer.append(body, run, [Anchor(0, f.pts, now, 1)], now, now + 1)
    f.serials.append(serial)
    f.pts += 90_000


async def visible(ring: Ring, *, torn: bool = False) -> list[int]:
    """Serials of all that a viewer can get at; with `torn` a fragment may turn out to be no good."""
    found = []
    for n in RECORDINGS:
        for extent in await find_extents(ring, spec(n).tracks[0].track, 0, 1 << 62):
            async with ring.read_slot(extent.ref) as reader:
                wanted = range(extent.first, extent.first + extent.count)
                inside = range(extent.start.ns - MS, extent.stop.ns - MS)  # a fragment arrives when its media begins
                entries = await reader.entries()
                for entry in [e for e in entries if e.sequence in wanted and e.from_ns in inside]:
                    try:
                        payload = (await reader.fragment(entry)).payload
                    except Rotten:
                        assert torn
                        continue
                    found.append(serial_of(payload))
    return found


async def check(image: SimDisk, clock: FakeClock, recorded: Recorded, mark: Mark, *, boot: uuid.UUID) -> None:
    ledger = Noting(clock)
    ring = ring_on(image, clock, ledger, boot=boot)
    assert await ring.mount(), ring.status().detail
    before = await visible(ring, torn=True)
    assert not set(before) & mark.deleted, "deleted media came back before the slots were scanned"
    await ring.scan_now()
    await ring.tick()
    found = await visible(ring)
    assert len(found) == len(set(found)), "a fragment is shown twice"
    assert not set(found) & mark.deleted, f"deleted media came back: {sorted(set(found) & mark.deleted)}"
    # Retention hides the first half minute of recording 1 sooner or later; the recovering ring may have recycled what `before` still had.
    first = spec(1).tracks[0].track
    expiring = {s for (track, pts), s in recorded.serials.items() if track == first and pts < 10_000_000 + 31 * 90_000}
    may_be_gone = set(recorded.vanished[: mark.vanished]) | mark.deleting | expiring
    lost = mark.acknowledged - may_be_gone - set(before) - set(found)
    assert not lost, f"acknowledged and lost: {sorted(lost)}"
    held = mark.locked & mark.acknowledged
    assert held <= set(found), f"locked and lost: {sorted(held - set(found))}"
    report = await fsck(ring.store, ledger, deep=True, repair=False)  # type: ignore[arg-type]
    faults = [str(f) for f in report.findings if f.severity is Severity.ERROR]
    assert not faults, faults[:3]


async def check_cuts(clock: FakeClock, recorded: Recorded, *, every: int, seed: int) -> int:
    rng = random.Random(seed)
    cutter = Cutter(recorded.base, recorded.ops)
    checked = 0
    for cut in range(0, len(recorded.ops) + 1, every):
        image = cutter.image(cut, rng)
        boot = BOOT if cut % 2 else uuid.UUID(int=0x2B007)
        await check(image, clock, recorded, recorded.mark(cut), boot=boot)
        checked += 1
    return checked


def test_cuts_with_deletion_locks_and_retention() -> None:
    async def main(clock: FakeClock) -> None:
        recorded = await record(clock, seed=1)
        assert len(recorded.vanished) > 30
        assert len(recorded.final.deleted) > 30
        assert recorded.final.locked
        assert await check_cuts(clock, recorded, every=5, seed=2) > 40

    run_simulated(main)


def test_without_tombstones_the_test_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    original = RingLedger.take_items

    def forgetful(self: RingLedger) -> list[Item]:
        return [item for item in original(self) if not isinstance(items.decode(item.kind, item.payload), items.Buried)]

    async def main(clock: FakeClock) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(RingLedger, "take_items", forgetful)
            recorded = await record(clock, seed=1)
        with pytest.raises((AssertionError, Rotten), match="deleted media came back"):
            await check_cuts(clock, recorded, every=3, seed=2)

    run_simulated(main)
