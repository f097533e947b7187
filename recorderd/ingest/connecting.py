"""Opening connections to cameras, and the cause that an operating system error stands for."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable

from recorderd.ingest.wire import TcpWire, Wire
from recorderd.model.causes import GapCause
from recorderd.model.names import NAMES, Address, Names, NotResolved

CONNECT_TIMEOUT_S = 5.0
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL})

Connect = Callable[[str, int], Awaitable[Wire]]


class NotConnected(Exception):
    """No connection came about; `cause` and `detail` are for the timeline and the operator."""

    def __init__(self, cause: GapCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


def cause_of(error: OSError) -> tuple[GapCause, str]:
    """What an OSError on a connection means."""
    if isinstance(error, ConnectionRefusedError):
        return GapCause.CAMERA_REFUSED, "the camera refuses the connection"
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return GapCause.CAMERA_RESET, f"the connection was reset ({error.strerror or error})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return GapCause.CAMERA_ERROR, f"the camera's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return GapCause.CAMERA_ERROR, f"TLS failed: {error.reason or 'unknown reason'}"
    if isinstance(error, TimeoutError) or error.errno in _UNREACHABLE:
        return GapCause.CAMERA_UNREACHABLE, f"the camera cannot be reached ({error.strerror or 'no answer'})"
    return GapCause.CAMERA_ERROR, f"connection failed: {error.strerror or type(error).__name__}"


async def connect_socket(
    host: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S, names: Names = NAMES
) -> socket.socket:
    """A connected, non-blocking TCP socket. `timeout_s` is for finding the address, and again for connecting. Raises `NotConnected`."""
    try:
        addresses = await names.addresses(host, timeout_s)
    except NotResolved as error:
        raise NotConnected(GapCause.CAMERA_UNREACHABLE, str(error)) from None
    last: OSError = OSError("no address")
    for address in addresses:  # each has its share of the time: one that swallows everything must not hide another
        try:
            async with asyncio.timeout(timeout_s / len(addresses)):
                return await _connected(address, port)
        except OSError as error:
            last = error
    if isinstance(last, TimeoutError):
        raise NotConnected(GapCause.CAMERA_UNREACHABLE, f"no answer to the connection within {timeout_s:g} s") from None
    raise NotConnected(*cause_of(last)) from last


async def _connected(address: Address, port: int) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address.at(port))
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_tcp(host: str, port: int) -> Wire:
    """Plain TCP. Raises `NotConnected`."""
    return TcpWire(await connect_socket(host, port), asyncio.get_running_loop())


def tls_connector(context: ssl.SSLContext) -> Connect:
    """TLS over TCP; the certificate is checked as `context` says."""

    async def connect(host: str, port: int) -> Wire:
        loop = asyncio.get_running_loop()
        plain = await connect_socket(host, port)
        secured = context.wrap_socket(plain, server_hostname=host.partition("%")[0], do_handshake_on_connect=False)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await _handshake(loop, secured)
        except TimeoutError:
            secured.close()
            raise NotConnected(GapCause.CAMERA_SILENT, "the TLS handshake was not answered") from None
        except OSError as error:
            secured.close()
            raise NotConnected(*cause_of(error)) from error
        except BaseException:
            secured.close()
            raise
        return TcpWire(secured, loop)

    return connect


async def _handshake(loop: asyncio.AbstractEventLoop, sock: ssl.SSLSocket) -> None:
    while True:
        ready = loop.create_future()
        try:
            sock.do_handshake()
            return
        except ssl.SSLWantReadError:
            loop.add_reader(sock, _done, ready)
            try:
                await ready
            finally:
                loop.remove_reader(sock)
        except ssl.SSLWantWriteError:
            loop.add_writer(sock, _done, ready)
            try:
                await ready
            finally:
                loop.remove_writer(sock)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def reachable(host: str, port: int, timeout_s: float = 3.0) -> GapCause | None:
    """Whether TCP answers: None, or the cause why not. No RTSP session is made."""
    try:
        sock = await connect_socket(host, port, timeout_s)
    except NotConnected as error:
        return error.cause
    sock.close()
    return None
