"""What a rebuild from the slots tells the ledger beside the media itself: names, boots, dates, and where runs end.

Recording goes on meanwhile: its boot lies behind room for all earlier ones, and its numbers (runs, locks, deletions) are above everything
that an old slot can hold.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace

from recorderd.model.timeline import Instant, Trust
from recorderd.ring.border import LEDGER_KINDS, Item, SlotRef
from recorderd.ring.ledger import items
from recorderd.ring.ledger.book import Book
from recorderd.ring.ledger.catalogue import Catalogue, Entry, Kind

_RUNS_AHEAD = 1 << 32  # more runs than any ring has seen since the last one that the journal tells of; exact in JSON
_OTHERS_AHEAD = 1 << 20


def begin(book: Book, catalogue: Catalogue | None, journal: Iterable[Item]) -> None:
    """Fills an empty ledger with names, deleted ones included, and leaves room for the rest.

    `journal` holds whatever items are left there: without a checkpoint they tell only what was deleted and which numbers were used.
    """
    tables = book.tables
    tables.boots.leave_room()
    for entry in catalogue or ():
        book.do(items.EntryPut(entry))
    runs, locks, deletions = tables.runs.next_id, tables.next_lock, tables.tombstones.next_id
    for item in journal:
        if item.kind not in LEDGER_KINDS:
            continue
        try:
            record = items.decode(item.kind, item.payload)
        except ValueError:
            continue
        match record:
            case items.RunStarted():
                runs = max(runs, record.run)
            case items.LockPut():
                locks = max(locks, record.lock)
            case items.Buried():
                deletions = max(deletions, record.tombstone)
            case items.EntryPut(entry) if entry.deleted:
                _bury(book, entry)
    tables.runs.next_id = runs + _RUNS_AHEAD
    tables.next_lock = locks + _OTHERS_AHEAD
    tables.tombstones.next_id = deletions + _OTHERS_AHEAD


def _bury(book: Book, entry: Entry) -> None:
    """Deleted after the catalogue files were last written. Names that are not known get a new index; a track then has no recording."""
    known = book.tables.catalogue.find(entry.id)
    if known is not None:
        book.do(items.EntryPut(replace(known, deleted=True)))
    elif entry.kind is not Kind.TRACK:
        fresh = len(book.tables.catalogue)
        book.do(items.EntryPut(Entry(fresh, entry.id, entry.kind, entry.name, codec=entry.codec, deleted=True)))


def adopt_boots(book: Book, boots: Sequence[tuple[uuid.UUID, int]]) -> None:
    """(boot id, latest boot time known of it) of every earlier boot, in the order in which they were: before any of their media is told."""
    for number, stretch in book.tables.boots.earlier(boots):
        book.do(items.BootSeen(number, stretch))


def adopt_point(book: Book, instant: Instant, point: items.EpochNoted) -> None:
    """A point of the epoch table as a side block tells it. Raises UnknownBoot, ValueError."""
    book.do(point._replace(at=items.Moment(*book.tables.boots.place(instant))))


def adopt_date(book: Book, boot_id: uuid.UUID, ns: int, wall_ns: int) -> None:
    """What a clock showed at a boot time. How far that clock was trusted is not known any more: as an RTC.

    Raises UnknownBoot, ValueError.
    """
    at = items.Moment(*book.tables.boots.place(Instant(boot_id, ns)))
    book.do(items.EpochNoted(at, wall_ns, 0, Trust.RTC, True))


def settle_runs(book: Book, ref: SlotRef) -> None:
    """Makes every run that a slot holds as long as its media, and ends those of which the slot does not tell the end."""
    tables = book.tables
    running = tables.runs.running()
    reach: dict[int, int] = {}
    for table in tables.spans.values():
        rows = table.rows[table.of_slot(*ref)]
        for run, stop in zip(rows["run"].tolist(), rows["to"].tolist(), strict=True):
            reach[run] = max(stop, reach.get(run, 0))
    for run, stop in reach.items():
        tables.runs.next_id = max(tables.runs.next_id, run + 1)
        if run in running:
            book.do(items.RunStopped(run, tables.moment(stop)))


def unknown_runs(book: Book) -> int:
    """Of how many runs there is media, but nothing tells when and why they were."""
    runs = {int(run) for table in book.tables.spans.values() for run in set(table.rows["run"].tolist())}
    return len(runs - set(book.tables.runs.rows["id"].tolist()))
