"""`recorderctl fsck`: checks the ring in use through the daemon, or an unmounted ring's folder by a process of its own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from recorderd.ctl.disks import follow
from recorderd.ctl.session import Session
from recorderd.protocol import storage
from recorderd.protocol.printable import printable

EXAMPLES = """examples:
  recorderctl fsck                     check the ring in use, while it records
  recorderctl fsck --deep              read every byte of media against its checksum
  recorderctl fsck --path /mnt --rebuild   make all tables of a ring anew from its slots

exit code: 0 no fault, 1 faults stay, 2 the ring cannot be checked"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("--deep", action="store_true", help="check every byte of media")
    parser.add_argument("--repair", action="store_true", help="repair what can be repaired")
    parser.add_argument("--path", help="the folder of a ring that no recorder uses")
    parser.add_argument(
        "--rebuild", action="store_true", help="with --path: make the tables anew when both checkpoints are lost"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.path is not None:
        command = [sys.executable, "-m", "recorderd.workers.fsck", arguments.path]
        command += [f"--{name}" for name in ("deep", "repair", "rebuild") if getattr(arguments, name)]
        command += ["--json"] if session.json else []
        sys.stdout.flush()
        os.execv(sys.executable, command)
    found: list[storage.Finding] = []

    def steps() -> Iterator[storage.Progress]:
        call = storage.FsckCall(deep=arguments.deep, repair=arguments.repair)
        for reply in session.client.stream(storage.FSCK, call):
            found.extend(reply.findings)
            if reply.progress.finished and not session.json:
                sys.stdout.write("".join(line(finding) for finding in found))
            yield reply.progress

    return follow(session, steps())


def line(finding: storage.Finding) -> str:
    """One finding as a line."""
    number = f" {finding.invariant}" if finding.invariant else ""
    done = f" ({printable(finding.repaired)})" if finding.repaired else ""
    return f"{finding.severity}{number} {printable(finding.subject)}: {printable(finding.text, 300)}{done}\n"
