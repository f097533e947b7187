"""Motion in a simulated camera's event streams, through the whole recorder: the daemon with its worker, and recorderctl."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from recorderd.events.cameras import UNIVERSAL_MOTION
from tests.peers.sim_cameras import SimCameras, sim_cameras
from tests.recorder import Recorder, until

KIND, PASSWORD = "h264-aac", "made-up-secret"


def motions(recorder: Recorder) -> list[str]:
    """What UniversalMotionDetection has said, oldest first."""
    found = recorder.ctl("--json", "events", "search", "--topic", UNIVERSAL_MOTION)
    assert found.returncode == 0, found.stderr
    return ["".join(item["value"] for item in event["data"]) for event in map(json.loads, found.stdout.splitlines())]


def state(recorder: Recorder) -> str:
    told = json.loads(recorder.ctl("--json", "devices", "show", "cam").stdout)
    return str(told["device"]["events_state"])


def by_metadata(recorder: Recorder, cameras: SimCameras) -> None:
    url = cameras.urls[KIND]
    done = recorder.ctl("devices", "add", url, "--id", "cam", "--user", "root", "--password-stdin", stdin=PASSWORD)
    assert done.returncode == 0, done.stderr
    recorder.ctl("devices", "set", "cam", "--events", "metadata")


def by_web_socket(recorder: Recorder, cameras: SimCameras) -> None:
    port = str(urlsplit(cameras.events[KIND]).port)
    words = ("--address", "127.0.0.1", "--events", "websocket", "--event-port", port)
    done = recorder.ctl("devices", "create", "cam", *words, "--user", "root", "--password-stdin", stdin=PASSWORD)
    assert done.returncode == 0, done.stderr
    until(lambda: state(recorder) == "listening")


@pytest.mark.parametrize("listen", [by_metadata, by_web_socket])
def test_motion_from_the_camera_to_the_operator(listen: Callable[[Recorder, SimCameras], None], tmp_path: Path) -> None:
    options = ("--events", "--user", "root", "--password", PASSWORD)
    with sim_cameras(tmp_path, KIND, options=options) as cameras, Recorder(tmp_path) as recorder:
        listen(recorder, cameras)
        until(lambda: motions(recorder) == ["0"])
        cameras.do(KIND, "event", active=True)
        until(lambda: motions(recorder) == ["0", "1"])
        cameras.do(KIND, "event", active=False)
        until(lambda: motions(recorder) == ["0", "1", "0"])
        cameras.do(KIND, "event", active=True)
        until(lambda: motions(recorder)[-1] == "1")
        recorder.ctl("devices", "set", "cam", "--events", "off")
        until(lambda: motions(recorder)[-1] == "0")
        shown = recorder.ctl("events", "state", "--topic", UNIVERSAL_MOTION).stdout
        assert "device=cam active=0" in shown
        assert PASSWORD not in recorder.log.read_text()


def test_motion_falls_with_the_camera(tmp_path: Path) -> None:
    options = ("--events", "--user", "root", "--password", PASSWORD)
    with sim_cameras(tmp_path, KIND, options=options) as cameras, Recorder(tmp_path) as recorder:
        by_metadata(recorder, cameras)
        until(lambda: motions(recorder) == ["0"])
        cameras.do(KIND, "event", active=True)
        until(lambda: motions(recorder)[-1] == "1")
        cameras.do(KIND, "refuse")
        cameras.do(KIND, "reset")
        until(lambda: motions(recorder)[-1] == "0")
        cameras.do(KIND, "accept")
        until(lambda: motions(recorder)[-1] == "1")
