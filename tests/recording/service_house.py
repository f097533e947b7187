"""The whole service over a real state file, with faked neighbours and simulated time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from recorderd.events.broker import Broker
from recorderd.events.history import History
from recorderd.model.job import JobRequest, RecordingJob, SourceRequest
from recorderd.model.limits import Limits
from recorderd.model.objects import Change, Objects
from recorderd.model.ports import Event
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import Recording, RecordingConfiguration
from recorderd.recording.service import RecordingService
from recorderd.state.store import Store
from tests.recording.fakes import FakeArchive, FakeCameraEvents, FakeEventStreams, FakeSource, FakeStore
from tests.simulated_time import FakeClock, run_simulated

AUTO = (SourceRequest(auto_create_receiver=True),)


@dataclass
class DirectStore:
    """The state file without its thread: simulated time does not wait for threads."""

    store: Store

    def load(self) -> Objects:
        return self.store.load()

    async def commit(self, change: Change) -> None:
        self.store.commit_now(change)

    def secret(self, kind: str, key: str, name: str) -> str | None:
        return self.store.secret(kind, key, name)


@dataclass
class ServiceHouse:
    clock: FakeClock
    path: Path
    limits: Limits = field(default_factory=Limits)
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        self.state = Store.open(self.path)
        self.store = FakeStore(self.clock)
        self.source = FakeSource(self.clock)
        self.archive = FakeArchive()
        self.broker = Broker(clock=self.clock, history=History())
        self.events: list[Event] = []
        self.broker.listen(self.events.append)
        self.cameras = FakeCameraEvents()
        self.streams = FakeEventStreams()
        self.service = RecordingService(
            state=DirectStore(self.state),
            store=self.store,
            archive=self.archive,
            source=self.source,
            broker=self.broker,
            clock=self.clock,
            camera_events=self.cameras,
            event_streams=self.streams,
            limits=self.limits,
            time_zone=lambda: self.time_zone,
        )

    def of(self, topic: str) -> list[Event]:
        return [e for e in self.events if e.topic == topic]

    async def seconds(self, count: float, *receivers: uuid.UUID) -> None:
        """Time passes with ten pictures a second from every receiver given and a commit each second."""
        for _ in range(round(count * 10)):
            await asyncio.sleep(0.1)
            for receiver in receivers:
                self.source.frame(receiver)
            if round(self.clock.boottime_ns() / 1e8) % 10 == 0:
                self.store.tick()

    async def new_receiver(self, name: str = "a") -> tuple[str, uuid.UUID]:
        receiver = await self.service.create_receiver(ReceiverConfiguration(media_uri=f"rtsp://192.0.2.1/{name}"))
        return receiver.token, receiver.id

    async def one_job(self) -> tuple[Recording, RecordingJob, uuid.UUID]:
        """An active job that records one receiver, not yet connected."""
        recording = await self.service.create_recording(RecordingConfiguration())
        token, receiver = await self.new_receiver()
        job = await self.service.create_job(
            JobRequest(recording=recording.token, mode="Active", sources=(SourceRequest(token=token),))
        )
        return recording, job, receiver


@contextlib.asynccontextmanager
async def living(house: ServiceHouse) -> AsyncIterator[ServiceHouse]:
    """With the service's own task running."""
    task = asyncio.create_task(house.service.run())
    await asyncio.sleep(0)
    try:
        yield house
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        house.store.tick()
        house.state.close()


def play(tmp_path: Path, story: Callable[[ServiceHouse], Awaitable[None]], limits: Limits | None = None) -> None:
    """A story in simulated time over the state file of `tmp_path`, which the next one finds again."""

    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s", limits=limits or Limits())) as house:
            await story(house)

    run_simulated(main)


def sources(events: list[Event], *names: str) -> list[tuple[str, ...]]:
    return [tuple(dict(e.source)[n] for n in names) for e in events]
