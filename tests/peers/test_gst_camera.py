"""The GStreamer camera serves what it was given, bit for bit, as FFmpeg's client (in PyAV) receives it."""

import os
from fractions import Fraction
from itertools import pairwise

import av
import pytest

from hw.sim.camera import SoundSettings, VideoSettings, nal, sound_clip, video_clip
from tests.peers.certificate import make_certificate, needs_openssl
from tests.peers.gst_camera import gst_camera, needs_gst_camera

pytestmark = [pytest.mark.host, needs_gst_camera]
OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}
PICTURES = 25


def clip(codec="h264", **choices):
    return video_clip(VideoSettings(codec, 320, 240, Fraction(50), gop=10, **choices), PICTURES)


def receive(url: str, count: int, options: dict[str, str] | None = None) -> list[tuple[int, bytes]]:
    got = []
    with av.open(url, options=OPTIONS | (options or {}), timeout=10) as container:
        for packet in container.demux(container.streams[0]):
            if packet.size:
                got.append((packet.pts, bytes(packet)))
            if len(got) == count:
                break
    return got


def slices(codec: str, units) -> list[bytes]:
    kind = nal.VideoCodec[codec.upper()]
    return [unit for unit in units if kind.is_slice(unit)]


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize(
    "choices", [{}, {"reorder": 2}, {"reorder": 3, "pyramid": True}], ids=["plain", "b", "pyramid"]
)
def test_pictures_are_bit_exact(codec, choices):
    given = clip(codec, **choices)
    with gst_camera(given) as camera:
        got = receive(camera.url, 2 * PICTURES - 5)
    for number, (_, data) in enumerate(got):
        assert slices(codec, nal.split(data)) == slices(codec, given.coded[number % PICTURES]), number
    times = sorted(time for time, _ in got[1:])
    assert {b - a for a, b in pairwise(times[3:-4])} == {1800}, "media time is even through the turn"


@pytest.mark.parametrize(
    "settings",
    [
        SoundSettings("aac", 16_000),
        SoundSettings("pcmu", 8_000),
        SoundSettings("pcma", 8_000),
        SoundSettings("opus", 48_000),
    ],
    ids=lambda settings: settings.codec,
)
def test_sound_is_bit_exact(settings):
    given = sound_clip(settings, 12)
    with gst_camera(given) as camera:
        got = receive(camera.url, 20)
    assert [data for _, data in got] == [given.coded[number % 12][0] for number in range(20)]


def test_digest_is_asked_for():
    with gst_camera(clip(), user="anna", password="s p@ce") as camera:
        with pytest.raises(av.error.HTTPUnauthorizedError):
            receive(camera.url, 1)
        assert len(receive(camera.url_with_credentials, 3)) == 3


@needs_openssl
def test_tls(tmp_path):
    with gst_camera(clip(), certificate=make_certificate(tmp_path)) as camera:
        assert camera.url.startswith("rtsps://")
        assert len(receive(camera.url, 3, {"tls_verify": "0"})) == 3


def test_http_tunnel():
    with gst_camera(clip()) as camera:
        assert len(receive(camera.url, 3, {"rtsp_transport": "http"})) == 3


def test_a_counted_number_of_turns_and_no_process_left():
    given = clip()
    with gst_camera(given, loops=1) as camera:
        os.kill(camera.pid, 0)
        assert len(receive(camera.url, PICTURES)) == PICTURES
    with pytest.raises(ProcessLookupError):
        os.kill(camera.pid, 0)
