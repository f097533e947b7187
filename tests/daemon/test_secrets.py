"""What must never leave: passwords. And what must never act: escape sequences in names that came from outside."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.recorder import ROOT, Recorder, until

SECRET = "Pl4nted-Pa55w0rd"
WRONG = "Wr0ng-Pa55w0rd"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202edoor\nforged line"


@contextmanager
def simulated_camera(*words: str) -> Iterator[tuple[str, int]]:
    """A simulated camera in a process of its own: its URL and its process id. Of 2 Mbit/s, so that what it sends is stored every second
    and not when it is four seconds old."""
    pictures = ("--size", "320x240", "--fps", "30", "--kbit-s", "2000", "--texture", "0.5")
    command = [sys.executable, "-m", "hw.sim.camera", "--h264-aac", *pictures, *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["cameras"][0]["url"], process.pid
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_planted_passwords_are_found_nowhere(tmp_path: Path) -> None:
    with (
        simulated_camera("--user", "root", "--password", SECRET) as (url, camera_pid),
        Recorder(tmp_path, slots=4) as recorder,
    ):
        host = url.removeprefix("rtsp://").removeprefix("root@")
        said = [
            recorder.ctl(
                "devices",
                "add",
                f"rtsp://root@{host}",
                "--id",
                "door",
                "--record",
                "--password-stdin",
                stdin=f"{SECRET}\n",
            ),
            recorder.ctl(
                "devices",
                "add",
                f"rtsp://root@{host}",
                "--id",
                "lost",
                "--record",
                "--password-stdin",
                stdin=f"{WRONG}\n",
            ),
        ]
        assert [done.returncode for done in said] == [0, 0], said
        until(lambda: recorder.camera("door").state == "recording")
        until(lambda: recorder.camera("lost").cause == "unauthorized")
        status = recorder.ctl("status")
        assert status.returncode == 1, "something due is not recorded"
        assert "credentials" in recorder.ctl("why", "lost").stdout + status.stdout
        for words in (
            ("status",),
            ("why", "door"),
            ("why", "lost"),
            ("devices", "list"),
            ("devices", "show", "door"),
            ("receivers", "list"),
            ("recordings", "list"),
            ("jobs", "list"),
            ("events", "search"),
            ("timeline", "door"),
        ):
            said += [recorder.ctl(*words), recorder.ctl(*words, "--json")]
        export = recorder.ctl("export", "door", "--from", "1 min ago", "--to", "now", "-o", str(tmp_path / "door.mp4"))
        assert export.returncode == 0, export.stderr
        said.append(recorder.ctl("devices", "set", "nobody", "--user", "x", "--password-stdin", stdin=f"{SECRET}\n"))
        text = "".join(done.stdout + done.stderr for done in said) + recorder.log.read_text()
        assert SECRET not in text
        assert WRONG not in text
        assert _processes_with((SECRET, WRONG), but=camera_pid) == []
        recorder.stop()
        assert _files_with((SECRET, WRONG), tmp_path) <= {"state.sqlite", "state.sqlite-wal"}
        assert (tmp_path / "state" / "state.sqlite").stat().st_mode & 0o077 == 0


def test_escape_sequences_from_outside_do_nothing(tmp_path: Path) -> None:
    with _hostile_camera() as url, Recorder(tmp_path, slots=4) as recorder:
        refused = recorder.ctl("devices", "add", url, "--id", "door", "--name", ESCAPES, "--record")
        assert refused.returncode == 1
        assert recorder.ctl("devices", "add", url, "--id", "door", "--record").returncode == 0
        until(lambda: recorder.camera("door").cause not in (None, "connecting"))
        asked = (
            "status",
            "why door",
            "devices show door",
            "recordings list",
            "events search",
            "jobs list",
            "timeline door",
        )
        seen = [refused, *(recorder.ctl(*words.split()) for words in asked)]
        text = "".join(done.stdout + done.stderr for done in seen) + recorder.log.read_text()
        assert "gone" in text  # the camera's words are shown
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert "\nforged line" not in text


@contextmanager
def _hostile_camera() -> Iterator[str]:
    """A server whose every answer is an error with escape sequences in its reason phrase."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            with peer:
                request = peer.recv(4096).decode()
                cseq = next(
                    (line[5:].strip() for line in request.splitlines() if line.lower().startswith("cseq:")), "1"
                )
                peer.sendall(f"RTSP/1.0 454 gone \x1b[2J\x07\u202e\r\nCSeq: {cseq}\r\n\r\n".encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"rtsp://127.0.0.1:{listening.getsockname()[1]}/stream"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def _processes_with(secrets: tuple[str, ...], but: int) -> list[str]:
    """Command lines and environments of all processes that hold one of the secrets."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(but):
            continue
        for name in ("cmdline", "environ"):
            try:
                data = (folder / name).read_bytes()
            except OSError:
                continue  # it has ended, or belongs to somebody else
            if any(secret.encode() in data for secret in secrets):
                found.append(f"{folder.name}/{name}")
    return found


def _files_with(secrets: tuple[str, ...], folder: Path) -> set[str]:
    return {
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)
    }
