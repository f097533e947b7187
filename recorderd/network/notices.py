"""Netlink notifications of neighbours and links, as small tuples. Parsed by hand: a flood is cheap, and what nobody needs is not built.

`hw.netlink` has the layout, and walks what comes seldom with less care for its cost.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from hw.netlink import ATTRIBUTE, HEADER, NDMSG

RTM_NEWLINK, RTM_DELLINK = 16, 17
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
NLMSG_ERROR, NLMSG_DONE = 2, 3

RTMGRP_LINK = 0x1
RTMGRP_NEIGH = 0x4
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV4_ROUTE = 0x40
RTMGRP_IPV6_IFADDR = 0x100
RTMGRP_IPV6_ROUTE = 0x400
GROUPS = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE

AF_BRIDGE = 7
NDA_DST, NDA_LLADDR = 1, 2
NUD_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent: the MAC is known
NUD_PERMANENT = 0x80


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The bridge learned (or forgot) that `mac` is behind the link of number `index`."""

    index: int
    mac: str
    gone: bool


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The IP layer resolved `address` on the link of number `index` to `mac`, or forgot it (`mac` empty)."""

    index: int
    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Something about links, addresses or routes changed: read it again."""

    kind: int


Notice = Forwarding | Neighbour | Changed


def parse(data: bytes) -> Iterator[Notice]:
    """The notices of one datagram from the kernel. What is malformed or of no interest is skipped."""
    offset, size = 0, len(data)
    while offset + HEADER.size <= size:
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        end = offset + length
        if length < HEADER.size or end > size:
            return
        if kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
            notice = _neighbour(data, offset + HEADER.size, end, gone=kind == RTM_DELNEIGH)
            if notice is not None:
                yield notice
        elif RTM_NEWLINK <= kind <= RTM_DELROUTE:
            yield Changed(kind)
        offset += (length + 3) & ~3


def _neighbour(data: bytes, offset: int, end: int, *, gone: bool) -> Notice | None:
    if offset + NDMSG.size > end:
        return None
    family, index, state, _, _ = NDMSG.unpack_from(data, offset)
    address = mac = b""
    offset += NDMSG.size
    while offset + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            break
        if kind == NDA_DST:
            address = data[offset + 4 : offset + length]
        elif kind == NDA_LLADDR:
            mac = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    if family == AF_BRIDGE:
        # Permanent entries are the bridge's own addresses; group addresses are nobody's place.
        if len(mac) != 6 or state & NUD_PERMANENT or mac[0] & 1:
            return None
        return Forwarding(index, mac.hex(":"), gone)
    if family == socket.AF_INET and len(address) == 4:
        text = socket.inet_ntop(socket.AF_INET, address)
    elif family == socket.AF_INET6 and len(address) == 16:
        text = socket.inet_ntop(socket.AF_INET6, address)
    else:
        return None
    usable = not gone and state & NUD_USABLE and len(mac) == 6 and not mac[0] & 1
    return Neighbour(index, text, mac.hex(":") if usable else "")


def dump_request(family: int, sequence: int) -> bytes:
    """Asks for the whole neighbour table of a family (AF_BRIDGE: the forwarding tables)."""
    body = NDMSG.pack(family, 0, 0, 0, 0)
    return (
        HEADER.pack(HEADER.size + len(body), 30, 0x301, sequence, 0) + body
    )  # RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP


def dump_over(data: bytes) -> bool:
    """Whether the datagram holds the end (or the refusal) of a dump."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            return True
        if length < HEADER.size:
            return True
        offset += (length + 3) & ~3
    return False
