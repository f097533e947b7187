"""A live camera as a player sees it, with FFmpeg's RTSP client (in PyAV) as judge."""

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from calendar import timegm
from fractions import Fraction
from time import strptime, time

import av
import pytest

from hw.sim.camera import Camera, CameraClock, Credentials, LiveSource, SoundSettings, VideoSettings
from hw.sim.camera.live import CLOCK_CHARACTERS, clock_text
from hw.sim.camera.picture import Scene

TCP = {"rtsp_transport": "tcp", "analyzeduration": "100000"}
SMALL = VideoSettings("h264", 320, 180, Fraction(25), gop=50, bitrate_bps=500_000)


def decode(url: str, pictures: int, options: dict[str, str] = TCP) -> dict:
    """Plays until so many pictures are decoded. The codecs' names, the pictures' luma planes and times, the audio samples."""
    seen = {"codecs": [], "luma": [], "times": [], "samples": 0, "size": None}
    with av.open(url, options=options, timeout=10) as container:
        seen["codecs"] = [stream.codec_context.name for stream in container.streams]
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                seen["size"] = frame.width, frame.height
                seen["luma"].append(frame.to_ndarray()[: frame.height])
                seen["times"].append(frame.time)
            else:
                seen["samples"] += frame.samples
            if len(seen["luma"]) >= pictures:
                return seen
    return seen


def drawn_time(luma) -> float:
    text = Scene(width=luma.shape[1], height=luma.shape[0]).read(luma, CLOCK_CHARACTERS)
    assert re.fullmatch(r"[-0-9]{10} [:0-9]{8}\.\d\d", text), text
    return timegm(strptime(text[:19], "%Y-%m-%d %H:%M:%S")) + int(text[20:]) / 100


async def play(codec, sound, names, clock, transport="tcp"):
    source = LiveSource(VideoSettings(codec, 320, 180, Fraction(25), 50, 500_000), sound, wall_ns=clock.now_ns)
    async with Camera(source, clock=clock) as camera:
        seen = await asyncio.to_thread(decode, camera.url, 20, TCP | {"rtsp_transport": transport})
        assert seen["codecs"] == names
        return seen


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("codec", "sound", "names"),
    [
        ("h264", SoundSettings("aac", 16_000), ["h264", "aac"]),
        ("h265", SoundSettings("pcmu", 8_000), ["hevc", "pcm_mulaw"]),
    ],
)
def test_plays_with_the_clock_in_the_picture(codec, sound, names, transport):
    seen = asyncio.run(play(codec, sound, names, CameraClock(), transport))
    assert seen["size"] == (320, 180)
    assert seen["samples"] > 4_000
    shown = [drawn_time(luma) for luma in seen["luma"]]
    assert shown == sorted(shown)
    assert abs(shown[-1] - time()) < 2.0
    media = seen["times"][-1] - seen["times"][1]  # FFmpeg gives no time to the first picture
    assert abs((shown[-1] - shown[1]) - media) < 0.25, "media time runs as the drawn clock does"


def test_a_wrong_clock_is_drawn_and_nothing_else_changes():
    clock = CameraClock()
    clock.step(-3600.0)
    seen = asyncio.run(play("h264", SoundSettings("aac", 16_000), ["h264", "aac"], clock))
    assert 3590 < time() - drawn_time(seen["luma"][0]) < 3610


def test_asks_for_a_password():
    async def main() -> None:
        async with Camera(LiveSource(SMALL), credentials=Credentials("anna", "s p@ce:1")) as camera:
            with pytest.raises(av.error.HTTPUnauthorizedError):
                await asyncio.to_thread(decode, camera.url, 1)
            seen = await asyncio.to_thread(decode, camera.url_with_credentials, 1)
            assert len(seen["luma"]) == 1

    asyncio.run(main())


def test_the_encoder_rests_while_nobody_plays():
    async def main() -> None:
        async with Camera(LiveSource(SMALL)) as camera:
            await asyncio.to_thread(decode, camera.url, 5)
            await camera.until(lambda: camera.playing == 0)
            await asyncio.wait_for(camera.source.idle.wait(), 2)
            seen = await asyncio.to_thread(decode, camera.url, 5)
            assert len(seen["luma"]) == 5, "and starts again"

    asyncio.run(main())


def test_a_picture_shows_its_time_to_the_hundredth():
    assert clock_text(1_760_000_000_120_000_000) == "2025-10-09 08:53:20.12"
    assert len(clock_text(0)) == CLOCK_CHARACTERS


def test_the_command_prints_its_urls_and_ends_on_a_signal():
    async def main() -> None:
        process = await create_subprocess_exec(
            sys.executable, "-m", "hw.sim.camera", "--h264-aac", "--h265-g711", "--size", "160x120", stdout=PIPE
        )
        said = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        assert [camera["name"] for camera in said["cameras"]] == ["h264-aac", "h265-g711"]
        for camera in said["cameras"]:
            assert len((await asyncio.to_thread(decode, camera["url"], 3))["luma"]) == 3
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0

    asyncio.run(main())


@pytest.mark.parametrize(("size", "other"), [((320, 240), (160, 120)), ((160, 120), (320, 240))])
def test_other_parameter_sets_on_command(size, other):
    async def main() -> None:
        source = LiveSource(VideoSettings("h264", *size, Fraction(25), gop=10))
        async with Camera(source) as camera:

            def sizes() -> list[tuple[int, int]]:
                got = []
                with av.open(camera.url, options=TCP, timeout=10) as container:
                    for frame in container.decode(video=0):
                        got.append((frame.width, frame.height))
                        if len(got) == 5:
                            source.change_parameter_sets()
                        if len(got) > 200 or got[-1] == other:
                            break
                return got

            got = await asyncio.to_thread(sizes)
            assert (got[0], got[-1]) == (size, other)

    asyncio.run(main())


def test_too_narrow_for_the_clock():
    with pytest.raises(ValueError, match="at least 144"):
        LiveSource(VideoSettings("h264", 128, 96))
