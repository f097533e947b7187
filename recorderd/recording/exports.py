"""Exports and pictures out of the ring, made by workers: the daemon plans, opens slots and passes bytes on.

Two processes share the work. The daemon knows what may be read (deleted, expired and overlapping media never reach a plan), keeps leases
on all slots until the export ends, and sends their descriptors one at a time. The worker reads, checks and writes. A client that stops
reading stops the worker by its full pipe; one that goes away ends it.
"""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from recorderd.media.errors import MediaError
from recorderd.media.moov_reader import parse_moov
from recorderd.model.causes import GapCause
from recorderd.model.ports import Clock, StoreUnavailable
from recorderd.model.stream import MediaKind, TrackFormat
from recorderd.protocol.work import (
    MAX_FRAGMENTS,
    ExportWork,
    Finish,
    Into,
    OutputTrack,
    SlotWork,
    Stored,
)
from recorderd.recording.export_plan import (
    LOOK_BACK_NS,
    KeyFrame,
    NothingRecorded,
    SlotPlan,
    WantedTrack,
    choose_start,
    key_frames,
    slot_plans,
    stretch_at,
)
from recorderd.recording.held_slots import HeldSlots
from recorderd.recording.running_work import RunningWork
from recorderd.recording.snapshot_plan import find_picture, send_picture
from recorderd.recording.worker_process import WorkerFailed, WorkerProcess
from recorderd.ring.border import SlotRef
from recorderd.ring.device import UnsafeFile
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.overlap import Extent
from recorderd.ring.ledger.timeline import bars
from recorderd.ring.playback import find_extents
from recorderd.ring.reading import Recycled
from recorderd.ring.ring import Ring

__all__ = [
    "ExportGap",
    "ExportPlan",
    "Exports",
    "NothingRecorded",
    "RunningExport",
    "RunningSnapshot",
    "TooManyExports",
]

_SLOT_LEASE_S = 60.0
_SLOT_GONE = (Recycled, UnsafeFile)


class TooManyExports(Exception):
    """As many as allowed are running."""


@dataclass(frozen=True, slots=True)
class ExportGap:
    """A stretch of one track inside the export for which there is nothing. Wall time, ns since 1970."""

    track: str
    start_ns: int
    stop_ns: int
    cause: GapCause


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """Wall times in ns since 1970. `tracks` are the file's, in order; `estimated_bytes` is for progress."""

    disk: uuid.UUID
    start_ns: int
    stop_ns: int
    tracks: tuple[OutputTrack, ...]
    slots: tuple[SlotPlan, ...]
    gaps: tuple[ExportGap, ...]
    estimated_bytes: int


class Exports:
    """`max_running` bounds exports and pictures together: each is a process."""

    def __init__(self, *, ring: Ring, clock: Clock, max_running: int = 3) -> None:
        self._ring = ring
        self._clock = clock
        self.max_running = max_running
        self._running = 0

    @property
    def running(self) -> int:
        return self._running

    async def export(
        self,
        *,
        recording: uuid.UUID,
        tracks: Sequence[WantedTrack],
        start_ns: int,
        stop_ns: int,
        audio: str = "copy",
        fragmented: bool = False,
        output: int | socket.socket | None = None,
    ) -> RunningExport:
        """Starts an export of [start, stop) of wall time. `audio`: copy, aac or none.

        Without `output` the file's bytes are what the result is iterated over. With a descriptor (of a file or pipe open for writing), or
        a socket over which somebody sends one, the worker writes there itself: no byte passes through this process. The caller may close
        its own `output` as soon as this returns, and iterates all the same, over empty pieces (see `RunningWork`).

        Raises NothingRecorded, TooManyExports, StoreUnavailable, OSError.
        """
        wanted = [track for track in tracks if not (audio == "none" and track.kind is MediaKind.AUDIO)]
        with self._one_more() as started:
            plan = await make_plan(self._ring, recording, wanted, start_ns, stop_ns)
            held = HeldSlots(self._ring, self._clock, [slot.ref for slot in plan.slots])
            started.callback(held.end)
            worker = await WorkerProcess.start("export", piped=output is None)
            running = RunningExport(self._ring, plan, worker, progress=held.renew, release=started.pop_all().close)
        into, fds = _into(output)
        work = ExportWork(str(plan.disk), plan.tracks, fragmented, audio == "aac", into)
        try:
            await worker.send(work, fds)
        except BaseException:
            await running.aclose()
            raise
        return running

    async def snapshot(
        self, *, track: WantedTrack, at_ns: int | None = None, width: int = 0, image: str = "jpeg"
    ) -> RunningSnapshot:
        """The picture nearest to wall time `at_ns`, or the newest. `image`: jpeg or png, at most `width` pixels wide (0: as it is).

        Raises NothingRecorded, TooManyExports, StoreUnavailable, OSError.
        """
        with self._one_more() as started:
            key, extent = await find_picture(self._ring, track, self._clock.realtime_ns() if at_ns is None else at_ns)
            held = HeldSlots(self._ring, self._clock, [extent.ref])
            started.callback(held.end)
            worker = await WorkerProcess.start("snapshot")
            messages = send_picture(self._ring, extent, key, worker, width, image)
            return RunningSnapshot(key.wall_ns, worker, messages, progress=held.renew, release=started.pop_all().close)

    @contextlib.contextmanager
    def _one_more(self) -> Iterator[contextlib.ExitStack]:
        """Counts one that starts. What it yields is what to undo at its end, or now if it does not start: `pop_all` keeps it."""
        if self._running >= self.max_running:
            raise TooManyExports(f"{self._running} exports are running; {self.max_running} may")
        self._running += 1
        with contextlib.ExitStack() as stack:
            stack.callback(self._ended)
            yield stack

    def _ended(self) -> None:
        self._running -= 1


def _into(output: int | socket.socket | None) -> tuple[Into, list[int]]:
    match output:
        case None:
            return Into.OUTPUT, []
        case socket.socket():
            return Into.HANDED, [output.fileno()]
        case _:
            return Into.DESCRIPTOR, [output]


class RunningSnapshot(RunningWork):
    """One picture; `at_ns` is its wall time."""

    def __init__(
        self,
        at_ns: int,
        worker: WorkerProcess,
        messages: AsyncGenerator[int],
        *,
        progress: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        super().__init__(worker, messages, progress=progress, release=release)
        self.at_ns = at_ns


class RunningExport(RunningWork):
    """An export whose `plan` says what it will hold."""

    def __init__(
        self,
        ring: Ring,
        plan: ExportPlan,
        worker: WorkerProcess,
        *,
        progress: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        super().__init__(worker, _messages(ring, plan, worker, self.note), progress=progress, release=release)
        self.plan = plan


async def _messages(
    ring: Ring, plan: ExportPlan, worker: WorkerProcess, note: Callable[[str], None]
) -> AsyncGenerator[int]:
    """Opens one slot after the other and sends it in pieces; yields the number of each message sent."""
    number = 0
    formats = [track.format for track in plan.tracks]
    for slot in plan.slots:
        try:
            async with ring.read_slot(slot.ref, seconds=_SLOT_LEASE_S, hold=True) as reader:
                identity = await reader.identity()
                store = ring.store
                if identity is None or store is None:
                    note(f"slot {slot.ref.slot}: its identity cannot be read; left out")
                    continue
                ranges = []
                for share, extent in zip(slot.ranges, slot.extents, strict=True):
                    at = next((n for n, track in enumerate(identity.tracks) if track.track == extent.track), None)
                    form = formats[share.output]
                    if at is None or (identity.tracks[at].codec, identity.tracks[at].timescale) != (
                        form.codec, form.clock_rate,
                    ):  # fmt: skip
                        note(f"slot {slot.ref.slot}: recorded with another codec than the export has; left out")
                        continue
                    ranges.append(msgspec.structs.replace(share, track=at))
                wanted = [
                    Stored(entry.sequence, entry.offset, entry.fragment_bytes)
                    for entry in await reader.entries()
                    if any(share.first <= entry.sequence < share.first + share.count for share in ranges)
                ]
                for start in range(0, len(wanted), MAX_FRAGMENTS):
                    part = tuple(wanted[start : start + MAX_FRAGMENTS])
                    near = tuple(
                        share
                        for share in ranges
                        if share.first <= part[-1].sequence and share.first + share.count > part[0].sequence
                    )
                    work = SlotWork(
                        number, slot.ref.slot, slot.ref.generation, store.identity.slot_bytes, str(identity.receiver),
                        slot.axis_ns, near, part,
                    )  # fmt: skip
                    await worker.send(work, [reader.descriptor])
                    yield number
                    number += 1
        except Recycled as error:
            raise WorkerFailed("what was not read in time has been overwritten by newer recordings") from error
        except UnsafeFile as error:
            note(f"slot {slot.ref.slot}: {error}; left out")
    await worker.send(Finish())


async def make_plan(
    ring: Ring, recording: uuid.UUID, wanted: Sequence[WantedTrack], start_ns: int, stop_ns: int
) -> ExportPlan:
    """Raises NothingRecorded, StoreUnavailable, OSError."""
    ledger = ring.ledger
    assert isinstance(ledger, RingLedger)
    store = ring.store
    if store is None:
        raise StoreUnavailable(ring.cause or GapCause.DISK_MISSING, "the ring is not mounted")
    tracks = sorted(wanted, key=lambda track: track.kind is not MediaKind.VIDEO)
    held: list[_Part] = []
    begin_ns, key = start_ns, None
    for track in tracks:
        leads = key is None and track.kind is MediaKind.VIDEO
        found = await find_extents(ring, track.id, start_ns - LOOK_BACK_NS if leads else begin_ns, stop_ns)
        if leads and found:
            key = await _first_key(ring, found, start_ns)
            if key is None:
                continue
            begin_ns = key.wall_ns
            found = found[key.extent :]
        held += await _parts(ring, track, found)
    if not held:
        raise NothingRecorded("nothing is recorded there")
    if key is None:
        begin_ns = max(start_ns, min(part.extents[0].wall_start_ns for part in held))
    slots = slot_plans([part.extents for part in held], begin_ns, key)
    gaps = tuple(
        ExportGap(track.name, bar.start_ns, bar.stop_ns, bar.cause)
        for track in tracks
        if any(part.track == track for part in held)
        for bar in bars(ledger.queries.timeline(recording, track.id, begin_ns, stop_ns), track.id)
        if bar.cause is not None
    )
    end_ns = max(part.extents[-1].wall_stop_ns for part in held)
    outputs = tuple(OutputTrack(part.format, part.track.name) for part in held)
    return ExportPlan(
        store.disk_id, begin_ns, min(stop_ns, end_ns), outputs, tuple(slots), gaps, _estimate(ring, slots)
    )


async def _first_key(ring: Ring, found: Sequence[Extent], start_ns: int) -> KeyFrame | None:
    """Where the picture begins. Looks on through later extents when the first have no key frame."""
    numbers = stretch_at(found, start_ns)
    keys: list[KeyFrame] = []
    for number in [*numbers, *range(numbers[-1] + 1, len(found))] if numbers else []:
        if number > numbers[-1] and keys:
            break
        with contextlib.suppress(*_SLOT_GONE):
            async with ring.read_slot(found[number].ref, seconds=_SLOT_LEASE_S) as reader:
                identity = await reader.identity()
                if identity is not None:
                    keys += key_frames(found, number, await reader.entries(), identity)
    return choose_start(keys, start_ns)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one track of the file is made of: a track of the recording, or as much of it as has one codec."""

    track: WantedTrack
    format: TrackFormat
    extents: list[Extent]


async def _parts(ring: Ring, track: WantedTrack, found: Sequence[Extent]) -> list[_Part]:
    """One part per codec, in order of appearance. A codec never changes within a writer, so only extents that follow none are looked at;
    what cannot be read counts as more of the same, and the worker will say so."""
    parts: dict[tuple[object, ...], _Part] = {}
    looked: dict[SlotRef, TrackFormat | None] = {}
    here: _Part | None = None
    before: list[Extent] = []
    for extent in found:
        if here is None or not extent.follows:
            if extent.ref not in looked:
                looked[extent.ref] = await _format_in(ring, extent)
            form = looked[extent.ref]
            if form is not None:
                here = parts.setdefault(_kind_of(form), _Part(track, form, []))
        (before if here is None else here.extents).append(extent)
    if parts:
        next(iter(parts.values())).extents[:0] = before
    return list(parts.values())


def _kind_of(form: TrackFormat) -> tuple[object, ...]:
    """What must be equal within one track of a file: parameter sets of video may change, the sound's configuration may not."""
    return form.codec, form.clock_rate, b"" if form.kind is MediaKind.VIDEO else form.config


async def _format_in(ring: Ring, extent: Extent) -> TrackFormat | None:
    """What the slot says of the extent's track; None when it cannot be read."""
    with contextlib.suppress(*_SLOT_GONE, MediaError):
        async with ring.read_slot(extent.ref, seconds=_SLOT_LEASE_S) as reader:
            identity = await reader.identity()
            if identity is not None:
                at = next((n for n, track in enumerate(identity.tracks) if track.track == extent.track), None)
                formats = parse_moov(await reader.moov(identity))
                if at is not None and at < len(formats):
                    return formats[at]
    return None


def _estimate(ring: Ring, slots: Sequence[SlotPlan]) -> int:
    """Each slot's bytes by the share of its time that is wanted."""
    store = ring.store
    total = 0
    for slot in slots if store is not None else ():
        assert store is not None
        summary = store.summary(slot.ref.slot)
        if summary.ref == slot.ref:
            span = max(1, summary.to_ns - summary.from_ns)
            wanted = max(e.stop.ns for e in slot.extents) - min(e.start.ns for e in slot.extents)
            total += round(summary.length * min(1.0, wanted / span))
    return total
