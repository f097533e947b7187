"""From a camera nobody here wrote to a file that players accept: recorded by the daemon, exported by `recorderctl`, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from hw.sim.camera.clip import ClipTrack, sound_clip, video_clip
from hw.sim.camera.encoder import VideoSettings
from hw.sim.camera.sound import SoundSettings
from recorderd.media.nal import split_lengths
from tests.daemon.test_secrets import simulated_camera
from tests.media import judges
from tests.peers.gst_camera import gst_camera, needs_gst_camera
from tests.recorder import ROOT, Recorder, until

pytestmark = [pytest.mark.host, needs_gst_camera, judges.needs_ffmpeg]

PICTURES = 60
FPS = 30
QUICK = {"fps": Fraction(FPS), "bitrate_bps": 2_500_000}  # enough for a fragment a second
SETS = {"h264": (7, 8, 9), "h265": (32, 33, 34, 35)}  # parameter sets and delimiters, which the payloader may repeat


def nal_type(codec: str, nal: bytes) -> int:
    return nal[0] & 31 if codec == "h264" else nal[0] >> 1 & 63


def pictures(codec: str, units: list[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
    return [tuple(nal for nal in unit if nal_type(codec, nal) not in SETS[codec]) for unit in units]


def numbers(codec: str, clip: ClipTrack, path: Path) -> list[int]:
    """Which picture of the clip each exported one is; fails when a bit differs."""
    known = {unit: number for number, unit in enumerate(pictures(codec, list(clip.coded)))}
    stored = [tuple(bytes(nal) for nal in split_lengths(data)) for _, data in judges.pyav(path)]
    return [known[unit] for unit in pictures(codec, stored)]


@pytest.mark.parametrize(
    ("codec", "reorder", "open_gop", "sound"),
    [
        ("h264", 2, True, SoundSettings("pcmu", 8_000)),
        ("h265", 3, True, SoundSettings("aac", 48_000)),
        pytest.param("h264", 0, False, SoundSettings("aac", 16_000), marks=pytest.mark.slow),
        pytest.param("h265", 0, False, SoundSettings("pcma", 8_000), marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "codec", str(value)),
)
def test_gstreamers_camera_comes_out_as_it_went_in(
    codec: str, reorder: int, open_gop: bool, sound: SoundSettings, tmp_path: Path
) -> None:
    clip = video_clip(VideoSettings(codec, reorder=reorder, pyramid=reorder > 1, open_gop=open_gop, **QUICK), PICTURES)
    with gst_camera(clip, sound_clip(sound, 40)) as camera, Recorder(tmp_path, slots=12) as recorder:
        assert recorder.ctl("devices", "add", camera.url, "--id", "door", "--record").returncode == 0
        until(lambda: recorder.has_recorded_for(4))
        for options in ([], ["--audio", "aac"])[: 2 if sound.codec != "aac" else 1]:
            path = tmp_path / f"{len(options)}.mp4"
            done = recorder.ctl("export", "door", "--from=-60s", "--to", "now", "-o", str(path), *options)
            assert done.returncode == 0, done.stderr
            found = numbers(codec, clip, path)
            assert len(found) >= 30  # half of what a machine with time to spare delivers
            assert found == [(found[0] + n) % PICTURES for n in range(len(found))]
            assert judges.ffmpeg_decode(path) == len(found)
            video, audio = judges.ffprobe(path)
            times = sorted(float(packet["pts_time"]) for packet in video.packets)
            # At the live edge the last pictures decoded may be shown after some that are not stored yet.
            assert times[: -reorder or None] == pytest.approx(
                [n / FPS for n in range(len(times))][: -reorder or None], abs=0.001
            )
            assert audio.codec == (
                "aac" if options or sound.codec == "aac" else f"pcm_{sound.codec[3]}law".replace("u", "mu")
            )
            # Sound at a wrong rate would last half or twice as long; a busy machine sends pictures up to a second later.
            assert audio.duration_s == pytest.approx(video.duration_s, abs=1.5)
        assert play_from_a_pipe(recorder) >= len(found)
        picture = tmp_path / "door.jpg"
        assert recorder.ctl("snapshot", "door", "-o", str(picture), "--width", "200").returncode == 0
        with av.open(str(picture)) as container:
            frame = next(container.decode(video=0))
            assert (frame.width, frame.height) == (200, 112)


def play_from_a_pipe(recorder: Recorder) -> int:
    """Exports to standard output and into ffmpeg, which cannot seek there; returns the pictures it decoded."""
    command = [sys.executable, "-m", "recorderd.ctl.main", "--socket", str(recorder.socket), "export", "door"]
    command += ["--from=-60s", "--to", "now", "-o", "-"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
        player = [
            "ffmpeg",
            "-v",
            "warning",
            "-i",
            "-",
            "-map",
            "0:v",
            "-fps_mode",
            "passthrough",
            "-f",
            "framemd5",
            "-",
        ]
        played = subprocess.run(player, stdin=export.stdout, capture_output=True, timeout=60, check=False)
        assert export.stderr is not None
        said = export.stderr.read()
        assert export.wait(20) == 0, f"{said.decode()}\n{recorder.log.read_text()}"
    assert (played.returncode, played.stderr) == (0, b"")
    return len([line for line in played.stdout.splitlines() if not line.startswith(b"#")])


def test_kill_and_restart_leave_a_gap_of_its_length(tmp_path: Path) -> None:
    clip = video_clip(VideoSettings("h264", **QUICK), PICTURES)
    with gst_camera(clip) as camera, Recorder(tmp_path, slots=12) as recorder:
        assert recorder.ctl("devices", "add", camera.url, "--id", "door", "--record").returncode == 0
        until(lambda: recorder.has_recorded_for(3))
        recorder.kill()
        recorder.start()
        until(lambda: "recorder_crash" in [cause for _, _, cause in recorder.bars()])
        until(lambda: recorder.has_recorded_for(3))
        before, after = [bar for bar in recorder.bars() if bar[2] is None]
        assert "recorder_crash" in [cause for _, _, cause in recorder.bars()]
        path = tmp_path / "out.mp4"
        done = recorder.ctl("export", "door", "--from=-60s", "--to", "now", "-o", str(path))
        assert done.returncode == 0, done.stderr
        assert "recorder crash" in done.stderr
        found = numbers("h264", clip, path)
        assert judges.ffmpeg_decode(path) == len(found)
        times = [float(packet["pts_time"]) for packet in judges.ffprobe(path)[0].packets]
        jumps = [after - before for before, after in pairwise(times) if after - before > 0.5]
        assert len(jumps) == 1
        # As long as the timeline says, and the picture before it.
        assert jumps[0] == pytest.approx(after[0] - before[1] + 1 / FPS, abs=0.3)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_of_the_client_is_its_own_trouble(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        with simulated_camera() as (url, _), Recorder(tmp_path, slots=4) as recorder:
            assert recorder.ctl("devices", "add", url, "--id", "door", "--record").returncode == 0
            until(lambda: recorder.has_recorded_for(3))
            done = recorder.ctl("export", "door", "--from=-60s", "--to", "now", "-o", str(small / "door.mp4"))
            assert done.returncode == 1
            assert "recorderctl: incomplete: cannot write: No space left on device" in done.stderr
            assert list(small.iterdir()) == []
            whole = recorder.ctl("export", "door", "--from=-60s", "--to", "now", "-o", str(tmp_path / "door.mp4"))
            assert whole.returncode == 0, whole.stderr
            again = recorder.ctl("export", "door", "--from=-60s", "--to", "now", "-o", str(tmp_path / "door.mp4"))
            assert (again.returncode, "exists; --force replaces it" in again.stderr) == (1, True)
            assert recorder.camera("door").state == "recording"
    finally:
        subprocess.run(["umount", str(small)], check=True)
