"""Parameters of a call, decoded strictly, with errors that name the argument."""

from __future__ import annotations

import difflib
import re
from typing import TypeVar

import msgspec

from recorderd.protocol.errors import InvalidArgument
from recorderd.protocol.printable import printable

P = TypeVar("P", bound=msgspec.Struct)
_AT_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_TYPES = re.compile(r"Expected `(.*?)`, got `(.*?)`", re.DOTALL)


def decode(raw: msgspec.Raw, parameters: type[P]) -> P:
    """Raises `InvalidArgument` for anything that is not `parameters`."""
    try:
        return msgspec.json.decode(bytes(raw), type=parameters)
    except msgspec.ValidationError as error:
        raise invalid_argument(str(error), parameters) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument("parameters", "a JSON object", printable(str(error))) from error


def invalid_argument(message: str, parameters: type[msgspec.Struct]) -> InvalidArgument:
    """msgspec's sentence taken apart into argument, expected and got."""
    match = _AT_PATH.match(message)
    assert match is not None  # the pattern matches every string
    what, path = match["what"], printable(match["path"] or "parameters")
    if unknown := _UNKNOWN.fullmatch(what):
        names = [field.encode_name for field in msgspec.structs.fields(parameters)]
        near = difflib.get_close_matches(unknown[1], names, 1)
        expected = f"{near[0]!r}" if near else f"one of {', '.join(names) or 'no arguments'}"
        return InvalidArgument(_join(match["path"], unknown[1]), f"a known argument ({expected})", "an unknown one")
    if missing := _MISSING.fullmatch(what):
        return InvalidArgument(_join(match["path"], missing[1]), "a value", "nothing")
    if types := _TYPES.fullmatch(what):
        return InvalidArgument(path, types[1], printable(types[2]))
    return InvalidArgument(path, printable(what, 200), "something else")


def _join(path: str | None, name: str) -> str:
    return printable(f"{path}.{name}" if path else name)
