"""argparse as `recorderctl` wants it: exit code 64 for what is not understood, the nearest known word, an example in every help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, NoReturn

from recorderd.protocol.printable import printable

EXIT_USAGE = 64


class Parser(argparse.ArgumentParser):
    """Actions get parsers of this class too."""

    words: ClassVar[Sequence[str]] = ()  # of the command, as they were typed

    def __init__(self, prog: str, description: str = "", epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {printable(self._better(message), 300)}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)

    def _better(self, message: str) -> str:
        """argparse's words, or the nearest known ones to what it did not know."""
        known = set(_options(self))
        unknown = [word for word in self.words if word.startswith("--") and word.partition("=")[0] not in known]
        if unknown and ("required" in message or "unrecognized" in message):  # what is missing is often there, misspelt
            return f"unknown option {unknown[0]!r}{near(unknown[0], sorted(known))}"
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and "invalid choice" in message:
                word = next((word for word in self.words if not word.startswith("-")), "")
                return f"unknown action {word!r}{near(word, action.choices)}; there are {', '.join(action.choices)}"
        return message


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Its own and those of its actions."""
    yield from parser._option_string_actions
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _options(child)


def finish(parser: argparse.ArgumentParser) -> None:
    """Gives every help the example it lacks; in front of an action's own words, so that an exit code stays last."""
    from recorderd.ctl.examples import EXAMPLES  # only where help is printed: start-up counts

    children = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for action in children:
        for child in action.choices.values():
            finish(child)
    example = EXAMPLES.get(parser.prog.removeprefix("recorderctl "))
    if example is not None and "example" not in (parser.epilog or ""):
        parser.epilog = f"example:\n  {example}" + (f"\n\n{parser.epilog}" if parser.epilog else "")


def near(word: str, known: Iterable[str]) -> str:
    """ "(did you mean 'status'?)", or nothing."""
    import difflib  # only on this path: start-up counts

    found = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {found[0]!r}?)" if found else ""
