"""Exports to storages by a whole recorder: its configuration, its workers, its commands, its end and its crash."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from hw.sim.camera.clip import video_clip
from hw.sim.camera.encoder import VideoSettings
from tests.media import judges
from tests.peers.gst_camera import gst_camera, needs_gst_camera
from tests.peers.object_server import KEY, REGION, SECRET, ObjectStore, object_server
from tests.recorder import ROOT, Recorder, until

pytestmark = [pytest.mark.host, needs_gst_camera, judges.needs_ffmpeg]


def ctl(recorder: Recorder, *words: str, stdin: str = "", code: int = 0) -> str:
    done = recorder.ctl(*words, stdin=stdin)
    assert done.returncode == code, done.stderr + done.stdout + recorder.log.read_text()
    return done.stdout + done.stderr


def test_exports_from_the_command_line(tmp_path: Path) -> None:
    clip = video_clip(
        VideoSettings("h264", fps=Fraction(30), bitrate_bps=2_500_000), 60
    )  # enough for a fragment a second
    (tmp_path / "objects").mkdir()
    settings = f'[exports]\nfolder = "{tmp_path}/objects"\nown_file_system = false\nfile_minutes = 1\n'
    with (
        gst_camera(clip) as camera,
        object_server(ObjectStore()) as store,
        Recorder(tmp_path, slots=12, extra=settings) as recorder,
    ):
        ctl(recorder, "devices", "add", camera.url, "--id", "door", "--record")
        until(lambda: recorder.has_recorded_for(3))
        ctl(recorder, "storages", "add", "folder", "cases")
        s3 = ("s3", f"{store.url}/bucket", "--region", REGION, "--user", KEY, "--password-stdin")
        ctl(recorder, "storages", "add", *s3, stdin=SECRET)
        ctl(recorder, "storages", "test", "storage-1")
        ctl(recorder, "storages", "test", "storage-2")

        start = ("exports", "start", "door", "--from=-1m", "--to", "now", "--storage")
        told = ctl(recorder, *start, "storage-1", "--path", "17")
        assert "done" in told and "100%" in told
        files = list((tmp_path / "objects/cases/17").iterdir())
        assert files
        assert sum(judges.ffmpeg_decode(path) for path in files) >= 60
        ctl(recorder, *start, "storage-2")
        assert all(key.startswith("/bucket/door_") and data[4:8] == b"ftyp" for key, data in store.objects.items())
        assert len(store.objects) >= 1
        listed = json.loads(ctl(recorder, "--json", "exports", "list"))["operations"]
        assert [(o["finished"], o["error"], o["progress"]) for o in listed] == [(True, "", 1.0)] * 2
        assert "done, 100%" in ctl(recorder, "exports", "show", listed[0]["token"])
        assert "does not exist" in ctl(recorder, "exports", "show", "export-none", code=1)
        assert "does not exist" in ctl(recorder, "exports", "stop", "export-none", code=1)

        # Somebody who only looks on may leave: the export goes on.
        ctl(recorder, "storages", "add", "http", f"{store.url.replace('127.0.0.1', '127.0.0.2')}/nobody")
        waits = [sys.executable, "-m", "recorderd.ctl.main", "--socket", str(recorder.socket), *start, "storage-3"]
        looker = subprocess.Popen(waits, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def running() -> list[dict[str, object]]:
            every = json.loads(ctl(recorder, "--json", "exports", "list"))["operations"]
            return [o for o in every if not o["finished"]]

        until(lambda: any("tries again" in str(o["detail"]) for o in running()))
        looker.send_signal(signal.SIGINT)
        _, said = looker.communicate(timeout=30)
        assert looker.returncode == 130
        assert "goes on" in said and "Traceback" not in said
        (left,) = running()
        assert "stopped" in ctl(recorder, "exports", "stop", str(left["token"]))
        assert "stopped" in ctl(recorder, "exports", "list")

        # A crash in the middle: no operation afterwards, nothing half done under a file's name.
        ctl(recorder, *start, "storage-3", "--detach")
        until(lambda: bool(running()))
        recorder.kill()
        recorder.start()
        assert json.loads(ctl(recorder, "--json", "exports", "list"))["operations"] == []
        assert SECRET not in recorder.log.read_text()
        assert recorder.stop() == 0
