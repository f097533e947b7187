"""What a slot carries about itself in its side blocks: the locks that keep it, the deletions inside it, the runs it holds.

When journal, checkpoints and catalogue are all lost, the ring is rebuilt from the slots; this is how locks and deletions survive that. A
mirror names everything it uses (catalogue entries, boots), so it can be read without any table. At most `MAX_BYTES`: deletions first, then
locks, then runs; runs that no longer fit are known by their numbers only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from recorderd.model.causes import RunKind
from recorderd.model.timeline import Instant
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger import items
from recorderd.ring.ledger.boots import UnknownBoot
from recorderd.ring.ledger.catalogue import NONE, Entry
from recorderd.ring.ledger.items import NO_TRACK, Moment, Range
from recorderd.ring.ledger.ranges import intersect, overlaps
from recorderd.ring.ledger.runs import RUNNING
from recorderd.ring.ledger.tables import Tables

MAX_BYTES = 3900
_ITEM = struct.Struct("<BH")


def encode(tables: Tables, ref: SlotRef) -> bytes:
    """The mirror of one life of a slot; empty when there is nothing to keep."""
    if not tables.slots.holds(*ref):
        return b""
    row = tables.slots.rows[ref.slot]
    recording, start, stop = int(row["recording"]), int(row["from"]), int(row["to"])
    writer = _Writer(tables)
    for number, tomb in tables.tombstones.records.items():
        if tomb.recording != recording:
            continue
        inside = intersect(tables.tombstones.pieces(number), [(start, stop)])
        if inside:
            writer.add(tomb._replace(pieces=tables.stored_ranges(inside)))
    for lock in tables.locks.values():
        if lock.recording == recording and overlaps(tables.lock_ranges(lock), start, stop):
            writer.add(lock)
    runs: set[int] = set()
    for entry in tables.catalogue.tracks_of(recording):
        table = tables.spans.get(entry.index)
        if table is not None:
            runs.update(table.rows["run"][table.of_slot(*ref)].tolist())
    for run in sorted(runs):
        for record in _run_records(tables, run):
            writer.add(record)
    return writer.finish()


def _run_records(tables: Tables, run: int) -> Iterator[items.Record]:
    row = tables.runs.get(run)
    if row is None:
        return
    texts, sets = tables.runs.texts.values, tables.runs.track_sets.values
    yield items.RunStarted(
        run,
        int(row["recording"]),
        int(row["job"]),
        tables.moment(int(row["from"])),
        RunKind(int(row["kind"])),
        int(row["instant"]),
        sets[int(row["tracks"])],
        texts[int(row["source"])],
        texts[int(row["topic"])],
        texts[int(row["origin"])],
    )
    if row["to"] != RUNNING:
        yield items.RunStopped(run, tables.moment(int(row["to"])))


class _Writer:
    """Collects records with the names and boots they use, up to the bound."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._named: set[tuple[str, int]] = set()
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, record: items.Record) -> None:
        parts: list[bytes] = []
        names = set(self._named)
        for entry in _entries_of(record):
            self._name_entry(entry, parts, names)
        for boot in _boots_of(record):
            if ("boot", boot) not in names:
                names.add(("boot", boot))
                parts.append(_packed(items.BootSeen(boot, self._tables.boots[boot])))
        parts.append(_packed(record))
        size = sum(map(len, parts))
        if self._size + size <= MAX_BYTES:
            self._parts += parts
            self._size += size
            self._named = names

    def _name_entry(self, index: int, parts: list[bytes], names: set[tuple[str, int]]) -> None:
        if index in (NONE, NO_TRACK) or ("entry", index) in names:
            return
        entry = self._tables.catalogue[index]
        self._name_entry(entry.parent, parts, names)
        names.add(("entry", index))
        parts.append(_packed(items.EntryPut(entry)))

    def finish(self) -> bytes:
        return b"".join(self._parts)


def _packed(record: items.Record) -> bytes:
    kind, payload = items.encode(record)
    return _ITEM.pack(kind, len(payload)) + payload


def _entries_of(record: items.Record) -> tuple[int, ...]:
    match record:
        case items.Buried():
            return record.recording, record.track
        case items.LockPut():
            return record.recording, *record.tracks
        case items.RunStarted():
            return record.recording, record.job, *record.tracks
        case _:
            return ()


def _boots_of(record: items.Record) -> tuple[int, ...]:
    match record:
        case items.Buried() | items.LockPut():
            return tuple(moment.boot for piece in record.pieces for moment in piece)
        case items.RunStarted() | items.RunStopped():
            return (record.at.boot,)
        case _:
            return ()


def decode(tables: Tables, payload: bytes) -> list[items.Record]:
    """The records of a mirror in the numbers of `tables`; call and apply one slot after the other.

    Names that the catalogue lacks come first. Raises ValueError when the mirror is malformed; what refers to a boot of which the tables
    know nothing is left out, since none of its media was found.
    """
    entries: dict[int, Entry] = {}
    boots: dict[int, items.BootSeen] = {}
    found: list[items.Record] = []
    numbers: dict[int, int] = {NONE: NONE}
    fresh = len(tables.catalogue)
    at = 0
    while at < len(payload):
        if at + _ITEM.size > len(payload):
            raise ValueError("side block: cut short")
        kind, length = _ITEM.unpack_from(payload, at)
        at += _ITEM.size
        record = items.decode(kind, payload[at : at + length])
        at += length
        match record:
            case items.EntryPut(entry):
                entries[entry.index] = entry
                known = tables.catalogue.find(entry.id)
                if known is None:
                    numbers[entry.index] = fresh
                    parent = _number(numbers, entry.parent)
                    found.append(
                        items.EntryPut(
                            Entry(fresh, entry.id, entry.kind, entry.name, parent, entry.codec, entry.deleted)
                        )
                    )
                    fresh += 1
                else:
                    numbers[entry.index] = known.index
            case items.BootSeen():
                boots[record.number] = record
            case items.Buried() | items.LockPut() | items.RunStarted() | items.RunStopped():
                found += _translated(tables, record, numbers, boots)
            case _:
                raise ValueError(f"side block: item of kind {kind}")
    return found


def _number(numbers: dict[int, int], index: int) -> int:
    if index not in numbers:
        raise ValueError(f"side block: unnamed entry {index}")
    return numbers[index]


def _translated(
    tables: Tables, record: items.Record, numbers: dict[int, int], boots: dict[int, items.BootSeen]
) -> list[items.Record]:
    def moment(old: Moment) -> Moment:
        if old.boot not in boots:
            raise ValueError(f"side block: unnamed boot {old.boot}")
        return Moment(*tables.boots.place(Instant(boots[old.boot].stretch.boot_id, old.ns)))

    def pieces(old: tuple[Range, ...]) -> tuple[Range, ...]:
        return tuple(Range(moment(start), moment(stop)) for start, stop in old)

    def tracks(old: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(_number(numbers, track) for track in old)

    try:
        match record:
            case items.Buried():
                recording, (track,) = _number(numbers, record.recording), tracks((record.track,))
                return [record._replace(recording=recording, track=track, pieces=pieces(record.pieces))]
            case items.LockPut():
                recording = _number(numbers, record.recording)
                return [
                    record._replace(recording=recording, tracks=tracks(record.tracks), pieces=pieces(record.pieces))
                ]
            case items.RunStarted():
                recording, job = _number(numbers, record.recording), _number(numbers, record.job)
                at = moment(record.at)
                return [record._replace(recording=recording, job=job, at=at, tracks=tracks(record.tracks))]
            case items.RunStopped():
                return [record._replace(at=moment(record.at))]
    except UnknownBoot:
        return []
    return []
