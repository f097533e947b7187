"""What a slot carries about itself in its side blocks: the deletions inside it, the locks that keep it, what of it has expired, what the
clock showed, the runs it holds, and the gaps since the media before it.

When checkpoints and journal are lost, the ring is rebuilt from the slots; this is how all that survives. A mirror names everything it uses
(catalogue entries, boots), so it can be read without any table. At most `MAX_BYTES`, in that order; runs that no longer fit are known by
their numbers only, gaps are without a cause.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator

from recorderd.model.causes import RunKind
from recorderd.model.timeline import Instant
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger import items
from recorderd.ring.ledger.boots import UnknownBoot
from recorderd.ring.ledger.catalogue import NONE, Entry
from recorderd.ring.ledger.epochs import EpochPoint
from recorderd.ring.ledger.items import NO_TRACK, Moment, Range
from recorderd.ring.ledger.ranges import intersect, overlaps
from recorderd.ring.ledger.rows import Rows
from recorderd.ring.ledger.runs import RUNNING
from recorderd.ring.ledger.spans import TOUCH_NS
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
    tracks = [entry.index for entry in tables.catalogue.tracks_of(recording)]
    for track in tracks:
        floor = tables.floors.get(track, 0)
        if floor > start:
            writer.add(items.FloorRaised(track, tables.moment(min(floor, stop))))
    points = tables.epochs.points_between(start, stop)
    for point in [p for n, p in enumerate(points) if n == 0 or p.step]:
        writer.add(_epoch_record(tables, point))
    held = {
        track: table.rows[table.of_slot(*ref)] for track in tracks if (table := tables.spans.get(track)) is not None
    }
    for run in sorted({int(run) for rows in held.values() for run in rows["run"]}):
        for record in _run_records(tables, run):
            writer.add(record)
    for point in points[1:]:
        if not point.step:
            writer.add(_epoch_record(tables, point))
    for track, rows in held.items():
        for gap in _gap_records(tables, track, rows):
            writer.add(gap)
    return writer.finish()


def _epoch_record(tables: Tables, point: EpochPoint) -> items.EpochNoted:
    return items.EpochNoted(tables.moment(point.ring_ns), point.wall_ns, point.rate_ppb, point.trust, point.step)


def _gap_records(tables: Tables, track: int, rows: Rows) -> Iterator[items.Record]:
    """The noted gaps of a track that end behind the media before this slot's and begin before its end; one that lasts ends there."""
    gaps = tables.gaps.get(track)
    if gaps is None or not len(rows):
        return
    table = tables.spans[track]
    first = table.table.near(0, int(rows["from"][0])).stop
    before = int(table.table.reach()[first - 1]) if first else 0
    end = int(rows["to"].max()) + TOUCH_NS
    for start, stop, cause in gaps.causes(before, end):
        if start < end and stop > before:
            yield items.GapNoted((track,), cause, tables.moment(start), tables.moment(stop))


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
        case items.GapNoted():
            return record.tracks
        case items.FloorRaised():
            return (record.track,)
        case _:
            return ()


def _boots_of(record: items.Record) -> tuple[int, ...]:
    match record:
        case items.Buried() | items.LockPut():
            return tuple(moment.boot for piece in record.pieces for moment in piece)
        case items.RunStarted() | items.RunStopped() | items.EpochNoted() | items.FloorRaised():
            return (record.at.boot,)
        case items.GapNoted():
            return (record.start.boot, *(() if record.stop is None else (record.stop.boot,)))
        case _:
            return ()


Dated = tuple[Instant, items.EpochNoted]


def dates(payload: bytes) -> list[Dated]:
    """What a mirror says of the clock; nothing when it is malformed."""
    boots: dict[int, uuid.UUID] = {}
    found: list[Dated] = []
    try:
        for record in _records(payload):
            if isinstance(record, items.BootSeen):
                boots[record.number] = record.stretch.boot_id
            elif isinstance(record, items.EpochNoted) and record.at.boot in boots:
                found.append((Instant(boots[record.at.boot], record.at.ns), record))
    except ValueError:
        return []
    return found


def _records(payload: bytes) -> Iterator[items.Record]:
    """Raises ValueError."""
    at = 0
    while at < len(payload):
        if at + _ITEM.size > len(payload):
            raise ValueError("side block: cut short")
        kind, length = _ITEM.unpack_from(payload, at)
        at += _ITEM.size
        yield items.decode(kind, payload[at : at + length])
        at += length


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
    for record in _records(payload):
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
            case (
                items.Buried()
                | items.LockPut()
                | items.RunStarted()
                | items.RunStopped()
                | items.EpochNoted()
                | items.FloorRaised()
                | items.GapNoted()
            ):
                found += _translated(tables, record, numbers, boots)
            case _:
                raise ValueError(f"side block: {type(record).__name__}")
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
            case items.RunStopped() | items.EpochNoted():
                return [record._replace(at=moment(record.at))]
            case items.FloorRaised():
                return [record._replace(track=tracks((record.track,))[0], at=moment(record.at))]
            case items.GapNoted():
                stop = None if record.stop is None else moment(record.stop)
                return [record._replace(tracks=tracks(record.tracks), start=moment(record.start), stop=stop)]
    except UnknownBoot:
        return []
    return []
