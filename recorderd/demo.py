"""`make run`: a recorder to try, under ./var, with two simulated cameras and a simulated PoE switch.

The cameras are a process of their own and speak real RTSP on loopback. Nothing outside ./var is written, and the machine's network is
left alone. What dies is started again, as systemd would; what cannot live ends it with the last lines that it said.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType

from recorderd.ctl.status import render
from recorderd.model.clock import SystemClock
from recorderd.protocol import system
from recorderd.protocol.client import Client, ConnectionLost
from recorderd.protocol.errors import ControlError
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.files import IDENTITY
from recorderd.ring.formatting import FormatRefused, format_ring

RING = Path("var/ring")
RING_BYTES = 1 << 30
SLOT_BYTES = 8 << 20
SOCKET = Path("var/control")
LOG = Path("var/log")
CAMERA_PORT = Path("var/camera-port")
EXPORTS = Path("var/exports")
QUICK_S = 10.0  # a part that lives shorter than this ...
MAX_QUICK = 3  # ... so many times in a row is given up
MAX_CHOICES = 5  # of ports for the cameras
EX_CONFIG = 78
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
[exports]
folder = "{exports}"
own_file_system = false
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

What recorderd has to say is in {log}. Ctrl-C ends it; what is recorded stays, and the next `make run` goes on.
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
    parts: list[Part] = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        durability = _prepare()
        LOG.write_bytes(b"")
        urls = _begin_cameras(parts)
        parts.append(Part("recorderd", lambda: _start_recorder(durability)))
        with _connected(parts[1]) as client:
            _add_cameras(client, urls, real)
        print(HINTS.format(ring=RING, log=LOG), flush=True)
        return _show_until_interrupted(parts)
    except KeyboardInterrupt:
        return 0
    except (ControlError, ConnectionLost, CannotGoOn) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    finally:
        _end([part.process for part in parts])


class CannotGoOn(Exception):
    """In words for the person."""


class Part:
    """A process that is started again when it dies."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._start = start
        self._quick = 0
        self._began = time.monotonic()
        self.process = start()

    def look(self) -> str | None:
        """None while it lives; else it was started again, and this says so. Raises `CannotGoOn`."""
        code = self.process.poll()
        if code is None:
            return None
        end = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._quick = self._quick + 1 if time.monotonic() - self._began < QUICK_S else 0
        if code == EX_CONFIG or self._quick >= MAX_QUICK:
            raise CannotGoOn(f"{self.name} {end}; it is not started again. The last lines of {LOG}:\n{_last_lines()}")
        self._began = time.monotonic()
        self.process = self._start()
        return f"{self.name} {end}; started again, as systemd would."


def _last_lines(count: int = 10) -> str:
    return "\n".join(f"  {printable(line, 200)}" for line in LOG.read_text(errors="replace").splitlines()[-count:])


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


def _begin_cameras(parts: list[Part]) -> dict[str, str]:
    """Starts the simulator, as one of `parts`; the cameras' URLs by name.

    On the ports of the earlier runs, because the recorder remembers where its cameras are. Those of a first run are chosen, and chosen
    again when somebody else takes them meanwhile.
    """
    known = CAMERA_PORT.exists()
    for first in [int(CAMERA_PORT.read_text())] if known else islice(_free_pairs(), MAX_CHOICES):
        CAMERA_PORT.write_text(str(first))
        parts.append(Part("the camera simulator", _start_cameras))
        if urls := _camera_urls(parts[-1].process):
            return urls
        _end([parts.pop().process])
        if not known:
            CAMERA_PORT.unlink()
    why = f" ({CAMERA_PORT} holds their port)" if known else ""
    raise CannotGoOn(f"the simulated cameras did not start{why}:\n{_last_lines()}")


def _start_cameras() -> subprocess.Popen[bytes]:
    first = CAMERA_PORT.read_text().strip()
    command = [sys.executable, "-m", "hw.sim.camera", "--h264-aac", "--h265-g711", "--port", first]
    with LOG.open("ab") as log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)


def _free_pairs() -> Iterator[int]:
    """The first of every two neighbouring TCP ports on loopback that nobody uses now."""
    for first in range(15540, 16540, 2):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", first))
                two.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
        yield first
    raise CannotGoOn("no two neighbouring free ports on loopback")


def _camera_urls(cameras: subprocess.Popen[bytes]) -> dict[str, str]:
    """By name; none when the simulator ended instead of saying them."""
    assert cameras.stdout is not None
    with cameras.stdout as said:
        line = said.readline()
    urls = {camera["name"]: camera["url"] for camera in json.loads(line)["cameras"]} if line else {}
    return {name: urls[kind] for name, kind in CAMERAS.items() if urls}


def _start_recorder(durability: str) -> subprocess.Popen[bytes]:
    config = Path("var/recorderd.toml")
    config.write_text(CONFIG.format(socket=SOCKET, durability=durability, exports=EXPORTS.absolute()))
    EXPORTS.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "recorderd", "--config", str(config)]
    with LOG.open("ab") as log:
        return subprocess.Popen(command, stderr=log, start_new_session=True)


def _connected(recorder: Part) -> Client:
    for _ in range(200):
        if (said := recorder.look()) is not None:
            print(said, flush=True)
        try:
            return Client.connect(str(SOCKET))
        except OSError:
            time.sleep(0.05)
    raise CannotGoOn(f"recorderd does not open its socket. The last lines of {LOG}:\n{_last_lines()}")


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
        raise CannotGoOn(f"recorderctl {words[0]} {words[1]} failed")


def _show_until_interrupted(parts: Sequence[Part]) -> int:
    """The live state: redrawn on a terminal, one line every ten seconds elsewhere."""
    on_terminal = sys.stdout.isatty()
    drawn = 0
    while True:
        for said in filter(None, [part.look() for part in parts]):
            print(said, flush=True)
            drawn = 0
        try:
            with _connected(parts[1]) as client:
                status = client.call(system.GET_STATUS, Nothing())
        except ConnectionLost:
            time.sleep(0.1)
            continue
        if on_terminal:
            screen = render(status, os.get_terminal_size().lines)
            print(f"\x1b[{drawn}F\x1b[J" if drawn else "", screen, sep="", end="", flush=True)
            drawn = screen.count("\n")
        else:
            print(status.verdict, flush=True)
        for _ in range(1 if on_terminal else 10):
            time.sleep(1)
            if any(part.process.poll() is not None for part in parts):
                break


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
