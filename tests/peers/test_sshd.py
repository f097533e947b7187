"""The sshd fixture: commands run through it, and it is gone afterwards."""

import socket
import subprocess

import pytest

from tests.peers.sshd import needs_sshd, sshd


@pytest.mark.host
@needs_sshd
def test_a_command_through_sshd(tmp_path):
    with sshd(tmp_path) as server:
        done = subprocess.run(
            [*server.ssh, "cat; exit 3"], input=b"\x00through\xff" * 1000, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (3, b"")
        assert done.stdout == b"\x00through\xff" * 1000
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0
