"""The simulated cameras as a process of their own, commanded over their control socket."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SimCameras:
    """`urls` by name, and the web servers of those with `--events`."""

    urls: dict[str, str]
    events: dict[str, str]
    control: Path

    def do(self, camera: str, verb: str, **arguments: object) -> dict[str, Any]:
        """Obeys or fails; see hw/sim/camera/control.py."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.control))
            sock.sendall(json.dumps({"camera": camera, "do": verb} | arguments).encode() + b"\n")
            with sock.makefile("rb") as replies:
                reply: dict[str, Any] = json.loads(replies.readline())
        assert reply["ok"], reply
        return reply


@contextmanager
def sim_cameras(
    folder: Path, *kinds: str, size: str = "160x120", fps: int = 10, options: Sequence[str] = ()
) -> Iterator[SimCameras]:
    """Live cameras of these kinds ("h264-aac", "h265-g711") until the end of the context."""
    control = folder / "cameras"
    command = [sys.executable, "-m", "hw.sim.camera", *(f"--{kind}" for kind in kinds)]
    command += ["--size", size, "--fps", str(fps), "--control", str(control), *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            told = json.loads(process.stdout.readline())
            cameras = told["cameras"]
            events = {camera["name"]: camera["events"] for camera in cameras if "events" in camera}
            yield SimCameras({camera["name"]: camera["url"] for camera in cameras}, events, control)
        finally:
            process.terminate()
            process.wait(10)
