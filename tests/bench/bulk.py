"""How fast the ring takes what is queued, beside fio on the same disk.

Three things differ from fio, all to the ring's cost: its media lies in memory that no cache holds and is copied once, every byte of it is
checksummed, and every commit ends with a flush. What copying and checksumming alone would allow is printed in the note.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator

from recorderd.media.fragment import Fragment, Sample, TrackSamples
from recorderd.model.ports import Anchor
from recorderd.model.stream import MediaKind
from recorderd.ring.layout import crc32
from recorderd.ring.ring import Ring
from tests.bench.held_disk import held
from tests.bench.place import Place
from tests.bench.ring import CLOCK, FPS, Stream, ring_in
from tests.bench.row import Row
from tests.simulated_time import FakeClock

RATE = 500_000
SLOT_BYTES = 32 << 20
PAIRS = 3
HELD_BYTES_PER_S = 1_000_000_000


def fragments(frames: list[bytes], count: int, seconds: int) -> list[tuple[int, Fragment]]:
    """Ready-made, as fio's buffers are: media time and fragment. They share the frames' bytes."""
    step, per = CLOCK // FPS, FPS * seconds
    made = []
    for first in range(0, count * per, per):
        samples = [
            Sample(frames[n % per], (first + n) * step, (first + n) * step, step, n % FPS == 0) for n in range(per)
        ]
        made.append((first * step, Fragment([TrackSamples(0, MediaKind.VIDEO, CLOCK, samples)])))
    return made


async def append_all(
    ring: Ring, clock: FakeClock, streams: list[Stream], seconds: int, ticks: int, each: int
) -> tuple[int, float]:
    """`each` fragments of `seconds` per stream and tick; bytes of media, and how long the ticks took."""
    began_ns = clock.boottime_ns()
    frames = [[os.urandom(RATE // FPS) for _ in range(FPS * seconds)] for _ in streams]
    queues = [fragments(some, ticks * each, seconds) for some in frames]
    media, took, store = 0, 0.0, ring.store
    assert store is not None
    for first in range(0, ticks * each, each):
        now, began = clock.boottime_ns(), time.monotonic()
        for stream, queue in zip(streams, queues, strict=True):
            for pts, body in queue[first : first + each]:
                stream.append(body, Anchor(0, pts, began_ns + pts * 10**9 // CLOCK, began_ns >> 30), now)
                media += body.size
        await ring.tick()
        if store.snapshot is not None:
            await store.write_checkpoint()
        took += time.monotonic() - began
        clock.advance(seconds * each)
    return media, took


async def appended(place: Place, *, streams: int, seconds: int, each: int, slots: int, slot_bytes: int) -> float:
    """MB/s of media over one cycle of a ring whose slots have all been written before."""
    clock = FakeClock()
    clock.advance(60)
    with place.empty("ring") as folder:
        async with ring_in(folder, clock, slots=slots, slot_bytes=slot_bytes) as ring:
            made = [Stream(ring, n, RATE, clock) for n in range(streams)]
            cycle = slots * slot_bytes // (streams * seconds * each * RATE)
            store = ring.store
            assert store is not None
            while store.statistics.slots_closed < slots + 2 * streams:
                await append_all(ring, clock, made, seconds, max(1, cycle // 4), each)
            virgin = store.statistics.syncfs
            media, took = await append_all(ring, clock, made, seconds, cycle, each)
            assert store.statistics.syncfs == virgin, "a slot was virgin still"
            return media / took / 1e6


def fio(place: Place, mib: int, *, flush_every_mib: int = 0) -> float:
    """MB/s of a sequential direct overwrite, one MiB at a time, eight in flight."""
    with place.empty("fio") as folder:
        command = ["fio", "--name=peer", f"--filename={folder / 'fio.dat'}", f"--size={mib}m", "--rw=write", "--bs=1m"]
        command += ["--direct=1", "--ioengine=libaio", "--iodepth=8", "--end_fsync=1", "--output-format=json"]
        command += ["--overwrite=1"] + ([f"--fdatasync={flush_every_mib}"] if flush_every_mib else [])
        subprocess.run(command, check=True, capture_output=True)  # lays the file out and writes it
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(json.loads(done.stdout)["jobs"][0]["write"]["bw_bytes"]) / 1e6


def ceiling() -> float:
    """MB/s of copying and checksumming alone, in as many threads as there are processors, fragments of 4 MB."""
    frames = [[os.urandom(RATE // FPS) for _ in range(200)] for _ in range(8)]
    bodies = [fragments(some, 1, 8)[0][1] for some in frames]

    def work() -> None:
        with memoryview(mmap.mmap(-1, 5 << 20)) as view:
            for body in bodies * 4:
                body.write_into(view, 1, (0,))
                crc32(view[: body.size])

    work()
    threads = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(threads) * 4 * sum(body.size for body in bodies) / (time.monotonic() - began) / 1e6


def compared(place: Place, slots: int, pairs: int) -> tuple[float, float, float]:
    """MB/s of the ring, of fio, and of fio flushing as often; medians of so many pairs.

    In turn: on a machine with other users the disk changes from minute to minute.
    """
    mib = slots * SLOT_BYTES >> 20
    ours, theirs, flushing = [], [], []
    for _ in range(pairs):
        ours.append(asyncio.run(appended(place, streams=12, seconds=8, each=3, slots=slots, slot_bytes=SLOT_BYTES)))
        theirs.append(fio(place, mib))
        flushing.append(fio(place, mib, flush_every_mib=48))
    return statistics.median(ours), statistics.median(theirs), statistics.median(flushing)


def rows(place: Place) -> Iterator[Row]:
    if place.disk is None or shutil.which("fio") is None:
        yield Row("ring: bulk append", "", note="needs root" if place.disk is None else "needs fio")
        return
    slots = 72 if place.quick else 108
    peer = "fio: sequential direct overwrite, 1 MiB, 8 in flight"
    with held(place.disk.device, HELD_BYTES_PER_S) as holds:
        if holds:
            mine, fios, flushing = compared(place, 72, 1)
            yield Row(
                f"ring: bulk append of a backlog, on a disk held to {HELD_BYTES_PER_S // 10**6} MB/s, against fio",
                f"{mine:.0f} MB/s",
                f"{fios:.0f} MB/s",
                mine / fios,
                0.8,
                0.95,
                higher=True,
                note=f"CRC and a flush every 48 MB included; {peer}; {flushing:.0f} MB/s with such flushes",
            )
    mine, fios, flushing = compared(place, slots, 1 if place.quick else PAIRS)
    yield Row(
        "ring: bulk append of a backlog, as fast as this disk goes, against fio",
        f"{mine:.0f} MB/s",
        f"{fios:.0f} MB/s",
        mine / fios,
        0.8,
        0.95,
        higher=True,
        note=f"fragments of 4 MB, as they are after a stall; {peer}, {flushing:.0f} MB/s with a flush every 48 MB; "
        f"copy and CRC alone {ceiling():.0f} MB/s",
    )
    small = asyncio.run(appended(place, streams=16, seconds=1, each=1, slots=2 * slots, slot_bytes=8 << 20))
    fios = fio(place, slots * SLOT_BYTES >> 21, flush_every_mib=8)
    yield Row(
        "ring: append of 16 x 1 s at 4 Mbit/s a commit, against fio flushing every 8 MB",
        f"{small:.0f} MB/s",
        f"{fios:.0f} MB/s",
        small / fios,
        higher=True,
        note="as in real time, only without the wait for the next tick",
    )
