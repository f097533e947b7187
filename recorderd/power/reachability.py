"""Whether a silent camera is there at all: ARP and TCP, within a second, with no privilege but CAP_NET_ADMIN.

A neighbour entry that the kernel holds for reachable says nothing for up to a minute after the camera died. So the entry is put into the
PROBE state over rtnetlink, which makes the kernel ask at once, and its verdict is read back when the TCP attempts are over.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from typing import Protocol

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from recorderd.model.ports import Clock
from recorderd.power.rescue import Reach

WEB_PORTS = (80, 443)
RTSP_PORT = 554
_PROBE = 0x10  # NUD_PROBE, linux/neighbour.h
_PRESENT = 0x02 | 0x04 | 0x40 | 0x80  # NUD_REACHABLE, STALE, NOARP, PERMANENT
_ABSENT = 0x01 | 0x20  # NUD_INCOMPLETE, FAILED


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
        netlink: Callable[[], AsyncIPRoute] = AsyncIPRoute,
    ) -> None:
        self._clock = clock
        self._web_ports = tuple(web_ports)
        self._timeout_s = timeout_s
        self._netlink = netlink

    async def reach(self, address: str) -> Reach:
        host, _, port = address.rpartition(":") if address.count(":") == 1 else (address, "", "")
        try:
            ip = ipaddress.ip_address(host or address)
        except ValueError:
            return Reach(self._clock.boottime_ns())
        stream_port = int(port) if port.isdecimal() and 0 < int(port) < 65_536 else RTSP_PORT
        asked = await self._ask_neighbour(ip)
        attempts = await asyncio.gather(*(self._connect(str(ip), p) for p in (stream_port, *self._web_ports)))
        arp = await self._neighbour_state(ip) if asked else None
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

    async def _ask_neighbour(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Makes the kernel ask now. False: it cannot be made to (no permission, no netlink), so ARP says nothing."""
        try:
            async with self._netlink() as route:
                entry = await self._entry(route, ip)
                if entry is None:
                    return True  # none yet: the connection attempts make one
                state, index, lladdr = entry
                if state & _PRESENT and lladdr:
                    await route.neigh("change", dst=str(ip), lladdr=lladdr, ifindex=index, state=_PROBE)
                return True
        except (NetlinkError, OSError):
            return False

    async def _neighbour_state(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool | None:
        try:
            async with self._netlink() as route:
                entry = await self._entry(route, ip)
        except (NetlinkError, OSError):
            return None
        if entry is None:
            return None
        state, _, _ = entry
        if state & _PRESENT:
            return True
        return False if state & _ABSENT else None

    @staticmethod
    async def _entry(
        route: AsyncIPRoute, ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> tuple[int, int, str] | None:
        async for message in await route.neigh("dump", dst=str(ip)):
            attributes = dict(message["attrs"])
            return message["state"], message["ifindex"], attributes.get("NDA_LLADDR", "")
        return None
