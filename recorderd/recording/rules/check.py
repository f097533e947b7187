"""Checks of single values, with faults that name the argument, what is expected and what came."""

from __future__ import annotations

import re
import unicodedata

from recorderd.model.faults import BadConfiguration, Fault

_TOKEN = re.compile(r"[A-Za-z0-9_.:-]+")
_GROUP = re.compile(r"[A-Za-z0-9_-]{1,50}")


def text(value: str, argument: str, longest: int, fault: type[Fault] = BadConfiguration) -> str:
    """Printable text up to a length."""
    if len(value) > longest:
        raise fault(
            f"{argument} is too long", argument=argument, expected=f"at most {longest} characters", got=f"{len(value)}"
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        raise fault(
            f"{argument} has control characters", argument=argument, expected="printable text", got="control characters"
        )
    return value


def shortened(value: str, argument: str, longest: int) -> str:
    """A descriptive string may be truncated without a fault (5.3.1)."""
    return text(value[:longest], argument, longest)


def token(value: str, argument: str, longest: int, fault: type[Fault] = BadConfiguration) -> str:
    if not value or len(value) > longest or _TOKEN.fullmatch(value) is None:
        raise fault(
            f"{argument} cannot be used",
            argument=argument,
            expected=f"1 to {longest} of A-Z a-z 0-9 _ . : -",
            got=value[:80],
        )
    return value


def group_id(value: str) -> str:
    if _GROUP.fullmatch(value) is None:
        raise BadConfiguration(
            "the id cannot be used", argument="id", expected="1 to 50 of A-Z a-z 0-9 _ -", got=value[:80]
        )
    return value


def number(value: int, argument: str, low: int, high: int, fault: type[Fault] = BadConfiguration) -> int:
    if not low <= value <= high:
        raise fault(f"{argument} is out of range", argument=argument, expected=f"{low} to {high}", got=str(value))
    return value
