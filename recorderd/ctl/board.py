"""`recorderctl board check`: what was found on this board, what is missing, what to do."""

from __future__ import annotations

import argparse

from recorderd.ctl.session import Session
from recorderd.protocol import poe
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable

_MARK = {"good": "ok", "warning": "!", "error": "BAD"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="look at controllers, buses, supply and sensors",
        epilog="exit code: 0 nothing is wrong, 1 something is",
    )
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    report = session.call(poe.CHECK_BOARD, Nothing())
    session.show(report, lambda: render(report))
    return 1 if any(f.severity == "error" for f in report.findings) else 0


def render(report: poe.BoardReport) -> str:
    out = [f"{printable(report.board)}"]
    for finding in report.findings:
        out.append(f"{_MARK[finding.severity]:>3}  {printable(finding.subject, 24):14} {printable(finding.text, 200)}")
        if finding.advice:
            out.append(f"     {'':14} -> {printable(finding.advice, 200)}")
    return "\n".join(out) + "\n"
