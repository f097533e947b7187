"""Jobs that contend for the tracks of one recording, down to the bytes on a simulated disk: every track has one source at any time, and a
track that was deleted and created again under its name never gives back what it held before."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recorderd.events.broker import Broker
from recorderd.events.history import History
from recorderd.model.job import JobRequest, JobTrack, SourceRequest
from recorderd.model.limits import Limits
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import RecordingConfiguration, TrackConfiguration, TrackType
from recorderd.model.stream import AccessUnit
from recorderd.recording.service import RecordingService
from recorderd.ring.archive import Archive
from recorderd.ring.disk_threads import InlineCalls
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.playback import find_extents, play
from recorderd.ring.ring import Ring, slot_head
from recorderd.ring.samples import samples_of
from recorderd.state.store import Store
from tests.recording.fakes import AUDIO, VIDEO, FakeCameraEvents, FakeEventStreams, FakeSource
from tests.recording.service_house import DirectStore
from tests.ring.fakes import formatted
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated

TRACKS = ("VIDEO001", "AUDIO001")
GOP = 5  # pictures; ten a second
UNIT = struct.Struct(">IBxxxQ")  # bytes of the unit, track, serial: no two units of a test are alike
FOREVER_NS = 1 << 61


@dataclass(frozen=True)
class Sent:
    camera: uuid.UUID
    track: int  # 0 video, 1 audio
    arrival_ns: int
    key: bool


@dataclass
class Cameras(FakeSource):
    """Both send at the same instants, so that two sources of one track would show as two units of one instant."""

    sent: list[Sent] = field(default_factory=list)  # by serial
    gop: int = GOP

    def send(self) -> None:
        for receiver, session in list(self.sessions.items()):
            number = self.frames[receiver]
            self.frames[receiver] = number + 1
            units = []
            for track, form in enumerate(session.formats):
                now_ns, key = self.clock.boottime_ns(), track == 1 or number % GOP == 0
                data = UNIT.pack((400, 160)[track], track, len(self.sent)).ljust((400, 160)[track], b"\0")
                units.append(AccessUnit(track, number * form.clock_rate // 10, data, now_ns, key))
                self.sent.append(Sent(receiver, track, now_ns, key))
            self.deliver(session, units)

    def connect_all(self) -> None:
        for receiver in self.requests:
            if receiver not in self.sessions:
                self.connect(receiver, (VIDEO, AUDIO))


@dataclass
class Recorder:
    """One boot of the service over a real ring; the disk and the state file outlive it."""

    clock: FakeClock
    disk: SimDisk
    state_file: Path
    cameras: Cameras
    boot: int = 1

    async def __aenter__(self) -> Recorder:
        self.ledger = RingLedger(clock=self.clock)
        self.ring = Ring(
            open_device=lambda: self.disk,
            make_calls=InlineCalls,
            ledger=self.ledger,
            clock=self.clock,
            boot_id=uuid.UUID(int=self.boot),
            head=slot_head,
        )
        assert await self.ring.mount(), self.ring.status().detail
        await self.ring.scan_now()
        self.state = Store.open(self.state_file)
        self.service = RecordingService(
            state=DirectStore(self.state),
            store=self.ring,
            archive=Archive(ring=self.ring, ledger=self.ledger),
            source=self.cameras,
            broker=Broker(clock=self.clock, history=History()),
            clock=self.clock,
            camera_events=FakeCameraEvents(),
            event_streams=FakeEventStreams(),
            limits=Limits(),
        )
        self.tasks = [asyncio.create_task(self.service.run()), asyncio.create_task(self.ring.run())]
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.tasks[0]
        await self.ring.close()
        await self.tasks[1]
        self.state.close()
        for receiver in list(self.cameras.requests):
            self.cameras.stop(receiver)

    async def pictures(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0.1)
            self.cameras.connect_all()
            self.cameras.send()

    async def played(self, track: uuid.UUID) -> list[int]:
        """Serials of what a reader of the track gets, in its order."""
        found = await find_extents(self.ring, track, 0, FOREVER_NS)
        return [serial_of(sample.data) async for sample in play(self.ring, found)]

    async def on_disk(self, track: uuid.UUID) -> list[int]:
        """Serials of all samples of the track in all slots, overlapping or not."""
        assert self.ring.store is not None
        serials = []
        for summary in list(self.ring.store.summaries()):
            async with self.ring.read_slot(summary.ref) as reader:
                identity = await reader.identity()
                assert identity is not None
                index = next((n for n, t in enumerate(identity.tracks) if t.track == track), None)
                if index is None:
                    continue
                rate = identity.tracks[index].timescale
                for entry in await reader.entries():
                    samples = samples_of(await reader.fragment(entry), len(identity.tracks), index, rate)
                    serials += [serial_of(sample.data) for sample in samples]
        return serials

    async def everything(self, recording: uuid.UUID) -> set[int]:
        """Serials of all that a reader finds by way of the recording's tracks."""
        tracks = self.ledger.queries.tracks(recording)
        return {serial for track in tracks for serial in await self.played(track.id)}

    def track(self, token: str) -> uuid.UUID:
        return self.service.get_track("recording-1", token).id


def serial_of(data: memoryview) -> int:
    return int(UNIT.unpack_from(data)[2])


def request(priority: int, mode: str, sources: Iterable[tuple[str, Iterable[str]]]) -> JobRequest:
    return JobRequest(
        recording="recording-1",
        mode=mode,
        priority=priority,
        sources=tuple(
            SourceRequest(token=receiver, tracks=tuple(JobTrack(destination=t) for t in tracks))
            for receiver, tracks in sources
        ),
    )


async def two_cameras(recorder: Recorder) -> dict[str, uuid.UUID]:
    await recorder.service.create_recording(RecordingConfiguration())
    made = [
        await recorder.service.create_receiver(ReceiverConfiguration(media_uri=f"rtsp://192.0.2.{n}/s")) for n in (1, 2)
    ]
    return {receiver.token: receiver.id for receiver in made}


async def crossed(clock: FakeClock, folder: Path, *, rounds: int, seed: int) -> None:
    rng = random.Random(seed)
    disk = SimDisk()
    await formatted(disk, slots=24, slot_bytes=1 << 20)
    cameras = Cameras(clock)
    async with Recorder(clock, disk, folder / "state", cameras) as recorder:
        receivers = await two_cameras(recorder)
        one, two = receivers
        jobs = [
            (await recorder.service.create_job(request(p, "Active", [(r, TRACKS)]))).token
            for p, r in ((0, one), (1, two))
        ]
        winners: list[tuple[int, int, dict[int, uuid.UUID]]] = []
        for _ in range(rounds):
            # Both jobs want both tracks, or the two receivers are crossed, or a job leaves a track to the other.
            high = rng.randrange(2)
            first, second = rng.choice([(one, two), (two, one)])
            shape = rng.choice(["own", "crossed", "video only", "audio only"])
            wanted = {
                "own": ([(first, TRACKS)], [(second, TRACKS)]),
                "crossed": ([(one, TRACKS[:1]), (two, TRACKS[1:])], [(two, TRACKS[:1]), (one, TRACKS[1:])]),
                "video only": ([(first, TRACKS[:1])], [(second, TRACKS)]),
                "audio only": ([(first, TRACKS[1:])], [(second, TRACKS)]),
            }[shape]
            order = [high, 1 - high]
            for place in rng.sample((0, 1), 2):
                await recorder.service.set_job(jobs[order[place]], request(2 - place, "Active", wanted[place]))
            won = {
                n: next(receivers[r] for job in wanted for r, tracks in job if token in tracks)
                for n, token in enumerate(TRACKS)
            }
            begin_ns = clock.boottime_ns()
            await recorder.pictures(rng.randrange(GOP + 2, 4 * GOP))
            winners.append((begin_ns, clock.boottime_ns(), won))
        await recorder.pictures(1)
        for job in jobs:
            await recorder.service.delete_job(job)
        await asyncio.sleep(2)
        for n, token in enumerate(TRACKS):
            stored = await recorder.on_disk(recorder.track(token))
            check(cameras.sent, winners, n, stored)
            assert await recorder.played(recorder.track(token)) == sorted(stored), (
                "what overlaps is left out when played"
            )


def check(
    sent: list[Sent], winners: list[tuple[int, int, dict[int, uuid.UUID]]], track: int, stored: list[int]
) -> None:
    assert len(set(stored)) == len(stored), "stored twice"
    assert all(sent[serial].track == track for serial in stored)
    instants = [sent[serial].arrival_ns for serial in stored]
    assert len(set(instants)) == len(instants), "two sources at one instant"
    assert len({sent[serial].camera for serial in stored}) == 2, "both had their turns"
    held = set(stored)
    for begin_ns, end_ns, won in winners:
        within = {n for n, unit in enumerate(sent) if unit.track == track and begin_ns < unit.arrival_ns <= end_ns}
        assert {sent[n].camera for n in within & held} == {won[track]}, "the source of the highest priority"
        his = [n for n, unit in enumerate(sent) if unit.camera == won[track] and begin_ns < unit.arrival_ns <= end_ns]
        entry = next(n for n in his if sent[n].track == 0 and sent[n].key)  # where a source that takes over begins
        assert held >= {n for n in his if n >= entry and sent[n].track == track}, "and all of it"


def test_crossed_priorities_leave_one_source_per_track(tmp_path: Path) -> None:
    run_simulated(lambda clock: crossed(clock, tmp_path, rounds=100, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 22))
def test_crossed_priorities_of_many_seeds(tmp_path: Path, seed: int) -> None:
    run_simulated(lambda clock: crossed(clock, tmp_path, rounds=100, seed=seed))


def test_two_sources_at_once_would_be_seen() -> None:
    a, b = uuid.UUID(int=1), uuid.UUID(int=2)
    sent = [Sent(camera, 0, at, at % GOP == 0) for at in range(1, 21) for camera in (a, b)]
    winners = [(0, 10, {0: a}), (10, 20, {0: b})]
    right = [n for n, unit in enumerate(sent) if unit.camera == (a if unit.arrival_ns <= 10 else b)]
    check(sent, winners, 0, right)
    for wrong in ([*right, 1], [*right, right[0]], [n for n in right if n != right[-1]]):
        with pytest.raises(AssertionError):
            check(sent, winners, 0, wrong)


@pytest.mark.parametrize("checkpoints_left", [True, False])
def test_a_track_created_again_under_its_name_has_no_old_sample(tmp_path: Path, *, checkpoints_left: bool) -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk, slots=24, slot_bytes=128 * 1024)
        cameras = Cameras(clock)
        async with Recorder(clock, disk, tmp_path / "state", cameras) as recorder:
            one, two = await two_cameras(recorder)
            job = (await recorder.service.create_job(request(1, "Active", [(one, TRACKS)]))).token
            await recorder.service.create_job(request(0, "Active", [(two, TRACKS)]))
            await recorder.pictures(400)
            recording = recorder.service.get_recording("recording-1").id
            old = recorder.track("VIDEO001")
            assert len(await recorder.played(old)) > 300
            deleted_below = len(cameras.sent)
            await recorder.service.delete_track("recording-1", "VIDEO001")
            assert await recorder.played(old) == []
            await recorder.pictures(5)
            await recorder.service.create_track("recording-1", TrackConfiguration(type=TrackType.VIDEO))
            new = recorder.track("VIDEO001")
            assert new != old
            await recorder.service.set_job(job, request(1, "Active", [(one, TRACKS)]))
            await recorder.pictures(200)
        kept: set[int] = set()

        async def look(recorder: Recorder) -> None:
            nonlocal kept
            assert recorder.ledger.queries.find_track(recording, "VIDEO001") == new
            assert await recorder.played(old) == []
            found = await recorder.everything(recording)
            video = {n for n in found if cameras.sent[n].track == 0}
            assert len(video) > 150
            assert min(video) >= deleted_below
            assert len([n for n in found - video if n < deleted_below]) > 300, "the other track keeps what it has"
            assert found >= kept, "nor is anything lost"
            kept = found

        async with Recorder(clock, disk, tmp_path / "state", cameras, boot=2) as recorder:
            await look(recorder)
            await recorder.pictures(100)
            await look(recorder)
        names = () if checkpoints_left else ("ckpt.a", "ckpt.b")
        for name in names:
            for offset in range(0, len(disk.files[name].data), 4096):
                disk.files[name].data[offset] ^= 0xFF
        async with Recorder(clock, disk, tmp_path / "state", cameras, boot=4) as recorder:
            await look(recorder)
            await recorder.pictures(100)
            await look(recorder)

    run_simulated(main)
