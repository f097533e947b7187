"""One client's RTSP connection to a simulated camera: answers requests, owns the session that it set up, sends its media."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hw.sim.camera import sdp
from hw.sim.camera.datagrams import DatagramPair
from hw.sim.camera.outlet import Outlet
from hw.sim.camera.request import BadRequest, Interleaved, Parser, Request
from hw.sim.camera.sender import Sender, TrackState

if TYPE_CHECKING:
    from hw.sim.camera.camera import Camera

METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
REASONS = {
    200: "OK",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
}
_TRACK = re.compile(r"trackID=(\d+)$")
_INTERLEAVED = re.compile(r"interleaved=(\d+)-(\d+)")
_CLIENT_PORT = re.compile(r"client_port=(\d+)(?:-(\d+))?")


class Connection(asyncio.Protocol):
    """The state of RFC 2326 appendix A for one session at a time, which is what cameras offer on one connection."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._parser = Parser()
        self._transport: asyncio.Transport | None = None
        self._outlet: Outlet | None = None
        self._session = ""
        self._tracks: dict[int, TrackState] = {}
        self._datagrams: dict[int, DatagramPair] = {}
        self._sender: Sender | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._url = ""
        self.receiver_reports = 0

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._outlet = Outlet(transport, self._camera.faults)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._camera.connections.add(self)
        self._camera.accepted += 1
        self._camera.changed()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        self._end_session()
        if self._outlet is not None:
            self._outlet.stop()
        self._camera.connections.discard(self)
        self._camera.changed()

    def data_received(self, data: bytes) -> None:
        if self._camera.faults.hang:
            return
        try:
            items = self._parser.feed(data)
        except BadRequest:
            self._reply(400, None)
            self.close()
            return
        for item in items:
            if isinstance(item, Request):
                self._handle(item)
                self._camera.changed()
            else:
                self._from_client(item)

    # --- commands of the camera

    @property
    def playing(self) -> bool:
        return self._sender is not None

    @property
    def sender(self) -> Sender | None:
        return self._sender

    @property
    def dropped(self) -> int:
        """Packet runs that were dropped because the client did not keep up."""
        return self._outlet.dropped if self._outlet else 0

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client."""
        return self._outlet.backlog if self._outlet else 0

    def close(self) -> None:
        """An orderly close."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """A TCP reset."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    # --- requests

    def _handle(self, request: Request) -> None:
        camera = self._camera
        camera.requests[request.method] = camera.requests.get(request.method, 0) + 1
        if request.method != "OPTIONS" and camera.authenticator is not None:
            allowed, stale = camera.authenticator.check(request.method, request.headers.get("authorization", ""))
            if not allowed:
                challenges = camera.authenticator.challenges(stale=stale)
                self._reply(401, request, [("WWW-Authenticate", challenge) for challenge in challenges])
                return
        if request.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER"):
            self._keep_alive(request)
        elif request.method == "DESCRIBE":
            self._describe(request)
        elif request.method == "SETUP":
            self._setup(request)
        elif request.method in ("PLAY", "PAUSE", "TEARDOWN"):
            self._in_session(request)
        else:
            self._reply(501, request)

    def _keep_alive(self, request: Request) -> None:
        if request.method != "OPTIONS" and request.method not in self._camera.quirks.keepalive_methods:
            self._reply(405, request)
            return
        asked = request.headers.get("session", "").partition(";")[0]
        if asked and asked != self._session:
            self._reply(454, request)
            return
        if asked and request.method in self._camera.quirks.keepalive_methods:
            self._touch()
        self._reply(200, request, [("Public", METHODS)] if request.method == "OPTIONS" else [])

    def _describe(self, request: Request) -> None:
        camera, faults, quirks = self._camera, self._camera.faults, self._camera.quirks
        if faults.redirect:
            self._reply(302, request, [("Location", faults.redirect)])
            return
        if faults.not_found or not camera.serves(request.url):
            self._reply(404, request)
            return
        base = request.url.rstrip("/") + "/"
        media = camera.source.media
        if quirks.events_on_request and "event=on" not in urlsplit(request.url).query.split("&"):
            media = tuple(track for track in media if track.kind != "application")
        text = sdp.describe(
            media,
            address=camera.host,
            origin=not quirks.sdp_without_origin,
            base=base if quirks.absolute_control else "",
        )
        headers = [("Content-Base", base)] if quirks.content_base else []
        if not quirks.describe_without_content_type:
            headers.append(("Content-Type", "application/sdp"))
        self._reply(200, request, headers, text.encode())

    def _setup(self, request: Request) -> None:
        camera = self._camera
        match = _TRACK.search(request.url)
        media = camera.source.media
        if match is None or int(match[1]) >= len(media) or not camera.serves(request.url[: match.start()]):
            self._reply(404, request)
            return
        if self._sender is not None:
            self._reply(455, request)
            return
        asked = request.headers.get("session", "").partition(";")[0]
        if asked and asked != self._session:
            self._reply(454, request)
            return
        track, transport = int(match[1]), request.headers.get("transport", "")
        channel = self._transport_for(track, transport)
        if channel is None:
            self._reply(461, request)
            return
        self._session = self._session or f"{camera.random.getrandbits(48):012x}"
        state = TrackState(
            media=media[track],
            channel=channel,
            ssrc=camera.random.getrandbits(32),
            sequence=camera.random.getrandbits(16),
            base=camera.random.getrandbits(32),
        )
        self._tracks[track] = state
        self._touch()
        if track in self._datagrams:
            pair = self._datagrams[track]
            answer = f"RTP/AVP;unicast;client_port={pair.client[0]}-{pair.client[1]}"
            answer += f";server_port={pair.server[0]}-{pair.server[1]};ssrc={state.ssrc:08X}"
        else:
            answer = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1};ssrc={state.ssrc:08X}"
        self._reply(200, request, [("Transport", answer), self._session_header()])

    def _transport_for(self, track: int, offers: str) -> int | None:
        """The RTP channel of a track for the first transport offered that the camera has; UDP tracks get a pair of sockets as well."""
        for offer in offers.split(","):
            over_tcp = offer.strip().upper().startswith("RTP/AVP/TCP")
            if over_tcp and "tcp" in self._camera.quirks.transports:
                match = _INTERLEAVED.search(offer)
                channel = int(match[1]) if match else 2 * track
                taken = {state.channel for number, state in self._tracks.items() if number != track}
                return channel if channel < 255 and channel not in taken else max(taken) + 2
            match = _CLIENT_PORT.search(offer)
            if not over_tcp and match and "unicast" in offer and "udp" in self._camera.quirks.transports:
                assert self._transport is not None
                rtp = int(match[1])
                peer = self._transport.get_extra_info("peername")[0]
                old = self._datagrams.pop(track, None)
                if old is not None:
                    old.close()
                ports = (rtp, int(match[2] or rtp + 1))
                self._datagrams[track] = DatagramPair(self._camera.host, peer, ports, self._report_received)
                return 2 * track
        return None

    def _in_session(self, request: Request) -> None:
        asked = request.headers.get("session", "").partition(";")[0]
        if not self._session or asked != self._session:
            self._reply(454, request)
            return
        if request.method == "TEARDOWN":
            if not self._camera.faults.no_teardown_reply:
                self._reply(200, request, [self._session_header()])
            self._end_session()
            return
        self._touch()
        if request.method == "PAUSE":
            if self._sender is not None:
                self._sender.stop()
                self._sender = None
            self._reply(200, request, [self._session_header()])
            return
        self._play(request)

    def _play(self, request: Request) -> None:
        camera = self._camera
        if self._sender is None:
            self._sender = Sender(
                source=camera.source,
                tracks=self._tracks,
                faults=camera.faults,
                quirks=camera.quirks,
                clock=camera.clock,
                write=self._send,
                rng=camera.random,
                sent=camera.unit_sent,
            )
            if camera.quirks.data_before_play_reply:
                self._sender.start()
                asyncio.get_running_loop().call_later(0.1, self._reply_play, request)
                return
            self._reply_play(request)
            self._sender.start()
            return
        self._reply_play(request)

    def _reply_play(self, request: Request) -> None:
        headers = [self._session_header(), ("Range", "npt=now-")]
        if self._sender is not None and self._camera.quirks.rtp_info:
            parts = []
            for track in sorted(self._tracks):
                sequence, timestamp = self._sender.rtp_info(track)
                if self._camera.quirks.wrong_rtptime:
                    timestamp = self._camera.random.getrandbits(32)
                base = request.url.rstrip("/")
                parts.append(f"url={base}/trackID={track};seq={sequence};rtptime={timestamp}")
            headers.append(("RTP-Info", ",".join(parts)))
        self._reply(200, request, headers)

    # --- what leaves

    def _reply(
        self, status: int, request: Request | None, headers: list[tuple[str, str]] | None = None, body: bytes = b""
    ) -> None:
        lines = [f"RTSP/1.0 {status} {REASONS[status]}"]
        if request is not None and "cseq" in request.headers:
            lines.append(f"CSeq: {request.headers['cseq']}")
        lines.append("Server: recorderd simulated camera")
        lines += [f"{name}: {value}" for name, value in headers or []]
        if body:
            lines.append(f"Content-Length: {max(0, len(body) + self._camera.faults.content_length_error)}")
        if self._outlet is not None:
            self._outlet.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def _send(self, packets: memoryview, track: int, rtcp: bool) -> bool:
        pair = self._datagrams.get(track)
        if pair is not None:
            if not self._camera.faults.hang:
                pair.send(packets, rtcp=rtcp)
            return True
        return self._outlet is not None and self._outlet.write(packets)

    # --- the session

    def _session_header(self) -> tuple[str, str]:
        return "Session", f"{self._session};timeout={self._camera.quirks.session_timeout_s}"

    def _touch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._camera.quirks.session_timeout_s, self._timed_out)

    def _timed_out(self) -> None:
        self._camera.timed_out += 1
        self._end_session()
        self.close()

    def _end_session(self) -> None:
        if self._sender is not None:
            self._sender.stop()
            self._sender = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        for pair in self._datagrams.values():
            pair.close()
        self._datagrams.clear()
        self._tracks = {}
        self._session = ""
        self._camera.changed()

    def _from_client(self, packet: Interleaved) -> None:
        if any(packet.channel == state.channel + 1 for state in self._tracks.values()):
            self._report_received(packet.data)

    def _report_received(self, data: bytes) -> None:
        """RTCP from the client: a receiver report (type 201) counts as a sign of life."""
        if len(data) >= 8 and data[1] == 201:
            self.receiver_reports += 1
            if self._camera.quirks.keepalive_by_rtcp and self._session:
                self._touch()
