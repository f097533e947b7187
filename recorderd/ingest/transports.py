"""How a receiver's transport becomes a connection.

All of them are the same client over another wire. That was chosen over a child process with FFmpeg for everything but TCP: FFmpeg hands on
damaged pictures as good, moves media time when a camera's clock steps, and cuts metadata documents to pieces; and our own
parser has proven itself against the same fuzzer for every wire. TLS costs a handshake's CPU (some ms) in the loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from recorderd.ingest.connecting import Connect, connect_tcp, tls_connector
from recorderd.ingest.tunnel import open_tunnel
from recorderd.ingest.wire import Wire
from recorderd.model.device_tls import context_for
from recorderd.model.ports import StreamRequest
from recorderd.rtsp.auth import Authenticator
from recorderd.rtsp.url import DEFAULT_PORTS, RtspUrl, UrlError

TRANSPORTS = ("tcp", "udp", "rtsps", "http", "https")


@dataclass(frozen=True, slots=True)
class Opener:
    """How to reach a camera. `open` raises `connecting.NotConnected`; the authenticator is the session's."""

    open: Callable[[Authenticator], Awaitable[Wire]]
    encrypted: bool
    udp: bool = False


def opener(request: StreamRequest, url: RtspUrl) -> Opener:
    """Raises `UrlError` for a transport or scheme that cannot be used, `BadCertificate` for authorities that cannot be."""
    if request.transport not in TRANSPORTS:
        raise UrlError(f"transport {request.transport!r} is not one of {', '.join(TRANSPORTS)}")
    if url.scheme not in ("rtsp", "rtsps"):
        raise UrlError(f"scheme {url.scheme!r} is not rtsp or rtsps")
    encrypted = request.transport in ("rtsps", "https") or url.scheme == "rtsps"
    if encrypted and request.transport == "udp":
        raise UrlError("rtsps cannot carry media over UDP: it would not be encrypted")
    connect: Connect = connect_tcp
    if encrypted:
        connect = tls_connector(context_for(request.certificates))
    if request.transport in ("http", "https"):
        port = url.port
        if port == DEFAULT_PORTS[url.scheme]:
            port = DEFAULT_PORTS["https" if encrypted else "http"]
        return Opener(lambda authenticator: open_tunnel(connect, url, port, authenticator), encrypted)
    return Opener(lambda _: connect(url.host, url.port), encrypted, udp=request.transport == "udp")
