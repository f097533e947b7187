"""Exports and pictures out of the ring, made by workers: the daemon plans, opens slots and passes bytes on.

Two processes share the work. The daemon knows what may be read (deleted, expired and overlapping media never reach a plan), keeps leases
on all slots until the export ends, and sends their descriptors one at a time. The worker reads, checks and writes. A client that stops
reading stops the worker by its full pipe; one that goes away ends it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from recorderd.media.errors import MediaError
from recorderd.media.moov_reader import parse_moov
from recorderd.model.causes import GapCause
from recorderd.model.ports import StoreUnavailable
from recorderd.model.stream import MediaKind, TrackFormat
from recorderd.protocol.upgrade import Trailer
from recorderd.protocol.work import MAX_FRAGMENTS, ExportWork, Finish, OutputTrack, SlotDone, SlotWork, Stored, WorkDone
from recorderd.recording.export_plan import (
    LOOK_BACK_NS,
    KeyFrame,
    SlotPlan,
    WantedTrack,
    choose_start,
    key_frames,
    slot_plans,
    stretch_at,
)
from recorderd.recording.worker_process import WorkerFailed, WorkerProcess
from recorderd.ring.border import SlotRef
from recorderd.ring.device import UnsafeFile
from recorderd.ring.leases import Lease
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.overlap import Extent
from recorderd.ring.ledger.timeline import bars
from recorderd.ring.playback import find_extents
from recorderd.ring.reading import Recycled
from recorderd.ring.ring import Ring

LEASE_S = 24 * 3600.0
_SLOT_LEASE_S = 60.0
_IN_FLIGHT = 2  # messages the worker has not answered
_SILENT_S = 60.0  # a worker that neither answers nor writes for so long is ended
_MAX_NOTES = 100
_SLOT_GONE = (Recycled, UnsafeFile)


class NothingRecorded(Exception):
    """The tracks hold nothing in that range."""


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

    def __init__(self, *, ring: Ring, max_running: int = 3) -> None:
        self._ring = ring
        self._max_running = max_running
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
    ) -> RunningExport:
        """Starts an export of [start, stop) of wall time. `audio`: copy, aac or none.

        Raises NothingRecorded, TooManyExports, StoreUnavailable, OSError.
        """
        wanted = [track for track in tracks if not (audio == "none" and track.kind is MediaKind.AUDIO)]
        with self._one_more() as admitted:
            plan = await make_plan(self._ring, recording, wanted, start_ns, stop_ns)
            leases = _lease(self._ring, [slot.ref for slot in plan.slots])
            try:
                worker = await WorkerProcess.start("export")
            except BaseException:
                _end_leases(self._ring, leases)
                raise
            running = RunningExport(self, self._ring, plan, worker, leases)
            work = ExportWork(str(plan.disk), plan.tracks, fragmented, audio == "aac")
            try:
                await worker.send(work)
            except WorkerFailed as error:
                await running.aclose()
                raise OSError(str(error)) from error
            admitted.pop_all()
            return running

    @contextlib.contextmanager
    def _one_more(self) -> Iterator[contextlib.ExitStack]:
        """Counts one that starts; `pop_all` on what it yields keeps it counted until `_ended`."""
        if self._running >= self._max_running:
            raise TooManyExports(f"{self._running} exports are running; {self._max_running} may")
        self._running += 1
        with contextlib.ExitStack() as stack:
            stack.callback(self._ended)
            yield stack

    def _ended(self) -> None:
        self._running -= 1


class RunningExport:
    """The bytes of one export: iterate, then ask for the trailer, and close in every case (`control.dispatch.Body`)."""

    def __init__(
        self, exports: Exports, ring: Ring, plan: ExportPlan, worker: WorkerProcess, leases: list[Lease]
    ) -> None:
        self.plan = plan
        self._exports = exports
        self._ring = ring
        self._worker = worker
        self._leases = leases
        self._messages = _messages(ring, plan, self)
        self._in_flight = 0
        self._sent_all = False
        self._output_ended = False
        self._done: WorkDone | None = None
        self._failure = ""
        self._closed = False
        self.bytes = 0
        self.notes: list[str] = []

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._worker.pid

    def note(self, text: str) -> None:
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(text)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        try:
            while True:
                piece = self._worker.read_now() if not self._output_ended else None
                if piece:
                    self.bytes += len(piece)
                    yield piece
                    continue
                self._output_ended = self._output_ended or piece == b""
                if self._done is not None and self._output_ended:
                    return
                if await self._step():
                    continue
                await self._worker.wait_for_news(_SILENT_S, output=not self._output_ended)
        except WorkerFailed as error:
            self._failure = str(error)
        except TimeoutError:
            self._failure = f"the export made no progress for {_SILENT_S:.0f} s"
        except StoreUnavailable as error:
            self._failure = f"the disk is gone: {error.detail}"
        except OSError as error:
            self._failure = f"the disk cannot be read: {error.strerror}"

    async def _step(self) -> bool:
        """Takes an answer or sends the next slot; whether there was something to do."""
        if self._done is None:
            answer = self._worker.receive_now(SlotDone | WorkDone)  # type: ignore[arg-type]  # a union is a type to msgspec
            if isinstance(answer, WorkDone):
                self._done = answer
                return True
            if isinstance(answer, SlotDone):
                self._in_flight -= 1
                return True
        if self._sent_all or self._in_flight >= _IN_FLIGHT or self._done is not None:
            return False
        sent = await anext(self._messages, None)
        if sent is None:
            self._sent_all = True
            await self._worker.send(Finish())
        else:
            self._in_flight += 1
        return True

    async def send_slot(self, work: SlotWork, descriptor: int) -> None:
        await self._worker.send(work, [descriptor])

    def trailer(self) -> Trailer:
        done = self._done
        if done is not None and not self._failure:
            return Trailer(
                complete=done.complete, reason=done.reason, notes=[*self.notes, *done.notes], bytes=self.bytes
            )
        reason = self._failure or "the export was given up"
        return Trailer(complete=False, reason=reason, notes=self.notes, bytes=self.bytes)

    async def aclose(self) -> None:
        """Ends the worker and gives the slots back. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._messages.aclose()
            await self._worker.end()
        finally:
            _end_leases(self._ring, self._leases)
            self._exports._ended()


async def _messages(ring: Ring, plan: ExportPlan, running: RunningExport) -> AsyncGenerator[int]:
    """Opens one slot after the other and sends it in pieces; yields the number of each message sent."""
    number = 0
    formats = [track.format for track in plan.tracks]
    for slot in plan.slots:
        try:
            async with ring.read_slot(slot.ref, seconds=_SLOT_LEASE_S, hold=True) as reader:
                identity = await reader.identity()
                store = ring.store
                if identity is None or store is None:
                    running.note(f"slot {slot.ref.slot}: its identity cannot be read; left out")
                    continue
                ranges = []
                for share, extent in zip(slot.ranges, slot.extents, strict=True):
                    at = next((n for n, track in enumerate(identity.tracks) if track.track == extent.track), None)
                    form = formats[share.output]
                    if at is None or (identity.tracks[at].codec, identity.tracks[at].timescale) != (
                        form.codec, form.clock_rate,
                    ):  # fmt: skip
                        running.note(f"slot {slot.ref.slot}: recorded with another codec than the export has; left out")
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
                    await running.send_slot(work, reader.descriptor)
                    yield number
                    number += 1
        except _SLOT_GONE as error:
            running.note(f"slot {slot.ref.slot}: {error}; left out")


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
    held: list[tuple[WantedTrack, TrackFormat, list[Extent]]] = []
    begin_ns, key = start_ns, None
    for track in tracks:
        leads = not held and track.kind is MediaKind.VIDEO
        found = await find_extents(ring, track.id, start_ns - LOOK_BACK_NS if leads else begin_ns, stop_ns)
        if leads and found:
            key = await _first_key(ring, found, start_ns)
            if key is None:
                continue
            begin_ns = key.wall_ns
        form = await _format_of(ring, found)
        if form is not None:
            held.append((track, form, found))
    if not held:
        raise NothingRecorded("nothing is recorded there")
    if key is None:
        begin_ns = max(start_ns, min(found[0].wall_start_ns for _, _, found in held))
    slots = slot_plans([found for _, _, found in held], begin_ns, key)
    gaps = tuple(
        ExportGap(track.name, bar.start_ns, bar.stop_ns, bar.cause)
        for track, _, _ in held
        for bar in bars(ledger.queries.timeline(recording, track.id, begin_ns, stop_ns), track.id)
        if bar.cause is not None
    )
    end_ns = max(found[-1].wall_stop_ns for _, _, found in held)
    outputs = tuple(OutputTrack(form, track.name) for track, form, _ in held)
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


async def _format_of(ring: Ring, found: Sequence[Extent]) -> TrackFormat | None:
    """What the first readable slot says of the track; None when there is none."""
    for extent in found:
        with contextlib.suppress(*_SLOT_GONE, MediaError):
            async with ring.read_slot(extent.ref, seconds=_SLOT_LEASE_S) as reader:
                identity = await reader.identity()
                if identity is None:
                    continue
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


def _lease(ring: Ring, refs: Sequence[SlotRef]) -> list[Lease]:
    """Leases on all of them, at once, so that nothing is recycled before its turn comes."""
    store = ring.store
    if store is None:
        return []
    return [store.leases.take(ref, LEASE_S, hold=True) for ref in set(refs)]


def _end_leases(ring: Ring, leases: list[Lease]) -> None:
    """A store that went away with its disk took its leases with it."""
    store = ring.store
    for lease in leases:
        if store is not None:
            store.leases.end(lease)
    leases.clear()
