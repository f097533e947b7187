"""The daemon's life: configuration, start and stop, with and without a disk. Alive and recording are two answers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recorder import ROOT, Recorder, until


def _recorderd(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recorderd", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[disk]\npth = 'x'", "disk.pth: unknown key; did you mean path?"),
        ("[network]\nmanage = 'yes'", "network.manage = 'yes': allowed are true and false"),
        ("[limits]\nmedia_ram_mib = 1", "limits.media_ram_mib = 1: allowed are whole numbers from 8 to 65536"),
        ("[recorder]\nboard = 'sim-8prt'", "did you mean sim-8port?"),
        ("[time]\nzone = 'Mars/Olympus'", "time.zone = 'Mars/Olympus': not a known time zone"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_creates_nothing(tmp_path: Path, text: str, says: str) -> None:
    config = tmp_path / "recorderd.toml"
    where = f'[paths]\nstate = "{tmp_path}/state"\nsocket = "{tmp_path}/control"\n'
    config.write_text(where + text)
    done = _recorderd("--config", str(config))
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["recorderd.toml"]


def test_an_unreadable_configuration(tmp_path: Path) -> None:
    done = _recorderd("--config", str(tmp_path / "none.toml"), "--check-config")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)


def test_check_config_says_what_follows_and_starts_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    done = _recorderd("--config", str(recorder.config), "--check-config")
    assert done.returncode == 0
    assert "64 MiB: 8 s of 16 streams" in done.stdout
    assert not (tmp_path / "state").exists()


def test_without_a_disk_it_answers_says_so_and_ends_in_order(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with recorder:
        until(lambda: recorder.status().disk.state == "missing")
        assert recorder.status().verdict.startswith("NOT RECORDING: ")
        done = recorder.ctl("status")
        assert done.returncode == 1
        assert done.stdout.startswith("NOT RECORDING: ")
        assert recorder.stop() == 0
    assert recorder.ctl("status").returncode == 2


def test_the_line_that_systemd_shows_is_the_one_that_status_says(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{tmp_path}/notify")
        systemd.setblocking(False)
        lines: list[str] = []

        def agree() -> bool:
            with contextlib.suppress(BlockingIOError):
                while message := systemd.recv(1024).decode():
                    lines.append(message)
            shown = [line for line in lines if line.startswith("STATUS=")]
            return shown[-1:] == [f"STATUS={recorder.status().verdict}"]

        with Recorder(tmp_path, env={"NOTIFY_SOCKET": f"{tmp_path}/notify"}) as recorder:
            recorder.format(4)
            until(lambda: recorder.status().disk.state == "recording" and agree())
            assert recorder.ctl("devices", "add", "rtsp://127.0.0.1:9/", "--id", "gate", "--record").returncode == 0
            assert recorder.status().verdict.startswith("NOT RECORDING: ")
            until(agree)


def test_a_camera_that_is_being_connected_is_not_recorded_yet(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, Recorder(tmp_path, slots=12) as recorder:
        url = f"rtsp://127.0.0.1:{mute.getsockname()[1]}/"
        assert recorder.ctl("devices", "add", url, "--id", "door", "--record").returncode == 0
        assert recorder.camera("door").state == "connecting"
        assert all(problem.severity != "error" for problem in recorder.status().problems)
        status = recorder.ctl("status")
        assert status.stdout.startswith("NOT RECORDING: 1 camera is being connected")
        assert status.returncode == 1


def test_a_disk_that_appears_is_used_without_a_restart(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        until(lambda: recorder.status().disk.state == "missing")
        recorder.format(4)
        until(lambda: recorder.status().disk.state == "recording")
        assert recorder.status().verdict == "RECORDING 0/0"


def test_a_second_daemon_does_not_take_the_socket(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        done = _recorderd("--config", str(recorder.config))
        assert done.returncode == 69
        assert "another recorderd answers there" in done.stderr
        assert recorder.ctl("version").returncode == 0


def test_the_socket_of_a_killed_daemon_is_taken_over(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, slots=4)
    recorder.start()
    recorder.kill()
    assert recorder.socket.exists()
    with recorder:
        until(lambda: recorder.status().disk.state == "recording")
