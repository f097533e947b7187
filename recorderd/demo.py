"""`make run`: a recorder to try, under ./var, with two simulated cameras and a simulated PoE switch.

The cameras are a process of their own and speak real RTSP on loopback. Nothing outside ./var is written, and the machine's network is
left alone.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from recorderd.ctl.status import render
from recorderd.model.clock import SystemClock
from recorderd.protocol import system
from recorderd.protocol.client import Client, ConnectionLost
from recorderd.protocol.errors import ControlError
from recorderd.protocol.message import Nothing
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.files import IDENTITY
from recorderd.ring.formatting import FormatRefused, format_ring

RING = Path("var/ring")
RING_BYTES = 1 << 30
SLOT_BYTES = 8 << 20
SOCKET = Path("var/control")
RECORDERCTL = [sys.executable, "-m", "recorderd.ctl.main", "--socket", str(SOCKET)]
CAMERAS = {"door": "h264-aac", "yard": "h265-g711"}

CONFIG = """\
# Made by `make run`; for trying things out.
[recorder]
name = "demo"
board = "sim-8port"
log = "warning"
[paths]
state = "var/state"
socket = "{socket}"
[disk]
path = "var/ring"
durability = "{durability}"
[limits]
media_ram_mib = 64
"""

HINTS = """\
Two simulated cameras are being recorded into {ring}. In a second terminal:

  export RECORDERD_SOCKET=var/control PATH="$PWD/.venv/bin:$PATH"
  recorderctl status
  recorderctl timeline door
  recorderctl export door --from "1 min ago" --to now -o door.mp4
  recorderctl snapshot door -o door.jpg
  recorderctl why yard
  recorderctl poe status

Ctrl-C ends it; what is recorded stays, and the next `make run` goes on.
"""


@dataclass(frozen=True)
class Real:
    """A camera of the person's own."""

    url: str
    user: str
    password: str


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--camera", metavar="RTSP-URL", help="record this camera too")
    arguments = parser.parse_args(argv)
    real = _ask_for(arguments.camera) if arguments.camera else None
    children: list[subprocess.Popen[bytes]] = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        durability = _prepare()
        children.append(_start_cameras())
        urls = _camera_urls(children[0])
        children.append(_start_recorder(durability))
        client = _connected(children[1])
        _add_cameras(client, urls, real)
        print(HINTS.format(ring=RING), flush=True)
        return _show_until_interrupted(client, children)
    except KeyboardInterrupt:
        return 0
    except (ControlError, ConnectionLost, _CannotStart) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    finally:
        _end(children)


class _CannotStart(Exception):
    pass


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ask_for(url: str) -> Real:
    user = input(f"User name for {url} (empty for none): ")
    return Real(url, user, getpass.getpass("Password: ") if user else "")


def _prepare() -> str:
    """The ring under ./var, made at the first start. Returns the durability that its file system allows."""
    Path("var/state").mkdir(parents=True, exist_ok=True)
    RING.mkdir(exist_ok=True)
    chosen = Path("var/durability")
    if chosen.exists() and (RING / IDENTITY).exists():
        return chosen.read_text().strip()
    print(f"Making a ring of {RING_BYTES >> 20} MiB in {RING} ...", flush=True)
    try:
        asyncio.run(_format("direct"))
        durability = "flush"
    except (FormatRefused, OSError) as refused:
        print(f"{refused}\nSo durability is set to none: a power cut loses what was recorded last.", flush=True)
        shutil.rmtree(RING)
        RING.mkdir()
        asyncio.run(_format("none"))
        durability = "none"
    chosen.write_text(durability)
    return durability


async def _format(durability: str) -> None:
    calls = DiskThreads(clock=SystemClock(), name="format")
    device = FileDevice(RING, durability=durability)
    try:
        await format_ring(
            device,
            calls,
            formatted_ns=time.time_ns(),
            durability=durability,
            slots=RING_BYTES // SLOT_BYTES,
            slot_bytes=SLOT_BYTES,
            writers=2,
        )
    finally:
        device.release()
        calls.close()


def _start_cameras() -> subprocess.Popen[bytes]:
    """On the ports of the earlier runs, because the recorder remembers where its cameras are."""
    kept = Path("var/camera-port")
    if not kept.exists():
        kept.write_text(str(_two_free_ports()))
    command = [sys.executable, "-m", "hw.sim.camera", "--h264-aac", "--h265-g711", "--port", kept.read_text().strip()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)


def _two_free_ports() -> int:
    """The first of two neighbouring TCP ports on loopback that nobody uses now."""
    for first in range(15540, 16540, 2):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", first))
                two.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
            return first
    raise _CannotStart("no two neighbouring free ports on loopback")


def _camera_urls(cameras: subprocess.Popen[bytes]) -> dict[str, str]:
    assert cameras.stdout is not None
    line = cameras.stdout.readline()
    if not line:
        raise _CannotStart(
            "the simulated cameras did not start; their error is above (var/camera-port holds their port)"
        )
    urls = {camera["name"]: camera["url"] for camera in json.loads(line)["cameras"]}
    return {name: urls[kind] for name, kind in CAMERAS.items()}


def _start_recorder(durability: str) -> subprocess.Popen[bytes]:
    config = Path("var/recorderd.toml")
    config.write_text(CONFIG.format(socket=SOCKET, durability=durability))
    command = [sys.executable, "-m", "recorderd", "--config", str(config)]
    return subprocess.Popen(command, start_new_session=True)


def _connected(recorder: subprocess.Popen[bytes]) -> Client:
    for _ in range(200):
        if recorder.poll() is not None:
            raise _CannotStart("recorderd ended at once; its error is above")
        try:
            return Client.connect(str(SOCKET))
        except OSError:
            time.sleep(0.05)
    raise _CannotStart("recorderd does not open its socket")


def _add_cameras(client: Client, urls: dict[str, str], real: Real | None) -> None:
    """Adds what an earlier run has not."""
    known = {camera.name for camera in client.call(system.GET_STATUS, Nothing()).cameras}
    for name, url in urls.items():
        if name not in known:
            _recorderctl("devices", "add", url, "--id", name, "--record")
    if real is not None and "own" not in known:
        user = ["--user", real.user, "--password-stdin"] if real.user else []
        _recorderctl("devices", "add", real.url, "--id", "own", "--record", *user, stdin=real.password)


def _recorderctl(*words: str, stdin: str = "") -> None:
    done = subprocess.run([*RECORDERCTL, *words], input=stdin, text=True, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise _CannotStart(f"recorderctl {words[0]} {words[1]} failed")


def _show_until_interrupted(client: Client, children: Sequence[subprocess.Popen[bytes]]) -> int:
    """The live state: redrawn on a terminal, one line every ten seconds elsewhere."""
    on_terminal = sys.stdout.isatty()
    drawn = 0
    while True:
        if any(child.poll() is not None for child in children):
            print("make run: a part ended by itself", file=sys.stderr)
            return 1
        status = client.call(system.GET_STATUS, Nothing())
        if on_terminal:
            screen = render(status, os.get_terminal_size().lines)
            print(f"\x1b[{drawn}F\x1b[J" if drawn else "", screen, sep="", end="", flush=True)
            drawn = screen.count("\n")
        else:
            print(status.verdict, flush=True)
        time.sleep(1 if on_terminal else 10)


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """The recorder first, so that what the cameras sent is stored."""
    for child in reversed(children):
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


if __name__ == "__main__":
    sys.exit(main())
