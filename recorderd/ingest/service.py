"""The ingest service: all receivers' streams (`ports.StreamSource`), and what they tell of the cameras (`ports.HealthSource`)."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence

from recorderd.ingest.stream import Stream, StreamStatus
from recorderd.ingest.sweep import Sweep
from recorderd.model.causes import GapCause
from recorderd.model.ports import CameraHealth, Clock, PreBufferView, StreamRequest, StreamSink


class Ingest:
    """`start` and `stop` may be called at any time; streams run while `run` does."""

    def __init__(self, *, clock: Clock, sweep_s: float = 0.045, chance: random.Random | None = None) -> None:
        self._clock = clock
        self._chance = chance or random.Random()
        self.sweep = Sweep(clock=clock, period_s=sweep_s)
        self._streams: dict[uuid.UUID, Stream] = {}
        self._serials: dict[uuid.UUID, int] = {}
        self._group: asyncio.TaskGroup | None = None
        self._ending: dict[uuid.UUID, asyncio.Event] = {}

    async def run(self) -> None:
        """Until cancelled; sessions get their TEARDOWN first when `close` was awaited before."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self.sweep.run())
            for stream in self._streams.values():
                group.create_task(self._carry(stream))

    async def close(self) -> None:
        """Stops every stream, each with a TEARDOWN, and waits for that (at most `STOP_WAIT_S`)."""
        for receiver in list(self._streams):
            self.stop(receiver)
        for event in list(self._ending.values()):
            await event.wait()

    # --- ports.StreamSource ------------------------------------------------------------------------------

    def start(self, request: StreamRequest, sink: StreamSink) -> None:
        before = self._streams.get(request.receiver)
        if before is not None and before.request == request and before.sink is sink:
            return
        if before is not None:
            self.stop(request.receiver)
        stream = Stream(
            request=request,
            sink=sink,
            clock=self._clock,
            sweep=self.sweep,
            chance=self._chance,
            first_serial=self._serials.get(request.receiver, 1),
        )
        self._streams[request.receiver] = stream
        if self._group is not None:
            self._group.create_task(self._carry(stream))

    def stop(self, receiver: uuid.UUID) -> None:
        stream = self._streams.pop(receiver, None)
        if stream is not None:
            stream.stop()

    def prebuffer(self, receiver: uuid.UUID) -> PreBufferView | None:  # noqa: ARG002
        return None

    async def _carry(self, stream: Stream) -> None:
        receiver = stream.request.receiver
        # Never two sessions to one camera: a replaced stream's last session ends before the next begins.
        while (ending := self._ending.get(receiver)) is not None:
            await ending.wait()
        ended = self._ending[receiver] = asyncio.Event()
        try:
            await stream.run()
        finally:
            self._serials[receiver] = stream.next_serial
            del self._ending[receiver]
            ended.set()

    # --- ports.HealthSource ------------------------------------------------------------------------------

    def health(self) -> Sequence[CameraHealth]:
        devices: dict[uuid.UUID, list[Stream]] = {}
        for stream in self._streams.values():
            devices.setdefault(stream.request.device or stream.request.receiver, []).append(stream)
        return [_health(device, streams) for device, streams in devices.items()]

    def rescue_began(self, device: uuid.UUID, detail: str) -> None:
        for stream in self._streams.values():
            if (stream.request.device or stream.request.receiver) == device:
                stream.rescue_began(detail)

    # --- for status --------------------------------------------------------------------------------------

    def statuses(self) -> dict[uuid.UUID, StreamStatus]:
        return {receiver: stream.current_status() for receiver, stream in self._streams.items()}


def _health(device: uuid.UUID, streams: list[Stream]) -> CameraHealth:
    """One device is as well as the best of its streams: the rescue must not cycle a camera that still delivers one."""
    statuses = [stream.current_status() for stream in streams]
    best = max(statuses, key=lambda status: status.last_byte_ns)
    streaming = any(status.cause is None for status in statuses)
    silence = None if streaming else best.cause or GapCause.UNKNOWN
    return CameraHealth(
        device=device,
        name=streams[0].request.name,
        address=best.peer or streams[0].host,
        last_byte_ns=best.last_byte_ns,
        streaming=streaming,
        silence=silence,
        fresh_sessions_without_media=min(status.fresh_sessions_without_media for status in statuses),
    )
