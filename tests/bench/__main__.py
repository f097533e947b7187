"""Runs every benchmark, prints one table and writes results.md beside this file.

A benchmark is a module of this package with a function `rows(place: Place) -> Iterator[Row]`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path

from tests.bench.place import place
from tests.bench.row import Row, table

HERE = Path(__file__).parent
RESULTS = HERE / "results.md"
SIZE_MIB = 6 * 1024


def benchmarks() -> list[str]:
    """The names of the modules that have rows."""
    return sorted(path.stem for path in HERE.glob("*.py") if "\ndef rows(" in path.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which of {', '.join(benchmarks())}; all when none is named"
    )
    parser.add_argument("--quick", action="store_true", help="short windows: figures to look at, not to quote")
    options = parser.parse_args()
    unknown = set(options.names) - set(benchmarks())
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(benchmarks())}")
    rows: list[Row] = []
    began = time.monotonic()
    with place(quick=options.quick, size_mib=SIZE_MIB) as where:
        for name in options.names or benchmarks():
            where.say(f"--- {name}")
            for row in importlib.import_module(f"tests.bench.{name}").rows(where):
                where.say("    " + "  ".join(cell for cell in row.cells() if cell))
                rows.append(row)
        disk = (
            "one ext4 image on a loop device"
            if where.disk
            else "a folder of this machine (not root: no image of its own)"
        )
    drawn = table(rows)
    print(drawn)
    if not options.names:
        kind = "quick run" if options.quick else "full run"
        whose = "the distribution's" if sys.base_prefix == "/usr" else "not the distribution's"
        python = f"Python {platform.python_version()} ({whose})"
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, {python}"
        RESULTS.write_text(
            f"# Benchmarks\n\nWritten by `make bench`: {kind}, {time.monotonic() - began:.0f} s, {machine}; disk: {disk}.\n"
            "Ratios are ours divided by the peer's in the same run; absolute figures hold for that machine alone.\n\n"
            f"{drawn}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
