"""The event history on the data disk: back after a restart, bounded, never in place of a missing disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.events import log as event_log
from recorderd.events.history import History, Record
from recorderd.events.log import MARKER, EventLog, decode_line, encode_line
from recorderd.model.ports import Event
from tests.simulated_time import FakeClock, run_simulated


def ring(tmp_path: Path) -> Path:
    (tmp_path / MARKER).write_bytes(b"")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def logged(folder: Path) -> tuple[History, EventLog]:
    history = History()
    made = EventLog(folder=folder, history=history, clock=FakeClock())
    made.load()
    return history, made


def event(number: int) -> Event:
    return Event(
        "tns1:X", (("n", str(number)),), (("v", "ä\n1"),), "Changed", utc_ns=number + 1, boottime_ns=number + 2
    )


def test_it_comes_back_after_a_restart(tmp_path: Path) -> None:
    history, made = logged(ring(tmp_path))
    first = [history.add(event(n)) for n in range(5)]
    made.write()
    history, made = logged(tmp_path)
    assert history.search() == first
    assert history.add(event(5)).number == 6
    made.write()
    assert [r.number for r in logged(tmp_path)[0].search()] == [1, 2, 3, 4, 5, 6]


def test_two_files_in_turn_bound_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "FILE_BYTES", 20_000)
    history, made = logged(ring(tmp_path))
    for number in range(1000):
        history.add(event(number))
        if number % 10 == 9:
            made.write()
    assert sum(file.stat().st_size for file in (tmp_path / "history").iterdir()) <= 40_000
    kept = [r.number for r in logged(tmp_path)[0].search()]
    assert kept == list(range(kept[0], 1001))
    assert len(kept) > 100
    history, made = logged(tmp_path)
    history.add(event(1000))
    made.write()
    assert logged(tmp_path)[0].search()[-1].number == 1001


def test_without_a_ring_nothing_is_written_and_a_late_disk_is_used(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        history = History()
        made = EventLog(folder=tmp_path, history=history, clock=clock)
        assert made.load() == 0
        task = asyncio.create_task(made.run())
        history.add(event(0))
        await asyncio.sleep(0.1)
        made.write()
        assert names(tmp_path) == []
        ring(tmp_path)
        made.write()
        history.add(event(1))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [r.number for r in logged(tmp_path)[0].search()] == [1, 2]

    run_simulated(main)


def test_a_disk_that_fails_is_tried_again(tmp_path: Path) -> None:
    history, made = logged(ring(tmp_path))
    (tmp_path / "history").write_bytes(b"a file in its place")
    history.add(event(0))
    made.write()
    assert made.failures == 1
    (tmp_path / "history").unlink()
    made.write()
    assert made.failures == 0
    assert len(logged(tmp_path)[0]) == 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 120))
def test_a_damaged_line_is_passed_over(noise: bytes, at: int) -> None:
    line = encode_line(Record(7, event(3))).rstrip(b"\n")
    assert decode_line(line) == Record(7, event(3))
    damaged = line[:at] + noise + line[at + len(noise) + 1 :]
    assert decode_line(damaged) in (None, Record(7, event(3)))
