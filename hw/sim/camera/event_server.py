"""The web server of a simulated camera with its event streams: the VAPIX event WebSocket, with what can go wrong on it, and pull points.

RFC 6455 is written out here, byte by byte, so that every byte of it can be wrong on purpose.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from hw.sim.camera.authentication import Authenticator, Credentials
from hw.sim.camera.http import HEAD_BYTES, HttpRequest, read_request, response
from hw.sim.camera.metadata import StatefulEvent, WithEvents
from hw.sim.camera.pull_points import ONVIF_PATH, PullPoints

FRAME_BYTES = 64 * 1024  # of a client's
WEBSOCKET_PATH = "/vapix/ws-data-stream"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@dataclass(slots=True)
class EventFaults:
    """What is wrong now; acts from the next connection, answer or event on."""

    not_found: bool = False  # an old camera: no such path
    status: int = 0  # what the handshake is answered with instead; 0: as it should be
    wrong_accept: bool = False  # the handshake's proof does not fit
    no_answer: bool = False  # the request for events is not answered
    refuse_code: int = 0  # it is refused with this error
    drip_bytes_per_s: int = 0  # everything leaves at this rate; 0: no limit
    deaf_to_pings: bool = False
    close_with_handshake: bool = False  # a close frame comes along with the handshake's answer
    close_at_once: bool = False  # the connection ends as soon as events were agreed upon


class EventServer:
    """Serves while it is entered (`async with`). `source` is the camera's: what it states in its metadata stream it states here, too."""

    def __init__(
        self,
        source: WithEvents,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.pull_points = PullPoints(source)
        self.source, self.host, self.faults = source, host, EventFaults()
        self.authenticator = Authenticator(credentials) if credentials else None
        self.accepted = 0
        self.agreed = 0  # how many streams were agreed upon, so far
        self.refused = 0  # requests answered 401
        self._port = port
        self._server: asyncio.Server | None = None
        self._links: set[Link] = set()
        self._listening: set[_Stream] = set()
        self._happened = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self._port, limit=HEAD_BYTES, ssl=self._tls)
        self._port = self._server.sockets[0].getsockname()[1]
        self.source.hearers.update((self._tell, self.pull_points.tell))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.hearers -= {self._tell, self.pull_points.tell}
        if self._server is not None:
            self._server.close()
        self.reset()
        await self.until(lambda: not self._links)

    @property
    def port(self) -> int:
        return self._port

    @property
    def listening(self) -> int:
        """Streams that are being sent."""
        return len(self._listening)

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Waits until `predicate` holds; asked again after each connection, request and end of a stream."""
        while not predicate():
            self._happened.clear()
            await self._happened.wait()

    def reset(self) -> None:
        """Every connection ends abruptly."""
        for link in list(self._links):
            link.writer.transport.abort()

    def set_credentials(self, credentials: Credentials | None) -> None:
        """From the next request on; streams that run go on."""
        self.authenticator = Authenticator(credentials) if credentials else None

    async def send_text(self, text: bytes) -> None:
        """Any text to all streams."""
        for stream in list(self._listening):
            await stream.link.send(frame(TEXT, text))

    async def send_bytes(self, data: bytes) -> None:
        """Any bytes to all streams, framed or not."""
        for stream in list(self._listening):
            await stream.link.send(data)

    def _tell(self, event: StatefulEvent, active: bool, operation: str) -> None:  # noqa: ARG002  # JSON has no operation
        for stream in self._listening:
            stream.waiting.put_nowait(notification(event, active, self.source.wall_ns()))

    # --- connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer, self.faults)
        self._links.add(link)
        self.accepted += 1
        try:
            while (request := await read_request(reader)) is not None and await self._answer(link, request):
                self._happened.set()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # the client is gone, or talks nonsense
        finally:
            self._links.discard(link)
            writer.close()
            self._happened.set()

    async def _answer(self, link: Link, request: HttpRequest) -> bool:
        """Whether the connection takes another request."""
        if self.authenticator is not None:
            allowed, stale = self.authenticator.check(request.method, request.headers.get("authorization", ""))
            if not allowed:
                self.refused += 1
                challenges = [("WWW-Authenticate", value) for value in self.authenticator.challenges(stale=stale)]
                await link.send(response(401, challenges))
                return True
        if request.path == WEBSOCKET_PATH and not self.faults.not_found:
            await self._web_socket(link, request)
            return False
        if request.path.startswith(ONVIF_PATH) and not self.faults.not_found:
            await link.send(await self.pull_points.answer(request))
            self._happened.set()
            return True
        await link.send(response(404))
        return True

    async def _web_socket(self, link: Link, request: HttpRequest) -> None:
        key = request.headers.get("sec-websocket-key", "")
        if request.headers.get("upgrade", "").lower() != "websocket" or not key:
            await link.send(response(400))
            return
        if self.faults.status:
            await link.send(response(self.faults.status))
            return
        proof = hashlib.sha1(key.encode() + _GUID if not self.faults.wrong_accept else b"").digest()
        accept = ("Sec-WebSocket-Accept", base64.b64encode(proof).decode())
        agreed = response(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"), accept], length=False)
        await link.send(agreed + (frame(CLOSE, b"\x03\xe9") if self.faults.close_with_handshake else b""))
        stream = _Stream(link, asyncio.Queue())
        sending = asyncio.create_task(stream.send_waiting())
        try:
            await self._requests(stream)
        finally:
            self._listening.discard(stream)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _requests(self, stream: _Stream) -> None:
        while True:
            opcode, data = await read_frame(stream.link.reader)
            if opcode == CLOSE:
                await stream.link.send(frame(CLOSE, data))
                return
            if opcode == PING and not self.faults.deaf_to_pings:
                await stream.link.send(frame(PONG, data))
            if opcode == TEXT and not self.faults.no_answer:
                await self._configure(stream, json.loads(data))
                if self.faults.close_at_once and self.agreed:
                    return
            self._happened.set()

    async def _configure(self, stream: _Stream, call: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"apiVersion": "1.0", "context": call.get("context", ""), "method": call.get("method")}
        if self.faults.refuse_code:
            reply["error"] = {"code": self.faults.refuse_code, "message": "refused"}
        elif call.get("method") != "events:configure" or "eventFilterList" not in call.get("params", {}):
            reply["error"] = {"code": 2103, "message": "missing parameter"}
        else:
            reply["data"] = {}
        await stream.link.send(frame(TEXT, json.dumps(reply).encode()))
        if "data" in reply:
            self.agreed += 1
            for event, active in self.source.states.items():
                stream.waiting.put_nowait(notification(event, active, self.source.wall_ns()))
            self._listening.add(stream)


@dataclass(slots=True, eq=False)
class Link:
    """One connection; everything leaves through `send`, where it may be slowed down."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    faults: EventFaults

    async def send(self, data: bytes) -> None:
        rate = self.faults.drip_bytes_per_s
        if not rate:
            self.writer.write(data)
        for at in range(len(data) if rate else 0):
            self.writer.write(data[at : at + 1])
            await asyncio.sleep(1 / rate)
        await self.writer.drain()


@dataclass(slots=True, eq=False)
class _Stream:
    link: Link
    waiting: asyncio.Queue[bytes]

    async def send_waiting(self) -> None:
        while True:
            await self.link.send(frame(TEXT, await self.waiting.get()))


def notification(event: StatefulEvent, active: bool, wall_ns: int) -> bytes:
    """One `events:notify`. It does not say whether the event is a property."""
    message = {"source": dict(event.source), "key": {}, "data": {event.state: event.on if active else event.off}}
    found = {"timestamp": wall_ns // 1_000_000, "topic": event.topic, "message": message}
    return json.dumps({"apiVersion": "1.0", "method": "events:notify", "params": {"notification": found}}).encode()


def frame(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    """A server's frame: not masked."""
    first = opcode | (0x80 if fin else 0)
    if len(data) < 126:
        return bytes((first, len(data))) + data
    if len(data) < 65536:
        return struct.pack(">BBH", first, 126, len(data)) + data
    return struct.pack(">BBQ", first, 127, len(data)) + data


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """A client's frame, which must be whole and masked. Raises ValueError for what is not."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", await reader.readexactly(8))
    if not second & 0x80 or not first & 0x80 or length > FRAME_BYTES:
        raise ValueError("a client's frame is masked, whole and short")
    mask = await reader.readexactly(4)
    data = await reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
