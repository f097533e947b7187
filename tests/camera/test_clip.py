"""Clips as FFmpeg's RTSP client (in PyAV) receives them: every coded unit exactly what the encoder gave, turn after turn."""

import asyncio
from fractions import Fraction
from itertools import pairwise

import av
import pytest

from hw.sim.camera import Camera, ClipSource, PacketStyle, SoundSettings, VideoSettings, nal, sound_clip, video_clip
from hw.sim.camera.clip import COUNTER
from hw.sim.camera.picture import Scene

OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}
PICTURES = 25
FPS = Fraction(250)  # what arrives is compared, not when: a turn takes a tenth of a second


def video(codec="h264", **choices) -> VideoSettings:
    choices = {"gop": 10, "bitrate_bps": 5_000_000, "texture": 0.1} | choices
    return VideoSettings(codec, 320, 240, FPS, **choices)


def packets(url: str, count: int, options: dict[str, str] = OPTIONS) -> list[tuple[int, bytes, int | None]]:
    """(media time, data, duration) of the first packets as the client hands them out."""
    got = []
    with av.open(url, options=options, timeout=10) as container:
        for packet in container.demux(container.streams[0]):
            if packet.size:
                got.append((packet.pts, bytes(packet), packet.duration))
            if len(got) >= count:
                return got
    return got


def receive(source: ClipSource, count: int, **options) -> list:
    async def main():
        async with Camera(source, seed=1) as camera:
            return await asyncio.to_thread(packets, camera.url, count, OPTIONS | options)

    return asyncio.run(main())


def slices(codec: str, units) -> list[bytes]:
    kind = nal.VideoCodec[codec.upper()]
    return [unit for unit in units if kind.is_slice(unit)]


CHOICES = [
    {},
    {"reorder": 2},
    {"reorder": 3, "pyramid": True},
    {"open_gop": True, "reorder": 2, "gop": 12},
    {"intra_refresh": True},
    {"slices": 3},
]


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("choices", CHOICES, ids=lambda c: "-".join(c) or "plain")
def test_every_coded_picture_arrives_bit_exact_over_two_turns(codec, choices):
    clip = video_clip(video(codec, **choices), PICTURES)
    got = receive(ClipSource(clip), 2 * PICTURES - 1)
    for number, (_, data, _) in enumerate(got):
        assert slices(codec, nal.split(data)) == slices(codec, clip.coded[number % PICTURES]), number


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_media_time_is_the_output_order(codec):
    clip = video_clip(video(codec, reorder=3, pyramid=True), PICTURES)
    got = receive(ClipSource(clip), 2 * PICTURES - 1)
    expected = [unit.ticks + turn * clip.loop_ticks for turn in range(2) for unit in clip.units]
    # FFmpeg gives no time to the first picture and counts from the first it has.
    times = [time for time, _, _ in got[1:]]
    assert [time - times[0] for time in times] == [time - expected[1] for time in expected[1 : len(got)]]


@pytest.mark.parametrize(
    "style",
    [
        PacketStyle(sets_in_sdp=False),
        PacketStyle(sets_in_band=False),
        PacketStyle(aggregate=False),
        PacketStyle(extension=bytes(8)),
    ],
    ids=["sets in band only", "sets in SDP only", "sets apart", "header extension"],
)
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_packet_styles_change_no_picture(codec, style):
    clip = video_clip(video(codec, slices=2), PICTURES, style)
    got = receive(ClipSource(clip), PICTURES)
    assert [slices(codec, nal.split(data)) for _, data, _ in got] == [slices(codec, units) for units in clip.coded]


SOUNDS = [
    (SoundSettings("aac", 16_000), PacketStyle()),
    (SoundSettings("aac", 48_000, 2, 64_000), PacketStyle()),
    (SoundSettings("aac", 16_000), PacketStyle(latm=True)),
    (SoundSettings("opus", 48_000), PacketStyle()),
    (SoundSettings("pcmu", 8_000), PacketStyle()),
    (SoundSettings("pcma", 8_000), PacketStyle()),
    (SoundSettings("g726", 8_000, bitrate_bps=32_000), PacketStyle()),
]


@pytest.mark.parametrize(
    ("settings", "style"), SOUNDS, ids=["aac", "aac-stereo", "latm", "opus", "pcmu", "pcma", "g726"]
)
def test_every_frame_of_sound_arrives_bit_exact(settings, style):
    clip = sound_clip(settings, 12, style)
    got = receive(ClipSource(clip), 20)
    assert [data for _, data, _ in got] == [clip.coded[number % 12][0] for number in range(20)]
    times = [time for time, _, _ in got[1:]]
    assert {b - a for a, b in pairwise(times)} == {clip.loop_ticks // 12}


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_the_picture_carries_its_number(codec):
    settings = VideoSettings(codec, 320, 240, FPS, gop=10, reorder=0 if codec == "mjpeg" else 2, bitrate_bps=4_000_000)
    source = ClipSource(video_clip(settings, PICTURES))

    def numbers(url: str) -> list[str]:
        scene = Scene(width=320, height=240)
        with av.open(url, options={"rtsp_transport": "tcp", "analyzeduration": "100000"}, timeout=10) as container:
            got = []
            for frame in container.decode(video=0):
                got.append(scene.read(frame.to_ndarray()[:240], COUNTER))
                if len(got) == 2 * PICTURES - 5:
                    break
            return got

    async def main() -> list[str]:
        async with Camera(source) as camera:
            return await asyncio.to_thread(numbers, camera.url)

    assert asyncio.run(main()) == [f"{n % PICTURES:08d}" for n in range(2 * PICTURES - 5)]


def test_other_parameter_sets_on_command():
    big, small = (
        video_clip(video(), PICTURES),
        video_clip(VideoSettings("h264", 160, 120, FPS, 10, 5_000_000), PICTURES),
    )
    source = ClipSource(big, alternates={0: small})

    def sizes(url: str) -> list[tuple[int, int]]:
        got = []
        with av.open(url, options={"rtsp_transport": "tcp"}, timeout=10) as container:
            for frame in container.decode(video=0):
                got.append((frame.width, frame.height))
                if len(got) == 3:
                    source.change_parameter_sets()
                if got[-1] == (160, 120):
                    return got
        return got

    async def main() -> list[tuple[int, int]]:
        async with Camera(source) as camera:
            return await asyncio.wait_for(asyncio.to_thread(sizes, camera.url), 20)

    got = asyncio.run(main())
    assert got[0] == (320, 240)
    assert got[-1] == (160, 120)


def test_a_turn_of_one_when_asked_for_once():
    clip = video_clip(video(), PICTURES)
    source = ClipSource(clip, once=True)
    with pytest.raises(av.error.FFmpegError):  # the connection stays, nothing follows
        receive(source, PICTURES + 1, timeout="700000")
