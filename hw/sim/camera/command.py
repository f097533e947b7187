"""The command line of the simulated cameras. Prints one JSON line with their URLs when they can be reached, then serves."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from fractions import Fraction
from pathlib import Path

from hw.sim.camera import control
from hw.sim.camera.authentication import Credentials
from hw.sim.camera.camera import Camera
from hw.sim.camera.clock import CameraClock
from hw.sim.camera.encoder import VideoSettings
from hw.sim.camera.event_server import EventServer
from hw.sim.camera.live import LiveSource
from hw.sim.camera.metadata import VMD4, WithEvents
from hw.sim.camera.sound import SoundSettings
from hw.sim.camera.source import Source


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not (options.h264_aac or options.h265_g711):
        options.h264_aac = options.h265_g711 = True
    asyncio.run(_serve(options))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hw.sim.camera", description=__doc__)
    parser.add_argument("--h264-aac", action="store_true", help="a live camera with H.264 and AAC")
    parser.add_argument("--h265-g711", action="store_true", help="a live camera with H.265 and G.711 u-law")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=0, help="of the first camera, the next get the following ones; 0: any free"
    )
    parser.add_argument("--size", default="640x360", help="WIDTHxHEIGHT, multiples of 8")
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--kbit-s", type=int, default=600, help="of the pictures; much of it takes --texture")
    parser.add_argument("--texture", type=float, default=0.0, help="noise in the pictures, 0 to 1")
    parser.add_argument(
        "--events", action="store_true", help="motion on command: in a metadata track, and over an event WebSocket"
    )
    parser.add_argument(
        "--motion",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="the same, with motion in the first half of every so many seconds",
    )
    parser.add_argument("--user", default="", help="ask for this user name (Digest)")
    parser.add_argument("--password", default="", help="and this password; a made-up one, visible in the process list")
    parser.add_argument(
        "--control", default="", help="a Unix socket that takes commands (see hw/sim/camera/control.py)"
    )
    return parser


def _credentials(options: argparse.Namespace) -> Credentials | None:
    return Credentials(options.user, options.password, ("SHA-256", "MD5")) if options.user else None


def _cameras(options: argparse.Namespace) -> list[Camera]:
    width, _, height = options.size.partition("x")
    credentials = _credentials(options)
    wanted = [
        ("h264-aac", options.h264_aac, "h264", SoundSettings("aac", rate=16_000)),
        ("h265-g711", options.h265_g711, "h265", SoundSettings("pcmu", rate=8_000)),
    ]
    cameras: list[Camera] = []
    for name, chosen, codec, sound in wanted:
        if chosen:
            clock = CameraClock()
            video = VideoSettings(
                codec,
                int(width),
                int(height),
                Fraction(options.fps),
                gop=2 * options.fps,
                bitrate_bps=options.kbit_s * 1000,
                texture=options.texture,
            )
            source: Source = LiveSource(video, sound, wall_ns=clock.now_ns)
            if options.events or options.motion:
                source = WithEvents(source, (VMD4,), wall_ns=clock.now_ns)
            port = options.port + len(cameras) if options.port else 0
            cameras.append(
                Camera(source, name=name, host=options.host, port=port, credentials=credentials, clock=clock)
            )
    return cameras


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        cameras = [await stack.enter_async_context(camera) for camera in _cameras(options)]
        urls = [{"name": camera.name, "url": camera.url} for camera in cameras]
        for camera, told in zip(cameras, urls, strict=True):
            if isinstance(camera.source, WithEvents):
                server = EventServer(camera.source, host=options.host, credentials=_credentials(options))
                told["events"] = f"http://{options.host}:{(await stack.enter_async_context(server)).port}"
                if options.motion:
                    moving = asyncio.create_task(_move(camera.source, options.motion))
                    stack.callback(moving.cancel)
        if options.control:
            commands = await control.serve({camera.name: camera for camera in cameras}, Path(options.control))
            stack.callback(Path(options.control).unlink, missing_ok=True)
            stack.callback(commands.close)
        print(json.dumps({"cameras": urls}), flush=True)
        await stop.wait()


async def _move(source: WithEvents, every_s: float) -> None:
    while True:
        source.set(VMD4, True)
        await asyncio.sleep(every_s / 2)
        source.set(VMD4, False)
        await asyncio.sleep(every_s / 2)
