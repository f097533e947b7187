"""The recorders that we compare ourselves with: what people run today, one process for each camera, writing to the same disk."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SEGMENT_S = 10


def missing() -> str:
    """Which program is absent; empty if none."""
    return next((tool for tool in ("ffmpeg", "gst-launch-1.0") if shutil.which(tool) is None), "")


def ffmpeg(url: str, folder: Path) -> list[str]:
    """`ffmpeg -c copy -f segment`: MP4 files of ten seconds, video and sound as they come."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", url]
    command += ["-map", "0", "-c", "copy", "-f", "segment", "-segment_time", str(SEGMENT_S), "-reset_timestamps", "1"]
    return [*command, "-segment_format", "mp4", str(folder / "%05d.mp4")]


def gstreamer(url: str, folder: Path) -> list[str]:
    """The same with splitmuxsink."""
    command = ["gst-launch-1.0", "-q", "splitmuxsink", "name=sink", f"location={folder}/%05d.mp4"]
    command += [
        f"max-size-time={SEGMENT_S * 1_000_000_000}",
        "rtspsrc",
        f"location={url}",
        "protocols=tcp",
        "name=source",
    ]
    command += ["source.", "!", "rtph264depay", "!", "h264parse", "!", "sink.video"]
    return [*command, "source.", "!", "rtpmp4gdepay", "!", "aacparse", "!", "queue", "!", "sink.audio_0"]


class EndedByItself(Exception):
    """A peer that was to run until it is ended did not; says which, and its first words."""


@contextmanager
def running(commands: list[list[str]]) -> Iterator[list[int]]:
    """Runs all of them until the end of the context; their process ids. Raises `EndedByItself`."""
    processes = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for command in commands
    ]
    try:
        yield [process.pid for process in processes]
        for process in processes:
            if process.poll() is not None:
                said = process.stderr.read().decode(errors="replace").split("\n") if process.stderr else [""]
                raise EndedByItself(f"{process.args[0]} ended by itself: {said[0]}")  # type: ignore[index]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr:
                process.stderr.close()
