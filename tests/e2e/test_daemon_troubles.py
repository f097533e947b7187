"""The daemon and a camera in trouble: what `status`, `why` and the timeline say, and that recording goes on by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.peers import judge
from tests.peers.sim_cameras import SimCameras, sim_cameras
from tests.recorder import Recorder

pytestmark = [pytest.mark.host, judge.needs_ffmpeg]
CAMERA = "h264-aac"
QUICK = {"size": "320x240", "fps": 30, "options": ("--kbit-s", "2000", "--texture", "0.5")}  # a fragment a second


@dataclass(frozen=True)
class Trouble:
    """`word` is the cause in `status` once it is known, `causes` those that the timeline may show, `link` what `why` finds broken."""

    begin: tuple[tuple[str, dict], ...]
    end: tuple[tuple[str, dict], ...]
    word: str
    causes: frozenset[str]
    link: str
    stays_s: float = 0.0  # after `status` has said so


TROUBLES = {
    "switched off and on": Trouble(
        (("refuse", {}), ("reset", {})),
        (("accept", {}),),
        "camera-refused",
        frozenset({"camera_reset", "camera_refused"}),
        "rtsp",
    ),
    "another password": Trouble(
        (("authentication", {"user": "root", "password": "new"}), ("close", {})),
        (("authentication", {}),),
        "unauthorized",
        frozenset({"camera_closed", "unauthorized"}),
        "rtsp",
    ),
    "another path": Trouble(
        (("faults", {"not_found": True}), ("close", {})),
        (("clear", {}),),
        "not-found",
        frozenset({"camera_closed", "not_found"}),
        "rtsp",
    ),
    "nothing after PLAY": Trouble(
        (("faults", {"no_media": True}), ("close", {})),
        (("clear", {}),),
        "no-media",
        frozenset({"camera_closed", "no_media", "connecting"}),
        "frames",
        stays_s=5.0,
    ),
    "hangs": Trouble(
        (("faults", {"hang": True}),),
        (("clear", {}),),
        "camera-silent",
        frozenset({"camera_silent", "no_media"}),
        "frames",
        stays_s=12.0,
    ),
}


def until(recorder: Recorder, holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{recorder.camera('door')}\n{recorder.log.read_text()}"
        time.sleep(0.2)


def bars(recorder: Recorder) -> list[dict]:
    told = recorder.ctl("--json", "timeline", "door")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)["bars"]


def recording(recorder: Recorder, cameras: SimCameras) -> None:
    url = cameras.urls[CAMERA]
    added = recorder.ctl("devices", "add", url, "--id", "door", "--record")
    assert added.returncode == 0, added.stderr
    until(recorder, lambda: recorder.camera("door").state == "recording", 20)


@pytest.mark.parametrize(
    "name", [name if name == "switched off and on" else pytest.param(name, marks=pytest.mark.slow) for name in TROUBLES]
)
def test_trouble(name: str, tmp_path: Path) -> None:
    trouble = TROUBLES[name]
    with sim_cameras(tmp_path, CAMERA, **QUICK) as cameras, Recorder(tmp_path, slots=12) as recorder:
        recording(recorder, cameras)
        until(recorder, lambda: recorder.has_recorded_for(1), 30)
        for verb, arguments in trouble.begin:
            cameras.do(CAMERA, verb, **arguments)
        until(recorder, lambda: recorder.camera("door").cause == trouble.word, 30)
        seen = recorder.camera("door")
        assert seen.state == "failing"
        assert seen.detail
        status = recorder.status()
        assert not status.well
        assert status.verdict.startswith("NOT RECORDING")
        said = recorder.ctl("status")
        assert said.returncode == 1
        assert "NOT RECORDING" in said.stdout
        why = recorder.ctl("why", "door")
        assert f"broken at {trouble.link}" in why.stdout, why.stdout
        time.sleep(trouble.stays_s)
        for verb, arguments in trouble.end:
            cameras.do(CAMERA, verb, **arguments)
        until(recorder, lambda: recorder.camera("door").state == "recording", 75)
        until(
            recorder, lambda: bars(recorder)[-1]["cause"] is None, 15
        )  # a gap lasts until something after it is durable
        assert recorder.ctl("status").returncode == 0
        drawn = bars(recorder)
        gaps = [bar for bar in drawn[1:] if bar["cause"] is not None]
        assert gaps
        assert {bar["cause"] for bar in gaps} <= trouble.causes, gaps
        assert all(before["stop"] == after["start"] for before, after in pairwise(drawn)), drawn
        file = tmp_path / "out.mp4"
        exported = recorder.ctl("export", "door", "--from=-200s", "--to", "now", "-o", str(file))
        assert exported.returncode == 0, exported.stderr
        judge.assert_decodes(file)


def test_another_picture_size_in_mid_stream(tmp_path: Path) -> None:
    with sim_cameras(tmp_path, CAMERA, **QUICK) as cameras, Recorder(tmp_path, slots=12) as recorder:
        recording(recorder, cameras)
        until(recorder, lambda: recorder.has_recorded_for(2), 30)
        cameras.do(CAMERA, "parameter-sets")
        until(recorder, lambda: recorder.camera("door").width == 160, 15)
        until(recorder, lambda: recorder.has_recorded_for(4), 30)
        assert recorder.camera("door").state == "recording"
        assert [bar["cause"] for bar in bars(recorder) if bar["cause"] not in (None, "connecting")] == []
        file = tmp_path / "out.mp4"
        exported = recorder.ctl("export", "door", "--from=-60s", "--to", "now", "-o", str(file))
        assert exported.returncode == 0, exported.stderr
        judge.assert_decodes(file)
        assert len(judge.packets(file)) > 50


def test_a_wrong_password_from_the_beginning(tmp_path: Path) -> None:
    with sim_cameras(tmp_path, CAMERA, **QUICK) as cameras, Recorder(tmp_path, slots=12) as recorder:
        cameras.do(CAMERA, "authentication", user="root", password="right-one", schemes=["SHA-256", "MD5"])
        url = cameras.urls[CAMERA]
        words = ["devices", "add", url, "--id", "door", "--record", "--user", "root", "--password-stdin"]
        assert recorder.ctl(*words, stdin="wrong-one\n").returncode == 0
        until(recorder, lambda: recorder.camera("door").cause == "unauthorized", 20)
        told = recorder.ctl("status").stdout + recorder.ctl("why", "door").stdout + recorder.log.read_text()
        assert "wrong-one" not in told
        assert "right-one" not in told
        cameras.do(CAMERA, "authentication")
