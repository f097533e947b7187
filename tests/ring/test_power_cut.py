"""A power cut at every write of a workload with recycling, a lock and deletions, on a disk that reorders, tears and forgets extents.

The oracle knows what was acknowledged when each write was issued. After every cut: nothing acknowledged is missing, nothing is returned
that was never appended or had been deleted, timeline and media agree. The same with one safety removed at a time must fail.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from recorderd.ring import commit as commit_module
from recorderd.ring import scan as scan_module
from recorderd.ring import slot_writing
from recorderd.ring.border import Item
from recorderd.ring.layout import Free, StoreEvent
from recorderd.ring.profiles import HDD, SMR, Profile
from recorderd.ring.reading import Rotten
from recorderd.ring.store import Store
from tests.ring.fakes import feed, formatted, ring_on
from tests.ring.oracle import Mark, Oracle, append, check_ring, oldest
from tests.ring.sim_disk import Cutter, File, Op, SimDisk
from tests.simulated_time import FakeClock, run_simulated


@dataclass
class Recorded:
    base: dict[str, File]
    ops: list[Op]
    final: Mark
    vanished: list[int]
    appended: set[int]

    def mark(self, cut: int) -> Mark:
        if cut == len(self.ops):
            return self.final
        mark = self.ops[cut].mark
        assert isinstance(mark, Mark)
        return mark


async def record(
    clock: FakeClock, *, seed: int = 1, ticks: int = 46, profile: Profile = HDD, bursts: float = 0.15
) -> Recorded:
    """Three writers, one with fragments of constant size; about two ring cycles; one lock; two deletions."""
    rng = random.Random(seed)
    disk = SimDisk()
    await formatted(disk, slots=16, slot_bytes=128 * 1024, journal_blocks=32, profile=profile)
    oracle = Oracle()
    ring = ring_on(disk, clock, oracle)
    assert await ring.mount()
    feeds = [feed(ring, clock, n) for n in (1, 2, 3)]
    deleted: set[int] = set()
    deleting: set[int] = set()
    serial = 0

    def mark() -> Mark:
        acknowledged = frozenset(s for f in feeds for s in f.acknowledged)
        return Mark(acknowledged, len(oracle.vanished), frozenset(deleted), frozenset(deleting))

    disk.mark = mark
    base = disk.start_recording()
    for tick in range(ticks):
        sizes = [20_000, rng.randrange(500, 40_000), rng.randrange(500, 9_000)]
        for n, f in enumerate(feeds):
            if n == 2 and tick % 3:
                continue
            for _ in range(2 if rng.random() < bursts else 1):
                append(f, serial, sizes[n], key=rng.random() < 0.7)
                serial += 1
        if tick == 18:
            oracle.lock(oldest(oracle, 1)[0].slot)
        if tick in (24, 33):
            assert ring.store is not None
            for ref in oldest(oracle, 4):
                deleting |= set(oracle.serials(ref))
                ring.store.free_slot(ref)
        await ring.tick()
        deleted |= deleting
        clock.advance(1)
    return Recorded(base, disk.ops, mark(), oracle.vanished, set(range(serial)))


async def check(image: SimDisk, clock: FakeClock, mark: Mark, recorded: Recorded, *, carry_on: bool) -> Oracle:
    oracle = Oracle()
    ring = ring_on(image, clock, oracle)
    assert await ring.mount(), ring.status().detail
    vanished, appended = recorded.vanished, recorded.appended
    await check_ring(ring, clock, mark, vanished=vanished, appended=appended, carry_on=carry_on)
    return oracle


async def check_cuts(clock: FakeClock, recorded: Recorded, *, every: int, seed: int, with_holes: bool = False) -> int:
    rng = random.Random(seed)
    cutter = Cutter(recorded.base, recorded.ops)
    checked = holes = 0
    for cut in range(0, len(recorded.ops) + 1, every):
        image = cutter.image(cut, rng)
        oracle = await check(image, clock, recorded.mark(cut), recorded, carry_on=cut % 7 == 0)
        holes += len(oracle.cut)
        checked += 1
    assert bool(holes) is with_holes, "fragments cut off before a good one of their commit"
    return checked


def test_a_cut_at_every_write_loses_nothing_acknowledged() -> None:
    async def main(clock: FakeClock) -> None:
        recorded = await record(clock)
        assert len(recorded.vanished) > 40, "the workload must recycle"
        assert len(recorded.final.deleted) > 3
        assert {"syncfs", "datasync", "write"} == {op.kind for op in recorded.ops}
        checked = await check_cuts(clock, recorded, every=1, seed=5)
        assert checked > 200

    run_simulated(main)


def test_without_a_mask_block_behind_every_fragment_too() -> None:
    async def main(clock: FakeClock) -> None:
        assert not SMR.mask
        recorded = await record(clock, seed=4, profile=SMR)
        assert await check_cuts(clock, recorded, every=5, seed=6) > 40

    run_simulated(main)


def test_with_several_writes_of_one_slot_on_their_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_writing, "_JOB_BYTES", 16_384)

    async def main(clock: FakeClock) -> None:
        recorded = await record(clock, seed=9, bursts=0.9)
        in_commit = [op for op in recorded.ops if op.path.startswith("slots/")]
        assert sum(a.path == b.path for a, b in pairwise(in_commit)) > 60, "the workload must write a slot in pieces"
        assert await check_cuts(clock, recorded, every=3, seed=7, with_holes=True) > 120

    run_simulated(main)


def test_a_second_cut_during_recovery_loses_nothing_either() -> None:
    async def main(clock: FakeClock) -> None:
        recorded = await record(clock, seed=2, ticks=30)
        rng = random.Random(11)
        cutter = Cutter(recorded.base, recorded.ops)
        for cut in range(3, len(recorded.ops), 9):
            image = cutter.image(cut, rng)
            base = image.start_recording()
            again = ring_on(image, clock, Oracle())
            assert await again.mount()
            await again.scan_now()
            await again.tick()
            second = Cutter(base, image.ops)
            for at in sorted(rng.sample(range(len(image.ops) + 1), min(4, len(image.ops) + 1))):
                await check(second.image(at, rng), clock, recorded.mark(cut), recorded, carry_on=False)

    run_simulated(main)


# --- every safety removed in turn -------------------------------------------------------------------------


def no_flush(patch: pytest.MonkeyPatch) -> None:
    async def flush(store: Store, *, virgin: bool) -> None: ...

    patch.setattr(commit_module, "_flush", flush)


def one_fdatasync_on_virgin_slots(patch: pytest.MonkeyPatch) -> None:
    async def flush(store: Store, *, virgin: bool) -> None:
        store.io.device.datasync(store.journal.handle)

    patch.setattr(commit_module, "_flush", flush)


def no_generation_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scan_module, "belongs", lambda record, disk, ref: True)


def no_payload_check(patch: pytest.MonkeyPatch) -> None:
    async def good(*_: object) -> bool:
        return True

    patch.setattr(scan_module, "_payload_is_good", good)


def reservation_rides_with_the_overwrite(patch: pytest.MonkeyPatch) -> None:
    """The reservation becomes durable with the commit that overwrites, not before it."""
    held: list[StoreEvent] = []
    reserve, build = Store.reserve, commit_module._build

    def late_reserve(self: Store, count: int) -> list[StoreEvent]:
        held.extend(reserve(self, count))
        return []

    def late_build(store: Store, tick: commit_module._Tick) -> list[Item]:
        store.corrections.extend(held)
        held.clear()
        return build(store, tick)

    patch.setattr(Store, "reserve", late_reserve)
    patch.setattr(commit_module, "_build", late_build)


def freeing_is_not_journalled(patch: pytest.MonkeyPatch) -> None:
    original = Store.frees

    def frees(self: Store) -> list[StoreEvent]:
        return [event for event in original(self) if not isinstance(event, Free)]

    patch.setattr(Store, "frees", frees)


def acknowledged_before_the_flush(patch: pytest.MonkeyPatch) -> None:
    original = commit_module._make_durable
    settle = commit_module._settle

    async def make_durable(store: Store, tick: commit_module._Tick, items: list[object]) -> None:
        await settle(store, tick, 0)
        await original(store, tick, items)  # type: ignore[arg-type]

    async def nothing(*_: object) -> None: ...

    patch.setattr(commit_module, "_make_durable", make_durable)
    patch.setattr(commit_module, "_settle", nothing)


MUTATIONS = [
    no_flush,
    one_fdatasync_on_virgin_slots,
    no_generation_check,
    no_payload_check,
    reservation_rides_with_the_overwrite,
    freeing_is_not_journalled,
    acknowledged_before_the_flush,
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.__name__)
def test_without_this_safety_the_test_fails(
    mutation: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)

    async def main(clock: FakeClock) -> None:
        runs = [await record(clock, seed=seed) for seed in (1, 2, 3)]
        with pytest.raises((AssertionError, Rotten)):
            for seed, recorded in enumerate(runs):
                await check_cuts(clock, recorded, every=2, seed=seed)

    run_simulated(main)
