"""`python -m recorderd.workers.helper`: what recorderd-helper.service runs, with the socket that systemd passes."""

from __future__ import annotations

import argparse
import grp
import logging
import os
import pwd
import socket
import sys
from pathlib import Path

from recorderd.workers.helper.configuration import read_configuration
from recorderd.workers.helper.serve import serve
from recorderd.workers.helper.verbs import Rules

_FIRST_FD = 3
IDLE_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="recorderd-helper", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("/etc/recorderd/recorderd.toml"), help="the recorder's")
    parser.add_argument("--ring", type=Path, help="where a ring is mounted (default: as configured)")
    parser.add_argument(
        "--objects", type=Path, default=Path("/srv/recorderd-objects"), help="where exports are mounted"
    )
    parser.add_argument("--user", default="recorderd", help="who may ask, and owns what is mounted")
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="GLOB",
        help="disks that may be touched (default: those that the configured board names, or all but the system's)",
    )
    parser.add_argument("--socket", type=Path, help="listen here instead of on the socket that systemd passed")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        owner = pwd.getpwnam(chosen.user)
        group = grp.getgrgid(owner.pw_gid).gr_gid
    except KeyError:
        print(f"recorderd-helper: there is no user {chosen.user}", file=sys.stderr)
        return 78
    configured = read_configuration(chosen.config)
    rules = Rules(
        tuple(chosen.device) or configured.disks,
        chosen.ring or configured.ring,
        chosen.objects,
        owner.pw_uid,
        group,
    )
    if chosen.socket is not None:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(chosen.socket))
        chosen.socket.chmod(0o600)
        os.chown(chosen.socket, rules.owner, -1)
        listening.listen()
        serve(listening, rules, idle_s=None)
        return 0
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        print("recorderd-helper: systemd passed no socket (recorderd-helper.socket)", file=sys.stderr)
        return 78
    serve(socket.socket(fileno=_FIRST_FD), rules, idle_s=IDLE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
