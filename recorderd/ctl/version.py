"""`recorderctl version`."""

from __future__ import annotations

import argparse

from recorderd import __version__
from recorderd.ctl.session import Session
from recorderd.protocol import core
from recorderd.protocol.client import ConnectionLost
from recorderd.protocol.message import Message, Nothing


class Versions(Message, frozen=True):
    recorderctl: str
    recorderd: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace, session: Session) -> int:
    try:
        daemon = session.call(core.GET_VERSION, Nothing()).version
    except ConnectionLost:
        daemon = None
    session.show(
        Versions(recorderctl=__version__, recorderd=daemon),
        lambda: f"recorderctl {__version__}\nrecorderd {daemon or '(does not answer)'}",
    )
    return 0
