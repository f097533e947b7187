"""Motion in cameras' metadata streams, at random instants, from socket to disk and out again in an export.

Every trigger has its key frame at or before the asked start, no access unit is there twice or missing, and the pre-buffer is durable
within two ticks of the event.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import uuid
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

import pytest

from hw.sim.camera import Camera, ClipSource, SoundSettings, VideoSettings, WithEvents, nal, sound_clip, video_clip
from hw.sim.camera.clock import CameraClock
from hw.sim.camera.metadata import VMD4, StatefulEvent
from recorderd.events.broker import Broker
from recorderd.events.cameras import UNIVERSAL_MOTION, CameraEvents
from recorderd.events.history import History
from recorderd.media.nal import split_lengths
from recorderd.model.causes import GapCause
from recorderd.model.job import (
    EventCondition,
    EventFilter,
    JobConfiguration,
    JobMode,
    JobSource,
    JobTrack,
    RecordingJob,
)
from recorderd.model.objects import Draft
from recorderd.model.ports import Event, StreamSession
from recorderd.model.receiver import Receiver, ReceiverConfiguration
from recorderd.model.recording import Recording, RecordingConfiguration, Track, TrackConfiguration, TrackType
from recorderd.model.stream import AccessUnit, MediaKind
from recorderd.recording.export_plan import WantedTrack
from recorderd.recording.exports import make_plan
from recorderd.ring.ledger.timeline import bars
from recorderd.ring.playback import play
from recorderd.ring.samples import StoredSample
from tests.e2e.rig import Rig
from tests.events.hearing import ReadHere
from tests.simulated_time import FakeClock, run_simulated

S = 1_000_000_000
BEFORE_NS, AFTER_NS, TICK_NS = 3 * S, 2 * S, S
LINE_CROSSED = StatefulEvent(
    "tnsaxis:CameraApplicationPlatform/LineCrossed", (), "line", "1", "0"
)  # no property: an instant
TURN = 50
H264 = nal.VideoCodec.H264
VIDEO = video_clip(VideoSettings("h264", 160, 120, Fraction(5), gop=10, bitrate_bps=40_000), TURN)
SOUND = sound_clip(SoundSettings("pcmu", 8_000, packet_ms=200), 40)


class MotionRig(Rig):
    """One recording of all cameras, while any of them reports motion or a crossed line, with Before and After."""

    def __init__(self, clock: FakeClock, cameras: Sequence[Camera], *, slots: int) -> None:
        self.broker = Broker(clock=clock, history=History())
        self.camera_events = CameraEvents(broker=self.broker, reader=ReadHere(clock=clock))
        super().__init__(
            clock,
            cameras,
            slots=slots,
            heard=self._heard,
            durable=lambda receiver, through_ns: self.durable[receiver].append((through_ns, clock.boottime_ns())),
            metadata=self._document,
            properties=self.broker.properties,
        )
        self.recording = uuid.uuid4()
        self.tracks: dict[str, tuple[WantedTrack, WantedTrack]] = {}  # of each camera: video and audio
        self.units: dict[tuple[uuid.UUID, MediaKind], list[AccessUnit]] = defaultdict(list)
        self.durable: dict[uuid.UUID, list[tuple[int, int]]] = defaultdict(list)  # (through, when)
        self.sessions: set[tuple[uuid.UUID, int]] = set()
        self.triggers: list[int] = []  # arrivals of events that begin something
        self.stills: list[int] = []  # and of the ends of motion
        self.broker.listen(self._event)
        self.broker.listen(self.engine.take_event)

    def _heard(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        self.sessions.add((session.receiver, session.serial))
        for unit in units:
            self.units[session.receiver, session.formats[unit.track].kind].append(unit)

    def _document(self, receiver: uuid.UUID, text: bytes, arrival_ns: int) -> None:
        name = next(name for name, held in self.receivers.items() if held == receiver)
        self.camera_events.submit(receiver, name, text, arrival_ns)

    def _event(self, event: Event) -> None:
        if event.topic == UNIVERSAL_MOTION and event.operation == "Changed":
            (self.triggers if event.data == (("active", "1"),) else self.stills).append(event.boottime_ns)
        elif event.topic == LINE_CROSSED.topic:
            self.triggers.append(event.boottime_ns)

    def _put(self, draft: Draft, camera: Camera) -> None:
        number = len(self.tracks) + 1
        configuration = ReceiverConfiguration(media_uri=camera.url)
        draft.receivers.put(
            Receiver(id=self.receivers[camera.name], token=f"receiver-{camera.name}", configuration=configuration)
        )
        self.tracks[camera.name] = (
            WantedTrack(uuid.uuid4(), f"VIDEO00{number}", MediaKind.VIDEO),
            WantedTrack(uuid.uuid4(), f"AUDIO00{number}", MediaKind.AUDIO),
        )
        if number == len(self.cameras):
            self._put_job(draft)

    def _put_job(self, draft: Draft) -> None:
        types = {MediaKind.VIDEO: TrackType.VIDEO, MediaKind.AUDIO: TrackType.AUDIO}
        tracks = tuple(
            Track(id=track.id, token=track.name, configuration=TrackConfiguration(type=types[track.kind]))
            for pair in self.tracks.values()
            for track in pair
        )
        draft.recordings.put(
            Recording(id=self.recording, token="yard", configuration=RecordingConfiguration(), tracks=tracks)
        )
        sources = tuple(
            JobSource(token=f"receiver-{name}", tracks=tuple(JobTrack(destination=track.name) for track in pair))
            for name, pair in self.tracks.items()
        )
        listens = EventFilter(
            conditions=(EventCondition(topic=UNIVERSAL_MOTION), EventCondition(topic=LINE_CROSSED.topic)),
            before_ms=BEFORE_NS // 1_000_000,
            after_ms=AFTER_NS // 1_000_000,
        )
        job = JobConfiguration(recording="yard", mode=JobMode.ACTIVE, sources=sources, event_filter=listens)
        draft.jobs.put(
            RecordingJob(id=uuid.uuid4(), token="job", activation=draft.number("activation"), configuration=job)
        )

    async def keep_time(self) -> None:
        """What `RecordingService.run` does for the engine."""
        while True:
            self.engine.advance()
            await asyncio.sleep(0.1)

    async def exported(self, camera: str) -> tuple[list[StoredSample], list[StoredSample]]:
        """Video and audio as an export of everything reads them."""
        plan = await make_plan(self.inner_ring, self.recording, self.tracks[camera], 0, self.clock.realtime_ns())
        assert [track.name for track in plan.tracks] == [track.name for track in self.tracks[camera]]
        found: tuple[list[StoredSample], list[StoredSample]] = ([], [])
        for slot in plan.slots:
            for share, extent in zip(slot.ranges, slot.extents, strict=True):
                found[share.output].extend([sample async for sample in play(self.inner_ring, [extent])])
        return found


def moving(name: str, clock: FakeClock, seed: int) -> tuple[Camera, WithEvents]:
    """Five pictures and five packets of sound a second, a key frame every two, and VMD 4."""
    source = WithEvents(ClipSource(VIDEO, SOUND, phase_s=0.37 * seed), (VMD4,), wall_ns=clock.realtime_ns)
    return Camera(source, name=name, seed=seed, clock=CameraClock(clock.realtime_ns)), source


async def trigger(chance: random.Random, source: WithEvents, *, instant: bool) -> None:
    if instant:
        source.happen(LINE_CROSSED)
    else:
        source.set(VMD4, True)
        await asyncio.sleep(chance.uniform(0.001, 1.5))
        source.set(VMD4, False)


def activities(rig: MotionRig) -> list[tuple[int, int]]:
    """(event, its end) of every trigger; a motion ends with the next still, an instant at once."""
    found = []
    for number, begins in enumerate(rig.triggers):
        following = rig.triggers[number + 1] if number + 1 < len(rig.triggers) else 1 << 62
        still = next((at for at in rig.stills[bisect_right(rig.stills, begins - 1) :] if at < following), begins)
        found.append((begins, still))
    return found


def slices(data: bytes | memoryview) -> tuple[bytes, ...]:
    return tuple(bytes(unit) for unit in split_lengths(bytes(data)) if H264.is_slice(bytes(unit)))


def check_video(rig: MotionRig, receiver: uuid.UUID, stored: list[StoredSample]) -> None:
    arrived = rig.units[receiver, MediaKind.VIDEO]
    arrivals = [unit.arrival_ns for unit in arrived]
    coded = [tuple(unit for unit in picture if H264.is_slice(unit)) for picture in VIDEO.coded]
    numbers = numbered(arrived, stored)
    assert all(slices(s.data) == coded[n % TURN] for n, s in zip(numbers, stored, strict=True)), (
        "not as the camera sent"
    )
    must: set[int] = set()
    for begins, ends in activities(rig):
        key = bisect_right(arrivals, begins - BEFORE_NS) - 1
        while not arrived[key].key:
            key -= 1
        must.update(
            range(key, bisect_left(arrivals, ends + AFTER_NS))
        )  # what comes at that very instant may be left out
    missing = must - set(numbers)
    assert not missing, f"{len(missing)} pictures are missing: {sorted(missing)[:5]}"
    assert len(numbers) < 0.9 * len(arrived), "there are pauses between the events"
    keys = {n for n in numbers if arrived[n].key}
    alone = [n for n in numbers if n not in keys and n - 1 not in set(numbers)]
    assert not alone, f"after a pause the first picture is a key frame: {alone[:5]}"


def check_audio(rig: MotionRig, receiver: uuid.UUID, stored: list[StoredSample]) -> None:
    arrived = rig.units[receiver, MediaKind.AUDIO]
    arrivals = [unit.arrival_ns for unit in arrived]
    numbers = numbered(arrived, stored)
    assert all(bytes(s.data) == arrived[n].data for n, s in zip(numbers, stored, strict=True))
    must: set[int] = set()
    for begins, ends in activities(rig):
        must.update(range(bisect_right(arrivals, begins - BEFORE_NS), bisect_left(arrivals, ends + AFTER_NS)))
    missing = must - set(numbers)
    assert not missing, f"{len(missing)} packets of sound are missing: {sorted(missing)[:5]}"


def numbered(arrived: Sequence[AccessUnit], stored: Sequence[StoredSample]) -> list[int]:
    """Which of the arrived units the stored ones are: each at most once, in order."""
    by_pts = {unit.pts: number for number, unit in enumerate(arrived)}
    numbers = [by_pts[sample.pts] for sample in stored]
    twice = [before for before, after in itertools.pairwise(numbers) if after <= before]
    assert not twice, f"twice or out of order: {twice[:5]}"
    return numbers


def worst_lag_ns(rig: MotionRig, receiver: uuid.UUID) -> int:
    """From an event's arrival until all pictures that had arrived before it are durable."""
    arrivals = [unit.arrival_ns for unit in rig.units[receiver, MediaKind.VIDEO]]
    lags = []
    for begins in rig.triggers:
        newest = arrivals[bisect_left(arrivals, begins) - 1]
        lags.append(min(when for through, when in rig.durable[receiver] if through >= newest) - begins)
    return max(lags)


async def run(clock: FakeClock, triggers: int, streams: int) -> None:
    chance = random.Random(streams)
    made = [moving(name, clock, seed) for seed, name in enumerate(("one", "two")[:streams], 1)]
    async with contextlib.AsyncExitStack() as stack:
        cameras = [await stack.enter_async_context(camera) for camera, _ in made]
        rig = await stack.enter_async_context(MotionRig(clock, cameras, slots=32 + triggers // 5 * streams))
        advancing = asyncio.create_task(rig.keep_time())
        await asyncio.sleep(8)
        for number in range(triggers):
            close = number % 3 != 0  # two of three come closer together than Before and After
            await asyncio.sleep(chance.uniform(0.001, 2 if close else 11))
            await trigger(chance, chance.choice(made)[1], instant=number % 2 == 0)
        await asyncio.sleep(20)
        advancing.cancel()
        assert len(rig.triggers) == triggers
        assert len(rig.sessions) == streams, "one session of each camera"
        for name, receiver in rig.receivers.items():
            video, audio = await rig.exported(name)
            check_video(rig, receiver, video)
            check_audio(rig, receiver, audio)
            lag_ns = worst_lag_ns(rig, receiver)
            print(f"{name}: {len(video)} of {len(rig.units[receiver, MediaKind.VIDEO])} pictures, {lag_ns / 1e9:.3f} s")
            assert lag_ns <= 2 * TICK_NS, "from the event's arrival to the pre-buffer durable: at most two ticks"


@pytest.mark.parametrize("streams", [1, 2])
def test_triggers_at_random_instants(streams: int) -> None:
    run_simulated(lambda clock: run(clock, 60, streams))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("streams", [1, 2])
def test_a_thousand_triggers_at_random_instants(streams: int) -> None:
    run_simulated(lambda clock: run(clock, 1000, streams))


def test_motion_just_after_a_reset_has_what_led_up_to_it() -> None:
    """Before reaches into the session that ended: its pictures, the gap with its cause, then those of the session after it."""

    async def main(clock: FakeClock) -> None:
        camera, source = moving("one", clock, 1)
        async with camera, MotionRig(clock, [camera], slots=32) as rig:
            advancing = asyncio.create_task(rig.keep_time())
            await asyncio.sleep(12)
            camera.reset()
            await camera.until(lambda: camera.accepted == 2 and camera.playing == 1)
            await asyncio.sleep(0.6)
            source.set(VMD4, True)
            await asyncio.sleep(4)
            source.set(VMD4, False)
            await asyncio.sleep(10)
            advancing.cancel()
            (receiver,) = rig.receivers.values()
            arrived = rig.units[receiver, MediaKind.VIDEO]
            stored, _ = await rig.exported("one")
            (begins,), (ends,) = rig.triggers, rig.stills
            offset_ns = clock.realtime_ns() - clock.boottime_ns()
            video = rig.tracks["one"][0].id
            found = bars(rig.ledger.queries.timeline(rig.recording, video, 0, clock.realtime_ns()), video)
        arrivals = [unit.arrival_ns for unit in arrived]
        key = bisect_right(arrivals, begins - BEFORE_NS) - 1
        while not arrived[key].key:
            key -= 1
        last = bisect_left(arrivals, ends + AFTER_NS)
        asked = [slices(unit.data) for unit in arrived[key:last]]
        assert [slices(sample.data) for sample in stored][: len(asked)] == asked
        restart = next(
            n
            for n in range(1, len(arrived))
            if arrived[n].pts < arrived[n - 1].pts or arrived[n].arrival_ns - arrivals[n - 1] > S // 2
        )
        assert key < restart < last, "of both sessions"
        before, gap, after = (bar for bar in found)
        assert (before.cause, gap.cause, after.cause) == (None, GapCause.CAMERA_RESET, None)
        assert abs(before.start_ns - offset_ns - arrivals[key]) < S // 2
        assert abs(gap.start_ns - offset_ns - arrivals[restart - 1]) < S // 2
        assert abs(gap.stop_ns - offset_ns - arrivals[restart]) < S // 2

    run_simulated(main)
