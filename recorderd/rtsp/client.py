"""One RTSP session as a state machine: bytes and clock readings in, bytes and events out.

Use: make a `Client` per connection, call `start`, write what `output` gives to the socket, hand what the socket gives to `receive`,
call `tick` every second or so, take `events` after each of these. After `Ended` or `Redirected` close the connection. The rules are in
`transitions.py`; this file carries them out.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from recorderd.model.causes import GapCause
from recorderd.model.stream import Codec, MediaKind
from recorderd.rtsp.asking import Asking, Outstanding
from recorderd.rtsp.auth import Authenticator
from recorderd.rtsp.events import Ended, Event, Opened, Redirected
from recorderd.rtsp.framing import DOLLAR, FrameFinder
from recorderd.rtsp.messages import (
    Response,
)
from recorderd.rtsp.offers import Offer, choose
from recorderd.rtsp.receiver import Receiver
from recorderd.rtsp.rtcp import encode_receiver_report
from recorderd.rtsp.sdp import SdpError, parse_sdp
from recorderd.rtsp.transitions import Answer, State, Step, classify, step
from recorderd.rtsp.transport import TransportOffer, offer_tcp, offer_udp, parse_transport
from recorderd.rtsp.url import RtspUrl, UrlError, parse_url, resolve_control

ANSWER_TIMEOUT_NS = 10_000_000_000
SHORT_BODY_NS = 1_500_000_000  # a body this long overdue is taken as it is: its Content-Length was wrong
REPORT_EVERY_NS = 5_000_000_000
GOODBYE_NS = 1_000_000_000  # RTP may still come behind the BYE of its RTCP


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch, and how. `udp_ports` (RTP, RTCP) is called once per track; None means interleaved in the connection."""

    video: bool = True
    audio: bool = True
    metadata: bool = True
    udp_ports: Callable[[], tuple[int, int]] | None = None

    def kind(self, kind: MediaKind) -> bool:
        return {MediaKind.VIDEO: self.video, MediaKind.AUDIO: self.audio, MediaKind.METADATA: self.metadata}[kind]


@dataclass(slots=True)
class _Track:
    offer: Offer
    control: str
    receiver: Receiver
    channels: tuple[int, int] | None = None  # interleaved: RTP, RTCP
    udp_ports: tuple[int, int] | None = None  # ours: RTP, RTCP
    transport: TransportOffer | None = None  # as granted


class Client(Asking):
    def __init__(
        self,
        *,
        url: RtspUrl,
        authenticator: Authenticator,
        wanted: Wanted,
        ssrc: int | None = None,
    ) -> None:
        super().__init__(str(url), authenticator)
        self._url = str(url)
        self._wanted = wanted
        self._ssrc = secrets.randbits(32) if ssrc is None else ssrc
        self._base = self._url
        self._tracks: list[_Track] = []
        self._offers: list[Offer] = []
        self._play_urls: list[str] = []
        self._remarks: list[str] = []
        self._opened = False
        self._next_report_ns = 0
        self._goodbye_ns = 0

    # --- for the driver ----------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def receivers(self) -> list[Receiver]:
        return [track.receiver for track in self._tracks]

    @property
    def kinds(self) -> list[MediaKind]:
        return [track.offer.kind for track in self._tracks]

    @property
    def codecs(self) -> list[Codec]:
        return [track.offer.codec for track in self._tracks]

    @property
    def transports(self) -> list[TransportOffer | None]:
        return [track.transport for track in self._tracks]

    @property
    def udp_ports(self) -> list[tuple[int, int] | None]:
        """Our ports per track, as `Wanted.udp_ports` gave them."""
        return [track.udp_ports for track in self._tracks]

    def events(self) -> list[Event]:
        return self._output.take()

    def start(self, now_ns: int) -> None:
        self._now(now_ns)
        self._last_byte_ns = now_ns
        self._send("OPTIONS", self._url, State.OPTIONS)

    def stop(self, now_ns: int) -> None:
        """Hands on what is complete and says TEARDOWN where there is a session; `Ended` follows at its answer, or at once."""
        self._now(now_ns)
        if self._state in (State.TEARDOWN, State.CLOSED):
            return
        for track in self._tracks:
            track.receiver.depacketiser.flush()
        if self._session:
            self._outstanding = None
            self._send("TEARDOWN", self._aggregate, State.TEARDOWN)
        else:
            self._end(GapCause.CONFIGURATION, "stopped", stopped=True)

    def probe(self, now_ns: int) -> None:
        """Asks for a sign of life, unless an answer is being waited for already."""
        self._now(now_ns)
        if self._state is State.PLAYING and self._outstanding is None:
            self._send_keep_alive()

    def play_again(self, now_ns: int) -> None:
        self._now(now_ns)
        if self._state is State.PLAYING and self._outstanding is None:
            self._send("PLAY", self._aggregate, State.PLAYING)

    def ask_for_key_frame(self, now_ns: int) -> None:
        """What cameras with VAPIX understand (`Renew-Stream`); others refuse it, which does no harm."""
        self._now(now_ns)
        if self._state is State.PLAYING and self._outstanding is None:
            headers = {"Content-Type": "text/parameters"}
            self._send("SET_PARAMETER", self._aggregate, State.PLAYING, headers, b"Renew-Stream: yes\r\n")

    def give_up(self, now_ns: int, cause: GapCause, detail: str) -> None:
        """Ends the session for a reason of the driver's, with a TEARDOWN whose answer is not waited for."""
        self._now(now_ns)
        if self._session and self._state is State.PLAYING:
            self._outstanding = None
            self._send("TEARDOWN", self._aggregate, State.TEARDOWN)
        self._end(cause, detail)

    def lost_connection(self, now_ns: int, cause: GapCause, detail: str) -> None:
        """The connection ended or failed."""
        self._now(now_ns)
        self._end(cause, detail, stopped=self._state is State.TEARDOWN)

    def tick(self, now_ns: int) -> None:
        """Keep-alives, receiver reports and time-outs."""
        self._now(now_ns)
        if self._body_awaited and now_ns - self._last_byte_ns >= SHORT_BODY_NS:
            self._body_overdue = True
            self.receive(memoryview(self.rest), len(self.rest), now_ns)
        waiting = self._outstanding
        if waiting is not None and now_ns - waiting.sent_ns >= ANSWER_TIMEOUT_NS:
            self._outstanding = None
            if self._state is State.TEARDOWN:
                self._end(GapCause.CONFIGURATION, "stopped; TEARDOWN was not answered", stopped=True)
            elif self._state is State.PLAYING:
                self._rotate_keep_alive()
            else:
                self._end(GapCause.CAMERA_SILENT, f"no answer to {waiting.method}")
            return
        if self._state is not State.PLAYING:
            return
        if self._goodbye_ns and now_ns - self._goodbye_ns >= GOODBYE_NS:
            self._end(GapCause.CAMERA_CLOSED, "the camera said goodbye (RTCP BYE)")
            return
        if now_ns >= self._next_keep_alive_ns and self._outstanding is None:
            self._send_keep_alive()
        if now_ns >= self._next_report_ns:
            self._next_report_ns = now_ns + REPORT_EVERY_NS
            for track in self._tracks:
                if track.channels is not None:
                    report = self.receiver_report(track.receiver)
                    self._out += bytes((DOLLAR, track.channels[1])) + len(report).to_bytes(2, "big") + report

    def receiver_report(self, receiver: Receiver) -> bytes:
        """An RTCP compound packet that says how `receiver` is doing. The CNAME is random: it must not tell who records."""
        block = receiver.report_block()
        return encode_receiver_report(self._ssrc, [block] if block is not None else [], b"%08x" % self._ssrc)

    # --- bytes in ----------------------------------------------------------------------------------------

    def datagram(self, track: int, data: memoryview, now_ns: int, *, control: bool) -> None:
        """One RTP or RTCP packet that came by UDP, in sequence (see `reorder.py`). Call `settle` before its memory is reused."""
        self._now(now_ns)
        self._last_byte_ns = now_ns
        if self._state not in (State.PLAY, State.PLAYING):
            return
        receiver = self._tracks[track].receiver
        if control:
            self._report(receiver, data)
        else:
            receiver.packet(data, 0, len(data))
            if self._state is State.PLAY:
                self._open()

    def settle(self) -> None:
        """Copies what depacketisers still need of the memory they were shown."""
        for track in self._tracks:
            track.receiver.depacketiser.settle()

    def _report(self, receiver: Receiver, data: memoryview) -> None:
        receiver.control(data)
        media = [track for track in self._tracks if track.offer.kind is not MediaKind.METADATA]
        if all(track.receiver.said_bye for track in media or self._tracks):
            self._goodbye_ns = self._goodbye_ns or self._now_ns

    def _answered(self, response: Response) -> None:
        waiting = self._outstanding
        if waiting is None or (response.cseq is not None and response.cseq != waiting.cseq):
            return  # to a request that was given up
        self._outstanding = None
        self.server = self.server or response.headers.get("Server")[:200]
        self._take_session(response)
        name = step(self._state, classify(response.status))
        {
            Step.DESCRIBE: self._describe,
            Step.SETUP_FIRST: self._setup_first,
            Step.SETUP_NEXT: self._setup_next,
            Step.SKIP_TRACK: self._skip_track,
            Step.OPEN: self._played,
            Step.PLAY_EACH: self._play_each,
            Step.ALIVE: self._alive,
            Step.NEXT_KEEP_ALIVE: self._refused_keep_alive,
            Step.AUTHENTICATE: self._authenticate,
            Step.REDIRECT: self._redirect,
            Step.FAIL: self._fail,
            Step.FINISH: self._finish,
        }[name](waiting, response)

    # --- steps -------------------------------------------------------------------------------------------

    def _describe(self, _: Outstanding, response: Response) -> None:
        methods = response.headers.get("Public").upper()
        self._public = frozenset(re.findall(r"[A-Z_]+", methods))
        self._send("DESCRIBE", self._url, State.DESCRIBE, {"Accept": "application/sdp"})

    def _setup_first(self, waiting: Outstanding, response: Response) -> None:
        try:
            description = parse_sdp(response.body)
        except SdpError as error:
            self._end(GapCause.CAMERA_ERROR, f"the camera's session description cannot be read: {error}")
            return
        base = response.headers.get("Content-Base") or response.headers.get("Content-Location")
        self._base = base if re.match(r"(?i)rtsps?://\S+$", base) else waiting.url
        self._aggregate = resolve_control(self._base, description.control)
        chosen, refused = choose(description.media, self._wanted.kind)
        has_video = any(media.kind == "video" for media in description.media)
        lacks_video = self._wanted.video and has_video and all(o.kind is not MediaKind.VIDEO for o in chosen)
        if not chosen or lacks_video:
            self._end(
                GapCause.INCOMPATIBLE_STREAM, "; ".join(refused) or "the camera offers nothing of what was asked for"
            )
            return
        rest = "recording video only" if [o.kind for o in chosen] == [MediaKind.VIDEO] else "recording the rest"
        self._remarks += [f"{text}, {rest}" for text in refused]
        self._offers = chosen
        self._setup()

    def _setup(self) -> None:
        """SETUP of the next track; a refused one leaves no trace, so that indices count what is fetched."""
        index = len(self._tracks)
        found = self._offers.pop(0)
        media = found.media
        depacketiser = found.build(self._output, index)
        receiver = Receiver(
            self._output, index, depacketiser, media.payload_type, media.clock_rate or 90_000, 2 * index
        )
        track = _Track(found, resolve_control(self._base, media.control), receiver)
        self._tracks.append(track)
        ports = self._wanted.udp_ports
        if ports is None:
            transport = offer_tcp(2 * index)
        else:
            track.udp_ports = ports()
            transport = offer_udp(track.udp_ports)
        self._send("SETUP", track.control, State.SETUP, {"Transport": transport})

    def _setup_next(self, _: Outstanding, response: Response) -> None:
        index = len(self._tracks) - 1
        track = self._tracks[index]
        granted = parse_transport(response.headers.get("Transport"))
        if granted.multicast:
            self._end(
                GapCause.INCOMPATIBLE_STREAM,
                "the camera sends by multicast, which is not supported: choose unicast in the camera",
            )
            return
        track.receiver.announced_ssrc = granted.ssrc
        track.transport = granted
        if self._wanted.udp_ports is None:
            channels = granted.interleaved or (2 * index, 2 * index + 1)
            track.channels = channels
            track.receiver.channel = channels[0]
            self._rtp[channels[0]] = track.receiver
            self._by_head[DOLLAR << 8 | channels[0]] = track.receiver
            self._rtcp[channels[1]] = track.receiver
            known = [channel for channel in range(256) if self._rtp[channel] or self._rtcp[channel]]
            self._finder = FrameFinder(known, self._plausible)
        self._after_setup()

    def _skip_track(self, _: Outstanding, response: Response) -> None:
        kind = self._tracks.pop().offer.kind
        detail = f"SETUP of the {kind} was refused: {_status(response)}"
        if kind is MediaKind.VIDEO or not (self._tracks or self._offers):
            self._end(_cause(response), detail)
            return
        self._remarks.append(detail)
        self._after_setup()

    def _after_setup(self) -> None:
        if self._offers:
            self._setup()
            return
        self._play_urls = [self._aggregate]
        self._play_next()

    def _play_next(self) -> None:
        headers = {"Range": "npt=0.000-"}
        self._send("PLAY", self._play_urls.pop(0), State.PLAY, headers)

    def _play_each(self, waiting: Outstanding, response: Response) -> None:
        controls = [track.control for track in self._tracks]
        if waiting.url in controls:
            self._fail(waiting, response)
            return
        self._play_urls = controls
        self._play_next()

    def _played(self, _: Outstanding, response: Response) -> None:  # noqa: ARG002
        if self._play_urls:
            self._play_next()
        else:
            self._open()

    def _open(self) -> None:
        """The session is open: PLAY was answered, or media proves that it will be."""
        self._state = State.PLAYING
        self._postpone_keep_alive()
        self._next_report_ns = self._now_ns + REPORT_EVERY_NS
        if self._opened:
            return
        self._opened = True
        self._choose_keep_alive()
        formats = tuple(track.receiver.depacketiser.format for track in self._tracks)
        self._output.event_first(Opened(formats, tuple(self._remarks)))

    def _redirect(self, _: Outstanding, response: Response) -> None:
        self._redirected(response.headers.get("Location"))

    def _redirected(self, location: str) -> None:
        try:
            target = str(parse_url(location))
        except UrlError as error:
            self._end(GapCause.CAMERA_ERROR, f"the camera redirects to something unusable: {error}")
            return
        if self._opened:
            self._output.event(Redirected(target))
            self._end(GapCause.CAMERA_CLOSED, "the camera redirects the session")
        else:
            self._state = State.CLOSED
            self._output.event(Redirected(target))

    def _fail(self, waiting: Outstanding, response: Response) -> None:
        self._end(_cause(response), f"{waiting.method} was refused: {_status(response)}")

    def _finish(self, _: Outstanding, response: Response) -> None:  # noqa: ARG002
        self._end(GapCause.CONFIGURATION, "stopped", stopped=True)

    def _end(self, cause: GapCause, detail: str, *, stopped: bool = False) -> None:
        if self._state is State.CLOSED:
            return
        for track in self._tracks:
            track.receiver.depacketiser.flush()
        self._state = State.CLOSED
        self._outstanding = None
        self._output.event(Ended(cause, detail, self._opened, stopped))


def _status(response: Response) -> str:
    return f"{response.status} {response.reason[:80]}".strip()


def _cause(response: Response) -> GapCause:
    answer = classify(response.status)
    if answer is Answer.NOT_FOUND:
        return GapCause.NOT_FOUND
    if answer in (Answer.UNAUTHORIZED, Answer.FORBIDDEN):
        return GapCause.UNAUTHORIZED
    if answer is Answer.SESSION_NOT_FOUND:
        return GapCause.CAMERA_CLOSED
    return GapCause.CAMERA_ERROR
