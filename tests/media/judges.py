"""Programs nobody here wrote, as judges of the files this room writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

needs_ffmpeg = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="ffmpeg is not installed"
)
needs_gstreamer = pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="GStreamer is not installed")
needs_mp4box = pytest.mark.skipif(
    shutil.which("MP4Box") is None, reason="MP4Box is not installed (package gpac, which Debian 12 does not have)"
)


@dataclass(frozen=True)
class Probed:
    codec: str
    width: int
    height: int
    duration_s: float
    packets: list[dict[str, str]]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def ffprobe(path: Path) -> list[Probed]:
    """Per stream: what ffprobe says and every packet. Fails on anything said on stderr at level warning."""
    done = run("ffprobe", "-v", "warning", "-show_streams", "-show_packets", "-of", "json", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    return [
        Probed(
            stream.get("codec_name", stream.get("codec_tag_string", "")),
            stream.get("width", 0),
            stream.get("height", 0),
            float(stream.get("duration", 0)),
            [packet for packet in found["packets"] if packet["stream_index"] == stream["index"]],
        )
        for stream in found["streams"]
    ]


def ffmpeg_decode(path: Path, *options: str) -> int:
    """Decodes everything; fails on any warning. Returns the number of video frames that came out."""
    done = run(
        "ffmpeg", "-v", "warning", "-xerror", *options, "-i", str(path), "-map", "0:v?", "-map", "0:a?", "-fps_mode", "passthrough",
        "-stats", "-f", "null", "-",
    )  # fmt: skip
    said = [line for line in done.stderr.replace("\r", "\n").splitlines() if not line.startswith(("frame=", "size="))]
    assert done.returncode == 0, done.stderr
    assert said == [], said
    frames = re.findall(r"frame=\s*(\d+)", done.stderr)
    return int(frames[-1]) if frames else 0


def mp4box(path: Path) -> int:
    """Lets MP4Box read the whole structure and gather fragments; fails on anything it complains of. Returns the number of video samples."""
    done = run("MP4Box", "-info", str(path))
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    assert not re.search(r"(?i)error|warning|invalid|unknown box", said), said[-2000:]
    samples = re.search(r"(?s)vide.*?(\d+) samples", said)
    return int(samples[1]) if samples else 0


def qtdemux(path: Path, pad: str = "video_0", decode: str = "") -> list[tuple[int, int]]:
    """(running time, duration) in ns of each buffer that GStreamer's qtdemux puts out on `pad`, or of each that comes out of the elements
    in `decode`. Running time is when a sink would show it: segments, which edit lists become, are taken into account.

    Fails on errors and warnings.
    """
    elements = [part for name in decode.split() for part in (name, "!")]
    done = run(
        "gst-launch-1.0", "-v", "filesrc", f"location={path}", "!", "qtdemux", "name=d", f"d.{pad}", "!", "queue", "!", *elements,
        "fakesink", "silent=false", "sync=false",
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    assert not re.search(r"WARN|ERROR|CRITICAL", said), said[-2000:]
    found, start, base = [], 0, 0
    for line in done.stdout.splitlines():
        if (segment := re.search(r"\(GstSegment\).*?start=\(guint64\)(\d+)", line)) is not None:
            start = int(segment[1])
            base = int(re.search(r"base=\(guint64\)(\d+)", line)[1])
        elif (chain := re.search(r"sink\) \(\d+ bytes, dts: \S+, pts: (\S+), duration: (\S+),", line)) is not None:
            found.append((_ns(chain[1]) - start + base, _ns(chain[2])))
    return found


def _ns(clock: str) -> int:
    if clock == "none":
        return -1
    hours, minutes, rest = clock.rstrip(",").split(":")
    seconds, fraction = rest.split(".")
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000_000 + int(fraction)


def pyav(path: Path, kind: str = "video") -> list[tuple[float, bytes]]:
    """(pts in s, bytes) of each packet of the first stream of `kind` that PyAV reads, in decoding order."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None and packet.size
        ]


def pyav_decode(path: Path) -> list[float]:
    """Presentation times in s of the pictures that PyAV decodes."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]
