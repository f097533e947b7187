"""fsck on a simulated disk: a sound ring is found sound, every kind of damage is named, repaired where it can be, and a ring that lost
its tables is rebuilt from its slots."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.ports import Anchor
from recorderd.model.timeline import RunCause, Trust
from recorderd.ring.fsck.check import check_ring
from recorderd.ring.fsck.findings import Report, Severity
from recorderd.ring.layout import NO_SLOT, SlotIdentity, SlotState
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring
from recorderd.ring.store import Store
from tests.ring.fakes import BOOT, Body, Feed, Sink, contents, formatted, ring_on, spec
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated

S = 1_000_000_000


@dataclass
class Bench:
    """Two cameras that filled some slots, with a lock and a deletion."""

    disk: SimDisk
    clock: FakeClock
    ledger: RingLedger
    ring: Ring
    runs: list[int]

    @property
    def store(self) -> Store:
        store = self.ring.store
        assert store is not None
        return store

    async def check(self, *, deep: bool = True, repair: bool = False) -> Report:
        report = await check_ring(self.store, self.ledger, deep=deep, repair=repair)
        await self.ring.tick()
        return report

    def bars(self, number: int) -> list[tuple[int, int, int]]:
        rows = self.ledger.queries.timeline(spec(number).recording, None, 0, 1 << 61)
        return [(int(r["start"]), int(r["stop"]), int(r["run"])) for r in rows if r["cause"] < 0]

    def causes(self, number: int) -> list[GapCause]:
        rows = self.ledger.queries.timeline(spec(number).recording, None, 0, 1 << 61)
        return [GapCause(int(r["cause"])) for r in rows if r["cause"] >= 0]

    def flip(self, path: str, offset: int) -> None:
        """One byte changes on the medium."""
        self.disk.files[path].data[offset] ^= 0xFF

    def closed_slot(self) -> int:
        return self.store.table.in_state(SlotState.CLOSED)[0]


async def record(ring: Ring, clock: FakeClock, seconds: int) -> list[int]:
    runs = []
    feeds: list[Feed] = []
    for number in (1, 2):
        who = spec(number)
        cause = RunCause(
            RunKind.EVENT if number == 2 else RunKind.CONTINUOUS, topic="tns1:Motion" if number == 2 else ""
        )
        run = ring.start_run(
            who.recording, uuid.UUID(int=77), who.source, cause, [t.track for t in who.tracks], clock.boottime_ns()
        )
        runs.append(run)
        sink = Sink()
        feeds.append(Feed(ring, clock, ring.open_writer(who, sink), [], sink))
    for second in range(seconds):
        for feed, run in zip(feeds, runs, strict=True):
            now = clock.boottime_ns()
            body = Body(second, 9_000, feed.pts)
            feed.writer.append(body, run, [Anchor(0, feed.pts, now, 1)], now, now + 1)
            feed.pts += body.duration
        clock.advance(1)
        await ring.tick()
    for run in runs:
        ring.stop_run(run, clock.boottime_ns())
    await ring.tick()
    return runs


def on_a_bench(body: Callable[[Bench], Awaitable[None]], *, seconds: int = 60) -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk, slots=24)
        ledger = RingLedger(clock=clock)
        ring = ring_on(disk, clock, ledger)  # type: ignore[arg-type]
        assert await ring.mount()
        runs = await record(ring, clock, seconds)
        await body(Bench(disk, clock, ledger, ring, runs))

    run_simulated(main)


def faults(report: Report) -> list[tuple[str, str]]:
    return [(f.invariant, f.subject) for f in report.findings if f.severity is not Severity.NOTICE]


def test_a_sound_ring_is_found_sound_while_it_records() -> None:
    async def body(bench: Bench) -> None:
        report = await bench.check()
        assert faults(report) == []
        assert report.clean
        assert report.slots_checked == bench.store.table.count(SlotState.CLOSED) > 3
        assert report.fragments_checked > 20
        assert "no fault" in report.verdict()

    on_a_bench(body)


@pytest.mark.parametrize("where", ["head", "moov", "index", "media", "checkpoint", "identity"])
def test_one_flipped_byte_is_named_and_repaired_where_it_can_be(where: str) -> None:
    async def body(bench: Bench) -> None:
        slot = bench.closed_slot()
        path = f"slots/000/{slot:06d}.mp4"
        if where == "head":
            bench.flip(path, 100)
        elif where == "moov":
            bench.flip(path, 3 * 4096 + 100)
        elif where == "index":
            bench.flip(path, bench.disk.files[path].data.rfind(b"RECINDX") - 100)
        elif where == "media":
            bench.flip(path, 8 * 4096 + 4096 + 500)
        elif where == "checkpoint":
            bench.flip("ckpt.a", 200)
        else:
            bench.flip("recorderd.id", 4096 + 20)
        found = await bench.check()
        subject = {"checkpoint": "checkpoints", "identity": "recorderd.id"}.get(where, f"slot {slot}")
        invariant = {"head": "I2", "moov": "I2", "index": "I5", "media": "I1", "checkpoint": "I8", "identity": "I8"}[
            where
        ]
        assert faults(found) == [(invariant, subject)], found.findings
        assert not found.clean
        mended = await bench.check(repair=True)
        again = await bench.check()
        assert [f for f in mended.findings if f.repaired], mended.findings
        assert faults(again) == []
        if where == "media":
            causes = [c for n in (1, 2) for c in bench.causes(n)]
            assert causes == [GapCause.ROT]

    on_a_bench(body)


@pytest.mark.parametrize(
    ("newest", "cause", "said"),
    [
        (True, GapCause.RECORDER_CRASH, "were cut off by a power failure, never acknowledged"),
        (False, GapCause.ROT, "are rotten"),
    ],
    ids=["in the last commit", "in the commit before"],
)
def test_a_hole_is_the_power_failures_where_nothing_proves_it_was_written(
    newest: bool, cause: GapCause, said: str
) -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk, slots=24)
        ring = ring_on(disk, clock, RingLedger(clock=clock))  # type: ignore[arg-type]
        assert await ring.mount()
        who, sink = spec(1), Sink()
        run = ring.start_run(who.recording, BOOT, "x", RunCause(RunKind.CONTINUOUS), [who.tracks[0].track], 0)
        one = Feed(ring, clock, ring.open_writer(who, sink), [], sink)

        def append(serial: int) -> None:
            now = clock.boottime_ns()
            one.writer.append(Body(serial, 2_000, one.pts), run, [Anchor(0, one.pts, now, 1)], now, now + 1)
            one.pts += 90_000
            clock.advance(1)

        for commit in range(2):  # each of three fragments of one slot
            for serial in range(3):
                append(3 * commit + serial)
            await ring.tick()
        (slot,) = ring.mounted().live.values()
        entry = slot.entries[4 if newest else 1]
        image = SimDisk({path: file.copy() for path, file in disk.files.items()})
        data = image.files[f"slots/000/{slot.ref.slot:06d}.mp4"].data
        data[entry.offset : entry.offset + entry.fragment_bytes] = bytes(entry.fragment_bytes)

        ledger = RingLedger(clock=clock)
        again = ring_on(image, clock, ledger)  # type: ignore[arg-type]
        assert await again.mount()
        await again.scan_now()
        await again.tick()
        assert sorted(s for found in (await contents(again)).values() for s in found) == [
            s for s in range(6) if s != (4 if newest else 1)
        ], "what follows the hole is kept"
        rows = ledger.queries.timeline(who.recording, None, 0, 1 << 61)
        assert next(GapCause(int(row["cause"])) for row in rows if row["cause"] >= 0) is cause
        assert again.status().statistics.rotten_fragments == (0 if newest else 1)
        report = await check_ring(again.mounted(), ledger, deep=True, repair=False)
        assert faults(report) == []
        assert [f.text for f in report.findings if f.invariant == "I1"] == [
            f"1 of 6 fragments {said}; no timeline shows them"
        ]

    run_simulated(main)


def block_0(bench: Bench, slot: int) -> SlotIdentity:
    return SlotIdentity.unpack_block(bytes(bench.disk.files[f"slots/000/{slot:06d}.mp4"].data[:4096]))


async def mended_as(bench: Bench, slot: int, *, certain: bool) -> None:
    """The head of `slot` is lost; a repair brings back what stood there, or says why not."""
    before = block_0(bench, slot)
    bench.flip(f"slots/000/{slot:06d}.mp4", 100)
    (named,) = [f for f in (await bench.check()).findings if f.severity is Severity.ERROR]
    assert (named.invariant, named.subject, named.repaired) == ("I2", f"slot {slot}", "")
    assert ("no other slot tells for certain whose it is" in named.text) is not certain
    await bench.check(repair=True)
    after = await bench.check()
    assert faults(after) == ([] if certain else [("I2", f"slot {slot}")])
    if certain:
        assert block_0(bench, slot) == replace(before, previous=NO_SLOT, previous_digest=bytes(32))


def test_a_head_is_mended_from_a_successor_that_is_still_open() -> None:
    async def body(bench: Bench) -> None:
        await record(bench.ring, bench.clock, 3)
        (open_one, *_) = [slot for slot in bench.store.live.values() if slot.durable]
        assert bench.store.table.state(open_one.previous.slot) is SlotState.CLOSED
        await mended_as(bench, open_one.previous.slot, certain=True)

    on_a_bench(body)


@pytest.mark.parametrize("certain", [True, False], ids=["one receiver", "two receivers"])
def test_the_last_head_of_a_writer_is_mended_where_it_is_certain_who_wrote_it(certain: bool) -> None:
    """All slots are closed and nothing follows. A second receiver that fed the same track leaves open which of the two it was."""

    async def body(bench: Bench) -> None:
        who = spec(1) if certain else spec(1, receiver=1)
        other = bench.ring.open_writer(who, Sink())
        for second in range(8):
            now = bench.clock.boottime_ns()
            media = Body(1000 + second, 9_000, 900_000_000 + second * 90_000)
            other.append(media, bench.runs[0], [Anchor(0, media.first_pts, now, 2)], now, now + 1)
            bench.clock.advance(1)
            await bench.ring.tick()
        await bench.ring.close()
        ledger = RingLedger(clock=bench.clock)
        ring = ring_on(bench.disk, bench.clock, ledger)  # type: ignore[arg-type]
        assert await ring.mount()
        again = Bench(bench.disk, bench.clock, ledger, ring, bench.runs)
        assert faults(await again.check()) == []
        closed = again.store.table.in_state(SlotState.CLOSED)
        heads = [block_0(again, slot) for slot in closed]
        followed = {head.previous for head in heads}
        (last, *_) = [h for h in heads if h.recording == spec(1).recording and h.ref not in followed]
        await mended_as(again, last.ref.slot, certain=certain)

    on_a_bench(body)


def test_foreign_missing_and_short_files_are_named() -> None:
    async def body(bench: Bench) -> None:
        slot = bench.closed_slot()
        bench.disk.files["notes.txt"] = copy.deepcopy(bench.disk.files["recorderd.id"])
        del bench.disk.files[f"slots/000/{slot:06d}.mp4"]
        report = await bench.check()
        assert ("I6", f"slots/000/{slot:06d}.mp4") in faults(report)
        assert [f.subject for f in report.findings if f.severity is Severity.NOTICE and f.invariant == "I6"] == [
            "notes.txt"
        ]

    on_a_bench(body)


def test_a_timeline_that_shows_too_much_is_cut_back() -> None:
    async def body(bench: Bench) -> None:
        tables = bench.ledger.tables
        track = tables.catalogue.find(spec(1).tracks[0].track)
        assert track is not None
        rows = tables.spans[track.index].rows
        rows["generation"][0] += 1000
        rows["count"][1] += 50
        expected = bench.bars(1)
        report = await bench.check(repair=True)
        assert {invariant for invariant, _ in faults(report)} >= {"I1"}
        assert report.clean
        assert any("shown again" in finding.repaired for finding in report.findings)
        assert bench.bars(1)[0] == expected[0]
        assert faults(await bench.check()) == []

    on_a_bench(body)


def wreck(disk: SimDisk, *names: str) -> None:
    for name in names:
        for offset in range(0, len(disk.files[name].data), 4096):
            disk.files[name].data[offset] ^= 0xFF


@pytest.mark.parametrize("catalogue_left", [True, False])
def test_a_ring_without_checkpoints_is_rebuilt_from_its_slots(catalogue_left: bool) -> None:
    async def body(bench: Bench) -> None:
        keeper = bench.ledger.keeper
        zero = bench.bars(1)[0][0]
        keeper.delete(spec(1).recording, start_ns=zero + 5 * S, stop_ns=zero + 15 * S)
        lock = keeper.lock(spec(2).recording, zero + 20 * S, zero + 25 * S, "anna", "case 7")
        keeper.delete(spec(2).recording, start_ns=zero, stop_ns=zero + 3 * S)
        await bench.ring.tick()
        await bench.ring.tick()
        expected = [bench.bars(1), bench.bars(2)]
        await bench.ring.close()
        bench.disk.files = dict(bench.disk.files)
        wreck(bench.disk, "ckpt.a", "ckpt.b")
        if not catalogue_left:
            wreck(bench.disk, "catalogue.a", "catalogue.b")

        bench.clock.advance(30)
        ledger = RingLedger(clock=bench.clock)
        ring = ring_on(bench.disk, bench.clock, ledger, boot=BOOT)  # type: ignore[arg-type]
        assert await ring.mount()
        await ring.scan_now()
        report = await check_ring(Bench(bench.disk, bench.clock, ledger, ring, bench.runs).store, ledger)
        assert (faults(report) == []) is catalogue_left, report.findings
        await ring.close()

        ledger = RingLedger(clock=bench.clock)
        ring = ring_on(bench.disk, bench.clock, ledger, boot=BOOT)  # type: ignore[arg-type]
        assert await ring.mount()
        again = Bench(bench.disk, bench.clock, ledger, ring, bench.runs)
        for before, after in zip(expected, [again.bars(1), again.bars(2)], strict=True):
            assert len(before) == len(after)
            for a, b in zip(before, after, strict=True):
                assert a[2] == b[2]
                assert abs(a[0] - b[0]) < 2 * S and abs(a[1] - b[1]) < 2 * S
        assert [(found.owner, found.reason) for found in ledger.keeper.list_locks()] == [(lock.owner, lock.reason)]
        assert ledger.queries.run(bench.runs[1]).cause.topic == "tns1:Motion"
        assert ledger.queries.name(spec(1).recording) == "camera 1"
        assert int(ledger.tables.epochs.trust_at(ledger.tables.ring(ledger.book.here()))) == Trust.NTP
        assert (await again.check()).clean
        more = await record(ring, bench.clock, 10)
        assert min(more) > max(bench.runs)
        assert (await again.check()).clean

    on_a_bench(body)
