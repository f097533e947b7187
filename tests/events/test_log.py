"""The event history on the data disk: back after a restart and after every power cut, bounded, never in place of a missing disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
from collections.abc import AsyncIterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.events.history import History, Record
from recorderd.events.log import EventLog, decode_line, encode_line, records_of
from recorderd.model.ports import Event
from recorderd.ring.beside import HistoryFiles
from recorderd.ring.files import HISTORIES
from recorderd.ring.ring import Ring
from tests.ring.fakes import formatted, ring_on
from tests.ring.sim_disk import Cutter, SimDisk
from tests.simulated_time import FakeClock, run_simulated


def event(number: int) -> Event:
    return Event(
        "tns1:X", (("n", str(number)),), (("v", "ä\n1"),), "Changed", utc_ns=number + 1, boottime_ns=number + 2
    )


def stored(disk: SimDisk) -> list[Record]:
    return records_of(bytes(disk.files[name].data) for name in HISTORIES)


def numbers(records: list[Record]) -> list[int]:
    return [int(dict(record.event.source)["n"]) for record in records]


@contextlib.asynccontextmanager
async def logging_to(ring: Ring, clock: FakeClock, history: History) -> AsyncIterator[EventLog]:
    """Beside the ring's own ticks, until both are closed in order."""
    log = EventLog(disk=HistoryFiles(ring), history=history, clock=clock)
    tasks = [asyncio.create_task(ring.run()), asyncio.create_task(log.run())]
    await asyncio.sleep(0)
    try:
        yield log
    finally:
        await log.finish()
        await ring.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_the_end_waits_for_no_tick() -> None:
    async def main(clock: FakeClock) -> None:
        disk, history = SimDisk(), History()
        await formatted(disk)
        async with logging_to(ring_on(disk, clock), clock, history) as log:
            for beginning in (True, False):  # one that is on its way already, and one that begins at the end
                await asyncio.sleep(3.3)
                history.add(event(0))
                await asyncio.sleep(0.1 if beginning else 0)
                before_ns = clock.boottime_ns()
                await log.finish()
                assert clock.boottime_ns() - before_ns < 100_000_000
                assert len(stored(disk)) == (1 if beginning else 2)

    run_simulated(main)


def test_it_comes_back_after_a_restart() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        held: list[Record] = []
        for start in range(3):
            history = History()
            history.restore(stored(disk))
            assert history.search() == held
            async with logging_to(ring_on(disk, clock), clock, history):
                await asyncio.sleep(3)
                for number in range(40):
                    history.add(event(start * 40 + number))
                    await asyncio.sleep(0.2)
            held = history.search()
        assert [record.number for record in stored(disk)] == list(range(1, 121)), "the last of them, too"

    run_simulated(main)


def test_it_is_durable_within_two_ticks_at_every_cut() -> None:
    """The disk loses power in the middle of every single write. What is asked of the history: every event that was two ticks old is there,
    in order and without a hole, and nothing else."""

    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        history = History()
        published: list[float] = []
        loop = asyncio.get_running_loop()
        disk.mark = lambda: (loop.time(), len(published))
        async with logging_to(ring_on(disk, clock), clock, history):
            await asyncio.sleep(3)
            base = disk.start_recording()
            chance = random.Random(5)
            for number in range(600):
                published.append(loop.time())
                history.add(event(number))
                await asyncio.sleep(chance.choice((0.0, 0.05, 0.3)))
            await asyncio.sleep(3)
            ops = list(disk.ops)
        cutter, checked = Cutter(base, ops), 0
        for cut, op in enumerate(ops):
            now_s, so_far = op.mark
            found = numbers(stored(cutter.image(cut, random.Random(cut))))
            assert found == list(range(found[0], found[0] + len(found))) if found else True
            old_enough = sum(1 for at in published if at <= now_s - 2.2)
            assert (found[-1] + 1 if found else 0) >= old_enough, f"cut {cut}: {old_enough} were due"
            assert len(found) <= so_far
            checked += 1
        assert checked > 100
        assert len(numbers(stored(disk))) == 600

    run_simulated(main)


def test_it_costs_no_flush_of_its_own_while_something_is_recorded() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        history = History()
        ring = ring_on(disk, clock)
        async with logging_to(ring, clock, history):
            await asyncio.sleep(3)
            assert ring.store is not None
            before = ring.store.statistics.flushes
            began = asyncio.get_running_loop().time()
            for number in range(1000):
                history.add(event(number))
                await asyncio.sleep(0.05)
            ticks = asyncio.get_running_loop().time() - began
            assert ring.store.statistics.flushes - before <= ticks / ring.store.profile.tick_s + 2

    run_simulated(main)


def test_a_disk_that_comes_late_and_one_that_takes_no_writes() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        history = History()
        async with logging_to(ring_on(disk, clock), clock, history):
            await asyncio.sleep(3)
            history.add(event(0))
        there = [disk]

        def gone() -> SimDisk:
            if not there:
                raise FileNotFoundError(errno.ENOENT, "no disk")
            return there[0]

        there.clear()
        late = History()
        async with logging_to(ring_on(gone, clock), clock, late) as log:
            late.add(event(1))
            await asyncio.sleep(20)
            there.append(disk)
            await asyncio.sleep(20)
            assert numbers(stored(disk)) == [0, 1], "what the disk held stays, before what has happened since"

            def refuse(kind: str, path: str, offset: int, size: int) -> None:
                if kind == "write" and path in HISTORIES:
                    raise OSError(errno.EIO, "rotten")

            disk.fault = refuse
            late.add(event(2))
            await asyncio.sleep(20)
            assert log.failures >= 1
            disk.fault = lambda *_: None
            await asyncio.sleep(20)
            assert (numbers(stored(disk)), log.failures) == ([0, 1, 2], 0)
        assert [record.number for record in stored(disk)] == [1, 2, 3], "numbers grow, although each start began anew"

    run_simulated(main)


def test_a_flush_that_fails_is_followed_by_writing_again() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        history = History()
        async with logging_to(ring_on(disk, clock), clock, history) as log:
            await asyncio.sleep(3)
            fails = [2]

            def refuse(kind: str, path: str, offset: int, size: int) -> None:
                if kind in ("datasync", "syncfs") and fails[0]:
                    fails[0] -= 1
                    raise OSError(errno.EIO, "not flushed")

            disk.fault = refuse
            writes: list[int] = []
            write = disk.write

            def counted(handle: int, buffer: memoryview, offset: int) -> None:
                if disk.handles[handle][0] in HISTORIES:
                    writes.append(offset)
                write(handle, buffer, offset)

            disk.write = counted  # type: ignore[method-assign]
            history.add(event(0))
            await asyncio.sleep(30)
            assert len(writes) >= 2, "what a failed flush should have covered does not count"
            assert log.failures == 0
        assert numbers(stored(disk)) == [0]

    run_simulated(main)


def test_two_files_in_turn_bound_it_and_what_can_never_fit_is_passed_over() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        size = len(disk.files[HISTORIES[0]].data)
        history = History()
        async with logging_to(ring_on(disk, clock), clock, history) as log:
            await asyncio.sleep(3)
            for number in range(3000):
                history.add(event(number))
                if number % 20 == 0:
                    await asyncio.sleep(1)
            history.add(Event("tns1:Big", (), (("Configuration", "x" * 60_000),), utc_ns=1, boottime_ns=1))
            history.add(event(3000))
            await asyncio.sleep(5)
            assert log.too_long == 1
        found = numbers(stored(disk))
        assert found == list(range(found[0], 3001))
        assert len(found) * 100 > size, "at least a file's worth"

    run_simulated(main)


def test_it_is_read_before_the_ring_is_mounted(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        history = History()
        async with logging_to(ring_on(disk, clock), clock, history):
            await asyncio.sleep(3)
            history.add(event(0))
        for name in HISTORIES:
            (tmp_path / name).write_bytes(disk.files[name].data)

    run_simulated(main)
    history = History()
    log = EventLog(disk=HistoryFiles(ring_on(SimDisk(), FakeClock())), history=history, clock=FakeClock())
    assert log.load(tmp_path / "none") == 0
    assert log.load(tmp_path) == 1
    assert numbers(history.search()) == [0]
    assert history.add(event(1)).number == 2


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 120))
def test_a_damaged_line_is_passed_over(noise: bytes, at: int) -> None:
    line = encode_line(Record(7, event(3))).rstrip(b"\n")
    assert decode_line(line) == Record(7, event(3))
    damaged = line[:at] + noise + line[at + len(noise) + 1 :]
    assert decode_line(damaged) in (None, Record(7, event(3)))
