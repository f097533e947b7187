"""The Transport header (RFC 2326 12.39)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_SSRC = re.compile(r"[0-9A-Fa-f]{1,8}")


@dataclass(frozen=True, slots=True)
class TransportOffer:
    """What a SETUP asked for or was granted. Port and channel pairs are (RTP, RTCP)."""

    interleaved: tuple[int, int] | None = None
    client_port: tuple[int, int] | None = None
    server_port: tuple[int, int] | None = None
    source: str = ""
    ssrc: int | None = None
    multicast: bool = False


def offer_tcp(channel: int) -> str:
    return f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"


def offer_udp(ports: tuple[int, int]) -> str:
    return f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]}"


def parse_transport(value: str) -> TransportOffer:
    """The first transport of a SETUP answer; what is malformed counts as absent."""
    interleaved = client_port = server_port = None
    source, ssrc, multicast = "", None, False
    for part in value[:1024].split(",")[0].split(";")[1:]:
        name, _, argument = part.strip().partition("=")
        name, argument = name.strip().lower(), argument.strip().strip('"')
        if name == "interleaved":
            interleaved = _pair(argument, 255)
        elif name == "client_port":
            client_port = _pair(argument, 65535)
        elif name == "server_port":
            server_port = _pair(argument, 65535)
        elif name == "source":
            source = argument
        elif name == "multicast":
            multicast = True
        elif name == "ssrc" and _SSRC.fullmatch(argument):
            ssrc = int(argument, 16)
    return TransportOffer(interleaved, client_port, server_port, source, ssrc, multicast)


def _pair(text: str, limit: int) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    second = int(match[2]) if match[2] else first + 1
    return (first, second) if first <= limit and second <= limit and first != second else None
