"""Streams whose pictures are decoded out of order, through fragments and slots that end anywhere, back to every picture once."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from recorderd.media.fragmenter import Cut, Fragmenter
from recorderd.media.sample_table import parse_fragment
from recorderd.model.causes import RunKind
from recorderd.model.ports import Anchor, WriterSpec, WriterTrack
from recorderd.model.stream import AccessUnit
from recorderd.model.timeline import RunCause
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.overlap import Extent
from recorderd.ring.playback import find_extents, play, play_backward, play_keys
from recorderd.ring.ring import Ring
from recorderd.ring.samples import StoredSample
from tests.ring.fakes import VIDEO, Sink, formatted, ring_on
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated

RATE = 25
TICKS = 90_000 // RATE
TRACK = uuid.UUID(int=0xA1)
FOREVER_NS = 1 << 62


def decoding_order(depth: int, pictures: int, gop: int, *, open_gops: bool) -> list[tuple[int, bool]]:
    """(number in the order of display, key) of each picture in decoding order: a pyramid of B pictures `depth` levels high.

    With open GOPs the pictures shown before a key frame are decoded after it, as of a camera that saves bits there.
    """
    step = 1 << depth

    def between(low: int, high: int) -> Iterator[int]:
        if high - low > 1:
            middle = (low + high) // 2
            yield middle
            yield from between(low, middle)
            yield from between(middle, high)

    order: list[tuple[int, bool]] = [(0, True)]
    last = 0
    while last + step < pictures:
        anchor = last + step
        begins_gop = anchor % gop < step
        if begins_gop and not open_gops:
            tail = range(last + 1, anchor)  # a closed GOP ends with pictures in their order
            order += [(number, False) for number in tail]
            order.append((anchor, True))
        else:
            order.append((anchor, begins_gop))
            order += [(number, False) for number in between(last, anchor)]
        last = anchor
    return order


@dataclass
class Stored:
    ring: Ring
    clock: FakeClock
    units: list[AccessUnit]
    start_ns: int
    first_pts: int

    @property
    def serials(self) -> list[int]:
        return list(range(len(self.units)))

    def instant_ns(self, unit: AccessUnit) -> int:
        """When the unit is shown, boot time."""
        return self.start_ns + (unit.pts - self.first_pts) * 1_000_000_000 // 90_000

    async def extents(self, from_ns: int = 0, to_ns: int = FOREVER_NS) -> list[Extent]:
        wall = self.clock.realtime_ns() - self.clock.boottime_ns()
        low = from_ns + wall if from_ns else 0
        return await find_extents(self.ring, TRACK, low, to_ns + wall if to_ns < FOREVER_NS else to_ns)


def serial(sample: StoredSample) -> int:
    return int(struct.unpack_from("<I", sample.data, 4)[0])


async def stored(
    clock: FakeClock, depth: int, *, open_gops: bool, per_fragment: int, gop: int = 48, pictures: int = 400
) -> Stored:
    disk = SimDisk()
    await formatted(disk, slots=64, slot_bytes=128 * 1024)
    ring = ring_on(disk, clock, RingLedger(clock=clock))  # type: ignore[arg-type]
    assert await ring.mount()
    clock.advance(1)
    found = Stored(ring, clock, [], clock.boottime_ns(), 7_000_000)
    order = decoding_order(depth, pictures, gop, open_gops=open_gops)
    await feed(found, found.units, order, depth, per_fragment, priority=0)
    assert ring.store is not None
    assert len(list(ring.store.summaries())) > 4
    return found


async def store_more(found: Stored, depth: int, *, priority: int, pictures: int) -> int:
    """The same track from another source, beginning 2.02 s before the first one ended; the run."""
    later = replace(found, units=[], start_ns=found.clock.boottime_ns() - 2_020_000_000, first_pts=90_000)
    order = decoding_order(depth, pictures, 48, open_gops=False)[1:]  # from inside a GOP
    return await feed(later, later.units, order, depth, 9, priority=priority)


async def feed(
    found: Stored,
    units: list[AccessUnit],
    order: list[tuple[int, bool]],
    depth: int,
    per_fragment: int,
    *,
    priority: int,
) -> int:
    form = replace(VIDEO, reorder_depth=depth)
    tracks = (WriterTrack(TRACK, form, "VIDEO001"),)
    spec = WriterSpec(
        uuid.UUID(int=0xA0), "gate", uuid.UUID(int=0xA3 + priority), "gate camera", tracks, priority=priority
    )
    ring, clock = found.ring, found.clock
    writer = ring.open_writer(spec, Sink())
    run = ring.start_run(
        spec.recording, uuid.UUID(int=9), "gate", RunCause(RunKind.CONTINUOUS), [TRACK], found.start_ns
    )
    fragmenter = Fragmenter([form])

    def append(cut: Cut | None) -> bool:
        if cut is not None:
            anchors = [
                Anchor(0, f.pts, found.start_ns + (f.pts - found.first_pts) * 1_000_000_000 // 90_000, 1)
                for f in cut.firsts
            ]
            writer.append(cut.fragment, run, anchors, cut.arrived_from_ns, cut.arrived_to_ns)
        return cut is not None

    for number, (shown, key) in enumerate(order):
        data = struct.pack(">I", 2_996) + struct.pack("<I", number).ljust(2_996, b"\7")
        units.append(AccessUnit(0, found.first_pts + shown * TICKS, data, clock.boottime_ns(), key=key))
        fragmenter.push(units[-1])
        clock.advance(1 / RATE)
        if number % per_fragment == per_fragment - 1:
            append(fragmenter.take(clock.boottime_ns()))
            await ring.tick()
    while append(fragmenter.flush()):
        await ring.tick()
    ring.stop_run(run, clock.boottime_ns())
    writer.close()
    await ring.tick()
    return run


@pytest.mark.parametrize("open_gops", [False, True])
@pytest.mark.parametrize("depth", range(5))
def test_every_picture_comes_back_once_and_in_decoding_order(depth: int, *, open_gops: bool) -> None:
    async def main(clock: FakeClock) -> None:
        for per_fragment in (7, 25):
            found = await stored(clock, depth, open_gops=open_gops, per_fragment=per_fragment)
            extents = await found.extents()
            assert [serial(s) async for s in play(found.ring, extents)] == found.serials
            assert [serial(s) async for s in play(found.ring, extents, lead_in=True)] == found.serials
            backward = [gop async for gop in play_backward(found.ring, extents)]
            assert [serial(s) for gop in reversed(backward) for s in gop] == found.serials
            assert all(gop[0].key and not any(s.key for s in gop[1:]) for gop in backward)
            keys = [serial(s) async for s in play_keys(found.ring, extents)]
            assert keys == [n for n, unit in enumerate(found.units) if unit.key]

    run_simulated(main)


@pytest.mark.parametrize("open_gops", [False, True])
@pytest.mark.parametrize("depth", range(5))
def test_a_range_holds_what_is_shown_in_it_and_no_more(depth: int, *, open_gops: bool) -> None:
    async def main(clock: FakeClock) -> None:
        found = await stored(clock, depth, open_gops=open_gops, per_fragment=9)
        for first in range(100, 200, 7):
            from_ns = found.start_ns + first * 40_000_000
            to_ns = from_ns + (50 + first % 13) * 40_000_000
            extents = await found.extents(from_ns, to_ns)
            shown = [serial(s) async for s in play(found.ring, extents)]
            assert shown == [n for n, unit in enumerate(found.units) if from_ns <= found.instant_ns(unit) < to_ns]

    run_simulated(main)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_source_that_takes_over_begins_at_its_key_frame_and_ends_the_other_one(depth: int) -> None:
    """A second stream of higher priority for some seconds: at any time one source, and nothing of either is shown twice."""

    async def main(clock: FakeClock) -> None:
        low = await stored(clock, depth, open_gops=False, per_fragment=9, pictures=200)
        high_run = await store_more(low, depth, priority=5, pictures=120)
        shown = [(s.run, s.instant.ns) async for s in play(low.ring, await low.extents())]
        times = [at for _, at in shown]
        assert len(set(times)) == len(times)
        runs = [run for run, _ in shown]
        assert runs == sorted(runs, key=lambda run: run == high_run), "one change of source"
        first = min(at for run, at in shown if run == high_run)
        assert max(at for run, at in shown if run != high_run) < first

    run_simulated(main)


def needed(order: list[tuple[int, bool]], depth: int) -> dict[int, set[int]]:
    """What each picture (by its number in the order of display) refers to."""
    step = 1 << depth
    anchors = [number for number, _ in order if number % step == 0]
    found: dict[int, set[int]] = {number: set() for number in anchors}
    keys = {number for number, key in order if key}
    for low, high in pairwise(anchors):
        if high not in keys:
            found[high] = {low}

        def level(a: int, b: int) -> None:
            if b - a > 1:
                middle = (a + b) // 2
                found[middle] = {a, b}
                level(a, middle)
                level(middle, b)

        level(low, high)
    return found


@pytest.mark.parametrize("depth", range(1, 4))
def test_with_a_lead_in_every_picture_can_be_decoded(depth: int) -> None:
    async def main(clock: FakeClock) -> None:
        found = await stored(clock, depth, open_gops=True, per_fragment=5, gop=16)
        order = decoding_order(depth, 400, 16, open_gops=True)
        refers = needed(order, depth)
        for first in range(100, 200, 3):
            from_ns = found.start_ns + first * 40_000_000
            to_ns = from_ns + 30 * 40_000_000
            extents = [e for e in await found.extents(from_ns, to_ns) if e.start.ns == from_ns]
            shown = [order[serial(s)][0] async for s in play(found.ring, extents, lead_in=True)]
            last = max(shown)
            held = set(shown)
            if min(held) > first:
                continue  # the key frame lies in the slot before
            whole = [n for n in shown if n >= first and max(refers[n], default=0) <= last]
            assert whole
            reach = [min(held & {k for k, key in order if key})]
            assert all(refers[n] <= held for n in whole if n > reach[0]), (first, shown)

    run_simulated(main)


@pytest.mark.parametrize("depth", [0, 2])
def test_the_random_access_table_has_the_times_of_the_fragments(depth: int) -> None:
    """What a player finds in `mfra` is the presentation time that the fragment's own boxes give that sample."""

    async def main(clock: FakeClock) -> None:
        found = await stored(clock, depth, open_gops=False, per_fragment=9)
        await found.ring.close()
        device = found.ring._mounting.open_device()
        assert isinstance(device, SimDisk)
        checked = 0
        for path in sorted(device.files):
            data = bytes(device.files[path].data)
            if not path.startswith("slots/") or data[-16:-8] != b"\0\0\0\x10mfro":
                continue
            mfra = memoryview(data)[-int.from_bytes(data[-4:], "big") :]
            if bytes(mfra[12:16]) == b"mfro":
                continue  # a slot that lies inside one GOP
            assert bytes(mfra[12:16]) == b"tfra"
            (entries,) = struct.unpack_from(">I", mfra, 28)
            for number in range(entries):
                time, moof, traf, trun, sample = struct.unpack_from(">QQBBI", mfra, 32 + 22 * number)
                size = int.from_bytes(data[moof : moof + 4], "big")
                mdat = int.from_bytes(data[moof + size : moof + size + 4], "big")
                (table,) = parse_fragment(data[moof : moof + size + mdat], 1)
                assert (traf, trun) == (1, 1)
                assert table.keys[sample - 1]
                shown = table.tfdt + table.decode_times()[sample - 1] + table.composition[sample - 1]
                assert shown == time
                checked += 1
        assert checked > 5

    run_simulated(main)
