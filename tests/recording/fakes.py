"""Neighbours of the recorder for tests: a ring that keeps what it is given, a camera that is told what to send, and the clocks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from recorderd.model.causes import GapCause
from recorderd.model.ports import (
    Anchor,
    DeletedMedia,
    DurableSink,
    Event,
    EventStreamRequest,
    FragmentBody,
    HeldSession,
    LockRefused,
    MediaLocked,
    Retention,
    StoreUnavailable,
    StreamRequest,
    StreamSession,
    StreamSink,
    WriterSpec,
)
from recorderd.model.stream import AccessUnit, Codec, MediaKind, SenderReport, TrackFormat
from recorderd.model.timeline import Lock, RunCause
from recorderd.rtsp.arrival import ArrivalEstimate
from tests.simulated_time import FakeClock

VIDEO = TrackFormat(Codec.H264, 90_000, config=b"avcc", width=640, height=360, frame_rate=10.0)
HEVC = TrackFormat(Codec.H265, 90_000, config=b"hvcc", width=640, height=360, frame_rate=10.0)
AUDIO = TrackFormat(Codec.PCMU, 8_000, sample_rate=8_000, channels=1)
METADATA = TrackFormat(Codec.ONVIF_METADATA, 90_000)


@dataclass
class Stored:
    """One appended fragment, with the samples' bytes as the disk would have them."""

    spec: WriterSpec
    run: int
    anchors: tuple[Anchor, ...]
    arrived_from_ns: int
    arrived_to_ns: int
    urgent: bool
    fragment: FragmentBody
    appended_ns: int
    durable_ns: int = 0


@dataclass
class FakeRun:
    id: int
    recording: uuid.UUID
    job: uuid.UUID
    source: str
    cause: RunCause
    tracks: tuple[uuid.UUID, ...]
    start_ns: int
    stop_ns: int | None = None


@dataclass
class FakeWriter:
    store: FakeStore
    _spec: WriterSpec
    sink: DurableSink
    closed: bool = False

    @property
    def spec(self) -> WriterSpec:
        return self._spec

    def append(
        self,
        fragment: FragmentBody,
        run: int,
        anchors: Sequence[Anchor],
        arrived_from_ns: int,
        arrived_to_ns: int,
        *,
        urgent: bool = False,
    ) -> None:
        assert not self.closed, "append after close"
        if self.store.refuses is not None:
            raise self.store.refuses
        assert run in self.store.runs, "append to a run that was never started"
        assert self.store.runs[run].stop_ns is None, "append to a run that has stopped"
        assert len(anchors) == len(fragment.runs)
        stored = Stored(
            self._spec,
            run,
            tuple(anchors),
            arrived_from_ns,
            arrived_to_ns,
            urgent,
            fragment,
            self.store.clock.boottime_ns(),
        )
        self.store.queue.append((self, stored))
        if urgent:
            self.store.urgent_commits += 1
            self.store.commit()

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeStore:
    """Implements `ports.MediaStore`. `tick` is one commit."""

    clock: FakeClock
    refuses: StoreUnavailable | None = None
    stalled: bool = False
    writers: list[FakeWriter] = field(default_factory=list)
    queue: list[tuple[FakeWriter, Stored]] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    runs: dict[int, FakeRun] = field(default_factory=dict)
    gaps: list[tuple[uuid.UUID, tuple[uuid.UUID, ...], GapCause, int, int | None]] = field(default_factory=list)
    feeders: list[Callable[[int], None]] = field(default_factory=list)
    urgent_commits: int = 0

    def open_writer(self, spec: WriterSpec, sink: DurableSink) -> FakeWriter:
        if self.refuses is not None:
            raise self.refuses
        writer = FakeWriter(self, spec, sink)
        self.writers.append(writer)
        return writer

    def start_run(
        self,
        recording: uuid.UUID,
        job: uuid.UUID,
        source: str,
        cause: RunCause,
        tracks: Sequence[uuid.UUID],
        at_ns: int,
    ) -> int:
        if self.refuses is not None:
            raise self.refuses
        run = FakeRun(len(self.runs) + 1, recording, job, source, cause, tuple(tracks), at_ns)
        self.runs[run.id] = run
        return run.id

    def stop_run(self, run: int, at_ns: int) -> None:
        assert self.runs[run].stop_ns is None, "stopped twice"
        self.runs[run].stop_ns = at_ns

    def note_gap(
        self, recording: uuid.UUID, tracks: Sequence[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int | None
    ) -> None:
        self.gaps.append((recording, tuple(tracks), cause, from_ns, to_ns))

    def before_tick(self, feeder: Callable[[int], None]) -> None:
        self.feeders.append(feeder)

    def tick(self) -> None:
        for feeder in self.feeders:
            feeder(self.clock.boottime_ns())
        self.commit()

    def commit(self) -> None:
        if self.stalled:
            return
        done, self.queue = self.queue, []
        for writer, stored in done:
            stored.durable_ns = self.clock.boottime_ns()
            self.stored.append(stored)
            writer.sink.durable(writer, stored.arrived_to_ns, 1)

    def samples(self, track: uuid.UUID) -> list[int]:
        """Presentation times of everything stored for a track, in the order it was stored."""
        found: list[int] = []
        for stored in self.stored:
            times = presentation_times(stored)
            for index, writer_track in enumerate(stored.spec.tracks):
                if writer_track.track == track:
                    found.extend(times.get(index, []))
        return found

    def running(self) -> list[FakeRun]:
        return [run for run in self.runs.values() if run.stop_ns is None]


def presentation_times(stored: Stored) -> dict[int, list[int]]:
    """Track -> times, read back from the bytes: every access unit of these tests begins with its own (metadata is left out)."""
    fragment = stored.fragment
    buffer = bytearray(fragment.size)
    fragment.write_into(memoryview(buffer), 1, [0] * len(stored.spec.tracks))
    at = buffer.index(b"mdat") + 4
    times: dict[int, list[int]] = {}
    for run in fragment.runs:
        if stored.spec.tracks[run.track].format.kind is MediaKind.METADATA:
            break
        for _ in range(run.count):
            times.setdefault(run.track, []).append(int.from_bytes(buffer[at + 8 : at + 16], "big"))
            at += int.from_bytes(buffer[at : at + 4], "big")
    return times


@dataclass
class FakeView:
    units: list[AccessUnit]
    past: list[HeldSession] = field(default_factory=list)

    def since(self, boottime_ns: int) -> Iterable[AccessUnit]:
        start = None
        for index, unit in enumerate(self.units):
            if unit.key and unit.track == 0 and (unit.arrival_ns <= boottime_ns or start is None):
                start = index
        return self.units[start:]

    def earlier(self, boottime_ns: int) -> Sequence[HeldSession]:
        return [
            replace(held, units=tuple(FakeView(list(held.units)).since(boottime_ns)))
            for held in self.past
            if held.units[-1].arrival_ns >= boottime_ns
        ]

    def held_s(self) -> float:
        return (self.units[-1].arrival_ns - self.units[0].arrival_ns) / 1e9 if self.units else 0.0


@dataclass
class FakeCameraEvents:
    """Implements `ports.CameraEventSink`."""

    documents: list[tuple[str, bytes]] = field(default_factory=list)
    lost_voices: list[uuid.UUID] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def submit(self, voice: uuid.UUID, device: str, document: bytes, arrival_ns: int) -> None:
        self.documents.append((device, document))

    def lost(self, voice: uuid.UUID) -> None:
        self.lost_voices.append(voice)

    def forget(self, device: str) -> None:
        self.forgotten.append(device)


@dataclass
class FakeEventStreams:
    """Implements `ports.EventStreams`."""

    requests: dict[str, EventStreamRequest] = field(default_factory=dict)

    def listen(self, request: EventStreamRequest) -> None:
        self.requests[request.device] = request

    def stop(self, device: str) -> None:
        del self.requests[device]

    def state(self, device: str) -> str:
        return "connecting" if device in self.requests else ""


class FakeTimes:
    """`ports.ArrivalTimes`: units are sent when they are captured, and arrive at once."""

    def __init__(self, formats: Sequence[TrackFormat]) -> None:
        self.estimates = [ArrivalEstimate(form.clock_rate) for form in formats]
        self.last = [0] * len(formats)

    def note(self, units: Sequence[AccessUnit]) -> None:
        for unit in units:
            self.estimates[unit.track].observe(unit.pts, unit.arrival_ns)
            self.last[unit.track] = unit.arrival_ns

    def arrival_ns(self, track: int, pts: int) -> int:
        return self.estimates[track].arrival_ns(pts)

    def last_ns(self, track: int) -> int:
        return self.last[track]


@dataclass
class FakeSource:
    """Implements `ports.StreamSource`, and is the cameras: every started receiver gets a session when `connect` is called."""

    clock: FakeClock
    requests: dict[uuid.UUID, StreamRequest] = field(default_factory=dict)
    sinks: dict[uuid.UUID, StreamSink] = field(default_factory=dict)
    sessions: dict[uuid.UUID, StreamSession] = field(default_factory=dict)
    buffers: dict[uuid.UUID, list[AccessUnit]] = field(default_factory=dict)
    past: dict[uuid.UUID, list[HeldSession]] = field(default_factory=dict)
    serial: int = 0
    starts: int = 0
    stops: int = 0
    frames: dict[uuid.UUID, int] = field(default_factory=dict)
    gop: int = 10
    unit_bytes: int = 2_000
    prebuffer_limit_s: float = 3600.0  # longer pre-buffers do not fit

    def prebuffer_fits(self, request: StreamRequest) -> str:
        return "" if request.prebuffer_s <= self.prebuffer_limit_s else f"{request.prebuffer_s:g} s do not fit"

    def start(self, request: StreamRequest, sink: StreamSink) -> None:
        self.starts += 1
        self.requests[request.receiver] = request
        self.sinks[request.receiver] = sink

    def stop(self, receiver: uuid.UUID) -> None:
        self.stops += 1
        if receiver in self.sessions:
            self.disconnect(receiver, GapCause.CONFIGURATION)
        del self.requests[receiver]
        del self.sinks[receiver]
        self.buffers.pop(receiver, None)
        self.past.pop(receiver, None)

    def prebuffer(self, receiver: uuid.UUID) -> FakeView | None:
        return FakeView(self.buffers.get(receiver, []), self.past.get(receiver, []))

    # --- the cameras ---------------------------------------------------------------------------------------

    def connect(self, receiver: uuid.UUID, formats: Sequence[TrackFormat] = (VIDEO, AUDIO, METADATA)) -> StreamSession:
        self.serial += 1
        times = FakeTimes(formats)
        session = StreamSession(receiver, self.serial, tuple(formats), self.clock.boottime_ns(), times)
        self.sessions[receiver] = session
        self.frames[receiver] = 0
        self.buffers[receiver] = []
        self.sinks[receiver].session_opened(session)
        return session

    def disconnect(self, receiver: uuid.UUID, cause: GapCause = GapCause.CAMERA_CLOSED) -> None:
        session = self.sessions.pop(receiver)
        if units := tuple(self.buffers[receiver]):
            held = HeldSession(session, session.formats, (None,) * len(session.formats), units, cause)
            self.past.setdefault(receiver, []).append(held)
        self.buffers[receiver] = []
        self.sinks[receiver].session_closed(session, cause, cause.name)

    def refuse(self, receiver: uuid.UUID, cause: GapCause, detail: str) -> None:
        """No session comes to be."""
        self.sinks[receiver].no_session(receiver, cause, detail, 1.0)

    def frame(self, receiver: uuid.UUID, document: bytes = b"", *, step_ms: int = 100) -> None:
        """One picture and the audio that goes with it, and a metadata document if there is one."""
        session = self.sessions[receiver]
        number = self.frames[receiver]
        self.frames[receiver] = number + 1
        units = []
        for track, form in enumerate(session.formats):
            if form.kind is MediaKind.METADATA:
                if document:
                    pts = number * step_ms * form.clock_rate // 1000
                    units.append(AccessUnit(track, pts, document, self.clock.boottime_ns()))
                continue
            pts = number * step_ms * form.clock_rate // 1000
            key = form.kind is not MediaKind.VIDEO or number % self.gop == 0
            size = self.unit_bytes if form.kind is MediaKind.VIDEO else 160
            units.append(AccessUnit(track, pts, unit_bytes(track, pts, size), self.clock.boottime_ns(), key))
        if self.requests[receiver].prebuffer_s > 0:
            self.buffers[receiver] = (self.buffers[receiver] + units)[-400:]
            while self.buffers[receiver] and not (
                self.buffers[receiver][0].key and self.buffers[receiver][0].track == 0
            ):
                self.buffers[receiver].pop(0)
        self.deliver(session, units)

    def deliver(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        assert isinstance(session.times, FakeTimes)
        session.times.note(units)
        self.sinks[session.receiver].units(session, units)

    def report(self, receiver: uuid.UUID, track: int, report: SenderReport) -> None:
        self.sinks[receiver].sender_report(self.sessions[receiver], track, report)


def unit_bytes(track: int, pts: int, size: int) -> bytes:
    """Says its own size, track and presentation time, so that what is stored can be read back."""
    return size.to_bytes(4, "big") + bytes((track, 0, 0, 0)) + pts.to_bytes(8, "big") + bytes(size - 16)


@dataclass
class Ears:
    """Implements `ports.EventSink`: remembers."""

    events: list[Event] = field(default_factory=list)

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def of(self, topic: str) -> list[Event]:
        return [e for e in self.events if e.topic == topic]


@dataclass
class FakeArchive:
    """Implements `ports.MediaArchive` over nothing: remembers what it is asked."""

    missing: StoreUnavailable | None = None
    deleted: list[tuple[uuid.UUID, uuid.UUID | None, int | None, int | None, int | None]] = field(default_factory=list)
    held: list[Lock] = field(default_factory=list)
    retention: dict[uuid.UUID, Retention] = field(default_factory=dict)
    listeners: list[Callable[[uuid.UUID, uuid.UUID, int, int], None]] = field(default_factory=list)
    full: bool = False

    async def delete(
        self,
        recording: uuid.UUID,
        *,
        track: uuid.UUID | None = None,
        run: int | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> DeletedMedia:
        if self.missing is not None:
            raise self.missing
        if locks := self.locked(recording, track):
            raise MediaLocked(locks)
        self.deleted.append((recording, track, run, start_ns, stop_ns))
        for listener in self.listeners:
            listener(recording, track or uuid.UUID(int=0), start_ns or 0, stop_ns or 10**18)
        return DeletedMedia(1, 4096, 0)

    async def lock(
        self,
        recording: uuid.UUID,
        start_ns: int,
        stop_ns: int,
        owner: str,
        reason: str,
        tracks: Sequence[uuid.UUID] = (),
    ) -> Lock:
        if self.full:
            raise LockRefused("the lock needs 12 slots, 3 can be spared")
        lock = Lock(len(self.held) + 1, recording, start_ns, stop_ns, owner, reason, tuple(tracks))
        self.held.append(lock)
        return lock

    async def unlock(self, lock: int) -> bool:
        before = len(self.held)
        self.held = [held for held in self.held if held.id != lock]
        return len(self.held) < before

    def locks(self) -> Sequence[Lock]:
        return list(self.held)

    def locked(self, recording: uuid.UUID, track: uuid.UUID | None = None) -> tuple[int, ...]:
        if self.missing is not None:
            raise self.missing
        return tuple(
            h.id for h in self.held if h.recording == recording and (not h.tracks or track is None or track in h.tracks)
        )

    def set_retention(self, recording: uuid.UUID, retention: Retention) -> None:
        self.retention[recording] = retention

    def on_vanished(self, listener: Callable[[uuid.UUID, uuid.UUID, int, int], None]) -> None:
        self.listeners.append(listener)
