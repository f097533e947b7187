"""The recorder's way from socket to disk in simulated time: real cameras' RTSP over real sockets, ingest, recording, the ring on a disk
in memory, and the ledger. A simulated day takes minutes."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from hw.sim.camera import Camera
from recorderd.ingest.service import Ingest
from recorderd.model.causes import GapCause
from recorderd.model.job import JobConfiguration, JobMode, JobSource, JobTrack, RecordingJob
from recorderd.model.media_ram import MediaRam
from recorderd.model.objects import Draft, Objects, apply
from recorderd.model.ports import (
    Anchor,
    DurableSink,
    Event,
    FragmentBody,
    StreamRequest,
    StreamSession,
    StreamSink,
    Writer,
    WriterSpec,
)
from recorderd.model.receiver import Receiver, ReceiverConfiguration
from recorderd.model.recording import Recording, RecordingConfiguration, Track, TrackConfiguration, TrackType
from recorderd.model.stream import AccessUnit, MediaKind
from recorderd.recording.engine import Engine
from recorderd.recording.timetable import Timetable
from recorderd.ring.disk_threads import InlineCalls
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.timeline import bars
from recorderd.ring.ring import Ring
from tests.ring.fakes import BOOT, formatted
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock

TRACKS = [("VIDEO001", TrackType.VIDEO), ("AUDIO001", TrackType.AUDIO)]
MEDIA_RAM = 64 << 20

Heard = Callable[[StreamSession, Sequence[AccessUnit]], None]
Durable = Callable[[uuid.UUID, int], None]


class CountingSource:
    """`ports.StreamSource` in front of ingest: counts the access units that arrive for each receiver, from each session's first key picture
    on: a recording begins where a decoder can."""

    def __init__(self, inner: Ingest, heard: Heard) -> None:
        self._inner = inner
        self._heard = heard
        self.arrived: dict[uuid.UUID, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def start(self, request: StreamRequest, sink: StreamSink) -> None:
        self._inner.start(request, CountingSink(sink, self.arrived, self._heard))


class CountingSink:
    def __init__(self, inner: StreamSink, arrived: dict[uuid.UUID, int], heard: Heard) -> None:
        self._inner, self._arrived, self._heard = inner, arrived, heard
        self._begun = 0  # serial of the session whose first key picture has come

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CountingSink) and other._inner is self._inner

    __hash__ = None  # type: ignore[assignment]

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        for unit in units:
            if unit.key and session.formats[unit.track].kind is MediaKind.VIDEO:
                self._begun = session.serial
            if self._begun == session.serial:
                self._arrived[session.receiver] = self._arrived.get(session.receiver, 0) + 1
        self._heard(session, units)
        self._inner.units(session, units)


class CountingWriter:
    """Counts the samples that reach the ring, for each receiver."""

    def __init__(self, inner: Any, spec: WriterSpec, appended: dict[uuid.UUID, int]) -> None:
        self._inner, self.spec, self._appended = inner, spec, appended

    def append(
        self, fragment: FragmentBody, run: int, anchors: Sequence[Anchor], from_ns: int, to_ns: int, **options: bool
    ) -> None:
        self._inner.append(fragment, run, anchors, from_ns, to_ns, **options)
        count = sum(part.count for part in fragment.runs)
        self._appended[self.spec.receiver] = self._appended.get(self.spec.receiver, 0) + count

    def close(self) -> None:
        self._inner.close()


class TellingSink:
    """`ports.DurableSink` that also tells the test."""

    def __init__(self, inner: DurableSink, durable: Durable) -> None:
        self._inner, self._durable = inner, durable

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def durable(self, writer: Writer, through_ns: int, fragments: int) -> None:
        self._durable(writer.spec.receiver, through_ns)
        self._inner.durable(writer, through_ns, fragments)


class CountingRing:
    """`ports.MediaStore` in front of the ring."""

    def __init__(self, inner: Ring, durable: Durable) -> None:
        self._inner = inner
        self._durable = durable
        self.appended: dict[uuid.UUID, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open_writer(self, spec: WriterSpec, sink: DurableSink) -> CountingWriter:
        return CountingWriter(self._inner.open_writer(spec, TellingSink(sink, self._durable)), spec, self.appended)


class Nobody:
    """`ports.EventSink` that remembers nothing: a day's events must not look like a leak."""

    def publish(self, event: Event) -> None: ...


class Rig:
    """Records every camera given, continuously, from entering to leaving.

    `heard(session, units)` is told of all units that arrive, `durable(receiver, through_ns)` of what reached the disk, `metadata(receiver,
    document, arrival_ns)` of metadata documents; `properties` are the property events in force.
    """

    def __init__(
        self,
        clock: FakeClock,
        cameras: Sequence[Camera],
        *,
        slots: int = 64,
        slot_bytes: int = 1 << 20,
        heard: Heard = lambda _session, _units: None,
        durable: Durable = lambda _receiver, _through_ns: None,
        metadata: Callable[[uuid.UUID, bytes, int], None] = lambda _receiver, _document, _arrival_ns: None,
        properties: Callable[[], Iterable[Event]] = lambda: (),
    ) -> None:
        self.clock, self.cameras = clock, cameras
        self.disk, self.objects = SimDisk(), Objects()
        self._slots, self._slot_bytes = slots, slot_bytes
        self.ledger = RingLedger(clock=clock)
        self.inner_ring = Ring(
            open_device=lambda: self.disk, make_calls=InlineCalls, ledger=self.ledger, clock=clock, boot_id=BOOT
        )
        self.ring = CountingRing(self.inner_ring, durable)
        self.media_ram = MediaRam(MEDIA_RAM)
        self.ingest = Ingest(clock=clock, media_ram=self.media_ram, chance=random.Random(1))
        self.source = CountingSource(self.ingest, heard)
        self.engine = Engine(
            objects=self.objects,
            store=self.ring,  # type: ignore[arg-type]
            source=self.source,  # type: ignore[arg-type]
            events=Nobody(),
            clock=clock,
            timetable=Timetable(objects=self.objects, clock=clock, time_zone="UTC"),
            password=lambda _device: "",
            properties=properties,
            note_encoding=lambda *_: None,
            metadata=metadata,
            camera_lost=lambda _receiver: None,
            tick_ns=1_000_000_000,
            media_ram_bytes=MEDIA_RAM,
        )
        self.ring.before_tick(self.engine.tick)
        self.recordings = {camera.name: uuid.uuid4() for camera in cameras}
        self.receivers = {camera.name: uuid.uuid4() for camera in cameras}
        self.video = {camera.name: uuid.uuid4() for camera in cameras}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await formatted(self.disk, slots=self._slots, slot_bytes=self._slot_bytes)
        assert await self.inner_ring.mount()
        draft = Draft(self.objects)
        for camera in self.cameras:
            self._put(draft, camera)
        apply(self.objects, draft.change)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.inner_ring.run()), loop.create_task(self.ingest.run())]
        self.engine.apply(draft.change)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.ingest.close()
        self._tasks[1].cancel()
        await self.inner_ring.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            if not task.cancelled() and task.exception() is not None and error is None:
                raise task.exception()  # type: ignore[misc]

    def _put(self, draft: Draft, camera: Camera) -> None:
        name = camera.name
        configuration = ReceiverConfiguration(media_uri=camera.url)
        draft.receivers.put(Receiver(id=self.receivers[name], token=f"receiver-{name}", configuration=configuration))
        tracks = tuple(
            Track(
                id=self.video[name] if kind is TrackType.VIDEO else uuid.uuid4(),
                token=token,
                configuration=TrackConfiguration(type=kind),
            )
            for token, kind in TRACKS
        )
        recording = Recording(
            id=self.recordings[name], token=name, configuration=RecordingConfiguration(), tracks=tracks
        )
        draft.recordings.put(recording)
        source = JobSource(token=f"receiver-{name}", tracks=tuple(JobTrack(destination=token) for token, _ in TRACKS))
        job = JobConfiguration(recording=name, mode=JobMode.ACTIVE, sources=(source,))
        draft.jobs.put(
            RecordingJob(id=uuid.uuid4(), token=f"job-{name}", activation=draft.number("activation"), configuration=job)
        )

    # --- what came of it

    def timeline(self, name: str) -> list[tuple[GapCause | None, float, float]]:
        """(cause of the gap, or None where there is video; from; to) in seconds of boot time, of the camera's video track."""
        offset_ns = self.clock.realtime_ns() - self.clock.boottime_ns()
        rows = self.ledger.queries.timeline(
            self.recordings[name], self.video[name], 0, self.clock.realtime_ns() + 10**9
        )
        return [
            (bar.cause, (bar.start_ns - offset_ns) / 1e9, (bar.stop_ns - offset_ns) / 1e9)
            for bar in bars(rows, self.video[name])
        ]

    def counts(self, name: str) -> tuple[int, int]:
        """(access units that arrived, samples that the ring was given)."""
        receiver = self.receivers[name]
        return self.source.arrived.get(receiver, 0), self.ring.appended.get(receiver, 0)
