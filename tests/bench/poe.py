"""Polling sixteen PoE ports once a second: its CPU, also as a share of what recording sixteen cameras takes, and how fresh the status is.

The chips are simulated, and the simulation's own CPU is left out; what a real I2C adapter would take in the kernel is not in the figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

from recorderd.power.memory import VolatileMemory
from tests.bench import recorders
from tests.bench.cameras import cameras
from tests.bench.machine import measured
from tests.bench.place import Place
from tests.bench.poe_polling import AGE_S, SETTLE_S
from tests.bench.row import Row
from tests.power.simulated_power import rig, running
from tests.simulated_time import FakeClock, run_simulated

CAMERAS = 16
WINDOW_S = 24.0


def rows(where: Place) -> Iterator[Row]:
    seconds = where.seconds(WINDOW_S)
    command = [sys.executable, "-m", "tests.bench.poe_polling", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + SETTLE_S + AGE_S + 60)
    found = json.loads(done.stdout)
    polling = (found["cpu_s"] - found["simulation_s"]) / seconds
    recording = None if recorders.missing() else _recording_cores(where, seconds)
    yield Row(
        "CPU of polling 16 PoE ports, against recording 16 cameras",
        f"{polling * 1000:.2f} ms/s",
        "" if recording is None else f"{recording * 1000:.1f} ms/s",
        None if recording is None else polling / recording,
        None if recording is None else 0.1,
        note=f"{found['transfers'] / seconds:.1f} transfers/s in {found['hand_overs'] / seconds:.1f} hand-overs to the bus's thread; "
        "own processes alone on both sides",
    )
    yield Row(
        "age of the PoE status, at most",
        f"{found['oldest_ms']:.0f} ms",
        ratio=found["oldest_ms"] / 1000,
        target=1.0,
        note="polled at 1 s; the ratio is in seconds",
    )
    shed_ms = _shed_ms()
    yield Row(
        "supply alarm to port off",
        f"{shed_ms:.1f} ms",
        ratio=shed_ms / 1000,
        target=0.1,
        note="simulated time; in seconds",
    )


def _recording_cores(where: Place, seconds: float) -> float:
    """Cores that our recorder's own process uses for sixteen cameras."""
    with cameras(CAMERAS) as serving, where.empty("poe-ring") as folder:
        command = [sys.executable, "-m", "tests.bench.recorder", str(folder), *serving.urls]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                if process.stdout.readline() != "recording\n":
                    raise RuntimeError("our recorder did not start")
                time.sleep(6.0)
                with measured([process.pid], [serving.pid]) as cost:
                    time.sleep(seconds)
            finally:
                process.terminate()
                process.wait(30)
    return cost.own_s / cost.seconds


def _shed_ms() -> float:
    async def main(clock: FakeClock) -> float:
        made = rig(clock, "sim-16port", VolatileMemory())
        labels = [str(i) for i in range(1, 17)]
        async with running(made):
            await made.until(lambda: len(made.delivering()) == 12)
            await made.wait(10)
            before = {label for label in labels if made.simulation.powered(label)}
            made.service.alarm()
            return 1000 * await made.until(lambda: any(not made.simulation.powered(label) for label in before))

    return run_simulated(main)
