"""A camera's motion, from its metadata stream to the ring: the daemon as a process, a simulated camera, `recorderctl`."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from hw.sim.camera.camera import Camera
from hw.sim.camera.encoder import VideoSettings
from hw.sim.camera.live import LiveSource
from hw.sim.camera.metadata import VMD4, WithEvents
from recorderd.protocol import events, jobs
from recorderd.protocol.client import Client
from recorderd.protocol.wall import from_rfc3339
from tests.media import judges
from tests.recorder import Recorder, until

pytestmark = [pytest.mark.host, judges.needs_ffmpeg]

UMD = "tns1:RuleEngine/tnsaxis:UniversalMotionDetection"


@dataclass(frozen=True)
class MovingCamera:
    url: str
    source: WithEvents
    loop: asyncio.AbstractEventLoop

    def moves(self, active: bool) -> None:
        self.loop.call_soon_threadsafe(self.source.set, VMD4, active)


@contextmanager
def moving_camera() -> Iterator[MovingCamera]:
    """A live camera with GOPs of two seconds and VMD 4 in its metadata stream, in a thread of its own."""
    made: list[MovingCamera] = []
    up = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        source = WithEvents(
            LiveSource(VideoSettings("h264", 160, 120, Fraction(10), gop=20, bitrate_bps=200_000)), (VMD4,)
        )
        async with Camera(source) as camera:
            made.append(MovingCamera(camera.url, source, asyncio.get_running_loop()))
            up.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert up.wait(20)
        yield made[0]
    finally:
        made[0].loop.call_soon_threadsafe(stop.set)
        thread.join(20)


def active(recorder: Recorder) -> str:
    with Client.connect(str(recorder.socket)) as client:
        return client.call(jobs.GET_STATE, jobs.JobCall(job="job-1")).state.state.value


def told(recorder: Recorder, topic: str) -> list[events.EventInfo]:
    with Client.connect(str(recorder.socket)) as client:
        return client.call(events.SEARCH, events.SearchCall(topic=topic)).events


def test_motion_is_recorded_with_what_led_up_to_it(tmp_path: Path) -> None:
    with moving_camera() as camera, Recorder(tmp_path, slots=8) as recorder:
        added = recorder.ctl(
            "devices", "add", camera.url, "--id", "yard", "--on-motion", "--before", "3", "--after", "1"
        )
        assert added.returncode == 0, added.stderr
        until(lambda: bool(told(recorder, UMD)))
        assert told(recorder, UMD)[-1].data == [events.Item(name="active", value="0")]
        time.sleep(6)
        assert active(recorder) == "Idle", "nothing moves"
        moved_ns = time.time_ns()
        camera.moves(True)
        until(lambda: active(recorder) in ("Active", "PartiallyActive"))
        reached_s = (time.time_ns() - moved_ns) / 1e9
        camera.moves(False)
        still_ns = time.time_ns()
        until(lambda: active(recorder) == "Idle")
        motions = [(e.data[0].value, from_rfc3339(e.time)) for e in told(recorder, UMD)]
        assert [value for value, _ in motions] == ["0", "1", "0"]
        assert abs(motions[1][1] - moved_ns) < 1e9
        path = tmp_path / "motion.mp4"
        done = recorder.ctl("export", "yard", "--from=-60s", "--to", "now", "-o", str(path))
        assert done.returncode == 0, done.stderr
        pictures = judges.ffmpeg_decode(path)
        seconds = pictures / 10
        wanted = 3 + (still_ns - moved_ns) / 1e9 + 1
        assert wanted - 0.5 <= seconds <= wanted + 3, (
            f"{seconds} s recorded, {wanted:.1f} s asked for, GOPs of 1 or 2 s"
        )
        assert reached_s < 3, "two ticks, and the way there"
        recording_state = [json.loads(e.data[0].value) for e in told(recorder, "tns1:RecordingHistory/Recording/State")]
        assert recording_state == [True, False]
