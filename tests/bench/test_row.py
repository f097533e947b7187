"""The table's own rules: a target is met by the ratio alone, in the right direction."""

import os

from tests.bench.__main__ import benchmarks
from tests.bench.machine import processes_s, pss_bytes, tree
from tests.bench.row import Row, table


def test_verdicts():
    assert Row("w", "1", ratio=0.26, target=0.25, stretch=0.17).verdict == "MISSED"
    assert Row("w", "1", ratio=0.25, target=0.25, stretch=0.17).verdict == "met"
    assert Row("w", "1", ratio=0.17, target=0.25, stretch=0.17).verdict == "stretch"
    assert Row("w", "1", ratio=0.79, target=0.8, stretch=0.95, higher=True).verdict == "MISSED"
    assert Row("w", "1", ratio=0.96, target=0.8, stretch=0.95, higher=True).verdict == "stretch"
    assert Row("w", "1", ratio=3.0).verdict == Row("w", "1", target=3.0).verdict == ""


def test_the_table_is_rectangular():
    lines = table([Row("short", "1"), Row("much longer", "2.5 MiB", "5 MiB", 0.5, 0.45)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].strip("|-") == ""
    assert "| 0.5   | 0.45" in lines[3]


def test_benchmarks_are_found_by_their_rows():
    assert "ingest" in benchmarks()
    assert "row" not in benchmarks()


def test_this_process_is_measured():
    pid = os.getpid()
    assert pid in tree(pid)
    before = processes_s([pid])
    # The kernel counts in ticks of some milliseconds: work until one has passed, a thousand times that at most.
    assert any(sum(range(300_000)) and processes_s([pid]) > before for _ in range(1000))
    assert pss_bytes([pid]) > 5_000_000
