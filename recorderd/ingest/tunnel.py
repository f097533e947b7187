"""RTSP through HTTP: answers and media come in the body of a GET, requests go base64-coded into the body of a POST.

The scheme is the one QuickTime introduced and every camera knows (`x-sessioncookie`). Both connections may be TLS. HTTP's own
authentication is answered with the RTSP credentials, which then count inside the tunnel as well.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from collections.abc import Callable

from recorderd.ingest.connecting import CONNECT_TIMEOUT_S, Connect, NotConnected, cause_of
from recorderd.ingest.wire import Wire
from recorderd.model.causes import GapCause
from recorderd.rtsp.auth import Authenticator, NotAllowed
from recorderd.rtsp.messages import MAX_HEAD_BYTES, head_end
from recorderd.rtsp.url import RtspUrl

POST_LENGTH = 32767  # what QuickTime says; nobody counts
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_CHALLENGE = re.compile(rb"(?im)^WWW-Authenticate:[ \t]*([^\r\n]*)")


class TunnelWire:
    """A `Wire` made of the two connections; `ahead` came behind the GET's head."""

    def __init__(self, get: Wire, post: Wire, ahead: bytes) -> None:
        self._get = get
        self._post = post
        self._ahead = ahead

    @property
    def peer(self) -> tuple[str, int]:
        return self._get.peer

    @property
    def local_address(self) -> str:
        return self._get.local_address

    def receive_into(self, view: memoryview) -> int:
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return count
        return self._get.receive_into(view)

    def send(self, data: bytes) -> None:
        self._post.send(base64.b64encode(data))

    def flush(self) -> None:
        self._post.flush()

    def watch(self, readable: Callable[[], None]) -> None:
        self._get.watch(readable)
        if self._ahead:
            asyncio.get_running_loop().call_soon(readable)

    def unwatch(self) -> None:
        self._get.unwatch()

    def close(self) -> None:
        self._get.close()
        self._post.close()


async def open_tunnel(connect: Connect, url: RtspUrl, port: int, authenticator: Authenticator) -> Wire:
    """Raises `NotConnected`."""
    cookie = secrets.token_hex(11)
    try:
        async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
            get, ahead = await _get(connect, url, port, cookie, authenticator)
            try:
                post = await connect(url.host, port)
            except BaseException:
                get.close()
                raise
            head = {"Content-Type": "application/x-rtsp-tunnelled", "Content-Length": str(POST_LENGTH)}
            post.send(_request("POST", url, cookie, authenticator, head))
            return TunnelWire(get, post, ahead)
    except TimeoutError:
        raise NotConnected(GapCause.CAMERA_SILENT, "the HTTP tunnel was not answered") from None
    except OSError as error:
        raise NotConnected(*cause_of(error)) from error


async def _get(
    connect: Connect, url: RtspUrl, port: int, cookie: str, authenticator: Authenticator
) -> tuple[Wire, bytes]:
    """The GET connection after its 200, and what came behind the head."""
    for _ in range(3):
        wire = await connect(url.host, port)
        try:
            wire.send(_request("GET", url, cookie, authenticator, {"Accept": "application/x-rtsp-tunnelled"}))
            head, ahead = await _head(wire)
        except BaseException:
            wire.close()
            raise
        match = _STATUS.match(head)
        status = int(match[1]) if match else 0
        if status == 200:
            return wire, ahead
        wire.close()
        if status != 401:
            cause = GapCause.NOT_FOUND if status == 404 else GapCause.CAMERA_ERROR
            raise NotConnected(cause, f"the HTTP tunnel was refused: {status or 'no HTTP'}")
        challenges = [value.decode("latin-1") for value in _CHALLENGE.findall(head)]
        try:
            again = authenticator.take_challenge(challenges)
        except NotAllowed as error:
            raise NotConnected(GapCause.UNAUTHORIZED, str(error)) from None
        if not again:
            break
    raise NotConnected(GapCause.UNAUTHORIZED, "the camera refuses the user name or password")


def _request(method: str, url: RtspUrl, cookie: str, authenticator: Authenticator, head: dict[str, str]) -> bytes:
    path = url.path if url.path.startswith("/") else "/" + url.path
    lines = {"Host": url.host, "x-sessioncookie": cookie, "Pragma": "no-cache", "Cache-Control": "no-cache", **head}
    if (authorization := authenticator.authorization(method, path)) is not None:
        lines["Authorization"] = authorization
    text = f"{method} {path} HTTP/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return text.encode() + b"\r\n"


async def _head(wire: Wire) -> tuple[bytes, bytes]:
    """(head, what came behind it). Raises `NotConnected` when the connection ends first or the head is too long."""
    data = bytearray()
    view = memoryview(bytearray(4096))
    readable = asyncio.Event()
    wire.watch(readable.set)
    try:
        while True:
            try:
                count = wire.receive_into(view)
            except BlockingIOError:
                readable.clear()
                await readable.wait()
                continue
            if count == 0 or len(data) > MAX_HEAD_BYTES:
                raise NotConnected(GapCause.CAMERA_ERROR, "the HTTP tunnel was not answered in HTTP")
            data += view[:count]
            if (end := head_end(bytes(data))) >= 0:
                return bytes(data[:end]), bytes(data[end:])
    finally:
        wire.unwatch()
