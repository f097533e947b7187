"""One receiver's stream: session after session, with growing, jittered pauses between them.

There is never more than one session: the next connection is made when the last one is closed, and after a server that is known to go on
sending to connections it should have forgotten, not before its session has timed out.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import random
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from recorderd.ingest.connecting import NotConnected, reachable
from recorderd.ingest.rate_cap import RateCap
from recorderd.ingest.session import Outcome, Session, Tally
from recorderd.ingest.sweep import Sweep
from recorderd.ingest.transports import Opener, opener
from recorderd.ingest.udp import UdpSide
from recorderd.ingest.wire import Wire
from recorderd.model.causes import GapCause
from recorderd.model.device_tls import may_send_basic
from recorderd.model.pem import BadCertificate
from recorderd.model.ports import ArrivalTimes, Clock, StreamRequest, StreamSession, StreamSink
from recorderd.model.stream import TrackFormat
from recorderd.rtsp.auth import Authenticator
from recorderd.rtsp.client import Client, Wanted
from recorderd.rtsp.url import RtspUrl, UrlError, inside_tunnel, parse_url, with_options

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
UNAUTHORIZED_RETRY_S = 30.0  # cameras lock accounts out
LONGEST_UNAUTHORIZED_S = 300.0
HEALTHY_S = 30.0
STOP_WAIT_S = 2.0
MAX_REDIRECTS = 5
STALE_SESSION_S = 65.0

# Servers built with live555 before 2017.06.04 send a dead session's packets into the next connection that gets its descriptor number.
_LIVE555 = re.compile(r"LIVE555 Streaming Media v(20[0-9]{2})\.([0-9]{2})")


class StreamState(enum.Enum):
    CONNECTING = "connecting"
    STREAMING = "streaming"
    QUIET = "quiet"  # media stopped, the camera is being asked
    WAITING = "waiting"  # for the next attempt
    STOPPED = "stopped"


@dataclass(slots=True)
class StreamStatus:
    """What is known of a receiver's stream now.

    `cause` is why no media comes, since `since_ns`; None while it does. A new attempt says nothing better: until it succeeds or fails for
    another reason, the last failure's cause stands. `CONNECTING` is that of the first attempt.
    """

    state: StreamState = StreamState.CONNECTING
    cause: GapCause | None = GapCause.CONNECTING
    detail: str = ""
    since_ns: int = 0
    last_byte_ns: int = 0
    last_media_ns: int = 0
    sessions: int = 0
    fresh_sessions_without_media: int = 0
    ended: GapCause | None = None  # how the last session that had media ended; None while one has
    peer: str = ""
    remarks: tuple[str, ...] = ()


class Stream:
    """Call `run`; it returns after `stop`.

    `on_rate` hears, now and again, why parts of the stream are dropped; empty: none are.
    """

    def __init__(
        self,
        *,
        request: StreamRequest,
        sink: StreamSink,
        clock: Clock,
        sweep: Sweep,
        chance: random.Random,
        on_rate: Callable[[str], None] = lambda _: None,
        open_with: Callable[[StreamRequest, RtspUrl], Opener] = opener,
        reach: Callable[[str, int], Awaitable[GapCause | None]] = reachable,
    ) -> None:
        self.request = request
        self.sink = sink
        self.status = StreamStatus(since_ns=clock.boottime_ns())
        self._clock = clock
        self._sweep = sweep
        self._chance = chance
        self._on_rate = on_rate
        self._open_with = open_with
        self._reachable = reach
        self.last_serial = 0  # of the sessions opened so far
        self._stopping = asyncio.Event()
        self._probe = asyncio.Event()
        self._delay_s = FIRST_RETRY_S
        self._url = ""
        self._redirects = 0
        self._patience_s = 20.0
        self._session: Session | None = None
        self._rate_cap = RateCap(request.rate_cap_bps)
        self._powerless: tuple[GapCause, str] | None = None

    @property
    def tally(self) -> Tally | None:
        return self._session.tally if self._session is not None else None

    @property
    def host(self) -> str:
        try:
            return parse_url(self.request.uri).host
        except UrlError:
            return ""

    def current_status(self) -> StreamStatus:
        """The status as of now: a running session's readings included."""
        status, session = self.status, self._session
        if session is None:
            return replace(status)
        watch = session.watch
        now = replace(status, last_byte_ns=watch.last_byte_ns)
        if watch.had_media:
            now.last_media_ns = watch.last_media_ns
            now.ended = None
            now.fresh_sessions_without_media = 0
        if status.state is StreamState.STREAMING and (watch.quiet or not watch.had_media):
            now.state = StreamState.QUIET
            now.since_ns = watch.last_media_ns
            now.cause = GapCause.NO_MEDIA if watch.answers or not watch.quiet else GapCause.CAMERA_SILENT
        return now

    def stop(self) -> None:
        self._stopping.set()

    def ask_for_key_frame(self) -> None:
        if self._session is not None:
            self._session.ask_for_key_frame(self._clock.boottime_ns())

    def rescue_began(self, detail: str) -> None:
        """The port is being cycled: that is the cause of what follows, until media comes."""
        self.power_lost(GapCause.PORT_CYCLED, detail)

    def power_lost(self, cause: GapCause, detail: str) -> None:
        """The port has no power any more: that is the cause of what follows, until media comes."""
        self._powerless = (cause, detail)
        if self._session is not None:
            self._session.abandon(self._clock.boottime_ns(), cause, detail)

    def link_back(self) -> None:
        """What follows has causes of its own again."""
        if self._powerless is not None and self._powerless[0] is GapCause.LINK_DOWN:
            self._powerless = None

    async def run(self) -> None:
        while not self._stopping.is_set():
            began_ns = self._clock.boottime_ns()
            outcome = await self._attempt()
            if outcome.stopped or self._stopping.is_set():
                break
            if outcome.redirect and self._redirects < MAX_REDIRECTS:
                self._redirects += 1
                self._url = outcome.redirect
                continue
            self._url, self._redirects = "", 0
            pause_s = self._pause_s(outcome, (self._clock.boottime_ns() - began_ns) / 1e9)
            self._told(outcome, pause_s)
            await self._rest(pause_s)
        self._set(StreamState.STOPPED, None, "")

    def _told(self, outcome: Outcome, pause_s: float) -> None:
        cause, detail = outcome.cause, outcome.detail
        if outcome.redirect:
            cause, detail = GapCause.CAMERA_ERROR, f"more than {MAX_REDIRECTS} redirects"
        if self._powerless is not None and not outcome.opened:
            cause, detail = self._powerless
        self._set(StreamState.WAITING, cause, detail)
        log.info("%s: %s; trying again in %.0f s", self.request.name, detail, pause_s)
        self.sink.no_session(self.request.receiver, cause, detail, pause_s)

    def _pause_s(self, outcome: Outcome, lasted_s: float) -> float:
        if lasted_s >= HEALTHY_S and outcome.opened:
            self._delay_s = FIRST_RETRY_S
        delay_s = self._delay_s
        if outcome.cause is GapCause.UNAUTHORIZED:
            self._delay_s = min(max(self._delay_s * 2, UNAUTHORIZED_RETRY_S), LONGEST_UNAUTHORIZED_S)
            delay_s = self._delay_s
        else:
            self._delay_s = min(self._delay_s * 2, LONGEST_RETRY_S)
        if outcome.cause is GapCause.NO_MEDIA:
            delay_s = FIRST_RETRY_S
        return delay_s * (1 - 0.3 * self._chance.random())

    async def _rest(self, seconds: float) -> None:
        """Pauses, shorter when the stream is stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # --- one attempt -------------------------------------------------------------------------------------

    async def _attempt(self) -> Outcome:
        status = self.status
        cause = GapCause.CONNECTING if status.cause is None else status.cause
        self._set(StreamState.CONNECTING, cause, status.detail)
        try:
            configured = with_options(inside_tunnel(parse_url(self.request.uri)), self.request.options)
            url = parse_url(self._url) if self._url else configured
            if configured.scheme == "rtsps" and url.scheme != "rtsps":
                raise UrlError("the camera redirects from an encrypted to an unencrypted address")
            way = self._open_with(self.request, url)
        except UrlError as error:
            return Outcome(GapCause.CONFIGURATION, f"the stream's URL cannot be used: {error}", opened=False)
        except BadCertificate as error:
            return Outcome(
                GapCause.CONFIGURATION, f"the device's CA certificates cannot be used: {error}", opened=False
            )
        # Credentials go to the configured address only, wherever the camera sends us.
        mine = url.address == configured.address
        authenticator = Authenticator(
            username=self.request.username if mine else "",
            password=self.request.password if mine else "",
            allow_basic=may_send_basic(
                allowed=self.request.allow_basic, encrypted=way.encrypted, certificates=self.request.certificates
            ),
            nonce_maker=lambda: secrets.token_hex(8),
        )
        try:
            wire = await self._until_stopped(way.open(authenticator))
        except NotConnected as error:
            return Outcome(error.cause, error.detail, opened=False)
        if wire is None:
            return Outcome(GapCause.CONFIGURATION, "stopped", opened=False, stopped=True)
        udp = None
        try:
            udp = UdpSide(wire.local_address, wire.peer[0]) if way.udp else None
            return await self._converse(url, wire, authenticator, udp)
        except NotConnected as error:
            return Outcome(error.cause, error.detail, opened=False)
        finally:
            wire.close()
            if udp is not None:
                udp.close()

    async def _until_stopped(self, opening: Awaitable[Wire]) -> Wire | None:
        """The connection, or None when the stream was stopped while it was being made."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_awaited(opening))
            stopper = group.create_task(self._stopping.wait())
            done, _ = await asyncio.wait((task, stopper), return_when=asyncio.FIRST_COMPLETED)
            stopper.cancel()
            if task not in done:
                task.cancel()
                return None
        result = task.result()
        if isinstance(result, NotConnected):
            raise result
        return result

    async def _converse(self, url: RtspUrl, wire: Wire, authenticator: Authenticator, udp: UdpSide | None) -> Outcome:
        request = self.request
        ports = udp.ports if udp is not None else None
        wanted = Wanted(request.want_video, request.want_audio, request.want_metadata, ports)
        client = Client(url=url, authenticator=authenticator, wanted=wanted)
        now_ns = self._clock.boottime_ns()
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        session = Session(
            client=client,
            wire=wire,
            udp=udp,
            sink=self.sink,
            next_session=self._next_session,
            now_ns=now_ns,
            rate_cap=self._rate_cap,
            patience_s=self._patience_s,
            done=done,
            on_probe=self._probe.set,
            on_remark=self._remark,
            on_rate=self._on_rate,
        )
        self._session = session
        self.status.peer = wire.peer[0]
        self.status.remarks = ()
        self._probe.clear()
        self._sweep.add(session)
        try:
            wire.watch(lambda: self._sweep.drain(session))
            session.begin(now_ns)
            async with asyncio.TaskGroup() as group:
                helpers = (
                    group.create_task(self._reach(session, wire.peer)),
                    group.create_task(self._stop_when_asked(session, done)),
                )
                outcome = await done
                for helper in helpers:
                    helper.cancel()
        finally:
            self._sweep.remove(session)
            self._session = None
            self._on_rate("")
        self._learn(session, outcome)
        if outcome.opened and not outcome.stopped and _keeps_stale_sessions(client.server):
            await self._rest(STALE_SESSION_S)
        return outcome

    def _learn(self, session: Session, outcome: Outcome) -> None:
        """What the next session should know of this one."""
        if session.watch.had_media:
            self.status.fresh_sessions_without_media = 0
            self._patience_s = 20.0
            if self._powerless is None or outcome.cause is not self._powerless[0]:
                self._powerless = None
        elif outcome.cause is GapCause.NO_MEDIA:
            self.status.fresh_sessions_without_media += 1
            if self.status.fresh_sessions_without_media > 1:
                self._patience_s = min(self._patience_s * 2, 80.0)
        self.status.last_byte_ns = session.watch.last_byte_ns
        if session.watch.had_media:
            self.status.last_media_ns = session.watch.last_media_ns
            self.status.ended = outcome.cause

    async def _reach(self, session: Session, peer: tuple[str, int]) -> None:
        """Each time media has stopped: does the camera still answer TCP?"""
        while True:
            await self._probe.wait()
            self._probe.clear()
            session.unreachable = await self._reachable(*peer)

    async def _stop_when_asked(self, session: Session, done: asyncio.Future[Outcome]) -> None:
        await self._stopping.wait()
        session.stop(self._clock.boottime_ns())
        await self._clock.sleep(STOP_WAIT_S)
        if not done.done():
            session.abandon(self._clock.boottime_ns(), GapCause.CONFIGURATION, "stopped; TEARDOWN was not answered")

    def _next_session(self, formats: tuple[TrackFormat, ...], started_ns: int, times: ArrivalTimes) -> StreamSession:
        self.last_serial += 1
        self.status.sessions += 1
        self._set(StreamState.STREAMING, None, "")
        return StreamSession(self.request.receiver, self.last_serial, formats, started_ns, times)

    def _remark(self, text: str) -> None:
        if text not in self.status.remarks:
            self.status.remarks = (*self.status.remarks, text)[-20:]
            log.info("%s: %s", self.request.name, text)

    def _set(self, state: StreamState, cause: GapCause | None, detail: str) -> None:
        if cause is None or cause is not self.status.cause:
            self.status.since_ns = self._clock.boottime_ns()
        self.status.state, self.status.cause, self.status.detail = state, cause, detail


async def _awaited(opening: Awaitable[Wire]) -> Wire | NotConnected:
    """`NotConnected` as a value: in a task group an exception would cancel its neighbours."""
    try:
        return await opening
    except NotConnected as error:
        return error


def _keeps_stale_sessions(server: str) -> bool:
    match = _LIVE555.search(server)
    return match is not None and (int(match[1]), int(match[2])) < (2017, 6)
