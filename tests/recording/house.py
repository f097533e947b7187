"""A recorder with everything around it faked but the objects, the engine and the fragmenter."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recorderd.model.job import EventFilter, JobConfiguration, JobMode, JobSource, JobState, JobTrack, RecordingJob
from recorderd.model.objects import Change, Draft, Objects, apply
from recorderd.model.ports import Event
from recorderd.model.receiver import Receiver, ReceiverConfiguration
from recorderd.model.recording import Recording, RecordingConfiguration, Track, TrackConfiguration, TrackType
from recorderd.recording.engine import Engine
from recorderd.recording.timetable import Timetable
from tests.recording.fakes import Ears, FakeSource, FakeStore
from tests.simulated_time import FakeClock

TICK_NS = 1_000_000_000


@dataclass
class House:
    """Objects are put directly; `commit` makes them count, as the service does after the state file has them.

    `store` and `source` are fakes unless others are given.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    media_ram_bytes: int = 64 << 20
    store: Any = None
    source: Any = None

    def __post_init__(self) -> None:
        self.objects = Objects()
        self.store = self.store or FakeStore(self.clock)
        self.source = self.source or FakeSource(self.clock)
        self.ears = Ears()
        self.properties: list[Event] = []
        self.encodings: list[tuple[str, str, str]] = []
        self.documents: list[bytes] = []
        self.lost: list[uuid.UUID] = []
        self.engine = Engine(
            objects=self.objects,
            store=self.store,
            source=self.source,
            events=self.ears,
            clock=self.clock,
            timetable=Timetable(objects=self.objects, clock=self.clock, time_zone="UTC"),
            password=lambda device: "",
            properties=lambda: self.properties,
            note_encoding=self._note_encoding,
            metadata=lambda receiver, document, arrival_ns: self.documents.append(document),
            camera_lost=self.lost.append,
            tick_ns=TICK_NS,
            media_ram_bytes=self.media_ram_bytes,
        )
        self.store.before_tick(self.engine.tick)

    def _note_encoding(self, recording: str, track: str, codec: str) -> None:
        self.encodings.append((recording, track, codec))

    def draft(self) -> Draft:
        return Draft(self.objects)

    def commit(self, draft: Draft) -> Change:
        apply(self.objects, draft.change)
        self.engine.apply(draft.change)
        return draft.change

    def recording(self, token: str = "rec", extra: Sequence[tuple[str, TrackType]] = ()) -> Recording:
        tracks = [("VIDEO001", TrackType.VIDEO), ("AUDIO001", TrackType.AUDIO), ("META001", TrackType.METADATA), *extra]
        recording = Recording(
            id=uuid.uuid4(),
            token=token,
            configuration=RecordingConfiguration(),
            tracks=tuple(
                Track(id=uuid.uuid4(), token=t, configuration=TrackConfiguration(type=kind)) for t, kind in tracks
            ),
        )
        draft = self.draft()
        draft.recordings.put(recording)
        self.commit(draft)
        return recording

    def receiver(self, token: str = "r1", **configuration: object) -> Receiver:
        configuration.setdefault("media_uri", f"rtsp://192.0.2.1/{token}")
        receiver = Receiver(id=uuid.uuid4(), token=token, configuration=ReceiverConfiguration(**configuration))  # type: ignore[arg-type]
        draft = self.draft()
        draft.receivers.put(receiver)
        self.commit(draft)
        return receiver

    def job(
        self,
        token: str,
        recording: str = "rec",
        sources: Sequence[tuple[str, Sequence[str]]] = (("r1", ("VIDEO001", "AUDIO001", "META001")),),
        *,
        priority: int = 0,
        mode: JobMode = JobMode.ACTIVE,
        schedule: str = "",
        event_filter: EventFilter | None = None,
    ) -> RecordingJob:
        draft = self.draft()
        old = draft.jobs.get(token)
        job = RecordingJob(
            id=old.id if old is not None else uuid.uuid4(),
            token=token,
            activation=draft.number("activation"),
            configuration=JobConfiguration(
                recording=recording,
                mode=mode,
                priority=priority,
                schedule=schedule,
                event_filter=event_filter,
                sources=tuple(
                    JobSource(token=receiver, tracks=tuple(JobTrack(destination=t) for t in tracks))
                    for receiver, tracks in sources
                ),
            ),
        )
        draft.jobs.put(job)
        self.commit(draft)
        return job

    def delete_job(self, token: str) -> None:
        draft = self.draft()
        draft.jobs.delete(token)
        self.commit(draft)

    def state(self, job: str) -> JobState:
        state = self.engine.publisher.state(job)
        assert state is not None
        return state

    def play(self, seconds: float, *receivers: uuid.UUID) -> None:
        """Ten pictures a second from every receiver given, and a commit each second."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            for receiver in receivers:
                self.source.frame(receiver)
            self.engine.advance()
            if round(self.clock.boottime_ns() / 1e8) % 10 == 0:
                self.store.tick()

    def event(self, topic: str, source: dict[str, str], data: dict[str, str], operation: str = "Changed") -> None:
        event = Event(
            topic,
            tuple(source.items()),
            tuple(data.items()),
            operation,
            utc_ns=self.clock.realtime_ns(),
            boottime_ns=self.clock.boottime_ns(),
        )
        self.engine.take_event(event)
