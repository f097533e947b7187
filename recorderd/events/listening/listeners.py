"""The event streams of all devices that have one of their own: a supervised task for each."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial

from recorderd.events.cameras import CameraEvents, NotRead
from recorderd.events.listening.connecting import NotHeard
from recorderd.events.notification import Answer, Kind
from recorderd.model.ports import Clock, EventStreamRequest
from recorderd.model.supervision import Backoff, supervise

log = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=1.0, most_s=60.0)
LISTENING = "listening"
Transport = tuple[Callable[..., Awaitable[None]], Kind]  # `listen` of its module


def _pull_point() -> Transport:
    from recorderd.events.listening import pullpoint

    return pullpoint.listen, Kind.XML


def _websocket() -> Transport:
    from recorderd.events.listening import websocket

    return websocket.listen, Kind.JSON


class Listeners:
    """Implements `ports.EventStreams`. `listen` and `stop` may be called at any time; streams run while `run` does."""

    def __init__(
        self,
        *,
        events: CameraEvents,
        clock: Clock,
        backoff: Backoff = BACKOFF,
        chance: random.Random | None = None,
    ) -> None:
        self._events = events
        self._clock = clock
        self._backoff = backoff
        self._chance = chance or random.Random()
        self._wanted: dict[str, EventStreamRequest] = {}
        self._states: dict[str, str] = {}
        self._transports: dict[str, Transport] = {}
        self._changed = asyncio.Event()
        self.attempts = 0

    def listen(self, request: EventStreamRequest) -> None:
        self._wanted[request.device] = request
        self._states[request.device] = "connecting"
        self._changed.set()

    def stop(self, device: str) -> None:
        self._wanted.pop(device, None)
        self._states.pop(device, None)
        self._changed.set()

    def state(self, device: str) -> str:
        return self._states.get(device, "")

    async def run(self) -> None:
        """Until cancelled."""
        running: dict[str, tuple[EventStreamRequest, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                for device, (request, task) in list(running.items()):
                    if self._wanted.get(device) != request:
                        task.cancel()
                        await asyncio.wait([task])
                        del running[device]
                for device, request in self._wanted.items():
                    if device not in running:
                        running[device] = request, group.create_task(self._keep(request), name=f"events of {device}")
                await self._changed.wait()

    async def _keep(self, request: EventStreamRequest) -> None:
        await supervise(
            partial(self._hear, request),
            expected=(NotHeard, NotRead),
            on_failure=partial(self._failed, request),
            clock=self._clock,
            backoff=self._backoff,
            chance=self._chance,
        )

    def _failed(self, request: EventStreamRequest, error: Exception, delay_s: float) -> None:
        before = self._states.get(request.device)
        self._note(request, str(error))
        if before != str(error):
            log.warning("%s: its events are not heard: %s; next attempt in %.0f s", request.device, error, delay_s)

    def _granted(self, request: EventStreamRequest) -> None:
        log.info("%s: its events are heard", request.device)
        self._note(request, LISTENING)

    def _note(self, request: EventStreamRequest, state: str) -> None:
        if self._wanted.get(request.device) is request:
            self._states[request.device] = state

    async def _hear(self, request: EventStreamRequest) -> None:
        self.attempts += 1
        listen, kind = await self._transport(request.transport)
        try:
            await listen(
                request,
                read=partial(self._read, request, kind),
                granted=partial(self._granted, request),
                clock=self._clock,
            )
        finally:
            self._events.lost(request.voice)

    async def _transport(self, name: str) -> Transport:
        """Each takes some MiB that few recorders need, and longer to load than the loop may be held: a thread does it."""
        if name not in self._transports:
            self._transports[name] = await asyncio.to_thread(_pull_point if name == "pullpoint" else _websocket)
        return self._transports[name]

    async def _read(self, request: EventStreamRequest, kind: Kind, document: bytes, arrival_ns: int) -> Answer:
        return await self._events.read(request.voice, request.device, kind, document, arrival_ns)
