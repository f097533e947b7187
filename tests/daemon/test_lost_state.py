"""System flash that is lost or broken: what the data disk gives back, and what the recorder says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from recorderd.state import mirror
from tests.recorder import Recorder, until

PASSWORD = "n0t-to-be-mirrored"


def ctl(recorder: Recorder, *words: str, stdin: str = "", code: int = 0) -> str:
    done = recorder.ctl(*words, stdin=stdin)
    assert done.returncode == code, done.stderr + done.stdout + recorder.log.read_text()
    return done.stdout + done.stderr


def state_of(recorder: Recorder) -> dict[str, object]:
    found: dict[str, object] = json.loads(ctl(recorder, "--json", "configuration", "show"))
    return found


def mirrored(recorder: Recorder) -> set[str]:
    """The kinds of object in the mirror."""
    found = mirror.read(recorder.ring)
    return set() if found is None else set(found.tables)


def configure(recorder: Recorder) -> None:
    url = "rtsp://192.0.2.9/stream"
    ctl(recorder, "devices", "add", url, "--id", "door", "--user", "u", "--password-stdin", "--record", stdin=PASSWORD)
    ctl(recorder, "storages", "add", "s3", "https://s3.example/b", "--user", "k", "--password-stdin", stdin=PASSWORD)
    until(lambda: mirrored(recorder) == {"device", "receiver", "recording", "job", "destination"})


def problems(recorder: Recorder) -> dict[str, str]:
    status = json.loads(recorder.ctl("--json", "status").stdout)
    return {p["severity"]: p["text"] for p in status["problems"] if p["subject"] == "configuration"}


def test_a_lost_state_partition(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, slots=8)
    recorder.start()
    try:
        configure(recorder)
        before = json.loads(ctl(recorder, "--json", "recordings", "list"))["recordings"]
        held = mirror.read(recorder.ring)
        assert held is not None
        documents = [bytes(document).decode() for table in held.tables.values() for document in table]
        assert any('"username":"u"' in document for document in documents)
        assert not any(PASSWORD in document for document in documents)
        assert state_of(recorder)["offered_written"] is None
        assert "there is a configuration" in ctl(recorder, "configuration", "restore", "--yes", code=1)

        recorder.kill()
        shutil.rmtree(tmp_path / "state")
        recorder.start()
        assert json.loads(ctl(recorder, "--json", "recordings", "list"))["recordings"] == []
        until(lambda: "configuration show" in problems(recorder).get("warning", ""))
        assert "1 devices, 1 recordings, 1 jobs" in ctl(recorder, "configuration", "show")
        assert "1 devices" in ctl(recorder, "configuration", "restore", code=1), "it is asked, and there is no terminal"
        restored = ctl(recorder, "configuration", "restore", "--yes")
        assert "device door: password" in restored
        assert "storage storage-1: password" in restored
        after = json.loads(ctl(recorder, "--json", "recordings", "list"))["recordings"]
        assert [(r["token"], r["id"], r["tracks"]) for r in after] == [
            (r["token"], r["id"], r["tracks"]) for r in before
        ]
        assert "recording-2" in ctl(recorder, "recordings", "create"), "tokens are not given out twice"
        ctl(recorder, "devices", "set", "door", "--user", "u", "--password-stdin", stdin=PASSWORD)
        until(lambda: problems(recorder) == {})
    finally:
        recorder.stop()


def test_a_broken_state_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, slots=8)
    recorder.start()
    try:
        configure(recorder)
        recorder.kill()
        for path in (tmp_path / "state").glob("state.sqlite*"):
            path.write_bytes(b"flash has forgotten" * 500)
        recorder.start()
        assert [d["id"] for d in json.loads(ctl(recorder, "--json", "devices", "list"))["devices"]] == ["door"]
        assert recorder.camera("door").due, "it goes on with what was configured last"
        assert "not a database" in problems(recorder)["error"]
        assert "not a database" in ctl(recorder, "recordings", "create", code=1)
        assert "cannot be changed" in ctl(recorder, "configuration", "show")
        assert recorder.stop() == 0
        for path in recorder.ring.glob("configuration.*"):
            path.write_bytes(bytes(path.stat().st_size))
        recorder.start()
        assert json.loads(ctl(recorder, "--json", "devices", "list"))["devices"] == []
        assert "it is empty" in problems(recorder)["error"], "alive, and saying what is wrong"
    finally:
        recorder.stop()
