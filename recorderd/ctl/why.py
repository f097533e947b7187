"""`recorderctl why CAMERA`: the chain from power to disk, its first broken link, and what happens next."""

from __future__ import annotations

import argparse

from recorderd.ctl.session import Session
from recorderd.protocol import system
from recorderd.protocol.printable import printable

_MARK = {"good": "ok", "bad": "BAD", "unknown": "?"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("camera", help="a device's name or id")
    parser.epilog = "exit code: 0 the chain is whole, 1 a link is broken\n\nexample:\n  recorderctl why door"
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, session: Session) -> int:
    explanation = session.call(system.EXPLAIN, system.ExplainCall(camera=arguments.camera))
    session.show(explanation, lambda: render(explanation))
    return 1 if explanation.broken else 0


def render(explanation: system.Explanation) -> str:
    out = []
    for link in explanation.links:
        since = f", since {link.since[:19]}Z" if link.since else ""
        out.append(f"{_MARK[link.state]:>3}  {link.name:9}  {printable(link.detail, 160)}{since}")
        if link.name == explanation.broken:
            out.append("")
            out.append(f"{printable(explanation.camera)}: broken at {link.name}.")
            break
    if explanation.broken is None:
        out.append(f"\n{printable(explanation.camera)}: nothing is broken.")
    if explanation.recorder_does:
        out.append(f"recorderd: {printable(explanation.recorder_does, 200)}")
    if explanation.person_can:
        out.append(f"you:       {printable(explanation.person_can, 200)}")
    return "\n".join(out)
