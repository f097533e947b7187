"""The disk ring alone, fed with made-up streams: bytes, flushes and commit latency on the loop device's own counters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from recorderd.media.fragment import Fragment, Sample, TrackSamples
from recorderd.model.causes import GapCause, RunKind
from recorderd.model.clock import SystemClock
from recorderd.model.ports import Anchor, Clock, Writer, WriterSpec, WriterTrack
from recorderd.model.stream import Codec, MediaKind, TrackFormat
from recorderd.model.timeline import RunCause
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring
from tests.bench.place import Place
from tests.bench.row import Row
from tests.simulated_time import FakeClock

STREAMS = 16
FPS = 25
CLOCK = 90_000
RATES = {"4 Mbit/s": (500_000, 1.02), "1 Mbit/s": (125_000, 1.04), "256 kbit/s": (32_000, 1.07)}
FRAGMENT_BYTES = 128 * 1024
MAX_AGE_S = 4
FORM = TrackFormat(
    Codec.H264,
    CLOCK,
    config=bytes.fromhex("0142c01effe1001a6742c01ed9005005bb0110000003001000000303c0f162e48001000568cb83cb20"),
    width=1280,
    height=720,
)


class Sink:
    """`ports.DurableSink` that counts."""

    def __init__(self) -> None:
        self.fragments = 0

    def durable(self, writer: Writer, through_ns: int, fragments: int) -> None:
        self.fragments += fragments

    def lost(self, writer: Writer, cause: GapCause, from_ns: int, to_ns: int) -> None:
        raise AssertionError(f"lost: {cause.name}")


@dataclass
class Stream:
    """One camera: appends a fragment whenever 128 KiB or 4 s are together, as the recorder does."""

    ring: Ring
    number: int
    bytes_per_s: int
    clock: Clock
    media_bytes: int = 0
    seconds: int = 0
    _writer: Writer = field(init=False)
    _run: int = field(init=False)

    def __post_init__(self) -> None:
        track = WriterTrack(uuid.uuid4(), FORM, "VIDEO001")
        spec = WriterSpec(uuid.uuid4(), f"bench {self.number}", uuid.uuid4(), "bench", (track,))
        self._writer = self.ring.open_writer(spec, Sink())
        cause = RunCause(RunKind.CONTINUOUS)
        now = self.clock.boottime_ns()
        self._run = self.ring.start_run(spec.recording, uuid.uuid4(), "bench", cause, [track.track], now)
        self.every_s = min(MAX_AGE_S, -(-FRAGMENT_BYTES // self.bytes_per_s))
        # Cameras of a kind differ, and so do their pictures: with equal ones every fragment would leave the same bytes of its last block
        # free, and all slots would be full in the same second.
        self._sizes = random.Random(self.number)
        mean = round(self.bytes_per_s / FPS * self._sizes.uniform(0.9, 1.1))
        self._mean = mean
        self._frame = os.urandom(2 * mean)

    def second(self, number: int) -> None:
        """One second of media has arrived."""
        if (number + self.number) % self.every_s:
            return
        count = FPS * self.every_s
        pts = number * CLOCK
        step = CLOCK // FPS
        sizes = [self._sizes.randrange(self._mean // 2, self._mean * 3 // 2) for _ in range(count)]
        samples = [
            Sample(self._frame[:size], pts + n * step, pts + n * step, step, n % FPS == 0)
            for n, size in enumerate(sizes)
        ]
        body = Fragment([TrackSamples(0, MediaKind.VIDEO, CLOCK, samples)])
        now = self.clock.boottime_ns()
        self.append(body, Anchor(0, pts, now, 1), now - self.every_s * 10**9)
        self.media_bytes += sum(sizes)

    def append(self, body: Fragment, anchor: Anchor, from_ns: int) -> None:
        self._writer.append(body, self._run, [anchor], from_ns, self.clock.boottime_ns())


@contextlib.asynccontextmanager
async def ring_in(folder: Path, clock: Clock, *, slots: int, slot_bytes: int) -> AsyncIterator[Ring]:
    device, calls = FileDevice(folder), DiskThreads(clock=clock)
    # The journal of a disk of usual size: a small ring's would ask for a checkpoint every minute and a half.
    await format_ring(device, calls, formatted_ns=0, slots=slots, slot_bytes=slot_bytes, journal_blocks=4096)
    device.release()
    calls.close()
    ring = Ring.at(folder, ledger=RingLedger(clock=clock), clock=clock, boot_id=uuid.uuid4())
    assert await ring.mount(), ring.status().detail
    try:
        yield ring
    finally:
        await ring.close()


async def fill(ring: Ring, streams: list[Stream], clock: FakeClock, slots: int, *, first_second: int = 0) -> int:
    """As fast as the disk takes it, until `slots` more were closed; the second it ended at."""
    until = ring.status().statistics.slots_closed + slots
    second = first_second
    store = ring.store
    assert store is not None
    while store.statistics.slots_closed < until:
        for stream in streams:
            stream.second(second)
        await ring.tick()
        if store.snapshot is not None:
            await store.write_checkpoint()
        clock.advance(1)
        second += 1
    return second


async def amplification(place: Place, rate: int, *, slots: int, slot_bytes: int) -> tuple[float, int]:
    """Device bytes / media bytes over one cycle on slots written before, and the media's MiB."""
    assert place.disk is not None
    clock = FakeClock()
    clock.advance(60)
    with place.empty("ring") as folder:
        async with ring_in(folder, clock, slots=slots, slot_bytes=slot_bytes) as ring:
            streams = [Stream(ring, n, rate, clock) for n in range(STREAMS)]
            second = await fill(ring, streams, clock, slots)
            os.sync()
            before, media = place.disk.sectors_written(), sum(s.media_bytes for s in streams)
            await fill(ring, streams, clock, slots, first_second=second)
            written = (place.disk.sectors_written() - before) * 512
            media = sum(s.media_bytes for s in streams) - media
        return written / media, media >> 20


@dataclass(frozen=True)
class Window:
    """A stretch of real time, one tick a second. `others`: flushes that no commit asked for, of the file system's journal."""

    seconds: float
    commits: int
    others: int
    took_s: list[float]

    @property
    def flushes_per_s(self) -> float:
        return (self.commits + self.others) / self.seconds

    @property
    def steady_flushes_per_s(self) -> float:
        """The file system commits its journal once in 60 s: of a shorter window it would be chance whether it holds that or not."""
        return self.commits / len(self.took_s) + self.others / max(60.0, self.seconds)


async def real_time(place: Place, ring: Ring, streams: list[Stream], seconds: int, first: int) -> Window:
    assert place.disk is not None
    store = ring.store
    assert store is not None
    took = []
    flushes, commits, began = place.disk.flushes(), store.statistics.flushes, time.monotonic()
    for number in range(seconds):
        for stream in streams:
            stream.second(first + number)
        at = time.monotonic()
        await ring.tick()
        took.append(time.monotonic() - at)
        await asyncio.sleep(max(0.0, began + number + 1 - time.monotonic()))
    commits = store.statistics.flushes - commits
    return Window(time.monotonic() - began, commits, place.disk.flushes() - flushes - commits, took)


async def read_always(ring: Ring, number: int) -> None:
    """A reader that goes through the closed slots, 20 fragments (10 MB) a second."""
    while True:
        store = ring.store
        assert store is not None
        refs = list(store.table.closed_by_order())
        for ref in refs[number::4]:
            async with ring.read_slot(ref) as reader:
                for entry in await reader.entries():
                    await reader.fragment(entry)
                    await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)


async def in_real_time(place: Place) -> list[Row]:
    seconds = round(place.seconds(30))
    clock = SystemClock()
    with place.empty("ring") as folder:
        async with ring_in(folder, clock, slots=96, slot_bytes=8 << 20) as ring:
            streams = [Stream(ring, n, 500_000, clock) for n in range(STREAMS)]
            first_cycle = await real_time(place, ring, streams, seconds, 0)
            second = seconds
            store = ring.store
            assert store is not None
            while store.statistics.slots_closed < 2 * 96:
                for stream in streams:
                    stream.second(second)
                await ring.tick()
                second += 1
            steady = await real_time(place, ring, streams, 2 * seconds, second)
            readers = [asyncio.ensure_future(read_always(ring, n)) for n in range(4)]
            reading = await real_time(place, ring, streams, seconds, second + 2 * seconds)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
    alone, with_readers = steady.took_s, reading.took_s
    ratio = statistics.median(with_readers) / statistics.median(alone)
    return [
        Row(
            "ring: flushes/s, 16 x 4 Mbit/s, first cycle",
            f"{first_cycle.flushes_per_s:.2f}/s",
            "",
            first_cycle.flushes_per_s,
            2.5,
        ),
        Row(
            "ring: flushes/s, after the first cycle",
            f"{steady.steady_flushes_per_s:.2f}/s",
            "",
            steady.steady_flushes_per_s,
            1.1,
            note=f"{steady.commits} of {len(alone)} ticks, {steady.others} of the file system's journal in {steady.seconds:.0f} s; "
            "it has two a minute, more where something else on this machine calls sync",
        ),
        Row(
            "ring: commit latency with four readers / without, median",
            f"{statistics.median(with_readers) * 1e3:.1f} ms",
            f"{statistics.median(alone) * 1e3:.1f} ms",
            ratio,
            2.0,
            note=f"slowest {max(with_readers) * 1e3:.0f} and {max(alone) * 1e3:.0f} ms; readers take 10 MB/s each",
        ),
    ]


def rows(place: Place) -> Iterator[Row]:
    if place.disk is None:
        yield Row("ring", "", note="needs root: a loop device counts bytes and flushes")
        return
    slots, slot_bytes = (64, 16 << 20) if place.quick else (72, 32 << 20)
    for name, (rate, target) in RATES.items():
        ratio, mib = asyncio.run(amplification(place, rate, slots=slots, slot_bytes=slot_bytes))
        note = f"{mib} MiB of media in 16 streams, slots of {slot_bytes >> 20} MiB"
        yield Row(f"ring: device bytes / media bytes, {name}", f"{ratio:.4f}", "", ratio, target, note=note)
    yield from asyncio.run(in_real_time(place))
