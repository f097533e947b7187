"""The ring beside `ffmpeg -c copy -f segment` for the same streams: what the disk is asked to do, and what a power cut costs.

Each recorder has a small ext4 of its own, above a device that logs every write and flush. All run side by side in real time; then the power
is cut at the same instants for all of them, and what a reader still finds of the video is counted in pictures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from recorderd.media.fragment import Fragment, Sample, TrackSamples
from recorderd.model.clock import SystemClock
from recorderd.model.ports import Anchor
from recorderd.model.stream import MediaKind
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring
from recorderd.ring.layout import SlotState
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.playback import find_extents, play
from recorderd.ring.ring import Ring, RingState
from tests.bench import ring
from tests.bench.place import Place
from tests.bench.row import Row
from tests.peers import logged_disk
from tests.peers.logged_disk import cut_image, mounted
from tests.peers.write_log_server import FLUSH, LOG_ENTRY

STREAMS = 3
FPS = ring.FPS
CUTS = 20
SEGMENT_S = 10
FORMATS = {"mpegts": "ts", "mp4": "mp4"}  # name of the muxer, ending of its files
SLOTS, SLOT_BYTES = 44, 1 << 20  # twice what is recorded: what is recycled was there before


@dataclass
class Logged:
    """One recorder's disk: where its log stood when recording began, and then every 50 ms."""

    folder: Path
    mount_point: Path
    log: Path
    image: Path
    start: int = 0
    positions: list[tuple[float, int]] = field(default_factory=list)  # seconds since the beginning, bytes of log

    def begin(self) -> None:
        subprocess.run(["sync", "--file-system", str(self.mount_point)], check=True)
        shutil.copyfile(self.image, self.folder / "base.img")
        self.start = self.log.stat().st_size

    def at(self, second: float) -> int:
        return max((size for when, size in self.positions if when <= second), default=self.start)

    def cut(self, second: float, rng: random.Random) -> contextlib.AbstractContextManager[Path]:
        """What mounting the disk shows after a power cut."""
        target = self.folder / "cut.img"
        cut_image(self.folder / "base.img", self.start, self.log, self.at(second), target, rng)
        return mounted(target, "ext4", self.folder / "cut")

    def work(self) -> tuple[int, int, int]:
        """Write requests, flushes and bytes written, from the beginning to the end of the log."""
        writes = flushes = written = 0
        with self.log.open("rb") as log:
            log.seek(self.start)
            while raw := log.read(LOG_ENTRY.size):
                kind, _, length = LOG_ENTRY.unpack(raw)
                log.seek(length, os.SEEK_CUR)
                flushes += kind == FLUSH
                writes += kind != FLUSH
                written += length
        return writes, flushes, written


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[Logged]:
    folder.mkdir()
    with logged_disk.logged_disk(folder, "ext4") as (mount_point, log, image):
        yield Logged(folder, mount_point, log, image)


@contextlib.contextmanager
def positions_noted(disks: list[Logged], began: float) -> Iterator[None]:
    stop = threading.Event()

    def note() -> None:
        while not stop.wait(0.05):
            for disk in disks:
                disk.positions.append((time.monotonic() - began, disk.log.stat().st_size))

    thread = threading.Thread(target=note)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def clip(path: Path, seconds: int) -> list[int]:
    """A video of about 1 Mbit/s with a key frame a second; the sizes of its pictures in bytes."""
    rate = ["-b:v", "1M", "-minrate", "1M", "-maxrate", "1M", "-bufsize", "1M", "-x264-params", "nal-hrd=cbr"]
    source = f"testsrc2=size=640x360:rate={FPS}:duration={seconds}"
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264"]
    command += ["-preset", "ultrafast", "-tune", "zerolatency", "-g", str(FPS), *rate, str(path)]
    subprocess.run(command, check=True)
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(line.strip(",")) for line in done.stdout.split()]


@dataclass
class ClipStream(ring.Stream):
    """`ring.Stream` with pictures of the clip's sizes."""

    sizes: list[int] = field(default_factory=list)

    def second(self, number: int) -> None:
        if (number + self.number) % self.every_s:
            return
        first = max(0, number + 1 - self.every_s) * FPS
        step = ring.CLOCK // FPS
        samples = [
            Sample(bytes(self.sizes[n]), n * step, n * step, step, n % FPS == 0)
            for n in range(first, (number + 1) * FPS)
        ]
        body = Fragment([TrackSamples(0, MediaKind.VIDEO, ring.CLOCK, samples)])
        now = self.clock.boottime_ns()
        arrived_ns = now - len(samples) * 10**9 // FPS
        self._writer.append(body, self._run, [Anchor(0, first * step, arrived_ns, 1)], arrived_ns, now)
        self.media_bytes += sum(len(sample.data) for sample in samples)


def ring_at(folder: Path) -> Ring:
    clock = SystemClock()
    return Ring.at(folder, ledger=RingLedger(clock=clock), clock=clock, boot_id=uuid.uuid4())


async def fill(made: Ring) -> None:
    """Puts the ring into its second cycle, as nearly all rings are, with media of another recording."""
    store = made.store
    assert store is not None
    streams = [ring.Stream(made, STREAMS + n, 125_000, SystemClock()) for n in range(STREAMS)]
    number, cycle = 0, SLOTS + store.pool_target + STREAMS
    while store.statistics.slots_closed < cycle:
        for stream in streams:
            stream.second(number)
        await made.tick()
        number += 1
    for writer in made.writers():
        writer.close()
    store.to_close.update(store.open)
    await made.tick()


async def record(made: Ring, sizes: list[int], seconds: int, began: float) -> tuple[list[uuid.UUID], int]:
    """In real time, one tick a second; the tracks and the bytes of media."""
    streams = [ClipStream(made, n, 125_000, SystemClock(), sizes=sizes) for n in range(STREAMS)]
    tracks = [writer.spec.tracks[0].track for writer in made.writers()]
    for number in range(seconds):
        await asyncio.sleep(max(0.0, began + number + 1 - time.monotonic()))
        for stream in streams:
            stream.second(number)
        await made.tick()
    return tracks, sum(stream.media_bytes for stream in streams)


@contextlib.contextmanager
def ffmpegs(source: Path, disk: Logged, form: str) -> Iterator[None]:
    running = []
    for number in range(STREAMS):
        output = ["-c", "copy", "-f", "segment", "-segment_time", str(SEGMENT_S), "-segment_format", form]
        target = disk.mount_point / f"{number}-%03d.{FORMATS[form]}"
        command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-re", "-i", str(source), *output, str(target)]
        running.append(subprocess.Popen(command))
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


def pictures_in_files(folder: Path) -> int:
    """Packets that ffprobe finds in all files; none in what it cannot open."""
    count = 0
    for path in folder.glob("*-*.*"):
        if path.stat().st_size == 0:
            continue
        command = ["ffprobe", "-v", "quiet", "-count_packets", "-show_entries", "stream=nb_read_packets"]
        done = subprocess.run([*command, "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=False)
        count += next((int(line.strip(",")) for line in done.stdout.split() if line.strip(",").isdigit()), 0)
    return count


def pictures_in_ring(folder: Path, tracks: list[uuid.UUID]) -> int:
    async def count() -> int:
        made = ring_at(folder)
        assert await made.mount(), made.status().detail
        await made.scan_now()
        found = 0
        for track in tracks:
            found += len([s async for s in play(made, await find_extents(made, track, 0, 1 << 62))])
        await made.close()
        return found

    return asyncio.run(count())


def pictures_at_end(disk: Logged, tracks: list[uuid.UUID]) -> int:
    with mounted(disk.image, "ext4", disk.folder / "end") as folder:
        return pictures_in_ring(folder, tracks)


def lost_s(disk: Logged, instants: list[float], pictures: Callable[[Path], int]) -> list[float]:
    """Seconds of video of one stream, on average, that each of the cuts cost."""
    rng = random.Random(1)
    lost = []
    for instant in instants:
        with disk.cut(instant, rng) as folder:
            lost.append(instant - pictures(folder) / FPS / STREAMS)
    return lost


async def side_by_side(folder: Path, seconds: int) -> tuple[dict[str, Logged], list[uuid.UUID], int]:
    source = folder / "clip.mp4"
    sizes = clip(source, seconds + 5)
    async with contextlib.AsyncExitStack() as stack:
        disks = {name: stack.enter_context(logged(folder / name)) for name in ("ring", *FORMATS)}
        for name in FORMATS:  # as the system mounts it, not as the ring wants it
            logged_disk.run("mount", "-o", "remount,commit=5,relatime", disks[name].mount_point)
        device, calls = FileDevice(disks["ring"].mount_point), DiskThreads(clock=SystemClock())
        await format_ring(device, calls, formatted_ns=0, slots=SLOTS, slot_bytes=SLOT_BYTES, journal_blocks=256)
        device.release()
        calls.close()
        made = ring_at(disks["ring"].mount_point)
        assert await made.mount(), made.status().detail
        assert made.state is RingState.HEALTHY
        await fill(made)
        for disk in disks.values():
            disk.begin()
        began = time.monotonic()
        with positions_noted(list(disks.values()), began), contextlib.ExitStack() as peers:
            for name in FORMATS:
                peers.enter_context(ffmpegs(source, disks[name], name))
            tracks, media_bytes = await record(made, sizes, seconds, began)
        assert made.store is not None
        assert made.store.table.count(SlotState.FREE) == 0, "the ring is not in its second cycle"
        await made.close()
    return disks, tracks, media_bytes


def rows(place: Place) -> Iterator[Row]:
    missing = "" if Path("/dev/fuse").exists() else "needs FUSE"
    missing = missing or next((f"needs {tool}" for tool in ("ffmpeg", "ffprobe") if shutil.which(tool) is None), "")
    if place.disk is None or missing:
        yield Row("ring against ffmpeg, power cuts", "", note=missing or "needs root")
        return
    seconds = 50 if place.quick else 60
    with place.empty("cuts") as folder:
        disks, tracks, media_bytes = asyncio.run(side_by_side(folder, seconds))
        rng = random.Random(7)
        instants = sorted(rng.uniform(SEGMENT_S, seconds) for _ in range(CUTS))
        ours = disks["ring"].work()
        kept = pictures_at_end(disks["ring"], tracks)
        assert kept >= STREAMS * FPS * (seconds - 1), (
            f"{kept} pictures of {seconds} s: the recycled would count as lost"
        )
        lost = lost_s(disks["ring"], instants, lambda at: pictures_in_ring(at, tracks))
        for form in FORMATS:
            peer = disks[form].work()
            theirs = lost_s(disks[form], instants, pictures_in_files)
            what = f"ffmpeg -f segment, {form}"
            note = f"{STREAMS} x 1 Mbit/s, {seconds} s of a ring's second cycle, until unmounted"
            yield Row(f"write I/Os, against {what}", f"{ours[0]}", f"{peer[0]}", ours[0] / peer[0], note=note)
            yield Row(f"flushes, against {what}", f"{ours[1]}", f"{peer[1]}", ours[1] / max(1, peer[1]), note=note)
            written = f"{ours[2] / media_bytes:.3f}", f"{peer[2] / media_bytes:.3f}"
            yield Row(f"bytes written / media, against {what}", *written, ours[2] / peer[2], note=note)
            mean = sum(lost) / CUTS, sum(theirs) / CUTS
            yield Row(
                f"seconds lost a power cut, against {what}",
                f"{mean[0]:.1f} s",
                f"{mean[1]:.1f} s",
                mean[0] / mean[1],
                note=f"mean of {CUTS} cuts; at worst {max(lost):.1f} and {max(theirs):.1f} s of each stream",
            )
