"""A ring whose checkpoints are both lost: it records at once, and finds out from its slots what it holds, through power cuts and rot."""

from __future__ import annotations

import asyncio
import errno
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import pytest

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.ports import Anchor
from recorderd.model.timeline import RunCause
from recorderd.ring.disk_threads import DiskCalls, InlineCalls
from recorderd.ring.files import slot_path
from recorderd.ring.fsck.check import check_ring
from recorderd.ring.fsck.findings import Severity
from recorderd.ring.layout import BLOCK, SlotState
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.retention import Rule
from recorderd.ring.ring import Ring, RingState
from recorderd.ring.store import Store
from tests.ring.fakes import Body, Feed, Sink, contents, formatted, ring_on, spec
from tests.ring.sim_disk import Cutter, SimDisk
from tests.simulated_time import FakeClock, run_simulated

P = ParamSpec("P")
T = TypeVar("T")
S = 1_000_000_000
LOST = ("ckpt.a", "ckpt.b")


def wreck(disk: SimDisk, *names: str) -> None:
    for name in names:
        for offset in range(0, len(disk.files[name].data), 4096):
            disk.files[name].data[offset] ^= 0xFF


class Slow(InlineCalls):
    """Every call to the disk takes 10 ms."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._clock.sleep(0.01)
        return call(*args, **kwargs)


@dataclass
class Life:
    """One start of the recorder on the disk."""

    clock: FakeClock
    disk: SimDisk
    boot: int
    serial: int = 0
    calls: Callable[[], DiskCalls] = InlineCalls

    async def __aenter__(self) -> Life:
        self.ledger = RingLedger(clock=self.clock)
        self.ring: Ring = ring_on(self.disk, self.clock, self.ledger, boot=uuid.UUID(int=self.boot), calls=self.calls)  # type: ignore[arg-type]
        assert await self.ring.mount(), self.ring.status().detail
        self.feeds: list[tuple[Feed, int]] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        for _feed, run in self.feeds:
            self.ring.stop_run(run, self.clock.boottime_ns())
        await self.ring.close()

    @property
    def store(self) -> Store:
        assert self.ring.store is not None
        return self.ring.store

    def start(self, numbers: tuple[int, ...] = (1, 2)) -> None:
        for number in numbers:
            who = spec(number)
            cause = RunCause(RunKind.EVENT, topic=f"tns1:Motion{number}")
            tracks = [track.track for track in who.tracks]
            run = self.ring.start_run(
                who.recording, uuid.UUID(int=77), who.source, cause, tracks, self.clock.boottime_ns()
            )
            sink = Sink()
            self.feeds.append((Feed(self.ring, self.clock, self.ring.open_writer(who, sink), [], sink), run))

    def append(self, size: int = 9_000) -> None:
        for feed, run in self.feeds:
            now = self.clock.boottime_ns()
            body = Body(self.serial, size, feed.pts)
            feed.writer.append(body, run, [Anchor(0, feed.pts, now, 1)], now, now + 1)
            feed.serials.append(self.serial)
            self.serial += 1
            feed.pts += body.duration

    async def record(self, seconds: int, *, size: int = 9_000) -> None:
        for _ in range(seconds):
            self.append(size)
            self.clock.advance(1)
            await self.ring.tick()

    def acknowledged(self) -> set[int]:
        return {serial for feed, _ in self.feeds for serial in feed.acknowledged}

    def seconds(self, number: int) -> float:
        """How much of a recording the timeline shows."""
        rows = self.ledger.queries.timeline(spec(number).recording, None, 0, 1 << 61)
        return sum(int(r["stop"]) - int(r["start"]) for r in rows if r["cause"] < 0) / S

    def shown(self, number: int) -> set[tuple[int, int]]:
        track = self.ledger.tables.catalogue.find(spec(number).tracks[0].track)
        assert track is not None
        rows = self.ledger.tables.spans[track.index].rows
        return {(int(r["slot"]), int(r["generation"])) for r in rows}

    async def stored(self) -> set[int]:
        return {serial for serials in (await contents(self.ring)).values() for serial in serials}


async def three_boots(
    clock: FakeClock, *, slots: int = 48, seconds: int = 40, journal_blocks: int = 64
) -> tuple[SimDisk, Life]:
    """A disk that three boots recorded to; the last life is still open."""
    disk = SimDisk()
    await formatted(disk, slots=slots, journal_blocks=journal_blocks)
    serial = 0
    for boot in (1, 2):
        async with Life(clock, disk, boot, serial) as life:
            life.start()
            await life.record(seconds)
            serial = life.serial
        clock.advance(100)
    last = await Life(clock, disk, 3, serial).__aenter__()
    last.start()
    await last.record(seconds)
    return disk, last


def test_recording_starts_at_once_and_the_old_footage_comes_back_beside_it() -> None:
    async def main(clock: FakeClock) -> None:
        disk, before = await three_boots(clock)
        whole = await before.stored()
        seconds = [before.seconds(1), before.seconds(2)]
        before.ledger.keeper.lock(
            spec(2).recording, clock.realtime_ns() - 20 * S, clock.realtime_ns(), "anna", "case 7"
        )
        for _ in range(3):
            await before.ring.tick()
        wreck(disk, *LOST)  # and the recorder is killed

        life = await Life(clock, disk, 4, 1000, partial(Slow, clock)).__aenter__()
        assert any("made anew" in fault for fault in life.ring.status().faults)
        assert life.ring.state is RingState.HEALTHY
        assert not life.store.table.in_state(SlotState.CLOSED), "nothing is known yet"
        task = asyncio.get_running_loop().create_task(life.ring.run())
        life.start()
        life.append()
        while not life.acknowledged():
            await clock.sleep(0.2)
        assert life.store.rebuild is not None
        assert not life.store.rebuild.done, "recording did not wait for the old slots"
        new = set(life.acknowledged())
        while not life.store.rebuild.done:
            life.append()
            await clock.sleep(1)
        await clock.sleep(2)
        assert whole | new <= await life.stored()
        for number, length in zip((1, 2), seconds, strict=True):
            assert life.seconds(number) >= length
        rows = life.ledger.queries.timeline(spec(1).recording, None, 0, 1 << 61)
        assert {RunKind(int(r["kind"])) for r in rows if r["cause"] < 0} == {RunKind.EVENT}
        assert [lock.owner for lock in life.ledger.keeper.list_locks()] == ["anna"]
        runs = life.ledger.queries.runs()
        assert len(runs) == 8
        assert [run.id for run in runs] == sorted(run.id for run in runs)
        assert runs[-1].id > runs[5].id + 1000
        report = await check_ring(life.store, life.ledger, deep=True)
        assert [f for f in report.findings if f.severity is not Severity.NOTICE] == []
        assert any("gaps" in f.text for f in report.findings), "what could not be made anew is said"
        for _feed, run in life.feeds:
            life.ring.stop_run(run, clock.boottime_ns())
        await life.ring.close()
        await task

    run_simulated(main)


def test_what_was_recorded_before_and_after_lies_in_order_and_on_its_dates() -> None:
    async def main(clock: FakeClock) -> None:
        disk, before = await three_boots(clock)
        track = spec(1).tracks[0].track
        expected = before.ledger.queries.timeline(spec(1).recording, track, 0, 1 << 61)
        expected = expected[expected["cause"] < 0]
        await before.__aexit__()
        wreck(disk, *LOST)
        clock.advance(50)
        async with Life(clock, disk, 4) as life:
            await life.ring.scan_now()
            life.start((1,))
            await life.record(5)
            found = life.ledger.queries.timeline(spec(1).recording, track, 0, 1 << 61)
            found = found[found["cause"] < 0]
            assert len(found) == len(expected) + 1
            for a, b in zip(expected, found, strict=False):
                assert abs(int(a["start"]) - int(b["start"])) < 2 * S
                assert abs(int(a["stop"]) - int(b["stop"])) < 2 * S
            boots = [life.ledger.tables.boots[n].boot_id.int for n in (0, 1, 2)]
            assert boots == [1, 2, 3]
        async with Life(clock, disk, 5) as life:  # checkpoint and journal keep all of it
            again = life.ledger.queries.timeline(spec(1).recording, track, 0, 1 << 61)
            assert again[again["cause"] < 0].tolist() == found.tolist()
            assert life.store.rebuild is None

    run_simulated(main)


MORE = [(), ("events.jnl",), ("events.jnl", "catalogue.a", "catalogue.b")]


@pytest.mark.parametrize("more", MORE)
def test_a_power_cut_during_the_rebuild_loses_nothing_and_nothing_deleted_comes_back(more: tuple[str, ...]) -> None:
    cut_during_a_rebuild(more, every_cut=False)


@pytest.mark.slow
@pytest.mark.parametrize("more", MORE)
def test_a_power_cut_at_every_write_of_a_rebuild(more: tuple[str, ...]) -> None:
    cut_during_a_rebuild(more, every_cut=True)


def cut_during_a_rebuild(more: tuple[str, ...], *, every_cut: bool) -> None:
    async def main(clock: FakeClock) -> None:
        disk, before = await three_boots(clock)
        zero = clock.realtime_ns()
        before.ledger.keeper.delete(spec(1).recording, start_ns=zero - 30 * S, stop_ns=zero - 3 * S)
        for _ in range(4):
            await before.ring.tick()
        await before.__aexit__()
        whole, kept = {}, before.seconds(1)
        async with Life(clock, disk, 4) as look:
            whole = await contents(look.ring)
        wreck(disk, *LOST, *more)

        base = disk.start_recording()
        life = await Life(clock, disk, 5, 1000).__aenter__()
        disk.mark = lambda: None
        life.start((1,))
        acknowledged: list[tuple[int, set[int]]] = []
        disk.mark = lambda: len(acknowledged)
        scan = asyncio.get_running_loop().create_task(life.ring.scan_now())
        while not scan.done():
            life.append()
            clock.advance(1)
            await life.ring.tick()
            acknowledged.append((len(disk.ops), life.acknowledged()))
            await asyncio.sleep(0.1)
        await scan
        ops, disk.recording = list(disk.ops), False
        rng = random.Random(7)
        cutter = Cutter(base, ops)
        for cut in range(len(ops)) if every_cut else sorted(rng.sample(range(len(ops)), 12)):
            image = cutter.image(cut, rng)
            async with Life(clock, image, 6, 2000) as again:
                await again.ring.scan_now()
                await again.ring.tick()
                stored = await contents(again.ring)
                due = set().union(*(found for at, found in acknowledged if at <= cut))
                have = {serial for serials in stored.values() for serial in serials}
                assert due <= have, cut
                for ref, serials in whole.items():
                    if again.store.table.is_current(ref):
                        assert set(serials) <= set(stored.get(ref, ())), (cut, ref)
                old = [slot for slot, generation in again.shown(1) if generation < 1 << 30]
                assert old
                if not more:  # deletions also reach the slots that were wholly deleted: the journal tells of those
                    new_s = len(have & set(range(1000, 2000)))
                    assert kept - 3 <= again.seconds(1) <= kept + new_s + 3, cut
                report = await check_ring(again.store, again.ledger, deep=True)
                bad = [f for f in report.findings if f.severity is Severity.ERROR]
                assert bad == [], (cut, bad)

    run_simulated(main)


def test_sound_fragments_behind_a_rotten_one_are_kept_also_where_the_index_is_lost() -> None:
    async def main(clock: FakeClock) -> None:
        disk, before = await three_boots(clock)
        await before.__aexit__()
        async with Life(clock, disk, 4) as look:
            whole = await contents(look.ring)
            slot = next(ref for ref in whole if len(whole[ref]) > 5)
            async with look.ring.read_slot(slot) as reader:
                third = (await reader.entries())[2]
        data = disk.files[slot_path(slot.slot)].data
        data[third.offset + 1000] ^= 1
        data[-BLOCK:] = bytes(BLOCK)
        wreck(disk, *LOST)
        async with Life(clock, disk, 5) as life:
            await life.ring.scan_now()
            await life.ring.tick()
            stored = await contents(life.ring)
            assert stored[slot] == whole[slot][:2] + whole[slot][3:]
            assert {ref: serials for ref, serials in stored.items() if ref != slot} == {
                ref: serials for ref, serials in whole.items() if ref != slot
            }
            assert life.store.statistics.rotten_fragments == 1

    run_simulated(main)


def test_a_slot_with_a_damaged_head_is_kept_and_said() -> None:
    async def main(clock: FakeClock) -> None:
        disk, before = await three_boots(clock)
        slot = before.store.table.in_state(SlotState.CLOSED)[3]
        await before.__aexit__()
        disk.files[slot_path(slot)].data[100] ^= 1
        wreck(disk, *LOST)
        async with Life(clock, disk, 5) as life:
            await life.ring.scan_now()
            await life.ring.tick()
            assert life.store.table.state(slot) is SlotState.CLOSED
            assert any(f"slot {slot}" in fault and "damaged" in fault for fault in life.ring.status().faults)

    run_simulated(main)


def test_a_full_ring_is_recycled_oldest_first_after_its_rebuild() -> None:
    async def main(clock: FakeClock) -> None:
        disk, before = await three_boots(clock, slots=20, seconds=60)
        assert before.store.table.count(SlotState.FREE) == 0
        await before.__aexit__()
        oldest = min(before.shown(1), key=lambda each: each[1])
        newest = max(before.shown(1), key=lambda each: each[1])
        wreck(disk, *LOST)
        async with Life(clock, disk, 5, 1000) as life:
            life.start((1,))
            life.append()
            await life.ring.scan_now()
            await life.record(60)
            assert life.acknowledged()
            assert oldest not in life.shown(1)
            assert newest in life.shown(1)

    run_simulated(main)


def test_gaps_what_has_expired_and_the_trust_of_the_clock_come_back_from_the_side_blocks() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk, slots=48)
        tracks = [spec(1).tracks[0].track]
        async with Life(clock, disk, 1) as life:
            life.start()
            await life.record(150)
            life.ring.note_gap(spec(1).recording, tracks, GapCause.LINK_DOWN, clock.boottime_ns(), None)
            clock.advance(8)
            await life.record(30)
            life.ledger.keeper.set_rule(spec(1).recording, Rule(maximum_ns=100 * S))
            clock.advance(60)
            for _ in range(3):
                await life.ring.tick()
                clock.advance(1)
            life.ring.note_gap(spec(1).recording, tracks, GapCause.RECORDER_OFF, clock.boottime_ns(), None)
            rows = life.ledger.queries.timeline(spec(1).recording, tracks[0], 0, 1 << 61)
        clock.advance(50)
        async with Life(clock, disk, 2) as life:
            life.start((1,))
            await life.record(20)
            before = life.ledger.queries.timeline(spec(1).recording, tracks[0], 0, 1 << 61)
            assert {GapCause(int(c)) for c in before["cause"] if c >= 0} >= {GapCause.LINK_DOWN, GapCause.RECORDER_OFF}
            assert int(before["start"][0]) == int(rows["start"][0])
            expired = int(life.ledger.tables.floors[1])
        wreck(disk, *LOST, "events.jnl", "catalogue.a", "catalogue.b")
        async with Life(clock, disk, 3) as life:
            await life.ring.scan_now()
            after = life.ledger.queries.timeline(spec(1).recording, tracks[0], 0, 1 << 61)
            for column in ("cause", "trust", "kind"):
                assert after[column].tolist() == before[column].tolist(), column
            assert abs(after["start"] - before["start"]).max() < S // 10
            assert abs(after["stop"][:-1] - before["stop"][:-1]).max() < S // 10
            assert expired > 0
            assert life.seconds(1) < 150
            track = life.ledger.tables.catalogue.find(tracks[0])
            assert track is not None
            assert life.ledger.tables.floors[track.index] > 0

    run_simulated(main)


def test_checkpoints_that_the_disk_does_not_give_out_are_not_given_up_at_once() -> None:
    async def main(clock: FakeClock) -> None:
        disk, before = await three_boots(clock)
        seconds = before.seconds(1)
        await before.__aexit__()
        broken = True

        def fault(kind: str, path: str, _offset: int, _size: int) -> None:
            if broken and kind == "read" and path in LOST:
                raise OSError(errno.EIO, "Input/output error")

        disk.fault = fault
        untouched = {name: bytes(disk.files[name].data) for name in LOST}
        ring = ring_on(disk, clock, RingLedger(clock=clock), boot=uuid.UUID(int=4))  # type: ignore[arg-type]
        task = asyncio.get_running_loop().create_task(ring.run())
        await clock.sleep(30)
        assert ring.store is None
        assert {name: bytes(disk.files[name].data) for name in LOST} == untouched
        broken = False
        await clock.sleep(10)
        assert ring.store is not None
        assert ring.store.rebuild is None
        await ring.close()
        await task

        broken = True
        ledger = RingLedger(clock=clock)
        ring = ring_on(disk, clock, ledger, boot=uuid.UUID(int=5))  # type: ignore[arg-type]
        task = asyncio.get_running_loop().create_task(ring.run())
        await clock.sleep(80)
        assert ring.store is not None, ring.status().detail
        assert ring.store.rebuild is not None
        while not ring.store.rebuild.done:
            await clock.sleep(1)
        rows = ledger.queries.timeline(spec(1).recording, None, 0, 1 << 61)
        shown = sum(int(r["stop"]) - int(r["start"]) for r in rows if r["cause"] < 0) / S
        assert shown >= seconds - 1
        await ring.close()
        await task

    run_simulated(main)


def test_what_is_told_at_once_fits_into_the_journal() -> None:
    async def main(clock: FakeClock) -> None:
        disk, before = await three_boots(clock, slots=160, seconds=120, journal_blocks=16)
        await before.__aexit__()
        async with Life(clock, disk, 4) as life:
            seconds = life.seconds(1), life.seconds(2)
            whole = await life.stored()
        wreck(disk, *LOST)
        async with Life(clock, disk, 5) as life:
            await life.ring.scan_now()
            assert (life.seconds(1), life.seconds(2)) == pytest.approx(seconds, abs=1)
            assert await life.stored() == whole
            assert life.store.statistics.flush_errors == 0

    run_simulated(main)
