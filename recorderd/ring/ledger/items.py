"""What the ledger writes into the journal: one record type per kind, its bytes, and back.

Kinds and layouts are on disks in the field: a number is never given a new meaning and a layout never changes; what must change gets a new
kind. Moments are (number in the boot table, boot time in ns), never wall time; tracks and recordings are catalogue indices. Little endian.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.timeline import Trust
from recorderd.ring.ledger import catalogue
from recorderd.ring.ledger.boots import MAX_BOOT_NS, Stretch

NO_TRACK = 0xFFFF_FFFF
MAX_TRACKS = 64  # of one run, gap or lock
MAX_PIECES = 64  # of one lock or tombstone
MAX_TEXT_BYTES = 255


class Moment(NamedTuple):
    """A stored moment: stretch number in the boot table, CLOCK_BOOTTIME."""

    boot: int
    ns: int


class Range(NamedTuple):
    start: Moment
    stop: Moment


class EntryPut(NamedTuple):
    entry: catalogue.Entry


class BootSeen(NamedTuple):
    number: int
    stretch: Stretch


class EpochNoted(NamedTuple):
    at: Moment
    wall_ns: int
    rate_ppb: int
    trust: Trust
    step: bool


class RunStarted(NamedTuple):
    run: int
    recording: int
    job: int
    at: Moment
    kind: RunKind
    instant_ns: int
    tracks: tuple[int, ...]
    source: str
    topic: str
    origin: str


class RunStopped(NamedTuple):
    run: int
    at: Moment


class SpanGrown(NamedTuple):
    """One fragment's share of one track (border.SpanUpdate)."""

    track: int
    run: int
    boot: int
    from_ns: int
    to_ns: int
    slot: int
    generation: int
    fragment: int
    writer: int
    priority: int
    keys: int
    flags: int


class GapNoted(NamedTuple):
    tracks: tuple[int, ...]
    cause: GapCause
    start: Moment
    stop: Moment | None


class SlotGone(NamedTuple):
    slot: int
    generation: int


class Withdrawn(NamedTuple):
    slot: int
    generation: int
    fragments: int


class Rotten(NamedTuple):
    slot: int
    generation: int
    fragment: int


class Cut(NamedTuple):
    """A fragment that did not reach the disk before the power went, though one behind it did; it was never acknowledged."""

    slot: int
    generation: int
    fragment: int


class SlotClosed(NamedTuple):
    slot: int
    generation: int
    order: int


class LockPut(NamedTuple):
    """`pieces` is what the wall-time range meant when the lock was made, so that re-dating cannot move it off its footage."""

    lock: int
    recording: int
    wall_from_ns: int
    wall_to_ns: int
    tracks: tuple[int, ...]
    pieces: tuple[Range, ...]
    owner: str
    reason: str


class LockDropped(NamedTuple):
    lock: int


class Buried(NamedTuple):
    """A tombstone: what was written of these before `until` and lies in `pieces` (in run `run` only, unless 0) is dead."""

    tombstone: int
    recording: int
    track: int  # NO_TRACK: all tracks
    run: int
    pieces: tuple[Range, ...]


class FloorRaised(NamedTuple):
    track: int
    at: Moment


class Recovered(NamedTuple):
    """A new life of the recorder began: what was open in the one before, last heard of at `last`, ended."""

    last: Moment
    at: Moment


class Seen(NamedTuple):
    """The recorder was alive: noted now and then while there is nothing else to note, so that a crash can be dated."""

    at: Moment


Record: TypeAlias = (
    EntryPut
    | BootSeen
    | EpochNoted
    | RunStarted
    | RunStopped
    | SpanGrown
    | GapNoted
    | SlotGone
    | Withdrawn
    | Rotten
    | Cut
    | SlotClosed
    | LockPut
    | LockDropped
    | Buried
    | FloorRaised
    | Recovered
    | Seen
)

_MOMENT = struct.Struct("<Iq")
_RANGE = struct.Struct("<IqIq")
_BOOT = struct.Struct("<I16sqqq")
_EPOCH = struct.Struct("<IqqiBB")
_RUN_START = struct.Struct("<qIIIqBq")
_RUN_STOP = struct.Struct("<qIq")
_SPAN = struct.Struct("<IqIqqIqIIhHB")
_GAP = struct.Struct("<BIqIq")
_SLOT = struct.Struct("<Iq")
_SLOT_NUMBER = struct.Struct("<IqI")
_SLOT_ORDER = struct.Struct("<Iqq")
_LOCK = struct.Struct("<qIqq")
_ID = struct.Struct("<q")
_TOMB = struct.Struct("<qIIq")
_FLOOR = struct.Struct("<IIq")
_STILL = -1  # `stop` of a gap that lasts


class _Reader:
    """Takes a payload apart; every read is inside its bounds or a ValueError."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        if self._at + layout.size > len(self._payload):
            raise ValueError("ledger item: cut short")
        values = layout.unpack_from(self._payload, self._at)
        self._at += layout.size
        return values

    def byte(self) -> int:
        if self._at >= len(self._payload):
            raise ValueError("ledger item: cut short")
        self._at += 1
        return self._payload[self._at - 1]

    def text(self) -> str:
        length = self.byte()
        if self._at + length > len(self._payload):
            raise ValueError("ledger item: cut short")
        self._at += length
        return self._payload[self._at - length : self._at].decode()

    def tracks(self) -> tuple[int, ...]:
        count = self.byte()
        if count > MAX_TRACKS:
            raise ValueError(f"ledger item: {count} tracks")
        return self.take(struct.Struct(f"<{count}I"))

    def ranges(self) -> tuple[Range, ...]:
        count = self.byte()
        if count > MAX_PIECES:
            raise ValueError(f"ledger item: {count} ranges")
        found = []
        for _ in range(count):
            a, b, c, d = self.take(_RANGE)
            found.append(Range(moment(a, b), moment(c, d)))
        return tuple(found)

    def end(self) -> None:
        if self._at != len(self._payload):
            raise ValueError(f"ledger item: {len(self._payload) - self._at} bytes too many")


def moment(boot: int, ns: int) -> Moment:
    if not 0 <= ns < MAX_BOOT_NS:
        raise ValueError(f"ledger item: boot time {ns}")
    return Moment(boot, ns)


def _text(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if len(raw) > MAX_TEXT_BYTES:
        raw = raw[:MAX_TEXT_BYTES].decode("utf-8", "ignore").encode()
    return bytes([len(raw)]) + raw


def _tracks(tracks: tuple[int, ...]) -> bytes:
    return struct.pack(f"<B{len(tracks)}I", len(tracks), *tracks)


def _ranges(ranges: tuple[Range, ...]) -> bytes:
    return bytes([len(ranges)]) + b"".join(_RANGE.pack(*r.start, *r.stop) for r in ranges)


def _read_entry(payload: bytes) -> EntryPut:
    entry, end = catalogue.decode_entry(payload)
    if end != len(payload):
        raise ValueError("ledger item: bytes too many")
    return EntryPut(entry)


def _read_boot(reader: _Reader) -> BootSeen:
    number, raw, from_ns, base_ns, through_ns = reader.take(_BOOT)
    return BootSeen(number, Stretch(uuid.UUID(bytes=raw), from_ns, base_ns, through_ns))


def _read_epoch(reader: _Reader) -> EpochNoted:
    boot, ns, wall_ns, rate, trust, step = reader.take(_EPOCH)
    return EpochNoted(moment(boot, ns), wall_ns, rate, Trust(trust), bool(step))


def _read_run_start(reader: _Reader) -> RunStarted:
    run, recording, job, boot, ns, kind, instant = reader.take(_RUN_START)
    tracks = reader.tracks()
    source, topic, origin = reader.text(), reader.text(), reader.text()
    return RunStarted(run, recording, job, moment(boot, ns), RunKind(kind), instant, tracks, source, topic, origin)


def _read_run_stop(reader: _Reader) -> RunStopped:
    run, boot, ns = reader.take(_RUN_STOP)
    return RunStopped(run, moment(boot, ns))


def _read_span(reader: _Reader) -> SpanGrown:
    span = SpanGrown(*reader.take(_SPAN))
    moment(span.boot, span.from_ns)
    moment(span.boot, span.to_ns)
    return span


def _read_gap(reader: _Reader) -> GapNoted:
    cause, boot, ns, stop_boot, stop_ns = reader.take(_GAP)
    stop = None if stop_ns == _STILL else moment(stop_boot, stop_ns)
    return GapNoted(reader.tracks(), GapCause(cause), moment(boot, ns), stop)


def _read_lock(reader: _Reader) -> LockPut:
    lock, recording, wall_from, wall_to = reader.take(_LOCK)
    tracks, pieces = reader.tracks(), reader.ranges()
    return LockPut(lock, recording, wall_from, wall_to, tracks, pieces, reader.text(), reader.text())


def _read_tomb(reader: _Reader) -> Buried:
    tombstone, recording, track, run = reader.take(_TOMB)
    return Buried(tombstone, recording, track, run, reader.ranges())


def _read_floor(reader: _Reader) -> FloorRaised:
    track, boot, ns = reader.take(_FLOOR)
    return FloorRaised(track, moment(boot, ns))


def _read_recovered(reader: _Reader) -> Recovered:
    boot, ns, now_boot, now_ns = reader.take(_RANGE)
    return Recovered(moment(boot, ns), moment(now_boot, now_ns))


def _write_gap(record: GapNoted) -> bytes:
    stop = record.stop or Moment(0, _STILL)
    return _GAP.pack(record.cause, *record.start, *stop) + _tracks(record.tracks)


def _write_run_start(r: RunStarted) -> bytes:
    head = _RUN_START.pack(r.run, r.recording, r.job, *r.at, r.kind, r.instant_ns)
    return head + _tracks(r.tracks) + _text(r.source) + _text(r.topic) + _text(r.origin)


def _write_lock(r: LockPut) -> bytes:
    head = _LOCK.pack(r.lock, r.recording, r.wall_from_ns, r.wall_to_ns)
    return head + _tracks(r.tracks) + _ranges(r.pieces) + _text(r.owner) + _text(r.reason)


def _write_boot(r: BootSeen) -> bytes:
    s = r.stretch
    return _BOOT.pack(r.number, s.boot_id.bytes, s.from_ns, s.base_ns, s.through_ns)


_WRITERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    EntryPut: (32, lambda r: catalogue.encode_entry(r.entry)),
    BootSeen: (33, _write_boot),
    EpochNoted: (34, lambda r: _EPOCH.pack(*r.at, r.wall_ns, r.rate_ppb, r.trust, r.step)),
    RunStarted: (35, _write_run_start),
    RunStopped: (36, lambda r: _RUN_STOP.pack(r.run, *r.at)),
    SpanGrown: (37, lambda r: _SPAN.pack(*r)),
    GapNoted: (38, _write_gap),
    SlotGone: (39, lambda r: _SLOT.pack(*r)),
    Withdrawn: (40, lambda r: _SLOT_NUMBER.pack(*r)),
    Rotten: (41, lambda r: _SLOT_NUMBER.pack(*r)),
    SlotClosed: (42, lambda r: _SLOT_ORDER.pack(*r)),
    LockPut: (43, _write_lock),
    LockDropped: (44, lambda r: _ID.pack(r.lock)),
    Buried: (45, lambda r: _TOMB.pack(r.tombstone, r.recording, r.track, r.run) + _ranges(r.pieces)),
    FloorRaised: (46, lambda r: _FLOOR.pack(r.track, *r.at)),
    Seen: (48, lambda r: _MOMENT.pack(*r.at)),
    Cut: (49, lambda r: _SLOT_NUMBER.pack(*r)),
    Recovered: (47, lambda r: _RANGE.pack(*r.last, *r.at)),
}

_READERS: dict[int, Callable[[_Reader], Record]] = {
    33: _read_boot,
    34: _read_epoch,
    35: _read_run_start,
    36: _read_run_stop,
    37: _read_span,
    38: _read_gap,
    39: lambda r: SlotGone(*r.take(_SLOT)),
    40: lambda r: Withdrawn(*r.take(_SLOT_NUMBER)),
    41: lambda r: Rotten(*r.take(_SLOT_NUMBER)),
    42: lambda r: SlotClosed(*r.take(_SLOT_ORDER)),
    43: _read_lock,
    44: lambda r: LockDropped(*r.take(_ID)),
    45: _read_tomb,
    46: _read_floor,
    47: _read_recovered,
    48: lambda r: Seen(moment(*r.take(_MOMENT))),
    49: lambda r: Cut(*r.take(_SLOT_NUMBER)),
}


def encode(record: Record) -> tuple[int, bytes]:
    """(kind, payload) of a record."""
    kind, write = _WRITERS[type(record)]
    return kind, write(record)


def decode(kind: int, payload: bytes) -> Record:
    """The inverse of `encode`. Raises ValueError on anything it could not have written."""
    if kind == 32:
        return _read_entry(payload)
    read = _READERS.get(kind)
    if read is None:
        raise ValueError(f"ledger item: unknown kind {kind}")
    reader = _Reader(payload)
    record = read(reader)
    reader.end()
    return record
