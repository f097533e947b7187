"""The ring on real ext4 and xfs: real pictures in, ffprobe and ffmpeg as judges of the slots themselves, and of what is read back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recorderd.media.fragmenter import Fragmenter
from recorderd.model.causes import GapCause, RunKind
from recorderd.model.clock import SystemClock
from recorderd.model.ports import Anchor, Writer, WriterSpec, WriterTrack
from recorderd.model.stream import AccessUnit
from recorderd.model.timeline import RunCause
from recorderd.ring.device import FileDevice, extents
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.files import slot_path
from recorderd.ring.formatting import FormatRefused, format_ring
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.playback import find_extents, follow, play, play_backward, play_keys
from recorderd.ring.ring import Ring
from tests.media import clips
from tests.peers import judge
from tests.peers.disk_image import DiskImage, disk_image, needs_loop_devices

pytestmark = [pytest.mark.root, needs_loop_devices]

VIDEO, AUDIO = uuid.UUID(int=0xA1), uuid.UUID(int=0xA2)
RECORDING = uuid.UUID(int=0xA0)


@dataclass
class Sink:
    fragments: int = 0
    lost_causes: list[GapCause] = field(default_factory=list)

    def durable(self, writer: Writer, through_ns: int, fragments: int) -> None:
        self.fragments += fragments

    def lost(self, writer: Writer, cause: GapCause, from_ns: int, to_ns: int) -> None:
        self.lost_causes.append(cause)


async def formatted(disk: DiskImage, clock: SystemClock, *, slots: int, slot_bytes: int) -> None:
    device = FileDevice(disk.mount_point)
    calls = DiskThreads(clock=clock)
    try:
        await format_ring(device, calls, formatted_ns=clock.realtime_ns(), slots=slots, slot_bytes=slot_bytes)
    finally:
        device.release()
        calls.close()


@contextlib.asynccontextmanager
async def opened(disk: DiskImage, clock: SystemClock, boot: uuid.UUID | None = None) -> AsyncIterator[Ring]:
    boot_id = boot if boot is not None else uuid.uuid4()
    ring = Ring.at(disk.mount_point, ledger=RingLedger(clock=clock), clock=clock, boot_id=boot_id)
    assert await ring.mount(), ring.status().detail
    await ring.scan_now()
    yield ring
    await ring.close()


def spec_of(video: clips.Clip, audio: clips.Clip) -> WriterSpec:
    tracks = (WriterTrack(VIDEO, video.form, "VIDEO001"), WriterTrack(AUDIO, audio.form, "AUDIO001"))
    return WriterSpec(RECORDING, "gate", uuid.UUID(int=0xA3), "gate camera", tracks)


def units_of(video: clips.Clip, audio: clips.Clip, start_ns: int) -> list[AccessUnit]:
    pictures = clips.on_track(video.units, 0, video.form.clock_rate, start_ns)
    sound = clips.on_track(audio.units, 1, audio.form.clock_rate, start_ns)
    return clips.interleave(pictures, sound)


async def record(ring: Ring, spec: WriterSpec, units: list[AccessUnit], sink: Sink, *, per_fragment_ns: int) -> int:
    """Feeds units and commits whenever a fragment is due; the number of fragments."""
    writer = ring.open_writer(spec, sink)
    cause = RunCause(RunKind.CONTINUOUS)
    tracks = [track.track for track in spec.tracks]
    run = ring.start_run(spec.recording, uuid.UUID(int=9), "gate", cause, tracks, units[0].arrival_ns)
    fragmenter = Fragmenter([track.format for track in spec.tracks])
    made = 0

    async def flush(*, final: bool) -> None:
        nonlocal made
        now_ns = begin + per_fragment_ns
        while (cut := fragmenter.flush() if final else fragmenter.take(now_ns)) is not None:
            anchors = [Anchor(first.track, first.pts, first.arrival_ns, 1) for first in cut.firsts]
            writer.append(cut.fragment, run, anchors, cut.arrived_from_ns, cut.arrived_to_ns)
            made += 1
        await ring.tick()

    begin = units[0].arrival_ns
    for unit in units:
        if unit.arrival_ns - begin >= per_fragment_ns:
            begin = unit.arrival_ns
            await flush(final=False)
        fragmenter.push(unit)
    await flush(final=True)
    ring.stop_run(run, units[-1].arrival_ns)
    writer.close()
    await ring.tick()
    return made


@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_slots_play_in_ffmpeg_and_come_back_sample_by_sample(file_system: str, tmp_path: Path) -> None:
    async def main(disk: DiskImage) -> None:
        clock = SystemClock()
        await formatted(disk, clock, slots=32, slot_bytes=1 << 20)
        video, audio = clips.video(frames=150, bframes=2), clips.aac(6.0)
        units = units_of(video, audio, clock.boottime_ns())
        spec = spec_of(video, audio)
        boot = uuid.uuid4()
        async with opened(disk, clock, boot) as ring:
            sink = Sink()
            made = await record(ring, spec, units, sink, per_fragment_ns=1_000_000_000)
            assert sink.fragments == made
            assert made >= 5
        async with opened(disk, clock) as ring:
            assert ring.store is not None
            stored = [s for s in ring.store.summaries() if s.recording == RECORDING]
            for summary in stored:
                path = disk.mount_point / slot_path(summary.ref.slot)
                judge.assert_decodes(path)
                names = {stream["codec_name"] for stream in judge.streams(path)}
                assert names == {"h264", "aac"}
            played = sum(len(judge.packets(disk.mount_point / slot_path(s.ref.slot))) for s in stored)
            assert played == 150

            wall = clock.realtime_ns()
            found = await find_extents(ring, VIDEO, wall - 10**12, wall + 10**12)
            samples = [sample async for sample in play(ring, found)]
            assert [bytes(sample.data) for sample in samples] == [unit.data for unit in video.units]
            assert [sample.pts for sample in samples] == [unit.pts for unit in video.units]
            backward = [gop async for gop in play_backward(ring, found)]
            assert [bytes(s.data) for gop in reversed(backward) for s in gop] == [unit.data for unit in video.units]
            assert all(gop[0].key for gop in backward)
            keys = [s async for s in play_keys(ring, found)]
            assert [s.pts for s in keys] == [u.pts for u in video.units if u.key]
            sparse = [s async for s in play_keys(ring, found, min_interval_ns=2_000_000_000, backward=True)]
            assert len(sparse) == 3
            sound = await find_extents(ring, AUDIO, wall - 10**12, wall + 10**12)
            heard = [bytes(sample.data) async for sample in play(ring, sound)]
            assert heard == [unit.data for unit in audio.units]

    with disk_image(tmp_path, file_system, 320 if file_system == "xfs" else 128) as disk:
        asyncio.run(main(disk))


def test_following_the_live_edge(tmp_path: Path) -> None:
    async def main(disk: DiskImage) -> None:
        clock = SystemClock()
        await formatted(disk, clock, slots=16, slot_bytes=1 << 20)
        video, audio = clips.video(frames=100), clips.aac(4.0)
        units = units_of(video, audio, clock.boottime_ns())
        async with opened(disk, clock) as ring:
            seen: list[int] = []

            async def watch() -> None:
                async for sample in follow(ring, VIDEO, clock.realtime_ns() - 10**9):
                    seen.append(sample.pts)
                    if len(seen) == 100:
                        return

            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                group.create_task(watch())
                await asyncio.sleep(0)
                await record(ring, spec_of(video, audio), units, Sink(), per_fragment_ns=500_000_000)
            assert seen == [unit.pts for unit in video.units]

    with disk_image(tmp_path, "ext4", 64) as disk:
        asyncio.run(main(disk))


def test_nothing_is_allocated_after_format(tmp_path: Path) -> None:
    """Three cycles: the same inodes, sizes and extents as format made (I6)."""

    def files(root: Path) -> dict[str, tuple[int, int, list[tuple[int, int, int]]]]:
        out = {}
        for path in sorted(root.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    mapped = [(e.logical, e.physical, e.length) for e in extents(file.fileno())]
                merged: list[tuple[int, int, int]] = []
                for logical, physical, length in mapped:  # a partly written extent is shown in two; on disk it is one
                    if (
                        merged
                        and merged[-1][0] + merged[-1][2] == logical
                        and merged[-1][1] + merged[-1][2] == physical
                    ):
                        merged[-1] = (*merged[-1][:2], merged[-1][2] + length)
                    else:
                        merged.append((logical, physical, length))
                out[str(path.relative_to(root))] = (path.stat().st_ino, path.stat().st_size, merged)
        return out

    async def main(disk: DiskImage) -> None:
        clock = SystemClock()
        await formatted(disk, clock, slots=16, slot_bytes=1 << 20)
        os.sync()
        before = files(disk.mount_point)
        assert (
            len(before) == 16 + 6 + 2 + 2
        )  # slots; identity, catalogue, checkpoints, journal; event history; configuration
        video, audio = clips.video(frames=150), clips.aac(6.0)
        async with opened(disk, clock) as ring:
            closed = 0
            while closed < 3 * 16:
                start = clock.boottime_ns()
                await record(ring, spec_of(video, audio), units_of(video, audio, start), Sink(), per_fragment_ns=10**9)
                closed = ring.status().statistics.slots_closed
        os.sync()
        assert files(disk.mount_point) == before

    with disk_image(tmp_path, "ext4", 64) as disk:
        asyncio.run(main(disk))


def test_file_systems_that_cannot_promise_space_are_refused(tmp_path: Path) -> None:
    async def main(folder: Path) -> None:
        clock = SystemClock()
        device, calls = FileDevice(folder), DiskThreads(clock=clock)
        with pytest.raises(FormatRefused, match="tmpfs"):
            await format_ring(device, calls, formatted_ns=0, slots=16, slot_bytes=1 << 20)
        device.release()
        calls.close()

    shm = Path("/dev/shm") / f"ring-{uuid.uuid4()}"
    shm.mkdir()
    try:
        asyncio.run(main(shm))
    finally:
        shm.rmdir()


def test_a_disk_that_is_too_small_is_refused_with_the_figure(tmp_path: Path) -> None:
    async def main(disk: DiskImage) -> None:
        clock = SystemClock()
        device, calls = FileDevice(disk.mount_point), DiskThreads(clock=clock)
        with pytest.raises(FormatRefused, match=r"16 streams need at least 9\.0 GB"):
            await format_ring(device, calls, formatted_ns=0)
        assert [p.name for p in disk.mount_point.iterdir()] == ["lost+found"]
        device.release()
        calls.close()

    with disk_image(tmp_path, "ext4", 64) as disk:
        asyncio.run(main(disk))
