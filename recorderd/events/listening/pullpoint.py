"""A camera's events by an ONVIF pull point (Core specification, 9.2): subscribe, then ask again and again. The camera answers when there is
something to tell.

`h11` has HTTP/1.1, without I/O; the answers go to the sandboxed worker unread, which finds notifications, faults and the subscription's
address in them. Of that address only the path is believed: everything is sent to the device's own address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import h11

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

EVENT_SERVICE = "/onvif/event_service"  # what GetServices says of nearly every camera
HOLD_S = 20  # how long the camera keeps a question that it has nothing to answer to
LIFE_S = 60  # of the subscription; every question extends it
ANSWER_S = 10.0
PARTING_S = 2.0
MAX_HEAD_BYTES = 16 << 10
_ATTEMPTS = 3  # without credentials, with them, with a fresh nonce

_SOAP = """<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://www.w3.org/2005/08/addressing" xmlns:t="http://www.onvif.org/ver10/events/wsdl"
 xmlns:w="http://docs.oasis-open.org/wsn/b-2"><s:Header><a:Action>{action}</a:Action><a:To>{to}</a:To></s:Header>
<s:Body>{body}</s:Body></s:Envelope>"""
_PORT_TYPE = "http://www.onvif.org/ver10/events/wsdl/"
_CREATE = _PORT_TYPE + "EventPortType/CreatePullPointSubscriptionRequest"
_PULL = _PORT_TYPE + "PullPointSubscription/PullMessagesRequest"
_UNSUBSCRIBE = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/UnsubscribeRequest"
_WANTED = (
    f"<t:CreatePullPointSubscription><t:InitialTerminationTime>PT{LIFE_S}S</t:InitialTerminationTime>"
    "</t:CreatePullPointSubscription>"
)
_QUESTION = f"<t:PullMessages><t:Timeout>PT{HOLD_S}S</t:Timeout><t:MessageLimit>100</t:MessageLimit></t:PullMessages>"

Read = Callable[[bytes, int], Awaitable[Answer]]


async def listen(request: EventStreamRequest, *, read: Read, granted: Callable[[], None], clock: Clock) -> None:
    """Asks until it fails. `read(document, arrival_ns)` has an answer parsed and published; `granted` is called when the camera has
    subscribed us. Raises `NotHeard`, and what `read` raises."""
    peer = _Peer(request)
    answer = await _ask(peer, EVENT_SERVICE, _CREATE, _WANTED, ANSWER_S, read, clock)
    path = path_of(answer.address)
    if not path:
        raise NotHeard("the camera makes no pull point")
    granted()
    pace = Pace(clock)
    try:
        while True:
            await pace.take()
            await _ask(peer, path, _PULL, _QUESTION, HOLD_S + ANSWER_S, read, clock)
    finally:
        await _unsubscribe(peer, path)


def path_of(address: str) -> str:
    """Path and query of the subscription's address; host and port are the camera's idea of itself, and often wrong."""
    if not address.isascii() or any(c <= " " for c in address):
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if not parts.path.startswith("/"):
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


async def _ask(peer: _Peer, path: str, action: str, body: str, patience_s: float, read: Read, clock: Clock) -> Answer:
    status, document = await peer.post(path, action, body, patience_s)
    if status == 404 and path == EVENT_SERVICE:
        raise NotHeard("the camera has no ONVIF event service")
    answer = await read(document, clock.boottime_ns())
    if answer.refusal or status != 200:
        raise NotHeard(f"the camera refuses its events: {answer.refusal or f'status {status}'}")
    if answer.error:
        raise NotHeard(f"the camera's events cannot be read: {answer.error}")
    return answer


async def _unsubscribe(peer: _Peer, path: str) -> None:
    """So that those who have gone take none of the camera's few places; a camera that does not answer forgets by itself."""
    try:
        await peer.post(path, _UNSUBSCRIBE, "<w:Unsubscribe/>", PARTING_S)
    except NotHeard:
        return


class _Peer:
    """Posts to one device, on a connection of its own each time."""

    def __init__(self, request: EventStreamRequest) -> None:
        self._request = request
        self._authenticator = authenticator_of(request)
        self._host = host_header(request)

    async def post(self, path: str, action: str, body: str, patience_s: float) -> tuple[int, bytes]:
        """(status, body). Raises `NotHeard`."""
        to = escape(f"{'https' if self._request.encrypted else 'http'}://{self._host}{path}")
        document = _SOAP.format(action=action, to=to, body=body).encode()
        for _ in range(_ATTEMPTS):
            headers = [
                ("Host", self._host),
                ("Content-Type", f'application/soap+xml; charset=utf-8; action="{action}"'),
                ("Content-Length", str(len(document))),
                ("Connection", "close"),
            ]
            if (authorization := self._authenticator.authorization("POST", path)) is not None:
                headers.append(("Authorization", authorization))
            try:
                async with asyncio.timeout(patience_s):
                    status, challenges, answer = await self._exchange(path, headers, document)
            except TimeoutError:
                raise NotHeard("the camera does not answer a question for its events") from None
            if status != 401:
                return status, answer
            take_challenges(self._authenticator, challenges)
        raise NotHeard("the camera asks for credentials again and again")

    async def _exchange(
        self, path: str, headers: list[tuple[str, str]], document: bytes
    ) -> tuple[int, list[str], bytes]:
        reader, writer = await connect(self._request)
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        question = (
            h11.Request(method="POST", target=path, headers=headers),
            h11.Data(data=document),
            h11.EndOfMessage(),
        )
        try:
            for event in question:
                writer.write(http.send(event) or b"")
            await writer.drain()
            return await _response(http, reader)
        except OSError as error:
            raise NotHeard(f"the connection was reset ({error.strerror or type(error).__name__})") from None
        except h11.ProtocolError:
            raise NotHeard("the camera's web server does not speak HTTP") from None
        finally:
            writer.transport.abort()


async def _response(http: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, list[str], bytes]:
    status = 0
    challenges: list[str] = []
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
            challenges = [value.decode("latin-1") for name, value in event.headers if name == b"www-authenticate"]
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_DOCUMENT_BYTES:
                raise NotHeard(f"the camera answers more than {MAX_DOCUMENT_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return status, challenges, bytes(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise NotHeard("the camera closed the connection without an answer")
