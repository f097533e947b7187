"""A camera nobody here wrote: GStreamer's RTSP server, fed with clips of which every access unit is known.

    with gst_camera(video_clip(VideoSettings("h265", reorder=2), 60), sound_clip(SoundSettings("aac"), 40)) as camera:
        ...camera.url...

Its sessions start with the clip's first access unit and go round for ever, or `loops` times. It is a process of its own, ended by its
pipe; `SYSTEM_PYTHON` is the interpreter that has GStreamer's bindings.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest

from hw.sim.camera.clip import ClipTrack

SYSTEM_PYTHON = Path("/usr/bin/python3")
_SERVER = Path(__file__).with_name("gst_camera_server.py")
_START_CODE = b"\x00\x00\x00\x01"


@cache
def _bindings() -> bool:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    return (
        SYSTEM_PYTHON.exists()
        and subprocess.run([SYSTEM_PYTHON, "-c", probe], check=False, capture_output=True).returncode == 0
    )


needs_gst_camera = pytest.mark.skipif(not _bindings(), reason="gir1.2-gst-rtsp-server-1.0 is absent")


@dataclass(frozen=True)
class GstCamera:
    url: str  # without credentials
    url_with_credentials: str
    tracks: tuple[ClipTrack, ...]
    pid: int


@contextmanager
def gst_camera(
    *tracks: ClipTrack, loops: int = 0, user: str = "", password: str = "", certificate: Path | None = None
) -> Iterator[GstCamera]:
    """Serves the clips. `user`: asks for it by Digest. `certificate`: serves rtsps with this PEM file, which holds its key too."""
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "user": user,
            "password": password,
            "certificate": str(certificate) if certificate else "",
            "loops": loops,
            "tracks": [_track(clip, Path(folder) / f"{n}.bin") for n, clip in enumerate(tracks)],
        }
        with subprocess.Popen(
            [SYSTEM_PYTHON, _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin
            assert process.stdout
            try:
                process.stdin.write(json.dumps(options) + "\n")
                process.stdin.flush()
                port = json.loads(process.stdout.readline())["port"]
                scheme = "rtsps" if certificate else "rtsp"
                userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
                url = f"{scheme}://127.0.0.1:{port}/stream"
                yield GstCamera(url, f"{scheme}://{userinfo}127.0.0.1:{port}/stream", tracks, process.pid)
            finally:
                process.stdin.close()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()


def _track(clip: ClipTrack, path: Path) -> dict[str, object]:
    media = clip.media
    video = media.encoding in ("H264", "H265")
    with path.open("wb") as file:
        units = []
        for unit, coded in zip(clip.units, clip.coded, strict=True):
            data = b"".join(_START_CODE + nal for nal in coded) if video else coded[0]
            if media.encoding.startswith("G726"):
                data = _most_significant_first(data, int(media.encoding[5:]) // 8)
            pts = unit.ticks * 1_000_000_000 // media.clock_rate
            dts = round(unit.due_s * 1e9) if video else pts
            units.append([file.tell(), len(data), pts, dts, unit.key])
            file.write(data)
    caps, payloader = _caps(clip)
    return {
        "caps": caps,
        "payloader": payloader,
        "file": str(path),
        "loop_ns": clip.loop_ticks * 1_000_000_000 // media.clock_rate,
        "units": units,
    }


def _most_significant_first(data: bytes, bits: int) -> bytes:
    """G.726 code words as GStreamer's payloader takes them (ITU-T I.366.2); it turns them into RFC 3551's order, which `data` has."""
    packed = int.from_bytes(data, "little")
    words = [packed >> at & (1 << bits) - 1 for at in range(0, 8 * len(data), bits)]
    value = 0
    for word in words:
        value = value << bits | word
    return value.to_bytes(len(data), "big")


def _caps(clip: ClipTrack) -> tuple[str, str]:
    """(caps of the coded stream, payloader with its options)."""
    media = clip.media
    rate, channels = media.clock_rate, media.channels
    match media.encoding:
        case "H264" | "H265" as name:
            parse = f"{name.lower()}parse ! rtp{name.lower()}pay config-interval=-1"
            return f"video/x-{name.lower()},stream-format=byte-stream,alignment=au", parse
        case "MPEG4-GENERIC":
            config = media.fmtp.rpartition("config=")[2].lower()
            form = f"audio/mpeg,mpegversion=4,stream-format=raw,rate={rate},channels={channels},codec_data=(buffer){config}"
            return form, "rtpmp4gpay"
        case "MP4A-LATM":
            # StreamMuxConfig of one layer: 15 bits, then the AudioSpecificConfig's 16.
            config = int(media.fmtp.rpartition("config=")[2][:8], 16) >> 1 & 0xFFFF
            form = f"audio/mpeg,mpegversion=4,stream-format=raw,rate={rate},channels={channels},codec_data=(buffer){config:04x}"
            return form, "rtpmp4apay"
        case "G726-16" | "G726-32" as name:  # of 24 and 40 kbit/s GStreamer 1.22 scrambles the code words
            form = f"audio/x-adpcm,layout=g726,rate=8000,channels=1,bitrate={name[5:]}000"
            return form, "rtpg726pay force-aal2=false"
        case "PCMU":
            return f"audio/x-mulaw,rate={rate},channels=1", "rtppcmupay"
        case "PCMA":
            return f"audio/x-alaw,rate={rate},channels=1", "rtppcmapay"
        case "opus":
            return f"audio/x-opus,rate=48000,channels={channels},channel-mapping-family=(int)0", "rtpopuspay"
        case "JPEG":
            return "image/jpeg,framerate=25/1", "jpegparse ! rtpjpegpay"
        case other:
            raise ValueError(f"GStreamer's camera has no {other} here")
