"""ExportRecordedData (5.21): stretches of recordings as files to a storage destination, one after the other, each from the ring anew.

The ring is the spool: nothing is stored in between. All slots that an operation will read are held from its beginning to its end, so a
slow destination costs no file, and at most half the ring can be held. A file that fails for a passing reason is made again. Operations
live in memory: after a restart there are none, files that were finished are with the destination, and the one that was not is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from recorderd.model.destination import Destination
from recorderd.model.faults import BadConfiguration, MaxExports, StorageUnavailable
from recorderd.model.limits import Limits
from recorderd.model.ports import Clock, StoreUnavailable
from recorderd.protocol.delivery import Deliver, Delivered, Problem, Waiting
from recorderd.recording.deliver_to import Surroundings, deliver_to
from recorderd.recording.delivery import Delivery, DeliveryFailed
from recorderd.recording.export_files import ExportFile, Source, files_of
from recorderd.recording.export_plan import LOOK_BACK_NS, NothingRecorded
from recorderd.recording.exports import Exports, TooManyExports, make_plan
from recorderd.recording.held_slots import HeldSlots
from recorderd.recording.operations import FileProgress, Operation, Operations
from recorderd.recording.rules.destinations import relative_path
from recorderd.recording.worker_process import WorkerFailed
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger.book import NoSuchThing
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.timeline import recorded_stretches
from recorderd.ring.playback import find_extents
from recorderd.ring.ring import Ring

FILE_FORMATS = ("MP4",)
"""SupportedExportFileFormats: an MP4 as `recorderctl export` makes it."""

_AT_ONCE = 2  # of the processes that exports may be, one is left to people
_ATTEMPTS = 4  # of a file
_RETRY_S = (2.0, 60.0)
_LOOK_AGAIN_S = 2.0  # for a free worker
_RENEW_S = 30.0  # leases, while it waits
_PART_BYTES = (8 << 20, 64 << 20)
_PARTS = 5000  # of the 10,000 that S3 allows: an estimate may be half of the truth
_HELD_SHARE = 2  # one part in so many of the ring


class ExportFailed(OSError):
    """An operation's end, in a sentence."""


class TargetExports:
    def __init__(
        self,
        *,
        ring: Ring,
        exports: Exports,
        operations: Operations,
        around: Surroundings,
        clock: Clock,
        limits: Limits,
        file_ns: int,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._ring = ring
        self._exports = exports
        self._operations = operations
        self._around = around
        self._clock = clock
        self._limits = limits
        self._file_ns = file_ns
        self._jitter = jitter
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def start(
        self,
        sources: Sequence[Source],
        destination: Destination,
        *,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        folder: str = "",
        file_format: str = FILE_FORMATS[0],
    ) -> Operation:
        """Begins an operation on [start, stop) of wall time; its files are known when it returns.

        Raises `BadConfiguration`, `MaxExports`, `StorageUnavailable`, NothingRecorded.
        """
        if file_format not in FILE_FORMATS:
            raise BadConfiguration(
                "no such format", argument="format", expected=", ".join(FILE_FORMATS), got=file_format
            )
        if start_ns is not None and stop_ns is not None and start_ns >= stop_ns:
            raise BadConfiguration("a range ends after it begins", argument="stop")
        folder = relative_path(folder, "path")
        deliver_to(destination, "file", self._around)  # refused before there is anything to do
        if sum(1 for o in self._operations.list() if not o.finished) >= self._limits.waiting_operations:
            raise MaxExports("as many exports run as can", expected=str(self._limits.waiting_operations))
        if self._ring.store is None:
            raise StorageUnavailable("the ring is not mounted")
        files = self._files(sources, start_ns or 0, self._clock.realtime_ns() if stop_ns is None else stop_ns, folder)
        try:
            held = HeldSlots(self._ring, self._clock, await self._slots(files))
        except StoreUnavailable as error:
            raise StorageUnavailable(error.detail) from error
        except OSError as error:
            raise StorageUnavailable(f"the disk cannot be read: {error.strerror}") from error
        job = _Job(tuple(files), tuple(deliver_to(destination, file.name, self._around) for file in files), held)
        return self._operations.start(
            "ExportRecordedData",
            [source.recording for source in sources],
            lambda operation: self._run(operation, job),
            files=[FileProgress(name=file.name, progress=0.0) for file in files],
        )

    async def trial(self, destination: Destination) -> str:
        """Writes a small file to the destination and removes it. Empty when that worked, else why not.

        Raises `BadConfiguration`, OSError.
        """
        name = f".recorderd-trial-{uuid.uuid4().hex[:8]}"
        work = _impatient(deliver_to(destination, name, self._around, trial=True))
        try:
            delivery = await Delivery.start(work, lambda _: None)
            try:
                await delivery.write(b"recorderd writes this to see whether it can, and removes it.\n")
                await delivery.finish()
            finally:
                await delivery.aclose()
        except DeliveryFailed as failed:
            return failed.reason
        return ""

    # --- what there is to do -------------------------------------------------------------------------------

    def _files(self, sources: Sequence[Source], start_ns: int, stop_ns: int, folder: str) -> list[ExportFile]:
        ledger = self._ring.ledger
        assert isinstance(ledger, RingLedger)
        mark = uuid.uuid4().hex[:8]
        files: list[ExportFile] = []
        for source in sources:
            try:
                rows = ledger.queries.timeline(source.recording, None, start_ns, stop_ns)
            except NoSuchThing:
                continue  # nothing was ever recorded
            recorded = recorded_stretches(rows)
            files += files_of(source, recorded, start_ns, stop_ns, self._file_ns, folder, mark)
            if len(files) > self._limits.files_per_operation:
                raise BadConfiguration(
                    "that is too much for one export",
                    argument="start",
                    expected=f"at most {self._limits.files_per_operation} files of {self._file_ns // 60_000_000_000} minutes",
                    got=f"{len(files)} files and more",
                )
        if not files:
            raise NothingRecorded("nothing is recorded there")
        return files

    async def _slots(self, files: Sequence[ExportFile]) -> set[SlotRef]:
        """Raises `BadConfiguration` when they are more of the ring than may be kept from recording."""
        refs: set[SlotRef] = set()
        store = self._ring.store
        most = len(store.table) // _HELD_SHARE if store is not None else 0
        for file in files:
            for track in file.source.tracks:
                begin_ns = max(0, file.start_ns - LOOK_BACK_NS)
                refs.update(extent.ref for extent in await find_extents(self._ring, track.id, begin_ns, file.stop_ns))
            if len(refs) > most:
                raise BadConfiguration(
                    "an export keeps what it reads from being recorded over, and this would be more than half the ring",
                    argument="start",
                    expected=f"at most {most} slots",
                    got=f"{len(refs)} slots and more",
                )
            await asyncio.sleep(0)  # each file's extents are work enough for one turn of the loop
        return refs

    # --- doing it ------------------------------------------------------------------------------------------

    async def _run(self, operation: Operation, job: _Job) -> None:
        """Raises ExportFailed."""
        try:
            await self._my_turn(operation, job)
            try:
                begin_ns = job.files[0].start_ns
                for number, file in enumerate(job.files):
                    following = job.files[number + 1] if number + 1 < len(job.files) else None
                    follows = following is not None and following.follows
                    stop_ns = await self._cut(following) if following is not None and follows else file.stop_ns
                    await self._file(operation, job, number, begin_ns, stop_ns)
                    begin_ns = stop_ns if following is None or follows else following.start_ns
            finally:
                self._turn.release()
        finally:
            job.held.end()

    async def _my_turn(self, operation: Operation, job: _Job) -> None:
        operation.detail = "waits for another export to end"
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_S):
                    await self._turn.acquire()
                operation.detail = ""
                return
            job.held.renew()

    async def _cut(self, file: ExportFile) -> int:
        """Where the file begins: wall time of its first key frame."""
        try:
            plan = await make_plan(self._ring, file.source.recording, file.source.tracks, file.start_ns, file.stop_ns)
        except (NothingRecorded, StoreUnavailable, OSError):
            return file.start_ns  # making the file says why
        return plan.start_ns

    async def _file(self, operation: Operation, job: _Job, number: int, start_ns: int, stop_ns: int) -> None:
        """Raises ExportFailed."""
        name, failed = job.files[number].name, 0
        while True:
            try:
                await self._once(operation, job, number, start_ns, stop_ns)
            except TooManyExports:
                operation.detail = "waits for another export to end"
                await self._clock.sleep(_LOOK_AGAIN_S)
                job.held.renew()
            except NothingRecorded:
                operation.note(f"{name}: deleted or expired before its turn; there is no such file")
                return
            except StoreUnavailable as error:
                raise ExportFailed(f"{name}: the disk is gone: {error.detail}") from error
            except DeliveryFailed as failure:
                failed += 1
                if failure.problem is not Problem.PASSING or failed == _ATTEMPTS:
                    raise ExportFailed(f"{name}: {failure.problem.value}: {failure.reason}") from failure
                operation.detail = f"{name} is sent anew: {failure.reason}"
                self._report(operation, job, number, 0.0)
                await self._clock.sleep(self._jitter(*_RETRY_S))
            else:
                operation.detail = ""
                self._report(operation, job, number, 1.0)
                return

    async def _once(self, operation: Operation, job: _Job, number: int, start_ns: int, stop_ns: int) -> None:
        """One try. Raises DeliveryFailed, ExportFailed, TooManyExports, NothingRecorded, StoreUnavailable."""
        file = job.files[number]
        try:
            running = await self._exports.export(
                recording=file.source.recording, tracks=file.source.tracks, start_ns=start_ns, stop_ns=stop_ns
            )
        except WorkerFailed as error:
            raise DeliveryFailed(Problem.PASSING, f"the export worker failed: {error}") from error
        try:
            estimated = max(1, running.plan.estimated_bytes)

            def told(answer: Delivered | Waiting) -> None:
                job.held.renew()
                if isinstance(answer, Waiting):
                    operation.detail = f"{answer.reason}; tries again in {answer.seconds:.0f} s"
                else:
                    operation.detail = ""
                    self._report(operation, job, number, min(0.99, answer.bytes / estimated))

            part_bytes = min(_PART_BYTES[1], max(_PART_BYTES[0], estimated // _PARTS))
            delivery = await Delivery.start(msgspec.structs.replace(job.works[number], part_bytes=part_bytes), told)
            try:
                async for piece in running:
                    await delivery.write(piece)
                    job.held.renew()
                trailer = running.trailer()
                if not trailer.complete:
                    raise ExportFailed(f"{file.name}: {trailer.reason}")
                await delivery.finish()
            finally:
                await delivery.aclose()
            for note in trailer.notes:
                operation.note(f"{file.name}: {note}")
        finally:
            await running.aclose()

    def _report(self, operation: Operation, job: _Job, number: int, progress: float) -> None:
        files = list(operation.files)
        files[number] = FileProgress(name=files[number].name, progress=progress)
        lengths = [file.stop_ns - file.start_ns for file in job.files]
        done = sum(length * each.progress for length, each in zip(lengths, files, strict=True))
        self._operations.report(operation, files, done / max(1, sum(lengths)))


@dataclass(frozen=True, slots=True)
class _Job:
    files: tuple[ExportFile, ...]
    works: tuple[Deliver, ...]  # with the credentials as they were at the start
    held: HeldSlots


def _impatient(work: Deliver) -> Deliver:
    """Somebody waits for the answer."""
    return msgspec.structs.replace(work, patience_s=5.0)
