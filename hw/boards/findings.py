"""What a look at a board found, one sentence each."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.StrEnum):
    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` says what to do about it, '' when nothing is to be done."""

    severity: Severity
    subject: str
    text: str
    advice: str = ""


def good(subject: str, text: str) -> Finding:
    return Finding(Severity.GOOD, subject, text)


def warning(subject: str, text: str, advice: str = "") -> Finding:
    return Finding(Severity.WARNING, subject, text, advice)


def error(subject: str, text: str, advice: str = "") -> Finding:
    return Finding(Severity.ERROR, subject, text, advice)
