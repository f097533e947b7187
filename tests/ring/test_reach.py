"""How far back a full ring reaches, against what it said it would; and that it forgets the oldest of a recording first."""

from __future__ import annotations

import random
import uuid
from itertools import pairwise

import numpy as np
import pytest

from recorderd.ring.border import SlotRef, SpanUpdate
from recorderd.ring.layout import SlotState
from tests.ring.fakes import Feed, ListLedger, feed, formatted, ring_on
from tests.ring.sim_disk import File, SimDisk
from tests.simulated_time import FakeClock, run_simulated

HOUR = 3600


class ForgetfulDisk(SimDisk):
    """Keeps journal and checkpoints; slots swallow what is written."""

    def create(self, path: str, size: int) -> None:
        if path.startswith("slots/"):
            self.files[path] = File(bytearray())
            self.files[path].data = _Sized(size)
        else:
            super().create(path, size)

    def write(self, handle: int, buffer: memoryview, offset: int) -> None:
        if not self.handles[handle][0].startswith("slots/"):
            super().write(handle, buffer, offset)


class _Sized(bytearray):
    """Claims a size it does not hold."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def __len__(self) -> int:
        return self._size


class Watcher(ListLedger):
    """Keeps nothing of media; checks every slot that vanishes."""

    def __init__(self) -> None:
        super().__init__()
        self.vanished = 0

    def media_written(self, update: SpanUpdate) -> None: ...

    def slot_vanishes(self, ref: SlotRef) -> None:
        assert self.store is not None
        gone = self.store.summary(ref.slot)
        rows = self.store.table.rows  # type: ignore[attr-defined]
        same = (rows["recording"] == np.frombuffer(gone.recording.bytes, np.uint8)).all(axis=1)
        held = same & np.isin(rows["state"], [SlotState.OPEN, SlotState.CLOSED])
        held[ref.slot] = False
        older = rows["start_ns"][held] < gone.from_ns
        assert not older.any(), "newer footage was forgotten while older footage of the same recording stays"
        self.vanished += 1


def reach_s(ledger: Watcher, recording: uuid.UUID, now_ns: int) -> float:
    assert ledger.store is not None
    starts = [s.from_ns for s in ledger.store.summaries() if s.recording == recording]
    return (now_ns - min(starts)) / 1e9


@pytest.mark.parametrize(
    ("events", "slots", "variation", "tolerance"),
    [
        pytest.param(0, 300, 0.0, 0.03, id="constant"),
        pytest.param(15, 500, 0.3, 0.10, id="slots that close early"),
        pytest.param(50, 2200, 0.3, 0.10, id="50 event recordings", marks=pytest.mark.slow),
    ],
)
def test_reach_is_what_status_said(events: int, slots: int, variation: float, tolerance: float) -> None:
    """Two continuous recordings, and `events` more with 10 s every hour, over three cycles."""
    slot_bytes, step_s, size = 256 * 1024, 30, 56_000

    async def main(clock: FakeClock) -> None:
        disk = ForgetfulDisk()
        await formatted(disk, slots=slots, slot_bytes=slot_bytes, journal_blocks=1024)
        ledger = Watcher()
        ring = ring_on(disk, clock, ledger)
        assert await ring.mount()
        assert ring.store is not None
        rng = random.Random(1)
        continuous = [feed(ring, clock, n) for n in (1, 2)]
        eventful: list[Feed] = [feed(ring, clock, 10 + n) for n in range(events)]
        offsets = [rng.randrange(HOUR) // step_s * step_s for _ in eventful]
        began_ns = clock.boottime_ns()
        forecasts: list[float] = []
        serial = 0
        while ring.status().statistics.slots_reserved < 3 * slots:
            now_s = (clock.boottime_ns() - began_ns) // 10**9
            due = [*continuous, *(f for f, at in zip(eventful, offsets, strict=True) if now_s % HOUR == at)]
            for f in due:
                f.append(serial, round(size * rng.uniform(1 - variation, 1 + variation)))
                serial += 1
                f.serials.clear()
            await ring.tick()
            if ring.store.snapshot is not None:
                await ring.store.write_checkpoint()
            clock.advance(step_s)
            if ledger.vanished >= slots // 2 and not forecasts:  # when the ring is well in its second cycle
                forecast = ring.status().reach_forecast_s
                assert forecast is not None
                forecasts.append(forecast)
        assert ledger.vanished > 1.8 * slots
        said = forecasts[0]
        for f in continuous:
            true = reach_s(ledger, f.writer.spec.recording, clock.boottime_ns())
            assert abs(true - said) < tolerance * true, f"said {said / HOUR:.2f} h, is {true / HOUR:.2f} h"
        for f in eventful:
            true = reach_s(ledger, f.writer.spec.recording, clock.boottime_ns())
            assert abs(true - said) < (tolerance + 1 / 8) * true

    run_simulated(main)


def test_a_burst_does_not_make_slots_close_all_but_empty() -> None:
    """Media that arrives faster than it was filmed says nothing about how long the ring will last."""

    async def main(clock: FakeClock) -> None:
        disk = ForgetfulDisk()
        await formatted(disk, slots=44, slot_bytes=1 << 20, journal_blocks=1024)
        ledger = Watcher()
        ring = ring_on(disk, clock, ledger)
        assert await ring.mount()
        assert ring.store is not None
        feeds = [feed(ring, clock, n) for n in (1, 2, 3)]

        async def a_second_of_media(takes_s: float) -> None:
            for f in feeds:
                f.append(0, 125_000)
                f.serials.clear()
            await ring.tick()
            if ring.store is not None and ring.store.snapshot is not None:
                await ring.store.write_checkpoint()
            clock.advance(takes_s)

        while ring.status().statistics.slots_closed < 60:
            await a_second_of_media(0.01)
        began_ns, closed = clock.boottime_ns(), ring.status().statistics.slots_closed
        for _ in range(80):
            await a_second_of_media(1)
        forecast_s = ring.status().reach_forecast_s
        assert forecast_s is not None
        assert 80 < forecast_s < 105
        full = 80 * 3 / 8  # a slot holds eight of these fragments
        assert ring.status().statistics.slots_closed - closed <= full + 3
        for f in feeds:
            starts = [s.from_ns for s in ring.store.summaries() if s.recording == f.writer.spec.recording]
            assert min(starts) <= began_ns, "of the last 80 s something is gone already"

    run_simulated(main)


def test_cameras_that_began_together_do_not_wait_for_slots() -> None:
    """One flush a tick, though twenty writers need their next slot within the same one."""

    async def main(clock: FakeClock) -> None:
        disk = ForgetfulDisk()
        await formatted(disk, slots=640, slot_bytes=1 << 20, journal_blocks=1024)
        ring = ring_on(disk, clock, Watcher())
        assert await ring.mount()
        feeds = [feed(ring, clock, n) for n in range(20)]
        flushes: list[int] = []
        for _ in range(100):
            for f in feeds:
                f.append(0, 50_000)
                f.serials.clear()
            await ring.tick()
            if ring.store is not None and ring.store.snapshot is not None:
                await ring.store.write_checkpoint()
            flushes.append(ring.status().statistics.flushes)
            clock.advance(1)
        assert ring.status().statistics.slots_closed >= 4 * 20
        once = [after - before for before, after in pairwise(flushes[20:])]  # the first slots are taken all at once
        assert set(once) == {1}

    run_simulated(main)
