"""`recorderctl`: finds the word, parses its arguments, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from recorderd.ctl.commands import COMMANDS
from recorderd.ctl.parser import EXIT_USAGE, Parser, finish, near
from recorderd.ctl.session import Failure, Session
from recorderd.protocol.client import DEFAULT_SOCKET, ConnectionLost
from recorderd.protocol.errors import ControlError
from recorderd.protocol.printable import printable

EXIT_FAILED, EXIT_CANNOT_TELL, EXIT_INTERRUPTED = 1, 2, 130

USAGE = """\
usage: recorderctl [-H USER@HOST] [--socket PATH] [--json] COMMAND ...

Drives a recorder: the one on this machine, or with -H one that ssh reaches.

{commands}

  recorderctl COMMAND --help    the command's arguments, with examples
  -H, --host USER@HOST          through ssh (RECORDERCTL_SSH: which, with options); needs recorderctl there
  --socket PATH                 another control socket than {socket}
  --json                        one JSON object (or one a line) instead of text
  --no-color                    never use colour

exit codes: 0 done, 1 failed (status: something due is not recorded), 2 the recorder does not answer, 64 not understood, 130 interrupted

examples:
  recorderctl status
  recorderctl devices add rtsp://192.168.50.10/stream --id door --record
  recorderctl -H admin@nvr export door --from "yesterday 14:03" --for 10m -o door.mp4
"""


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except BrokenPipeError:
        # The reader of our output has gone; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Failure as failure:
        return _fail(str(failure), failure.exit_code)
    except ControlError as error:
        return _fail(error.sentence(), EXIT_FAILED)
    except ConnectionLost as lost:
        return _fail(str(lost), EXIT_CANNOT_TELL)


def build_parser(word: str) -> argparse.ArgumentParser:
    """The parser of one command, with the global options, which may stand after the word too."""
    summary = COMMANDS[word].summary
    parser = Parser(prog=f"recorderctl {word}", description=f"{summary[0].upper()}{summary[1:]}.")
    module = importlib.import_module(f"recorderd.ctl.{COMMANDS[word].module}")
    module.add_arguments(parser)
    _add_globals_below(parser)
    return parser


def _add_globals_below(parser: argparse.ArgumentParser) -> None:
    _add_globals(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _add_globals_below(child)


def _add_globals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-H", "--host", default=argparse.SUPPRESS, metavar="USER@HOST", help=argparse.SUPPRESS)
    parser.add_argument("--socket", default=argparse.SUPPRESS, metavar="PATH", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="JSON instead of text")
    parser.add_argument("--no-color", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _run(words: list[str]) -> int:
    front = argparse.ArgumentParser(prog="recorderctl", add_help=False, allow_abbrev=False)
    _add_globals(front)
    front.add_argument("-h", "--help", action="store_true")
    front.add_argument("--version", action="store_true")
    front.add_argument("words", nargs=argparse.REMAINDER)
    first = front.parse_args(words)
    if first.version:
        first.words = ["version", *first.words]
    if not first.words or (first.help and not first.words):
        print(_usage(), end="", file=sys.stdout if first.help else sys.stderr)
        return 0 if first.help else EXIT_USAGE
    word = first.words[0]
    if word not in COMMANDS:
        return _fail(f"unknown command {printable(word)!r}{near(word, COMMANDS)}; see recorderctl --help", EXIT_USAGE)
    Parser.words = first.words[1:]
    parser = build_parser(word)
    if "--help" in first.words or "-h" in first.words:
        finish(parser)
    arguments = parser.parse_args(first.words[1:], namespace=_globals_of(first))
    session = Session(
        socket_path=getattr(arguments, "socket", None) or os.environ.get("RECORDERD_SOCKET") or DEFAULT_SOCKET,
        host=getattr(arguments, "host", None),
        json=getattr(arguments, "json", False),
        color=_color_wanted(arguments),
    )
    with session:
        code: int = arguments.run(arguments, session)
        sys.stdout.flush()
    return code


def _globals_of(first: argparse.Namespace) -> argparse.Namespace:
    kept = {key: value for key, value in vars(first).items() if key in ("host", "socket", "json", "no_color")}
    return argparse.Namespace(**kept)


def _color_wanted(arguments: argparse.Namespace) -> bool:
    return not getattr(arguments, "no_color", False) and "NO_COLOR" not in os.environ and sys.stdout.isatty()


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {word:{width}}  {command.summary}" for word, command in COMMANDS.items())
    return USAGE.format(commands=lines, socket=DEFAULT_SOCKET)


def _fail(sentence: str, code: int) -> int:
    sys.stdout.flush()
    print(f"recorderctl: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
