"""The ingest service: all receivers' streams (`ports.StreamSource`), what they tell of the cameras
(`ports.HealthSource`), and what the network tells them (`ports.LinkObserver`)."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from recorderd.ingest.alarms import Alarm, Alarms
from recorderd.ingest.connecting import reachable
from recorderd.ingest.prebuffer import PreBuffer, estimate_bytes
from recorderd.ingest.stream import Stream, StreamStatus
from recorderd.ingest.sweep import PERIOD_S, Sweep
from recorderd.ingest.tap import Tap
from recorderd.ingest.transports import Opener, opener
from recorderd.model.causes import GapCause
from recorderd.model.media_ram import MediaRam
from recorderd.model.ports import CameraHealth, Clock, EventSink, PreBufferView, StreamRequest, StreamSink
from recorderd.rtsp.url import RtspUrl

LINK_GRACE_S = 2.0


class Ingest:
    """`start` and `stop` may be called at any time; streams run while `run` does. `events` hears of the streams' alarms; `on_late` is the
    sweep's."""

    def __init__(
        self,
        *,
        clock: Clock,
        media_ram: MediaRam,
        sweep_s: float = PERIOD_S,
        on_late: Callable[[int], None] = lambda _: None,
        chance: random.Random | None = None,
        events: EventSink | None = None,
        open_with: Callable[[StreamRequest, RtspUrl], Opener] = opener,
        reach: Callable[[str, int], Awaitable[GapCause | None]] = reachable,
    ) -> None:
        self._clock = clock
        self._ram = media_ram
        self._alarms = Alarms(events)
        self._open_with = open_with
        self._reach = reach
        self._taps: dict[uuid.UUID, Tap] = {}
        self._chance = chance or random.Random()
        self.sweep = Sweep(clock=clock, period_s=sweep_s, on_late=on_late)
        self._streams: dict[uuid.UUID, Stream] = {}
        self._serials: dict[uuid.UUID, int] = {}
        self._links_away: dict[str, asyncio.TimerHandle] = {}
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
        if before is not None and self._taps[request.receiver].sink is sink:
            if before.request == request:
                return
            if replace(before.request, prebuffer_s=request.prebuffer_s) == request:  # no reason to leave the camera
                before.request = request
                self._renew_prebuffer(request)
                return
        if before is not None:
            self.stop(request.receiver)
        alarms = self._alarms
        tap = Tap(
            sink, self._make_prebuffer(request), lambda detail: alarms.set(request, Alarm.PREBUFFER_SHORT, detail)
        )
        self._taps[request.receiver] = tap
        stream = Stream(
            request=request,
            sink=tap,
            open_with=self._open_with,
            reach=self._reach,
            clock=self._clock,
            sweep=self.sweep,
            chance=self._chance,
            on_rate=lambda detail: alarms.set(request, Alarm.RATE_CAP, detail),
        )
        self._streams[request.receiver] = stream
        if self._group is not None:
            self._group.create_task(self._carry(stream))

    def stop(self, receiver: uuid.UUID) -> None:
        stream = self._streams.pop(receiver, None)
        if stream is not None:
            stream.stop()
            self._taps.pop(receiver).prebuffer = None
            self._ram.release(receiver)
            self._alarms.forget(stream.request)

    def ask_for_key_frame(self, receiver: uuid.UUID) -> None:
        """Asks the camera for one (VAPIX `Renew-Stream`), as at the start of an event recording; cameras that do not know it refuse."""
        stream = self._streams.get(receiver)
        if stream is not None:
            stream.ask_for_key_frame()

    def prebuffer(self, receiver: uuid.UUID) -> PreBufferView | None:
        tap = self._taps.get(receiver)
        return tap.prebuffer if tap is not None else None

    def prebuffer_fits(self, request: StreamRequest) -> str:
        """What would be said about this request's pre-buffer when it were configured now; empty: it fits, as far as can be told."""
        if request.prebuffer_s <= 0:
            return ""
        tap = self._taps.get(request.receiver)
        own = tap.prebuffer.share_bytes if tap is not None and tap.prebuffer is not None else 0
        need, have = estimate_bytes(request), self._ram.reservable_bytes + own
        if need <= have:
            return ""
        return f"a pre-buffer of {request.prebuffer_s:g} s needs about {need >> 20} MiB; {have >> 20} MiB of limits.media_ram are free"

    def _renew_prebuffer(self, request: StreamRequest) -> None:
        tap = self._taps[request.receiver]
        if tap.prebuffer is not None and request.prebuffer_s > 0:
            tap.prebuffer.resize(request.prebuffer_s, estimate_bytes(request))
            tap.tell()
        else:
            tap.hold(self._make_prebuffer(request))

    def _make_prebuffer(self, request: StreamRequest) -> PreBuffer | None:
        if request.prebuffer_s <= 0:
            self._ram.release(request.receiver)
            return None
        return PreBuffer(
            seconds=request.prebuffer_s,
            reserve=lambda wanted: self._ram.reserve(request.receiver, wanted),
            first_bytes=estimate_bytes(request),
        )

    async def _carry(self, stream: Stream) -> None:
        receiver = stream.request.receiver
        # Never two sessions to one camera: a replaced stream's last session ends before the next begins.
        while (ending := self._ending.get(receiver)) is not None:
            await ending.wait()
        ended = self._ending[receiver] = asyncio.Event()
        stream.last_serial = self._serials.get(receiver, 0)
        try:
            await stream.run()
        finally:
            self._serials[receiver] = stream.last_serial
            del self._ending[receiver]
            ended.set()

    # --- ports.HealthSource ------------------------------------------------------------------------------

    def health(self) -> Sequence[CameraHealth]:
        devices: dict[uuid.UUID, list[Stream]] = {}
        for stream in self._streams.values():
            devices.setdefault(stream.request.device or stream.request.receiver, []).append(stream)
        return [_health(device, streams) for device, streams in devices.items()]

    def power_lost(self, device: uuid.UUID, cause: GapCause, detail: str) -> None:
        for stream in self._streams.values():
            if (stream.request.device or stream.request.receiver) == device:
                stream.power_lost(cause, detail)

    def rescue_began(self, device: uuid.UUID, detail: str) -> None:
        for stream in self._streams.values():
            if (stream.request.device or stream.request.receiver) == device:
                stream.rescue_began(detail)

    # --- ports.LinkObserver ------------------------------------------------------------------------------

    def link_lost(self, address: str, detail: str) -> None:
        """A connection outlives a link that flaps; one that stays away for `LINK_GRACE_S` ends the sessions behind it."""
        self.link_back(address)
        loop = asyncio.get_running_loop()
        self._links_away[address] = loop.call_later(LINK_GRACE_S, self._link_is_down, address, detail)

    def link_back(self, address: str) -> None:
        away = self._links_away.pop(address, None)
        if away is not None:
            away.cancel()
        for stream in self._at(address):
            stream.link_back()

    def _link_is_down(self, address: str, detail: str) -> None:
        for stream in self._at(address):
            stream.power_lost(GapCause.LINK_DOWN, detail)

    def _at(self, address: str) -> list[Stream]:
        return [s for s in self._streams.values() if address in (s.host, s.current_status().peer)]

    # --- for status --------------------------------------------------------------------------------------

    def statuses(self) -> dict[uuid.UUID, StreamStatus]:
        return {receiver: stream.current_status() for receiver, stream in self._streams.items()}

    def alarms(self, receiver: uuid.UUID) -> list[tuple[Alarm, str]]:
        """What is wrong with the stream although it is being fetched, and why."""
        return self._alarms.of(receiver)

    def lost_packets(self, receiver: uuid.UUID) -> int:
        """RTP packets that never came in the present session, by their sequence numbers."""
        stream = self._streams.get(receiver)
        tally = stream.tally if stream is not None else None
        return tally.lost_packets if tally is not None else 0


def _health(device: uuid.UUID, streams: list[Stream]) -> CameraHealth:
    """One device is as well as the best of its streams: the rescue must not cycle a camera that still delivers one."""
    statuses = [stream.current_status() for stream in streams]
    best = max(statuses, key=lambda status: (status.last_media_ns, status.last_byte_ns))
    streaming = any(status.cause is None for status in statuses)
    silence = None if streaming else best.cause or GapCause.UNKNOWN
    return CameraHealth(
        device=device,
        name=streams[0].request.name,
        address=best.peer or streams[0].host,
        last_byte_ns=max(status.last_byte_ns for status in statuses),
        last_media_ns=best.last_media_ns,
        ended=best.ended,
        streaming=streaming,
        silence=silence,
        fresh_sessions_without_media=min(status.fresh_sessions_without_media for status in statuses),
    )
