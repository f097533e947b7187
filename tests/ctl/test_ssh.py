"""`recorderctl -H` through a real sshd."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.test_secrets import simulated_camera
from tests.media import judges
from tests.peers.sshd import needs_sshd, sshd
from tests.recorder import Recorder, until

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.host, needs_sshd]


def test_commands_travel_through_ssh(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    launcher = programs / "recorderctl"
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m recorderd.ctl.main "$@"\n')
    launcher.chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "RECORDERD_SOCKET": str(tmp_path / "control")}
    with (
        simulated_camera() as (url, _),
        Recorder(tmp_path, slots=4) as recorder,
        sshd(tmp_path, environment) as server,
    ):

        def ctl(*words: str, host: str = "recorder") -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "recorderd.ctl.main", "-H", host, *words]
            surroundings = {**os.environ, "RECORDERCTL_SSH": f"ssh -F {server.config}"}
            return subprocess.run(
                command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=60, check=False
            )

        good = ctl("version")
        assert "recorderd 0." in good.stdout, good.stderr
        refused = ctl("version", host="-oProxyCommand=touch /tmp/x")
        assert refused.returncode == 64
        away = ctl("status", host="nobody-here@recorder")
        assert away.returncode == 2
        assert "Permission denied" in away.stderr
        assert ctl("devices", "add", url, "--id", "door", "--record").returncode == 0
        until(lambda: recorder.camera("door").state == "recording")
        movie = tmp_path / "door.mp4"
        exported = ctl("export", "door", "--from", "1 min ago", "--to", "now", "-o", str(movie))
        assert exported.returncode == 0, exported.stderr
        assert judges.ffmpeg_decode(movie) > 0
