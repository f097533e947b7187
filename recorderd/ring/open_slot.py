"""A slot being filled: where the next fragment goes, what its record says, and how the slot ends. Pure: no I/O.

Time in the slot: 0 is the slot's first sample. Each session of a track has a `base` (media time minus time in the slot), found when its
first fragment is placed: at its boot-time distance from the slot's start, but never before what the track already holds there.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from recorderd.model.ports import Anchor, FragmentBody, SampleRun, WriterSpec
from recorderd.model.stream import MediaKind
from recorderd.ring.border import SlotRef, SpanUpdate
from recorderd.ring.layout import (
    BLOCK,
    MAX_KEYS,
    NO_SLOT,
    FragmentFlag,
    FragmentRecord,
    IndexEntry,
    KeyPoint,
    SlotIdentity,
    SlotTrack,
    TrackPart,
    align,
    crc32,
    data_offset_for,
    free_box,
    index_entry,
    index_growth,
    record_bytes,
    tail_fixed_bytes,
)

_BACKWARD_NS = (
    2_000_000_000  # pictures may be reordered across fragments; media time that falls further back begins a new stretch
)
_JUMP_NS = 5_000_000_000

WriterKey = str  # a string keeps its hash: keys are looked up several times per fragment


def writer_key(spec: WriterSpec) -> WriterKey:
    """Writers with the same key continue each other's slot. Video carries its parameter sets in band, so they are not part of it."""
    parts = [spec.recording.hex, spec.receiver.hex]
    for t in spec.tracks:
        form = t.format
        parts += [t.track.hex, form.codec.value, str(form.clock_rate)]
        if form.kind is not MediaKind.VIDEO:
            parts += [form.config.hex(), str(form.sample_rate), str(form.channels)]
    return "/".join(parts)


@dataclass(slots=True, eq=False)
class Pending:
    """A fragment in the queue of its writer: kept until it is durable."""

    writer: object  # writers.RingWriter, opaque here
    spec: WriterSpec
    body: FragmentBody
    run: int
    anchors: tuple[Anchor, ...]
    from_ns: int
    to_ns: int
    number: int = 0  # grows per writer


@dataclass(frozen=True, slots=True)
class Placed:
    """A fragment with its place in a slot. `offset` is absolute; `media_base` is per track of the writer."""

    pending: Pending
    record: FragmentRecord
    offset: int
    media_base: tuple[int, ...]

    @property
    def entry(self) -> IndexEntry:
        return index_entry(self.record, self.offset)


class FragmentTooLarge(Exception):
    """No slot of this ring can hold the fragment."""


@dataclass(slots=True, eq=False)
class OpenSlot:
    """`end` is where the next fragment goes; `durable` and `durable_end` describe what the last good flush covered."""

    ref: SlotRef
    key: WriterKey
    spec: WriterSpec
    disk_id: uuid.UUID
    boot_id: uuid.UUID
    slot_bytes: int
    writer_serial: int
    virgin: bool
    ftyp: bytes
    moov: bytes
    data_offset: int = 0
    end: int = 0
    entries: list[IndexEntry] = field(default_factory=list)
    durable: int = 0
    durable_end: int = 0
    durable_end_ns: int = 0
    start_ns: int = 0
    end_ns: int = 0
    last_append_ns: int = 0
    handle: int = -1
    head_written: bool = False
    side_sequence: int = 1  # of the newest side block; the head is written with 0 and 1
    identity: SlotIdentity | None = None
    previous: SlotRef = NO_SLOT
    _bases: dict[int, tuple[int, int]] = field(default_factory=dict)  # track -> session, base
    _ends: dict[int, int] = field(default_factory=dict)  # track -> end of what it holds, time in the slot
    _lasts: dict[int, tuple[int, int]] = field(default_factory=dict)  # track -> media and boot time where it ended
    _tail_bytes: int = 0

    def __post_init__(self) -> None:
        self.data_offset = self.end = self.durable_end = data_offset_for(len(self.moov))
        self._tail_bytes = tail_fixed_bytes()

    def place(self, pending: Pending, *, wall_ns: int, epoch: int) -> Placed | None:
        """Gives the fragment its place, or None when it does not fit any more. Raises FragmentTooLarge when it never will."""
        body = pending.body
        anchors = {anchor.track: anchor for anchor in pending.anchors}
        keys = _key_points(body.runs)
        head = record_bytes(len(body.runs), len(keys))
        size = align(head + body.size)
        if 0 < size - head - body.size < 8:
            size += BLOCK  # the pad is a box: at least 8 bytes
        growth = index_growth(len(body.runs), len(keys))
        if self.end + size + align(self._tail_bytes + growth) > self.slot_bytes:
            if not self.entries:
                raise FragmentTooLarge(f"fragment of {body.size} bytes for a slot of {self.slot_bytes}")
            return None
        if not self.entries:
            self._start(pending, body.runs, anchors)
        parts = tuple(self._part(run, anchors[run.track]) for run in body.runs)
        flags = 0 if body.starts_with_key else FragmentFlag.CONTINUES
        if body.damaged:
            flags |= FragmentFlag.DAMAGED
        record = FragmentRecord(
            disk_id=self.disk_id,
            generation=self.ref.generation,
            sequence=len(self.entries),
            fragment_bytes=size,
            payload_bytes=body.size,
            run=pending.run,
            epoch=epoch,
            wall_ns=wall_ns,
            from_ns=pending.from_ns,
            to_ns=pending.to_ns,
            boot_id=self.boot_id,
            writer_serial=self.writer_serial,
            parts=parts,
            keys=keys,
            flags=int(flags),
        )
        bases = [0] * len(self.spec.tracks)
        for part in parts:
            bases[part.track] = part.base
            self._ends[part.track] = part.end_pts - part.base
        placed = Placed(pending, record, self.end, tuple(bases))
        self.entries.append(placed.entry)
        self.end += size
        self.end_ns = max(self.end_ns, *(end_of(part, self._rate(part.track)) for part in parts))
        self.last_append_ns = pending.to_ns
        self._tail_bytes += growth
        return placed

    def take_back(self, fragments: int) -> None:
        """Only the first `fragments` fragments count; the slot must not be appended to afterwards."""
        del self.entries[fragments:]
        self.end = self.entries[-1].offset + self.entries[-1].fragment_bytes if self.entries else self.data_offset
        self.end_ns = min(self.end_ns, self.durable_end_ns) if fragments <= self.durable else self.end_ns

    def make_identity(self, *, wall_ns: int, epoch: int) -> SlotIdentity:
        tracks = tuple(SlotTrack(t.track, t.format.codec, t.format.clock_rate, t.name) for t in self.spec.tracks)
        return SlotIdentity(
            disk_id=self.disk_id,
            ref=self.ref,
            slot_bytes=self.slot_bytes,
            data_offset=self.data_offset,
            moov_bytes=len(self.moov),
            writer_serial=self.writer_serial,
            recording=self.spec.recording,
            receiver=self.spec.receiver,
            boot_id=self.boot_id,
            start_ns=self.start_ns,
            start_wall_ns=wall_ns,
            epoch=epoch,
            tracks=tracks,
            recording_name=self.spec.recording_name,
            source=self.spec.source,
            priority=self.spec.priority,
            previous=self.previous,
            moov_crc=crc32(self.moov),
        )

    def media_ns(self, record: FragmentRecord) -> int:
        """How long the fragment's longest track lasts."""
        return max((part.end_pts - part.first_pts) * 1_000_000_000 // self._rate(part.track) for part in record.parts)

    def _rate(self, track: int) -> int:
        return self.spec.tracks[track].format.clock_rate

    def _start(self, pending: Pending, runs: Sequence[SampleRun], anchors: dict[int, Anchor]) -> None:
        starts = [start_of(run.first_pts, anchors[run.track], self._rate(run.track)) for run in runs]
        self.start_ns = max(0, min(starts))
        self.end_ns = self.start_ns
        self.durable_end_ns = self.start_ns
        self.last_append_ns = pending.to_ns

    def _part(self, run: SampleRun, anchor: Anchor) -> TrackPart:
        rate = self._rate(run.track)
        held = self._ends.get(run.track, 0)
        session, base = self._bases.get(run.track, (-1, 0))
        if session != anchor.session or self._jumps(run, anchor, rate):
            distance_ns = start_of(run.first_pts, anchor, rate) - self.start_ns
            base = run.first_pts - max(held, distance_ns * rate // 1_000_000_000, 0)
            self._bases[run.track] = (anchor.session, base)
        self._lasts[run.track] = (run.end_pts, start_of(run.end_pts, anchor, rate))
        return TrackPart(run.track, run.count, run.first_pts, run.end_pts, base, anchor, run.lead)

    def _jumps(self, run: SampleRun, anchor: Anchor, rate: int) -> bool:
        """Whether media time moved otherwise than boot time since the track's last fragment (slow drift does not count)."""
        last = self._lasts.get(run.track)
        if last is None:
            return False
        end_pts, end_ns = last
        media_ns = (run.first_pts - end_pts) * 1_000_000_000 // rate
        return media_ns < -_BACKWARD_NS or abs(media_ns - (start_of(run.first_pts, anchor, rate) - end_ns)) > _JUMP_NS


def start_of(pts: int, anchor: Anchor, rate: int) -> int:
    """Boot time of a media time, by the anchor."""
    return anchor.boottime_ns + (pts - anchor.media_time) * 1_000_000_000 // rate


def end_of(part: TrackPart, rate: int) -> int:
    return start_of(part.end_pts, part.anchor, rate)


def _key_points(runs: Sequence[SampleRun]) -> tuple[KeyPoint, ...]:
    points = [
        KeyPoint(run.track, sample, pts)
        for run in runs
        for sample, pts in zip(run.key_samples, run.key_pts, strict=True)
    ]
    return tuple(points[:MAX_KEYS])


def pad_box(record: FragmentRecord, buffer: memoryview) -> None:
    """Ends a fragment with the `free` box behind its payload; `buffer` is the whole fragment."""
    used = record_bytes(len(record.parts), len(record.keys)) + record.payload_bytes
    left = record.fragment_bytes - used
    if left:
        buffer[used : used + 8] = free_box(left)
        buffer[used + 8 :] = bytes(left - 8)


def _bounded(ns: int) -> int:
    """A boot time as the ledger can hold it: media may begin before the boot, and a disk may say anything."""
    return max(0, min(ns, 1 << 62))


def span_updates(record: FragmentRecord, ref: SlotRef, spec: WriterSpec | SlotIdentity) -> list[SpanUpdate]:
    """What a fragment adds to the tracks' timelines; from its record alone, so recovery and recording say the same."""
    updates = []
    for part in record.parts:
        track = spec.tracks[part.track]
        rate = track.timescale if isinstance(track, SlotTrack) else track.format.clock_rate
        codec = track.codec if isinstance(track, SlotTrack) else track.format.codec
        keys = [key.pts for key in record.keys if key.track == part.track]
        video = codec.kind is MediaKind.VIDEO
        updates.append(
            SpanUpdate(
                recording=spec.recording,
                track=track.track,
                track_index=part.track,
                writer_serial=record.writer_serial,
                priority=spec.priority,
                run=record.run,
                boot_id=record.boot_id,
                from_ns=_bounded(start_of(part.first_pts, part.anchor, rate)),
                to_ns=_bounded(end_of(part, rate)),
                from_pts=part.first_pts,
                to_pts=part.end_pts,
                timescale=rate,
                session=part.anchor.session,
                anchor_pts=part.anchor.media_time,
                anchor_ns=part.anchor.boottime_ns,
                report=part.anchor.report,
                ref=ref,
                fragment=record.sequence,
                first_key_pts=(keys[0] if keys else None) if video else part.first_pts,
                keys=len(keys) if video else part.samples,
                continues=video and bool(record.flags & FragmentFlag.CONTINUES),
                damaged=bool(record.flags & FragmentFlag.DAMAGED),
            )
        )
    return updates


def lost_tracks(pending: Pending) -> tuple[uuid.UUID, list[uuid.UUID]]:
    """Recording and tracks of a fragment that could not be stored."""
    return pending.spec.recording, [pending.spec.tracks[run.track].track for run in pending.body.runs]
