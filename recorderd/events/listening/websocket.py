"""An Axis camera's event stream over WebSocket (VAPIX "Event streaming over WebSocket" 1.0): one connection, until it ends.

`websockets` has the protocol (RFC 6455), without I/O; the texts go to the sandboxed worker unread. The camera is never trusted: handshake,
answers and every frame have their time, a message its size, and what comes too fast waits in the socket.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from recorderd.events.listening.connecting import (
    NotHeard,
    authenticator_of,
    connect,
    host_header,
    take_challenges,
)
from recorderd.events.listening.pace import Pace
from recorderd.events.notification import MAX_DOCUMENT_BYTES, Answer
from recorderd.model.ports import Clock, EventStreamRequest
from recorderd.rtsp.auth import Authenticator

TARGET = "/vapix/ws-data-stream?sources=events"
ALL_TOPICS = "//."
HANDSHAKE_S = 10.0
ANSWER_S = 10.0
PING_S = 15.0
SILENCE_S = 45.0  # without one whole frame, although pings were sent
_ATTEMPTS = 3  # handshakes: without credentials, with them, with a fresh nonce
_CONFIGURE = {
    "apiVersion": "1.0",
    "context": "recorderd",
    "method": "events:configure",
    "params": {"eventFilterList": [{"topicFilter": ALL_TOPICS}]},
}
_mute = logging.getLogger("recorderd.events.websocket")  # of the protocol: it would write headers into the log
_mute.setLevel(logging.CRITICAL + 1)

Read = Callable[[bytes, int], Awaitable[Answer]]


async def listen(request: EventStreamRequest, *, read: Read, granted: Callable[[], None], clock: Clock) -> None:
    """Reads the stream until it ends. `read(text, arrival_ns)` has a text parsed and published; `granted` is called when the camera has
    agreed to send. Raises `NotHeard`, and what `read` raises."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            stream = await _open(request)
    except TimeoutError:
        raise NotHeard("the WebSocket was not answered") from None
    try:
        await stream.send(json.dumps(_CONFIGURE).encode())
        await _follow(stream, read, granted, clock)
    finally:
        stream.close()


async def _open(request: EventStreamRequest) -> _Stream:
    authenticator = authenticator_of(request)
    for _ in range(_ATTEMPTS):
        stream = _Stream(request, *await connect(request))
        try:
            challenges = await stream.shake_hands(authenticator)
        except BaseException:
            stream.close()
            raise
        if challenges is None:
            return stream
        stream.close()
        take_challenges(authenticator, challenges)
    raise NotHeard("the camera asks for credentials again and again")


async def _follow(stream: _Stream, read: Read, granted: Callable[[], None], clock: Clock) -> None:
    pace = Pace(clock)
    agreed = False
    try:
        async with asyncio.timeout(ANSWER_S) as patience:
            while True:
                text = await stream.text()
                arrival_ns = clock.boottime_ns()
                await pace.take()
                answer = await read(text, arrival_ns)
                if answer.error:
                    raise NotHeard(f"the camera's event stream cannot be read: {answer.error}")
                if answer.refusal:
                    raise NotHeard(f"the camera refuses its event stream: {answer.refusal}")
                if answer.granted and not agreed:
                    agreed = True
                    patience.reschedule(None)
                    granted()
    except TimeoutError:
        raise NotHeard("the camera does not answer the request for its events") from None


class _Stream:
    """One connection and the state of its protocol."""

    def __init__(self, request: EventStreamRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._host = host_header(request)
        scheme = "wss" if request.encrypted else "ws"
        uri = parse_uri(f"{scheme}://{self._host}{TARGET}")
        self._protocol = ClientProtocol(uri, max_size=MAX_DOCUMENT_BYTES, logger=_mute)
        self._parts = bytearray()
        self._began_s = 0.0  # of a message in several frames
        self._frames: list[Frame] = []

    async def shake_hands(self, authenticator: Authenticator) -> list[str] | None:
        """None: the WebSocket is open. Else the challenges of a 401. Raises `NotHeard`."""
        opening = self._protocol.connect()
        authorization = authenticator.authorization("GET", TARGET)
        if authorization is not None:
            opening.headers["Authorization"] = authorization
        self._protocol.send_request(opening)
        await self._flush()
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            await self._receive()
        error = self._protocol.handshake_exc
        if isinstance(error, InvalidStatus):
            if error.response.status_code == 401:
                return error.response.headers.get_all("WWW-Authenticate")
            if error.response.status_code == 404:
                raise NotHeard("the camera has no event stream over WebSocket")
            raise NotHeard(f"the WebSocket was refused: {error.response.status_code}")
        if error is not None:
            raise NotHeard("the WebSocket was not answered in its protocol")
        return None

    async def send(self, text: bytes) -> None:
        if self._protocol.state is not State.OPEN:
            raise NotHeard(self._ending())
        self._protocol.send_text(text)
        await self._flush()

    async def text(self) -> bytes:
        """The next whole text message. Raises `NotHeard` when the stream ends, breaks its protocol or falls silent."""
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame.opcode is Opcode.BINARY:
                    raise NotHeard("the camera's event stream is not text")
                if frame.opcode not in (Opcode.TEXT, Opcode.CONT):
                    continue
                now_s = asyncio.get_running_loop().time()
                if frame.opcode is Opcode.TEXT:
                    self._began_s = now_s
                self._parts += frame.data
                if frame.fin:
                    whole, self._parts = bytes(self._parts), bytearray()
                    return whole
                if now_s - self._began_s > SILENCE_S:
                    raise NotHeard(f"one message of the camera's event stream takes more than {SILENCE_S:g} s")
            await self._next_frames()

    async def _next_frames(self) -> None:
        """Pings a silent camera. One that neither answers nor ends a frame it began is lost."""
        for _ in range(round(SILENCE_S / PING_S)):
            try:
                async with asyncio.timeout(PING_S):
                    while not self._frames:
                        if self._protocol.parser_exc is not None or self._protocol.state is not State.OPEN:
                            raise NotHeard(self._ending())
                        await self._receive()
                    return
            except TimeoutError:
                self._protocol.send_ping(b"recorderd")
                await self._flush()
        raise NotHeard(f"nothing from the camera's event stream for {SILENCE_S:g} s")

    async def _receive(self) -> None:
        try:
            data = await self._reader.read(65536)
        except OSError as error:
            raise NotHeard(f"the event stream was reset ({error.strerror or type(error).__name__})") from None
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._frames += [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._writer.drain()
        except TimeoutError:
            raise NotHeard("the camera takes nothing from its event stream") from None
        except OSError as error:
            raise NotHeard(f"the event stream was reset ({error.strerror or type(error).__name__})") from None

    def _ending(self) -> str:
        error = self._protocol.parser_exc
        if error is not None and not isinstance(error, EOFError):
            return f"the camera's event stream breaks its protocol: {str(error)[:100]}"
        return "the camera closed its event stream"

    def close(self) -> None:
        self._writer.transport.abort()
