"""What a rebuild from the slots tells the ledger before and after the media itself: names, boots, dates, runs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from recorderd.model.timeline import Instant, Trust
from recorderd.ring.ledger import items
from recorderd.ring.ledger.book import Book
from recorderd.ring.ledger.catalogue import Catalogue


def adopt_names(book: Book, catalogue: Catalogue) -> None:
    """Takes over a catalogue file, deleted entries included. Only into an empty ledger."""
    for entry in catalogue:
        book.do(items.EntryPut(entry))


def adopt_boots(book: Book, boots: Sequence[tuple[uuid.UUID, int]]) -> None:
    """(boot id, latest boot time of any media) of every boot, in the order in which they were: before any media is told."""
    for boot_id, through_ns in boots:
        book.do(items.BootSeen(*book.tables.boots.next_stretch(boot_id, through_ns)))


def adopt_dates(book: Book, dates: Sequence[tuple[uuid.UUID, int, int]]) -> None:
    """(boot id, boot time, wall time then) of every epoch, in order. How far that clock was trusted is not known any more: as an RTC."""
    for boot_id, ns, wall_ns in dates:
        at = items.Moment(*book.tables.boots.place(Instant(boot_id, ns)))
        book.do(items.EpochNoted(at, wall_ns, 0, Trust.RTC, True))


def settle_runs(book: Book) -> int:
    """Makes every run as long as its media, and ends those whose end nothing tells. Returns of how many runs only media is known."""
    tables = book.tables
    reach: dict[int, tuple[int, int]] = {}
    for table in tables.spans.values():
        for run, start, stop in zip(
            table.rows["run"].tolist(), table.rows["from"].tolist(), table.rows["to"].tolist(), strict=True
        ):
            low, high = reach.get(run, (start, stop))
            reach[run] = (min(low, start), max(high, stop))
    unknown = 0
    for run, (start, stop) in reach.items():
        tables.runs.next_id = max(tables.runs.next_id, run + 1)
        if tables.runs.get(run) is None:
            unknown += 1
            continue
        if run in tables.runs.running():
            book.do(items.RunStopped(run, tables.moment(stop)))
        tables.runs.covers(run, start, stop)
    for run in list(tables.runs.running()):
        row = tables.runs.get(run)
        if row is not None:
            book.do(items.RunStopped(run, tables.moment(int(row["from"]))))
    return unknown
