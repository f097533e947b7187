"""Random bytes of a real image flipped in every structure, on a ring in use and on one that is not.

fsck ends, speaks in words, repairs what it can, and no footage that is sound itself is lost.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from recorderd.ring.border import SlotRef
from recorderd.ring.files import CATALOGUES, CHECKPOINTS, IDENTITY, JOURNAL, slot_path
from recorderd.ring.fsck.check import check_ring
from recorderd.ring.fsck.findings import Report
from recorderd.ring.layout import BLOCK, MOOV_OFFSET, SlotState
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.reading import Rotten
from recorderd.ring.ring import Ring
from tests.ring.fakes import BOOT, ring_on, serial_of, spec
from tests.ring.sim_disk import SimDisk
from tests.ring.test_fsck import record
from tests.simulated_time import FakeClock, run_simulated

S = 1_000_000_000


@dataclass(frozen=True)
class Fragment:
    serial: int
    ref: SlotRef
    path: str
    start: int
    stop: int


@dataclass
class Image:
    """A ring that two cameras filled, with a lock and deletions, and where everything lies in it."""

    clock: FakeClock
    disk: SimDisk
    ring: Ring
    ledger: RingLedger
    fragments: list[Fragment]
    places: dict[str, list[tuple[str, int, int]]]  # structure -> (path, first byte, end)

    def copy(self) -> SimDisk:
        return SimDisk({path: file.copy() for path, file in self.disk.files.items()})


async def fragments_of(ring: Ring) -> list[Fragment]:
    """What can be read, every byte of it checked."""
    assert ring.store is not None
    found = []
    for summary in list(ring.store.summaries()):
        async with ring.read_slot(summary.ref) as reader:
            for entry in await reader.entries():
                try:
                    serial = serial_of((await reader.fragment(entry)).payload)
                except Rotten:
                    continue
                stop = entry.offset + entry.fragment_bytes
                found.append(Fragment(serial, summary.ref, slot_path(summary.ref.slot), entry.offset, stop))
    return found


async def image(clock: FakeClock) -> Image:
    from tests.ring.fakes import formatted

    disk = SimDisk()
    await formatted(disk, slots=24)
    ledger = RingLedger(clock=clock)
    ring = ring_on(disk, clock, ledger)  # type: ignore[arg-type]
    assert await ring.mount()
    await record(ring, clock, 60)
    zero = clock.realtime_ns() - 60 * S
    ledger.keeper.lock(spec(2).recording, zero + 20 * S, zero + 25 * S, "anna", "case 7")
    ledger.keeper.delete(spec(1).recording, start_ns=zero + 5 * S, stop_ns=zero + 8 * S)
    for _ in range(3):
        await ring.tick()
    for _ in range(2):
        assert ring.store is not None
        ring.store.offer_snapshot(ring.store.take_snapshot(ring.store.journal.sequence))
        await ring.store.write_checkpoint()
    fragments = await fragments_of(ring)
    places: dict[str, list[tuple[str, int, int]]] = {
        "identity": [(IDENTITY, 0, 2 * BLOCK)],
        "checkpoint head": [(name, 0, BLOCK) for name in CHECKPOINTS],
        "checkpoint": [(name, BLOCK, 12 * BLOCK) for name in CHECKPOINTS],
        "one checkpoint": [(CHECKPOINTS[0], 0, 12 * BLOCK)],
        "journal": [(JOURNAL, 0, len(disk.files[JOURNAL].data))],
        "catalogue": [(name, 0, 400) for name in CATALOGUES],
    }
    for fragment in fragments:
        path, size = fragment.path, len(disk.files[fragment.path].data)
        places.setdefault("record", []).append((path, fragment.start, fragment.start + 400))
        places.setdefault("media", []).append((path, fragment.start + 400, fragment.stop))
        places.setdefault("tail", []).append((path, size - 3 * BLOCK, size))
        places.setdefault("slot identity", []).append((path, 0, BLOCK))
        places.setdefault("side blocks", []).append((path, BLOCK, 3 * BLOCK))
        places.setdefault("moov", []).append((path, MOOV_OFFSET, MOOV_OFFSET + 600))
    return Image(clock, disk, ring, ledger, fragments, places)


def damage(disk: SimDisk, image: Image, structure: str, rng: random.Random) -> set[tuple[str, int]]:
    """Flips bits of 1 to 40 bytes, singly or in a burst; which bytes."""
    hit = set()
    for _ in range(rng.choice((1, 1, 2, 5))):
        path, first, end = rng.choice(image.places[structure])
        at = rng.randrange(first, end)
        for offset in range(at, min(at + rng.choice((1, 1, 8)), end)):
            disk.files[path].data[offset] ^= rng.randrange(1, 256)
            hit.add((path, offset))
    return hit


def untouched(fragments: list[Fragment], hit: set[tuple[str, int]]) -> set[int]:
    return {f.serial for f in fragments if not any(p == f.path and f.start <= at < f.stop for p, at in hit)}


async def checked(ring: Ring, ledger: RingLedger, structure: str, *, repair: bool) -> Report:
    assert ring.store is not None
    report = await check_ring(ring.store, ledger, deep=True, repair=repair)
    await ring.tick()
    assert report.verdict()
    for finding in report.findings:
        assert finding.text and finding.subject, finding
        assert "Error" not in finding.text and "Traceback" not in finding.text, (structure, finding)
    return report


async def twice_repaired(ring: Ring, ledger: RingLedger, structure: str) -> None:
    first = await checked(ring, ledger, structure, repair=True)
    await ring.tick()
    await checked(ring, ledger, structure, repair=True)  # what waited for the first one's items
    again = await checked(ring, ledger, structure, repair=True)
    mended = [finding for finding in again.findings if finding.repaired]
    assert mended == [], (structure, first.findings, mended)


STRUCTURES = (
    "identity",
    "checkpoint head",
    "checkpoint",
    "one checkpoint",
    "journal",
    "catalogue",
    "record",
    "media",
    "tail",
    "slot identity",
    "side blocks",
    "moov",
)


async def in_use(image: Image, structure: str, rng: random.Random) -> None:
    """The recorder goes on beside the check."""
    kept = {path: file.copy() for path, file in image.disk.files.items()}
    rows = image.ring.store.table.rows.copy() if image.ring.store is not None else None
    sections = image.ledger.dump()
    hit = damage(image.disk, image, structure, rng)
    await checked(image.ring, image.ledger, structure, repair=False)
    await twice_repaired(image.ring, image.ledger, structure)
    left = {fragment.serial for fragment in await fragments_of(image.ring)}
    assert untouched(image.fragments, hit) <= left, structure
    # As before, for the next round.
    assert image.ring.store is not None and rows is not None
    for path, file in kept.items():
        image.disk.files[path].data[:] = file.data
    image.ring.store.table.rows[:] = rows
    image.ledger.load(sections)


async def not_in_use(image: Image, structure: str, rng: random.Random) -> None:
    disk = image.copy()
    hit = damage(disk, image, structure, rng)
    ledger = RingLedger(clock=image.clock)
    ring = ring_on(disk, image.clock, ledger, boot=BOOT)  # type: ignore[arg-type]
    if not await ring.mount():
        assert structure == "identity", ring.status().detail
        assert ring.status().detail
        return
    await ring.scan_now()
    await ring.tick()
    await twice_repaired(ring, ledger, structure)
    left = {fragment.serial for fragment in await fragments_of(ring)}
    assert untouched(image.fragments, hit) <= left, structure
    await ring.close()


def rounds(way: Callable[[Image, str, random.Random], Awaitable[None]], structure: str, count: int, seed: int) -> None:
    async def main(clock: FakeClock) -> None:
        made = await image(clock)
        assert made.ring.store is not None
        assert made.ring.store.table.count(SlotState.CLOSED) > 5
        for number in range(count):
            await way(made, structure, random.Random(seed * 100_003 + number))

    run_simulated(main)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_ring_in_use(structure: str) -> None:
    rounds(in_use, structure, 6, seed=1)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_ring_that_is_not_in_use(structure: str) -> None:
    rounds(not_in_use, structure, 6, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
@pytest.mark.parametrize("way", [in_use, not_in_use])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_many_flips(structure: str, way: Callable[[Image, str, random.Random], Awaitable[None]], seed: int) -> None:
    rounds(way, structure, 40, seed)
