"""`recorderctl status` of a running recorder against the smallest Python program that could ask: both are new processes each time."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.place import Place
from tests.bench.row import Row
from tests.recorder import Recorder

RUNS = 40


def rows(where: Place) -> Iterator[Row]:
    runs = RUNS // 4 if where.quick else RUNS
    with where.empty("status") as folder, Recorder(folder) as recorder:
        ask = [sys.executable, "-m", "recorderd.ctl.main", "--socket", str(recorder.socket), "status"]
        bare = [sys.executable, "-c", "import json,socket"]
        _cpu_s(ask, 2), _cpu_s(bare, 2)  # byte code written, files in the page cache
        ours = theirs = 0.0
        for _ in range(runs):  # by turns, so that both see the same machine
            ours += _cpu_s(ask, 1)
            theirs += _cpu_s(bare, 1)
    yield Row(
        "CPU of recorderctl status, against python3 -c 'import json,socket'",
        f"{ours / runs * 1000:.1f} ms",
        f"{theirs / runs * 1000:.1f} ms",
        ours / theirs,
        4.0,
        3.0,
    )


def _cpu_s(command: list[str], times: int) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(times):
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
