"""Listens to the kernel: netlink notifications, ARP and LLDP, within a budget that a flood cannot exceed.

Each socket is read for at most `SLICE_S` at a time and then left alone for `PAUSE_S`; what does not fit stays in the kernel's buffer, whose
size is fixed, and what does not fit there is dropped by the kernel. A dropped notification is noticed (ENOBUFS) and the tables are
read anew, at most once per `RESYNC_S`. So a flood costs a bounded share of the loop and no memory, and what is true is found afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from recorderd.network import arp, lldp, notices

log = logging.getLogger(__name__)

SLICE_S = 0.003
PAUSE_S = 0.05
RESYNC_S = 1.0
BUFFER_BYTES = 256 * 1024
DATAGRAM_MAX_BYTES = 32768
DUMP_MAX_ENTRIES = 20_000
DUMP_TIMEOUT_S = 5.0

NETLINK_NETFILTER = 12
NFT_GROUP = 1 << 6  # NFNLGRP_NFTABLES is 7
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_MULTICAST = 0
LLDP_GROUPS = (bytes.fromhex("0180c200000e"), bytes.fromhex("0180c2000003"), bytes.fromhex("0180c2000000"))
PACKET_OUTGOING = 4


class Tables(NamedTuple):
    """The kernel's neighbour tables as one dump found them."""

    forwarding: tuple[notices.Forwarding, ...]
    neighbours: tuple[notices.Neighbour, ...]


class Sliced:
    """Reads a socket in slices. `handle` gets each datagram and its sender's link number; it must be quick and never raise."""

    def __init__(self, sock: socket.socket, handle: Callable[[bytes, int], None], lost: Callable[[], None]) -> None:
        self._socket = sock
        self._handle = handle
        self._lost = lost
        self._resume: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock, self._readable)

    def close(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        end = time.monotonic() + SLICE_S
        while time.monotonic() < end:
            try:
                data, sender = self._socket.recvfrom(DATAGRAM_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    self._lost()
                    continue
                if error.errno == errno.ENETDOWN:  # a packet socket's link went away; others go on
                    continue
                raise
            self._handle(data, _link_number(sender))
        self._loop.remove_reader(self._socket)
        self._resume = self._loop.call_later(PAUSE_S, self._again)

    def _again(self) -> None:
        self._resume = None
        self._loop.add_reader(self._socket, self._readable)


def _link_number(sender: object) -> int:
    """Packet sockets name the link in the address (an interface name, or "")."""
    if isinstance(sender, tuple) and sender and isinstance(sender[0], str) and sender[0]:
        with contextlib.suppress(OSError):
            return socket.if_nametoindex(sender[0])
    return 0


class Watch:
    """Hands notices on as they come. `on_lost` means: ask for `tables` and read links anew."""

    def __init__(
        self,
        *,
        on_notice: Callable[[notices.Notice], None],
        on_claim: Callable[[int, arp.Claim], None],
        on_announcement: Callable[[int, lldp.Announcement], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._on_notice = on_notice
        self._on_claim = on_claim
        self._on_announcement = on_announcement
        self._on_lost = on_lost
        self._readers: list[Sliced] = []
        self._lldp_socket: socket.socket | None = None
        self._joined: set[int] = set()
        self._resync: asyncio.TimerHandle | None = None
        self.losses = 0
        self.unheard = ""  # what this process may not listen to, one line; empty: everything is heard

    def open(self) -> None:
        """Starts listening. What this process may not listen to is left out, and `unheard` says so."""
        route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        route.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        route.bind((0, notices.GROUPS))
        self._readers.append(Sliced(route, self._route, self._lost))
        refused = []
        try:
            tables = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            tables.bind((0, NFT_GROUP))
            self._readers.append(Sliced(tables, lambda _data, _link: self._on_notice(notices.Changed(0)), self._lost))
        except PermissionError:
            tables.close()
            refused.append("changes of the packet filter (CAP_NET_ADMIN is missing)")
        try:
            self._lldp_socket = self._packet(lldp.ETHERTYPE, self._lldp)
            self._packet(arp.ETHERTYPE, self._arp)
        except OSError as error:  # EPERM without CAP_NET_RAW, EAFNOSUPPORT where the unit restricts address families
            why = "CAP_NET_RAW is missing" if isinstance(error, PermissionError) else error.strerror
            refused.append(f"ARP and LLDP ({why})")
        self.unheard = f"not heard: {', '.join(refused)}" if refused else ""
        if refused:
            log.info("network: %s", self.unheard)

    def listen_on(self, links: Iterable[int]) -> None:
        """Makes these links accept the group addresses of LLDP."""
        if self._lldp_socket is None:
            return
        for number in set(links) - self._joined:
            for group in LLDP_GROUPS:
                membership = struct.pack("iHH8s", number, PACKET_MR_MULTICAST, 6, group)
                with contextlib.suppress(OSError):  # the link has just gone: its successor has another number
                    self._lldp_socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
        self._joined = set(links)

    def close(self) -> None:
        if self._resync is not None:
            self._resync.cancel()
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    def _packet(self, ethertype: int, handle: Callable[[bytes, int], None]) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._readers.append(Sliced(made, handle, self._lost))
        return made

    def _route(self, data: bytes, _: int) -> None:
        for notice in notices.parse(data):
            self._on_notice(notice)

    def _lldp(self, data: bytes, link: int) -> None:
        try:
            self._on_announcement(link, lldp.parse(data))
        except lldp.NotLldp as error:
            log.debug("network: LLDP on link %d: %s", link, error)

    def _arp(self, data: bytes, link: int) -> None:
        claim = arp.parse(data)
        if claim is not None:
            self._on_claim(link, claim)

    def _lost(self) -> None:
        self.losses += 1
        if self._resync is None:
            self._resync = asyncio.get_running_loop().call_later(RESYNC_S, self._resynchronise)

    def _resynchronise(self) -> None:
        self._resync = None
        self._on_lost()


async def read_tables() -> Tables:
    """The forwarding and neighbour tables, at most 20,000 entries of each, read in slices."""
    forwarding = [n for n in await _dump(notices.AF_BRIDGE) if isinstance(n, notices.Forwarding)]
    neighbours = [n for n in await _dump(socket.AF_UNSPEC) if isinstance(n, notices.Neighbour)]
    return Tables(tuple(forwarding), tuple(neighbours))


async def _dump(family: int) -> list[notices.Notice]:
    loop = asyncio.get_running_loop()
    found: list[notices.Notice] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.setblocking(False)
        sock.bind((0, 0))
        sock.send(notices.dump_request(family, 1))
        async with asyncio.timeout(DUMP_TIMEOUT_S):
            while len(found) < DUMP_MAX_ENTRIES:
                data = await loop.sock_recv(sock, DATAGRAM_MAX_BYTES)
                found += notices.parse(data)
                if notices.dump_over(data):
                    break
                await asyncio.sleep(0)
    return found
