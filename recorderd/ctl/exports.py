"""`recorderctl exports`: exports that the recorder makes and sends by itself."""

from __future__ import annotations

import argparse
import sys
import time

from recorderd.ctl.export import recorder_now, time_argument
from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import table
from recorderd.ctl.when import to_ns
from recorderd.protocol import exports
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import to_rfc3339

EXAMPLES = """\
Times are in the recorder's zone unless they carry an offset. The recorder goes on when this command ends; to have a file here instead,
use `recorderctl export`.

examples:
  recorderctl exports start door yard --from "yesterday 14:00" --to "yesterday 15:30" --storage storage-1 --path cases/17
  recorderctl exports start --all --from "last tuesday" --to "last wednesday" --storage storage-2 --detach
  recorderctl exports list
  recorderctl exports stop export-5b1c0e7fa2d3"""

_LOOK_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="exports that run or have ended lately").set_defaults(run=run_list)
    start = actions.add_parser("start", help="export recordings to a storage", epilog=EXAMPLES)
    start.add_argument("recording", nargs="*", help="names or tokens")
    start.add_argument("--all", action="store_true", help="all recordings")
    start.add_argument("--from", dest="start", metavar="TIME", help="first moment; default: the oldest there is")
    start.add_argument("--to", dest="stop", metavar="TIME", help="last moment; default: now")
    start.add_argument("--storage", required=True, help="see recorderctl storages list")
    start.add_argument("--path", default="", metavar="FOLDER", help="folder in the storage")
    start.add_argument("--detach", action="store_true", help="do not wait for the end")
    start.set_defaults(run=run_start)
    for word, text, run in (
        ("show", "one export with its files", run_show),
        ("wait", "look on until an export ends", run_wait),
        ("stop", "end an export; finished files stay where they are", run_stop),
    ):
        action = actions.add_parser(word, help=text)
        action.add_argument("operation", metavar="EXPORT")
        action.set_defaults(run=run)


def run_start(arguments: argparse.Namespace, session: Session) -> int:
    if bool(arguments.recording) == arguments.all:
        raise Failure("name recordings, or give --all", 64)
    now = recorder_now(session)

    def moment(text: str | None) -> str | None:
        return None if text is None else to_rfc3339(to_ns(time_argument(text, now)))

    call = exports.StartCall(
        storage=arguments.storage,
        recordings=tuple(arguments.recording),
        start=moment(arguments.start),
        stop=moment(arguments.stop),
        path=arguments.path,
    )
    reply = session.call(exports.START, call)
    if arguments.detach:
        session.show(reply, lambda: reply.operation.token)
        return 0
    return _look_on(session, reply)


def run_wait(arguments: argparse.Namespace, session: Session) -> int:
    call = exports.OperationCall(operation=arguments.operation)
    return _look_on(session, session.call(exports.GET, call))


def _look_on(session: Session, reply: exports.OperationReply) -> int:
    """Until it ends. Leaving does not end it."""
    token = reply.operation.token
    seen = _Line(sys.stderr.isatty() and not session.json)
    if seen.on:
        print(token, file=sys.stderr)
    try:
        while not reply.operation.finished:
            seen.show(reply.operation)
            time.sleep(_LOOK_S)
            reply = session.call(exports.GET, exports.OperationCall(operation=token))
    except KeyboardInterrupt:
        seen.end()
        print(
            f"the recorder goes on with it: recorderctl exports wait {token}, or recorderctl exports stop {token}",
            file=sys.stderr,
        )
        raise
    seen.end()
    session.show(reply, lambda: _told(reply.operation))
    return 1 if reply.operation.error or reply.operation.progress < 1 else 0


def run_list(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(exports.LIST, Nothing())
    rows = [
        (o.token, _state(o), f"{o.progress:.0%}", f"{o.files_done} of {o.files_total}", o.error or o.detail)
        for o in reply.operations
    ]  # fmt: skip
    session.show(reply, lambda: table(("EXPORT", "STATE", "DONE", "FILES", ""), rows))
    return 0


def run_show(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(exports.GET, exports.OperationCall(operation=arguments.operation))
    session.show(reply, lambda: _told(reply.operation))
    return 0


def run_stop(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(exports.STOP, exports.OperationCall(operation=arguments.operation))
    session.show(reply, lambda: _told(reply.operation))
    return 0


def _state(operation: exports.OperationInfo) -> str:
    if not operation.finished:
        return "running"
    if operation.error:
        return "failed"
    return "done" if operation.progress == 1 else "stopped"


def _told(operation: exports.OperationInfo) -> str:
    lines = [f"{operation.token}: {_state(operation)}, {operation.progress:.0%}"]
    if why := operation.error or operation.detail:
        lines.append(printable(why, 400))
    lines += [f"  {printable(note, 400)}" for note in operation.notes]
    files = table(("FILE", "DONE"), [(file.name, f"{file.progress:.0%}") for file in operation.files])
    return "\n".join(lines) + "\n" + files


class _Line:
    """One line on standard error that is written over, where that is a terminal."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def show(self, operation: exports.OperationInfo) -> None:
        if self.on:
            words = f"{operation.progress:.0%}, {operation.files_done} of {operation.files_total} files"
            if operation.detail:
                words += f": {printable(operation.detail, 100)}"
            print(f"\r{words}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.on:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
