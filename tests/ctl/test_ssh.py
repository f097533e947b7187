"""`recorderctl -H` through a real sshd."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.sshd import needs_sshd, sshd

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.host, needs_sshd]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Path]:
    """A daemon without disk or cameras; its socket."""
    config = tmp_path / "recorderd.toml"
    config.write_text(
        f'[paths]\nsocket = "{tmp_path}/control"\nstate = "{tmp_path}/state"\n[disk]\npath = "{tmp_path}/none"\n'
    )
    daemon = subprocess.Popen(
        [sys.executable, "-m", "recorderd", "--config", str(config)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert daemon.stderr is not None
    assert "starts" in daemon.stderr.readline()
    yield tmp_path / "control"
    daemon.terminate()
    daemon.communicate(timeout=20)


def test_commands_travel_through_ssh(tmp_path: Path, recorder: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    launcher = programs / "recorderctl"
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m recorderd.ctl.main "$@"\n')
    launcher.chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "RECORDERD_SOCKET": str(recorder)}
    with sshd(tmp_path, environment) as server:

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
