"""Connections to a camera's web server, for its event stream."""

from __future__ import annotations

import asyncio
import secrets
import ssl

from recorderd.model.device_tls import context_for, may_send_basic
from recorderd.model.names import NAMES, Names, NotResolved
from recorderd.model.pem import BadCertificate
from recorderd.model.ports import EventStreamRequest
from recorderd.rtsp.auth import Authenticator, NotAllowed

CONNECT_TIMEOUT_S = 5.0
BUFFER_BYTES = 64 << 10
REFUSED = "the camera refuses the user name or password"


class NotHeard(Exception):
    """The camera's events cannot be had, or no longer; the text is one line for the operator, free of secrets."""


def authenticator_of(request: EventStreamRequest) -> Authenticator:
    return Authenticator(
        username=request.username,
        password=request.password,
        allow_basic=may_send_basic(
            allowed=request.allow_basic, encrypted=request.encrypted, certificates=request.certificates
        ),
        nonce_maker=lambda: secrets.token_hex(8),
    )


def take_challenges(authenticator: Authenticator, challenges: list[str]) -> None:
    """Raises `NotHeard` when another attempt would be refused as well."""
    try:
        again = authenticator.take_challenge(challenges)
    except NotAllowed as error:
        raise NotHeard(str(error)) from None
    if not again:
        raise NotHeard(REFUSED)


async def connect(
    request: EventStreamRequest, names: Names = NAMES
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises `NotHeard`."""
    try:
        context = context_for(request.certificates) if request.encrypted else None
    except BadCertificate as error:
        raise NotHeard(f"the device's CA certificates cannot be used: {error}") from None
    try:
        address, *_ = await names.addresses(request.host, CONNECT_TIMEOUT_S)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await asyncio.open_connection(
                str(address),
                request.port,
                ssl=context,
                server_hostname=request.host if context is not None else None,
                limit=BUFFER_BYTES,
            )
    except NotResolved as error:
        raise NotHeard(str(error)) from None
    except TimeoutError:
        raise NotHeard("no answer to the connection") from None
    except ConnectionRefusedError:
        raise NotHeard("the camera refuses the connection") from None
    except ssl.SSLCertVerificationError as error:
        raise NotHeard(f"the camera's certificate is not accepted: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise NotHeard(f"TLS failed: {error.reason or 'unknown reason'}") from None
    except OSError as error:
        raise NotHeard(f"the camera cannot be reached ({error.strerror or type(error).__name__})") from None


def host_header(request: EventStreamRequest) -> str:
    host = f"[{request.host}]" if ":" in request.host else request.host
    return host if request.port == (443 if request.encrypted else 80) else f"{host}:{request.port}"
