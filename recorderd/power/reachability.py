"""Whether a silent camera is there at all: ARP and TCP, within a second, with no privilege but CAP_NET_ADMIN.

A neighbour entry that the kernel holds for reachable says nothing for up to a minute after the camera died. So the entry is put into the
PROBE state over rtnetlink, which makes the kernel ask at once, and its verdict is read back when the TCP attempts are over.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hw import netlink
from recorderd.model.ports import Clock
from recorderd.power.rescue import Reach

WEB_PORTS = (80, 443)
RTSP_PORT = 554
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_NDA_DST, _NDA_LLADDR = 1, 2
_FAMILY = {4: 2, 6: 10}  # AF_INET, AF_INET6
_PROBE = 0x10  # NUD_PROBE, linux/neighbour.h
_PRESENT = 0x02 | 0x04 | 0x40 | 0x80  # NUD_REACHABLE, STALE, NOARP, PERMANENT
_ABSENT = 0x01 | 0x20  # NUD_INCOMPLETE, FAILED


_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class _Entry(NamedTuple):
    """Of the kernel's neighbour table."""

    state: int
    link: int
    lladdr: bytes


class Prober(Protocol):
    async def reach(self, address: str) -> Reach:
        """One attempt, at most about two seconds. Never raises for what a network does."""


class NetworkProber:
    """`address` is an IP address, or one with a port (then that port is tried instead of 554)."""

    def __init__(
        self,
        *,
        clock: Clock,
        web_ports: Sequence[int] = WEB_PORTS,
        timeout_s: float = 1.0,
    ) -> None:
        self._clock = clock
        self._web_ports = tuple(web_ports)
        self._timeout_s = timeout_s

    async def reach(self, address: str) -> Reach:
        host, _, port = address.rpartition(":") if address.count(":") == 1 else (address, "", "")
        try:
            ip = ipaddress.ip_address(host or address)
        except ValueError:
            return Reach(self._clock.boottime_ns())
        stream_port = int(port) if port.isdecimal() and 0 < int(port) < 65_536 else RTSP_PORT
        asked = await _ask_neighbour(ip)
        attempts = await asyncio.gather(*(self._connect(str(ip), p) for p in (stream_port, *self._web_ports)))
        arp = await _neighbour_state(ip) if asked else None
        return Reach(
            self._clock.boottime_ns(),
            arp=arp,
            tcp=any(somebody for somebody, _ in attempts),
            web=any(accepted for _, accepted in attempts[1:]),
        )

    async def _connect(self, host: str, port: int) -> tuple[bool, bool]:
        """(somebody answered, the port accepted)."""
        try:
            async with asyncio.timeout(self._timeout_s):
                _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            return True, False
        except (OSError, TimeoutError):
            return False, False
        writer.transport.abort()
        return True, True


async def _ask_neighbour(ip: _Ip) -> bool:
    """Makes the kernel ask now. False: it cannot be made to (no permission, no netlink), so ARP says nothing."""
    try:
        entry = await _entry(ip)
        if entry is not None and entry.state & _PRESENT and entry.lladdr:  # without one the connection attempts make it
            body = netlink.NDMSG.pack(_FAMILY[ip.version], entry.link, _PROBE, 0, 0)
            body += netlink.attribute(_NDA_DST, ip.packed) + netlink.attribute(_NDA_LLADDR, entry.lladdr)
            await netlink.ask(_RTM_NEWNEIGH, netlink.ACK | netlink.REPLACE, body)
    except OSError:  # a time-out is one too
        return False
    return True


async def _neighbour_state(ip: _Ip) -> bool | None:
    try:
        entry = await _entry(ip)
    except OSError:
        return None
    if entry is None:
        return None
    if entry.state & _PRESENT:
        return True
    return False if entry.state & _ABSENT else None


async def _entry(ip: _Ip) -> _Entry | None:
    for message in await netlink.dump(_RTM_GETNEIGH, netlink.NDMSG.pack(_FAMILY[ip.version], 0, 0, 0, 0)):
        if len(message.body) >= netlink.NDMSG.size:
            _, link, state, _, _ = netlink.NDMSG.unpack_from(message.body)
            said = netlink.attributes(message.body, netlink.NDMSG.size)
            if said.get(_NDA_DST) == ip.packed:
                return _Entry(state, link, said.get(_NDA_LLADDR, b""))
    return None
