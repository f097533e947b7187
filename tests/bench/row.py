"""What a benchmark gives: rows of one table. Figures are printed, never asserted; a ratio counts only beside its peer's figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line. `ours` and `peer` are figures with their unit as a person reads them.

    `ratio` is ours divided by the peer's, None where there is no peer to compare with; `target` and `stretch` are what it should be (or
    what our own figure should be, when `ratio` holds that). With `higher` more is better.
    """

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    target: float | None = None
    stretch: float | None = None
    higher: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.ratio is None or self.target is None:
            return ""
        if self.stretch is not None and self._reaches(self.stretch):
            return "stretch"
        return "met" if self._reaches(self.target) else "MISSED"

    def _reaches(self, bound: float) -> bool:
        assert self.ratio is not None
        return self.ratio >= bound if self.higher else self.ratio <= bound

    @property
    def goal(self) -> str:
        if self.target is None:
            return ""
        return f"{self.target:g}" + (f" ({self.stretch:g})" if self.stretch is not None else "")

    def cells(self) -> list[str]:
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        return [self.what, self.ours, self.peer, ratio, self.goal, self.verdict, self.note]


HEADINGS = ["what", "ours", "peer", "ratio", "target (stretch)", "", "note"]


def table(rows: list[Row]) -> str:
    """A table for the terminal that is also valid Markdown."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(drawn)
