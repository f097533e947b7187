"""What a check found, in words for a person."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[int, int], None]  # (slots done, slots in all)


def no_progress(_done: int, _total: int) -> None:
    """For who does not want to know."""


class Severity(enum.StrEnum):
    NOTICE = "notice"  # worth knowing, nothing is wrong
    WARNING = "warning"  # a safety is missing, no media is lost
    ERROR = "error"  # media or its place on the timeline is lost or wrong


@dataclass(frozen=True, slots=True)
class Finding:
    """`invariant` as in format.md section 16 (I1 to I12), or empty. `repaired` says what was done about it; empty: nothing."""

    severity: Severity
    invariant: str
    subject: str
    text: str
    repaired: str = ""


@dataclass(slots=True)
class Report:
    findings: list[Finding] = field(default_factory=list)
    slots_checked: int = 0
    fragments_checked: int = 0
    bytes_checked: int = 0

    def add(self, severity: Severity, invariant: str, subject: str, text: str, repaired: str = "") -> None:
        self.findings.append(Finding(severity, invariant, subject, text, repaired))

    @property
    def clean(self) -> bool:
        return not any(f.severity is not Severity.NOTICE and not f.repaired for f in self.findings)

    def verdict(self) -> str:
        """One sentence."""
        left = [f for f in self.findings if f.severity is not Severity.NOTICE and not f.repaired]
        mended = sum(1 for f in self.findings if f.repaired)
        looked = f"{self.slots_checked} slots and {self.fragments_checked} fragments checked"
        if left:
            return f"{looked}: {len(left)} faults stay, {mended} repaired"
        if mended:
            return f"{looked}: {mended} faults repaired, none stay"
        return f"{looked}: no fault"
