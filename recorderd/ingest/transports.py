"""How a receiver's transport becomes a connection: TCP and TLS here; UDP and HTTP tunnels in files of their own."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from recorderd.ingest.connecting import connect_tcp, tls_connector
from recorderd.ingest.wire import Wire
from recorderd.model.ports import StreamRequest
from recorderd.rtsp.url import RtspUrl, UrlError

TRANSPORTS = ("tcp", "rtsps")


@dataclass(frozen=True, slots=True)
class Opener:
    """How to reach a camera. `open` raises `connecting.NotConnected`."""

    open: Callable[[], Awaitable[Wire]]
    encrypted: bool


def opener(request: StreamRequest, url: RtspUrl) -> Opener:
    """Raises `UrlError` for a transport or scheme that cannot be used."""
    if request.transport not in TRANSPORTS:
        raise UrlError(f"transport {request.transport!r} is not one of {', '.join(TRANSPORTS)}")
    if url.scheme not in ("rtsp", "rtsps"):
        raise UrlError(f"scheme {url.scheme!r} is not rtsp or rtsps")
    encrypted = request.transport == "rtsps" or url.scheme == "rtsps"
    if encrypted:
        connect = tls_connector(tls_context(verify=request.verify_certificate))
    else:
        connect = connect_tcp
    return Opener(lambda: connect(url.host, url.port), encrypted)


def tls_context(*, verify: bool) -> ssl.SSLContext:
    """TLS 1.2 and later. Without `verify` any certificate is accepted: for cameras with self-signed ones, on a LAN of their own."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
