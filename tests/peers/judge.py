"""ffprobe and ffmpeg as judges of what we write: decode it, count it, hash it. Debian's programs, not PyAV's libraries."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_ffmpeg = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="ffmpeg or ffprobe is absent"
)
NUL = "/dev/null"


@dataclass(frozen=True)
class ProbedPacket:
    """One packet as ffprobe lists it; times in the stream's time base, `sha256` of its data as stored (length-prefixed NAL units)."""

    pts: int
    dts: int
    duration: int
    size: int
    key: bool
    sha256: str


def _ffprobe(*arguments: str | Path) -> dict:
    command = ["ffprobe", "-v", "error", "-of", "json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"ffprobe complains: {done.stderr}"
    return json.loads(done.stdout)


def streams(file: str | Path) -> list[dict]:
    """ffprobe's description of every stream."""
    return _ffprobe("-show_streams", file)["streams"]


def packets(file: str | Path, stream: str = "v:0") -> list[ProbedPacket]:
    """Every packet of one stream (ffmpeg's stream specifier), with the hash of its data."""
    listed = _ffprobe("-select_streams", stream, "-show_packets", "-show_data_hash", "SHA256", file)["packets"]
    return [
        ProbedPacket(
            pts=packet.get("pts"),
            dts=packet.get("dts"),
            duration=packet.get("duration", 0),
            size=int(packet["size"]),
            key="K" in packet["flags"],
            sha256=packet["data_hash"].removeprefix("SHA256:"),
        )
        for packet in listed
    ]


def assert_decodes(file: str | Path, *, stream: str = "0") -> None:
    """ffmpeg decodes every frame without printing one warning. Fails with what it printed."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "repeat+warning", "-xerror", "-err_detect", "explode"]
    command += ["-i", str(file), "-map", stream, "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    # The null muxer's clock ticks at the file's average frame rate; behind a long pause pictures come faster than that.
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("[null @")]
    assert done.returncode == 0, "\n".join(said)
    assert not said, "ffmpeg complains:\n" + "\n".join(said)


def frame_hashes(file: str | Path, stream: str = "v:0") -> list[tuple[int, str]]:
    """(pts, MD5) of every decoded frame of one stream, as ffmpeg's framemd5 gives them."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-i", str(file), "-map", f"0:{stream}"]
    command += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    rows = [line.split(",") for line in done.stdout.splitlines() if line and not line.startswith("#")]
    return [(int(row[2]), row[5].strip()) for row in rows]
