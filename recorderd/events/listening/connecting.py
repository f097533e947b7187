"""Connections to a camera's web server, for its event stream."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from functools import lru_cache

from recorderd.model.names import NAMES, Names, NotResolved
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
        allow_basic=request.allow_basic or request.encrypted,
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


@lru_cache  # reading the authorities takes longer than a callback may
def tls_context(certificates: str) -> ssl.SSLContext:
    """`off`: any certificate; `limited`: a known authority's, whatever name is in it; `standard`: this host's (VAPIX, certvalidation)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = certificates == "standard"
    if certificates == "off":
        context.verify_mode = ssl.CERT_NONE
    return context


async def connect(
    request: EventStreamRequest, names: Names = NAMES
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises `NotHeard`."""
    context = tls_context(request.certificates) if request.encrypted else None
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
