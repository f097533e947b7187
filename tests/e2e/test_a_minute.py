"""A minute of GStreamer's RTSP server through the daemon and out again: nothing missing, nothing changed."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest

from hw.sim.camera import SoundSettings, VideoSettings, nal, sound_clip, video_clip
from recorderd.media.nal import split_lengths
from tests.media import judges
from tests.peers import judge
from tests.peers.gst_camera import gst_camera, needs_gst_camera
from tests.recorder import Recorder

pytestmark = [pytest.mark.host, pytest.mark.slow, needs_gst_camera, judge.needs_ffmpeg]
FPS, TURN, SECONDS = 25, 100, 60


@pytest.mark.parametrize("reorder", [0, 3])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_every_coded_picture_of_a_minute(codec: str, reorder: int, tmp_path: Path) -> None:
    settings = VideoSettings(codec, 640, 360, Fraction(FPS), 50, 1_000_000, reorder, pyramid=reorder > 1, texture=0.1)
    clip = video_clip(settings, TURN)
    kind = nal.VideoCodec[codec.upper()]
    coded = [tuple(unit for unit in picture if kind.is_slice(unit)) for picture in clip.coded]
    with (
        gst_camera(clip, sound_clip(SoundSettings("aac", 16_000), 50)) as camera,
        Recorder(tmp_path, slots=16) as recorder,
    ):
        assert recorder.ctl("devices", "add", camera.url, "--id", "door", "--record").returncode == 0
        time.sleep(SECONDS + 8)
        file = tmp_path / "minute.mp4"
        exported = recorder.ctl("export", "door", "--from=-300s", "--to", "now", "-o", str(file))
        assert exported.returncode == 0, exported.stderr
    judge.assert_decodes(file)
    stored = [
        tuple(bytes(unit) for unit in split_lengths(data) if kind.is_slice(bytes(unit)))
        for _, data in judges.pyav(file)
    ]
    assert len(stored) >= SECONDS * FPS
    assert stored == [coded[number % TURN] for number in range(len(stored))], "from the camera's first picture on"
    assert len(judge.frame_hashes(file)) == len(stored)
