"""`recorderctl locks`: ranges that are kept from recycling, retention and deletion."""

from __future__ import annotations

import argparse

from recorderd.ctl.export import wire_times
from recorderd.ctl.recordings import token_of
from recorderd.ctl.session import Session
from recorderd.ctl.table import table
from recorderd.protocol import recordings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("list", help="all locks, or those of a recording")
    show.add_argument("recording", nargs="?")
    show.set_defaults(run=run_list)
    add = actions.add_parser(
        "add",
        help="keep a range",
        epilog='example:\n  recorderctl locks add door "yesterday 14:03" "yesterday 14:20" --reason theft',
    )
    add.add_argument("recording")
    add.add_argument("start", help='first moment, e.g. "yesterday 14:03"')
    add.add_argument("stop", help="last moment; may lie in the future, e.g. 2030-01-01")
    add.add_argument("--track", action="append", default=[], help="only this track")
    add.add_argument("--reason", default="")
    add.set_defaults(run=run_add)
    remove = actions.add_parser("remove", help="remove a lock")
    remove.add_argument("lock", type=int)
    remove.set_defaults(run=run_remove)


def run_list(arguments: argparse.Namespace, session: Session) -> int:
    wanted = token_of(session, arguments.recording) if arguments.recording else None
    reply = session.call(recordings.LIST_LOCKS, recordings.ListLocksCall(recording=wanted))
    rows = [(x.id, x.recording, ",".join(x.tracks) or "all", x.start, x.stop, x.owner, x.reason) for x in reply.locks]
    session.show(
        reply,
        lambda: table(("LOCK", "RECORDING", "TRACKS", "FROM", "TO", "OWNER", "REASON"), rows, right="r"),
    )
    return 0


def run_add(arguments: argparse.Namespace, session: Session) -> int:
    start, stop = wire_times(session, arguments.start, arguments.stop)
    assert start is not None  # both are required
    assert stop is not None
    reply = session.call(
        recordings.LOCK,
        recordings.LockCall(
            recording=token_of(session, arguments.recording),
            start=start,
            stop=stop,
            tracks=tuple(arguments.track),
            reason=arguments.reason,
        ),
    )
    session.show(reply, lambda: f"lock {reply.lock.id}")
    return 0


def run_remove(arguments: argparse.Namespace, session: Session) -> int:
    session.show(session.call(recordings.UNLOCK, recordings.UnlockCall(lock=arguments.lock)), str)
    return 0
