"""`-H user@host`: the control protocol through `ssh user@host recorderctl bridge`.

RECORDERCTL_SSH names another ssh, with options, e.g. `ssh -p 2222`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess

from recorderd.ctl.session import Failure
from recorderd.protocol.client import Client

# No leading dash, no white space: ssh must take it for a destination, not for an option.
_DESTINATION = re.compile(r"[^\s-]\S*", re.ASCII)


def connect(host: str) -> Client:
    """A client over ssh; closing it ends ssh. ssh asks for passwords and host keys on the terminal by itself."""
    if not _DESTINATION.fullmatch(host):
        raise Failure(f"-H takes user@host, not {host!r}", 64)
    ssh = shlex.split(os.environ.get("RECORDERCTL_SSH", "ssh"))
    command = [*ssh, "-T", "-o", "ServerAliveInterval=15", "--", host, "recorderctl", "bridge"]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    except OSError as error:
        raise Failure(f"cannot run ssh: {error.strerror}", 2) from error
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def end() -> None:
        stdin.close()
        stdout.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()

    return Client(stdout.fileno(), stdin.fileno(), close=end)
