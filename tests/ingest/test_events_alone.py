"""A stream of metadata alone: it may be silent for days, and is lost as soon as the camera is."""

from __future__ import annotations

import asyncio
import random
import uuid
from fractions import Fraction

from hw.sim.camera import Camera, ClipSource, Quirks, VideoSettings, WithEvents, video_clip
from hw.sim.camera.clock import CameraClock
from hw.sim.camera.metadata import VMD4
from recorderd.ingest.service import Ingest
from recorderd.model.causes import GapCause
from recorderd.model.media_ram import MediaRam
from recorderd.model.ports import StreamRequest
from recorderd.model.stream import MediaKind
from tests.ingest.gather import Gather
from tests.simulated_time import FakeClock, run_simulated

CLIP = video_clip(VideoSettings("h264", 160, 120, Fraction(5), gop=10, bitrate_bps=40_000), 50)
ALONE = (("video", "0"), ("audio", "0"), ("event", "on"))


def request(camera: Camera) -> StreamRequest:
    return StreamRequest(
        receiver=uuid.uuid4(), name="cam", uri=camera.url, options=ALONE, want_video=False, want_audio=False
    )


def test_an_axis_camera_that_has_nothing_to_tell_is_not_taken_for_a_hung_one() -> None:
    async def main(clock: FakeClock) -> None:
        source = WithEvents(ClipSource(CLIP), (VMD4,), wall_ns=clock.realtime_ns)
        camera_clock = CameraClock(clock.realtime_ns)
        quirks = Quirks(events_on_request=True)
        camera = Camera(source, path="/axis-media/media.amp", seed=1, clock=camera_clock, quirks=quirks)
        ingest = Ingest(clock=clock, media_ram=MediaRam(64 << 20), chance=random.Random(1))
        running = asyncio.create_task(ingest.run())
        async with camera:
            sink = Gather()
            ingest.start(request(camera), sink)
            await sink.until(lambda: len(sink.tracks.get(0, ())) == 2)  # nothing yet, and what holds
            await asyncio.sleep(900)
            assert len(sink.sessions) == 1
            assert camera.accepted < 1 + 900 / 15, "a sign of life now and then is enough"
            assert {form.kind for form in sink.sessions[0].formats} == {MediaKind.METADATA}
            (health,) = ingest.health()
            assert (health.streaming, health.fresh_sessions_without_media) == (True, 0), "no reason to cycle its power"
            source.set(VMD4, True)
            await sink.until(lambda: len(sink.tracks[0]) == 3)
            began_ns = clock.boottime_ns()
            camera.faults.hang = True
            await sink.until(lambda: bool(sink.said("closed")), 60)
            assert clock.boottime_ns() - began_ns < 30e9
            assert sink.said("closed")[0][1] is GapCause.CAMERA_SILENT
        await ingest.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_simulated(main)


def test_an_axis_camera_that_is_not_asked_has_no_metadata() -> None:
    async def main(clock: FakeClock) -> None:
        source = WithEvents(ClipSource(CLIP), (VMD4,), wall_ns=clock.realtime_ns)
        camera = Camera(source, seed=1, clock=CameraClock(clock.realtime_ns), quirks=Quirks(events_on_request=True))
        ingest = Ingest(clock=clock, media_ram=MediaRam(64 << 20), chance=random.Random(1))
        running = asyncio.create_task(ingest.run())
        async with camera:
            sink = Gather()
            ingest.start(StreamRequest(receiver=uuid.uuid4(), name="cam", uri=camera.url), sink)
            await sink.until(lambda: len(sink.tracks.get(0, ())) > 3)
            assert [form.kind for form in sink.sessions[0].formats] == [MediaKind.VIDEO]
        await ingest.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_simulated(main)
