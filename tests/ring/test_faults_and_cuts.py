"""Random disk errors under load, and then the power goes too: whatever was acknowledged is there.

A failed flush drops a random half of what it should have made durable, for good, which is what makes "try it again" a lie.
"""

from __future__ import annotations

import errno
import random

import pytest

from recorderd.ring import commit as commit_module
from recorderd.ring.commit import FlushFailed
from recorderd.ring.reading import Rotten
from recorderd.ring.store import DiskFailed, Store
from tests.ring.fakes import contents, feed, formatted, ring_on
from tests.ring.oracle import Mark, Oracle, append
from tests.ring.sim_disk import Cutter, SimDisk
from tests.ring.test_power_cut import Recorded
from tests.simulated_time import FakeClock, run_simulated


async def record(clock: FakeClock, *, seed: int, ticks: int = 70) -> Recorded:
    rng = random.Random(seed)
    disk = SimDisk()
    await formatted(disk, slots=40, slot_bytes=128 * 1024, journal_blocks=48)
    oracle = Oracle()
    ring = ring_on(disk, clock, oracle)
    assert await ring.mount()
    feeds = [feed(ring, clock, n) for n in (1, 2)]
    kinds = {"write": 0.03, "datasync": 0.12, "syncfs": 0.12}
    failures = 0

    def fault(kind: str, path: str, offset: int, size: int) -> None:
        nonlocal failures
        if rng.random() < kinds.get(kind, 0.0):
            failures += 1
            raise OSError(errno.EIO, f"{kind} of {path}")

    def mark() -> Mark:
        acknowledged = frozenset(s for f in feeds for s in f.acknowledged)
        return Mark(acknowledged, len(oracle.vanished), frozenset(), frozenset())

    disk.mark = mark
    base = disk.start_recording()
    disk.fault = fault
    serial = 0
    for _ in range(ticks):
        for f in feeds:
            append(f, serial, rng.randrange(500, 30_000), key=True)
            serial += 1
        try:
            await ring.tick()
        except FlushFailed:
            pass
        except DiskFailed as error:
            assert ring.store is not None
            ring._fail(ring.store, str(error))
            for _ in range(40):
                if await ring.mount():
                    break
            else:
                raise AssertionError(f"the disk never came back: {ring.status().detail}") from error
        clock.advance(20)
    assert failures > 10
    return Recorded(base, disk.ops, mark(), oracle.vanished, set(range(serial)))


async def check_cuts(clock: FakeClock, recorded: Recorded, *, every: int, seed: int) -> int:
    rng = random.Random(seed)
    cutter = Cutter(recorded.base, recorded.ops)
    checked = 0
    for cut in range(0, len(recorded.ops) + 1, every):
        mark = recorded.mark(cut)
        oracle = Oracle()
        ring = ring_on(cutter.image(cut, rng), clock, oracle)
        assert await ring.mount(), ring.status().detail
        await ring.scan_now()
        await ring.tick()
        found = {s for serials in (await contents(ring)).values() for s in serials}
        gone = mark.acknowledged - set(recorded.vanished[: mark.vanished]) - set(oracle.vanished) - found
        assert not gone, f"acknowledged and lost: {sorted(gone)}"
        assert set(oracle.all_serials()) == found, "timeline and media disagree"
        assert not oracle.rotten, "what never became durable was taken for rot"
        checked += 1
    return checked


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_errors_and_then_a_power_cut(seed: int) -> None:
    async def main(clock: FakeClock) -> None:
        recorded = await record(clock, seed=seed)
        assert any(op.kind == "lost" for op in recorded.ops)
        assert len(recorded.final.acknowledged) > 100
        assert await check_cuts(clock, recorded, every=4, seed=seed) > 40

    run_simulated(main)


def test_a_flush_that_is_tried_again_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    original = commit_module._flush

    async def stubborn(store: Store, *, virgin: bool) -> None:
        while True:
            try:
                await original(store, virgin=virgin)
            except OSError:
                continue
            return

    async def main(clock: FakeClock) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(commit_module, "_flush", stubborn)
            recorded = await record(clock, seed=1)
        with pytest.raises((AssertionError, Rotten)):
            await check_cuts(clock, recorded, every=4, seed=1)

    run_simulated(main)
