"""The cameras of the benchmarks: one process that serves many, each 1080p30 H.264 of 4 Mbit/s with AAC, spread over time."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

from hw.sim.camera import Camera, ClipSource, SoundSettings, VideoSettings, sound_clip, video_clip

MEDIA_BPS = 4_000_000
GOP_S = 2


@dataclass
class Cameras:
    """`sent` is filled when the context ends: when the last packet of each picture of the first camera had left (CLOCK_BOOTTIME in ns), by
    the picture's RTP timestamp."""

    urls: list[str]
    pid: int
    sent: dict[int, int] = field(default_factory=dict)


@contextmanager
def cameras(count: int) -> Iterator[Cameras]:
    """Serves until the end of the context. The cameras do not send in step: each is a fraction of a frame behind the one before."""
    command = [sys.executable, "-m", "tests.bench.cameras", str(count)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        serving = Cameras(json.loads(process.stdout.readline()), process.pid)
        try:
            yield serving
        finally:
            process.terminate()
            serving.sent |= {int(stamp): at for stamp, at in json.loads(process.stdout.readline() or "{}").items()}
            process.wait(10)


async def _serve(count: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    video = video_clip(
        VideoSettings("h264", 1920, 1080, Fraction(30), gop=30 * GOP_S, bitrate_bps=MEDIA_BPS, texture=0.12), 60 * GOP_S
    )
    sound = sound_clip(SoundSettings("aac", 48_000, 1, 64_000), 375)
    async with AsyncExitStack() as stack:
        urls, sent = [], {}

        def note(track: int, timestamp: int) -> None:
            if track == 0:
                sent[timestamp] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

        for number in range(count):
            source = ClipSource(video, sound, phase_s=number * 0.0137)
            camera = await stack.enter_async_context(Camera(source, seed=number))
            camera.unit_sent = note if number == 0 else None
            urls.append(camera.url)
        print(json.dumps(urls), flush=True)
        await stop.wait()
    print(json.dumps(sent), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
