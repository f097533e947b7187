"""A recorder's ears in a test: broker, parser, listeners, and cameras' web servers to hear."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from hw.sim.camera.event_server import EventServer
from hw.sim.camera.metadata import VMD4, StatefulEvent, WithEvents
from hw.sim.camera.rtp import Media
from hw.sim.camera.source import Playback
from recorderd.events.broker import Broker
from recorderd.events.cameras import UNIVERSAL_MOTION, CameraEvents
from recorderd.events.history import History
from recorderd.events.listening.listeners import Listeners
from recorderd.events.notification import Kind
from recorderd.events.reader import Reader, Taken
from recorderd.model.ports import Clock, Event, EventStreamRequest
from recorderd.model.supervision import Backoff
from recorderd.workers.camera_events import answer


class NoMedia:
    """A camera that has nothing but events."""

    media: tuple[Media, ...] = ()

    def play(self, tracks: frozenset[int], wake: Callable[[], None]) -> Playback:
        raise NotImplementedError

    def change_parameter_sets(self) -> None:
        raise NotImplementedError


def camera_with(*events: StatefulEvent) -> WithEvents:
    return WithEvents(NoMedia(), events or (VMD4,))


class ReadHere(Reader):
    """Parses documents here and now: the worker's process would be overtaken by simulated time."""

    def submit(self, owner: str, kind: Kind, data: bytes, taken: Taken) -> bool:
        self.documents += 1
        taken(answer(kind, data))
        return True


class Ears:
    def __init__(self, clock: Clock, *, reader: Reader | None = None, backoff: Backoff | None = None) -> None:
        self.clock = clock
        self.broker = Broker(clock=clock, history=History())
        self.heard: list[Event] = []
        self.broker.listen(self._hear)
        self.reader = reader or ReadHere(clock=clock)
        self.events = CameraEvents(broker=self.broker, reader=self.reader)
        self.listeners = Listeners(
            events=self.events, clock=clock, backoff=backoff or Backoff(), chance=random.Random(1)
        )
        self._happened = asyncio.Event()

    def _hear(self, event: Event) -> None:
        self.heard.append(event)
        self._happened.set()

    def motion(self, device: str = "cam") -> list[str]:
        """What UniversalMotionDetection has said of a device."""
        found = [e for e in self.heard if e.topic == UNIVERSAL_MOTION and dict(e.source)["device"] == device]
        return [dict(e.data)["active"] for e in found]

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Asked again after each event."""
        while not predicate():
            self._happened.clear()
            await self._happened.wait()

    async def until_state(self, said: str, device: str = "cam") -> None:
        """States change without an event."""
        while said not in self.listeners.state(device):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def asks(server: EventServer, transport: str = "websocket", device: str = "cam", **given: object) -> EventStreamRequest:
    request = EventStreamRequest(
        device=device,
        voice=uuid.uuid5(uuid.NAMESPACE_DNS, device),
        transport=transport,
        host=server.host,
        port=server.port,
        encrypted=False,
    )
    return replace(request, **given)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def hearing(ears: Ears) -> AsyncIterator[Ears]:
    tasks = [asyncio.create_task(ears.listeners.run()), asyncio.create_task(ears.reader.run())]
    try:
        yield ears
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
