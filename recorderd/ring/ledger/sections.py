"""The ledger's sections of a checkpoint: all tables as bytes, and back, with every reference checked."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from recorderd.model.causes import GapCause
from recorderd.ring.ledger import items
from recorderd.ring.ledger.catalogue import Catalogue, Kind
from recorderd.ring.ledger.gaps import GAP, GapTable
from recorderd.ring.ledger.spans import SPAN, SpanTable
from recorderd.ring.ledger.tables import Tables

BOOTS, EPOCHS, CATALOGUE, RUNS, SLOTS, SPANS, GAPS, LOCKS, TOMBSTONES, FLOORS, COUNTERS = range(32, 43)

_TRACK_SPANS = struct.Struct("<II")  # track, rows
_TRACK_GAPS = struct.Struct("<IIqB3x")  # track, rows, start of the open gap or -1, its cause
_FLOOR = struct.Struct("<Iqq")  # track, floor, horizon
_COUNTERS = struct.Struct("<qqq")  # next lock, next tombstone, merged rows
_LENGTH = struct.Struct("<BH")


def dump(tables: Tables) -> dict[int, bytes]:
    """The whole state; `load` of it gives tables that behave alike."""
    spans = b"".join(_TRACK_SPANS.pack(t, len(s)) + s.table.dump() for t, s in sorted(tables.spans.items()) if len(s))
    gaps = b"".join(
        _TRACK_GAPS.pack(t, len(g), -1 if g.open_from_ns is None else g.open_from_ns, g.open_cause) + g.table.dump()
        for t, g in sorted(tables.gaps.items())
    )
    return {
        BOOTS: tables.boots.dump(),
        EPOCHS: tables.epochs.dump(),
        CATALOGUE: tables.catalogue.dump(),
        RUNS: tables.runs.dump(),
        SLOTS: tables.slots.dump(),
        SPANS: spans,
        GAPS: gaps,
        LOCKS: _dump_records(list(tables.locks.values())),
        TOMBSTONES: _dump_records(list(tables.tombstones.records.values())),
        FLOORS: b"".join(
            _FLOOR.pack(track, tables.floors.get(track, 0), tables.horizons.get(track, 0))
            for track in sorted(tables.floors.keys() | tables.horizons.keys())
        ),
        COUNTERS: _COUNTERS.pack(tables.next_lock, tables.tombstones.next_id, tables.merged_rows),
    }


def load(sections: Mapping[int, bytes]) -> Tables:
    """New tables from the sections of one checkpoint; missing ones are empty. Raises ValueError on anything that cannot be true."""
    tables = Tables()
    try:
        _load(tables, sections)
    except (struct.error, LookupError, OverflowError) as error:
        raise ValueError(f"ledger checkpoint: {error}") from None
    return tables


def _load(tables: Tables, sections: Mapping[int, bytes]) -> None:
    tables.boots.load(sections.get(BOOTS, b""))
    tables.epochs.load(sections.get(EPOCHS, b""))
    tables.catalogue = Catalogue.load(sections.get(CATALOGUE, b""))
    tables.runs.load(sections.get(RUNS, b""))
    tables.slots.load(sections.get(SLOTS, b""))
    body, at = sections.get(SPANS, b""), 0
    while at < len(body):
        track, count = _TRACK_SPANS.unpack_from(body, at)
        at += _TRACK_SPANS.size
        _check_track(tables, track)
        tables.spans[track] = SpanTable()
        tables.spans[track].table.load(_part(body, at, count * SPAN.itemsize))
        at += count * SPAN.itemsize
    body, at = sections.get(GAPS, b""), 0
    while at < len(body):
        track, count, open_from, cause = _TRACK_GAPS.unpack_from(body, at)
        at += _TRACK_GAPS.size
        _check_track(tables, track)
        gaps = tables.gaps[track] = GapTable()
        gaps.table.load(_part(body, at, count * GAP.itemsize))
        gaps.open_from_ns = None if open_from < 0 else open_from
        gaps.open_cause = GapCause(cause)
        at += count * GAP.itemsize
    for record in [*_load_records(sections.get(LOCKS, b"")), *_load_records(sections.get(TOMBSTONES, b""))]:
        match record:
            case items.LockPut():
                tables.locks[record.lock] = record
            case items.Buried():
                tables.tombstones.put(record, tables.ring_ranges(record.pieces))
            case _:
                raise ValueError("ledger checkpoint: neither lock nor tombstone")
    for track, floor, horizon in _FLOOR.iter_unpack(sections.get(FLOORS, b"")):
        _check_track(tables, track)
        if floor:
            tables.floors[track] = floor
        if horizon:
            tables.horizons[track] = horizon
    if COUNTERS in sections:
        tables.next_lock, tables.tombstones.next_id, tables.merged_rows = _COUNTERS.unpack(sections[COUNTERS])


def _check_track(tables: Tables, track: int) -> None:
    if tables.catalogue[track].kind is not Kind.TRACK:
        raise ValueError(f"ledger checkpoint: {track} is not a track")


def _part(body: bytes, at: int, length: int) -> bytes:
    if at + length > len(body):
        raise ValueError("ledger checkpoint: cut short")
    return body[at : at + length]


def _dump_records(records: list[items.LockPut] | list[items.Buried]) -> bytes:
    parts = []
    for record in records:
        kind, payload = items.encode(record)
        parts.append(_LENGTH.pack(kind, len(payload)) + payload)
    return b"".join(parts)


def _load_records(body: bytes) -> list[items.Record]:
    records, at = [], 0
    while at < len(body):
        kind, length = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        records.append(items.decode(kind, _part(body, at, length)))
        at += length
    return records
