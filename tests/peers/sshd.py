"""A real sshd on loopback, with keys of its own, that lets this user in and nobody else.

with sshd(tmp_path) as server:
    subprocess.run([*server.ssh, "hostname"])
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path("/usr/sbin/sshd")
needs_sshd = pytest.mark.skipif(
    not (PROGRAM.exists() and shutil.which("ssh")), reason="openssh-server or ssh is absent"
)


@dataclass(frozen=True)
class SshServer:
    port: int
    user: str
    config: Path  # for `ssh -F`: host name `recorder` is this server
    log: Path

    @property
    def ssh(self) -> list[str]:
        """The command line up to and including the destination."""
        return ["ssh", "-F", str(self.config), "recorder"]


@contextmanager
def sshd(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[SshServer]:
    """Runs sshd in the foreground until the end of the context. `folder` must belong to this user. Sessions get `environment`."""
    user = getpass.getuser()
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True
        )
    (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    server_config, client_config, log = folder / "sshd_config", folder / "ssh_config", folder / "sshd.log"
    server_config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAllowUsers {user}\n"
        "StrictModes no\nSubsystem sftp internal-sftp\n"
        + ("SetEnv " + " ".join(f'{name}="{value}"' for name, value in environment.items()) if environment else "")
        + "\n"
    )
    client_config.write_text(
        f"Host recorder\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {folder}/user_key\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n  BatchMode yes\n"
        "  LogLevel ERROR\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(
            mode=0o755, exist_ok=True
        )  # its privilege separation folder, made by its unit on a running system
    command = [str(PROGRAM), "-D", "-f", str(server_config), "-E", str(log)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process, log)
            yield SshServer(port, user, client_config, log)
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd does not listen: {log.read_text() if log.exists() else ''}")
