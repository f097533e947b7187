"""An export, from stored fragments to a file on disk, beside `cp --reflink=never` plus fsync of the same bytes; both cache-cold."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from recorderd.model.stream import AccessUnit, TrackFormat
from recorderd.recording.exports import Exports
from recorderd.ring.ring import Ring
from tests.bench.place import Place
from tests.bench.row import Row
from tests.media import clips
from tests.recording.stored_ring import NS, RECORDING, record, ring_in, session_units, wanted
from tests.simulated_time import FakeClock

TURN_S = 10
PICTURE_BYTES = 20_000  # 25 a second: 4 Mbit/s
SLOT_BYTES = 32 << 20
ROUNDS = 5


def footage(seconds: int) -> tuple[list[TrackFormat], list[AccessUnit]]:
    """Real pictures and sound, gone round, the pictures made 4 Mbit/s with filler NAL units that do not compress."""
    clip, sound = clips.video(frames=TURN_S * clips.FPS, gop=50), clips.aac(TURN_S)
    formats, turn = session_units(clip, sound)
    filler = os.urandom(PICTURE_BYTES)
    units = []
    for number in range(seconds // TURN_S):
        for unit in turn:
            data = unit.data
            if unit.track == 0:
                length = PICTURE_BYTES - len(data) % PICTURE_BYTES
                data += length.to_bytes(4, "big") + b"\x0c" + filler[1:length]
            ticks = TURN_S * formats[unit.track].clock_rate
            units.append(
                replace(
                    unit, data=data, pts=unit.pts + number * ticks, arrival_ns=unit.arrival_ns + number * TURN_S * NS
                )
            )
    return formats, sorted(units, key=lambda unit: unit.arrival_ns)


def forget(*files: Path) -> None:
    """Writes them out and drops them from the page cache."""
    os.sync()
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


@dataclass(frozen=True)
class Cost:
    """Of one copy on the disk: seconds, and CPU seconds of all processes but the kernel's own."""

    seconds: float
    cpu_s: float


@contextmanager
def cost(into: list[Cost]) -> Iterator[None]:
    began, cpu_s = time.monotonic(), _cpu_s()
    yield
    into.append(Cost(time.monotonic() - began, _cpu_s() - cpu_s))


def _cpu_s() -> float:
    """Of this process and its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


async def export_once(ring: Ring, clock: FakeClock, formats: list[TrackFormat], start_ns: int, target: Path) -> None:
    """As `recorderctl export` does: the worker writes the file."""
    with target.open("wb") as file:  # nothing else runs on this loop
        export = await Exports(ring=ring, clock=clock).export(
            recording=RECORDING,
            tracks=wanted(formats),
            start_ns=start_ns,
            stop_ns=clock.realtime_ns(),
            output=file.fileno(),
        )
        try:
            async for _ in export:
                pass
            os.fsync(file.fileno())
        finally:
            await export.aclose()
    assert export.trailer().complete, export.trailer().reason


def copy_once(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    fd = os.open(target, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


async def measure(place: Place, seconds: int) -> tuple[list[Cost], list[Cost], int]:
    formats, units = footage(seconds)
    slots = sum(len(unit.data) for unit in units) // SLOT_BYTES + 12
    ours: list[Cost] = []
    theirs: list[Cost] = []
    with place.empty("ring") as ring_folder, place.empty("exports") as folder:
        clock = FakeClock()
        durability = "direct" if place.disk else "none"
        async with ring_in(ring_folder, clock, slots=slots, slot_bytes=SLOT_BYTES, durability=durability) as ring:
            begin = await record(ring, clock, formats, units, tick_ns=NS)
            start_ns = begin + clock.realtime_ns() - clock.boottime_ns()
            made, copied = folder / "export.mp4", folder / "copy.mp4"
            for _ in range(2 if place.quick else ROUNDS):
                forget(*ring_folder.glob("slots/*/*.mp4"))
                made.unlink(missing_ok=True)
                with cost(ours):
                    await export_once(ring, clock, formats, start_ns, made)
                forget(made)
                with cost(theirs):
                    copy_once(made, copied)
                size = made.stat().st_size
                copied.unlink()
    return ours, theirs, size


def rows(place: Place) -> Iterator[Row]:
    ours, theirs, size = asyncio.run(measure(place, 300 if place.quick else 900))
    ratio = statistics.median(peer.seconds / own.seconds for own, peer in zip(ours, theirs, strict=True))
    rates = [size / statistics.median(cost.seconds for cost in costs) / 1e6 for costs in (ours, theirs)]
    yield Row(
        f"export of {size >> 20} MiB against cp and fsync, cache-cold, throughput", f"{rates[0]:.0f} MB/s", f"{rates[1]:.0f} MB/s",
        ratio, 0.8, 0.95, higher=True, note="start of the worker included",
    )  # fmt: skip
    cpu = [statistics.median(cost.cpu_s for cost in costs) for costs in (ours, theirs)]
    yield Row(
        "export, CPU against cp", f"{cpu[0]:.2f} s", f"{cpu[1]:.2f} s", cpu[0] / cpu[1],
        note="checksums included; without the kernel's writing-out",
    )  # fmt: skip
