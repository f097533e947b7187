"""A simulated day of a camera that gets into one trouble after another, beside one that is well."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from pathlib import Path

import pytest

from recorderd.model.causes import GapCause as Cause
from tests.e2e.faults import TROUBLES, Trouble
from tests.e2e.rig import Rig
from tests.e2e.test_troubles import EDGE_S, small
from tests.simulated_time import FakeClock, run_simulated

HOURS = int(os.environ.get("RECORDERD_SIMULATED_HOURS", "24"))
WARM_UP_S = 4 * 3600.0  # the ring has gone round once, and its index is full
MAX_MIB_PER_MILLION = (
    0.5  # of all that is in this process: cameras, a disk in memory, the ledger's rows of the day's gaps
)
LASTS_S = (5.0, 90.0)
WELL_S = (60.0, 300.0)
SHORT_S = 20.0  # who hangs for less keeps the session, and has lost packets
MIB = 1 << 20


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_day_of_troubles() -> None:
    """Every gap is explained by a trouble of its time; nothing is lost that arrived; the neighbour never notices; memory stays flat."""
    chance = random.Random(20261122)
    history: list[tuple[float, float, Trouble]] = []

    async def main(clock: FakeClock) -> None:
        async with small("one", clock, 1) as camera, small("two", clock, 2) as neighbour:
            async with Rig(clock, [camera, neighbour], slots=320) as rig:
                warm: tuple[int, int] | None = None
                while (now := clock.boottime_ns() / 1e9) < HOURS * 3600:
                    if warm is None and now > WARM_UP_S:
                        warm = resident_bytes(), sum(rig.counts("one") + rig.counts("two")) // 2
                    await asyncio.sleep(chance.uniform(*WELL_S))
                    trouble = chance.choice(TROUBLES)
                    began = clock.boottime_ns() / 1e9
                    await trouble.begin(camera)
                    await asyncio.sleep(chance.uniform(*LASTS_S))
                    await trouble.end(camera)
                    history.append((began, clock.boottime_ns() / 1e9, trouble))
                    await asyncio.sleep(trouble.recovery_s)
                grown, frames = resident_bytes(), sum(rig.counts("one") + rig.counts("two")) // 2
                bars, others = rig.timeline("one"), rig.timeline("two")
            for name in ("one", "two"):
                arrived, stored = rig.counts(name)
                assert arrived == stored, f"{arrived} access units of {name} arrived, {stored} are stored"
        assert {cause for cause, _, _ in others[1:]} <= {None}, others
        unexplained = []
        for cause, start, stop in bars:
            if cause is None or start < bars[0][1] + WELL_S[0] / 2:
                continue
            causes = {
                allowed
                for began, ended, trouble in history
                if began - EDGE_S <= stop and start <= ended + trouble.recovery_s + EDGE_S
                for allowed in (
                    *trouble.causes,
                    *([Cause.PACKET_LOSS] if trouble.loses or ended - began < SHORT_S else []),
                )
            }
            if cause not in causes:
                unexplained.append((cause, start, stop))
        assert not unexplained, unexplained[:10]
        assert len(history) > 4 * HOURS
        if warm is not None and HOURS >= 2 * WARM_UP_S / 3600:
            more_mib, millions = (grown - warm[0]) / MIB, (frames - warm[1]) / 1e6
            print(f"{more_mib:.2f} MiB more after {millions:.2f} million access units: {more_mib / millions:.3f} each")
            assert more_mib <= MAX_MIB_PER_MILLION * millions

    run_simulated(main)
