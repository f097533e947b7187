"""From a host to addresses, without ever holding up whoever asks for another.

The C library's resolver blocks, for half a minute and more when a name server is dead, and cannot be interrupted. So addresses never go
through it, and each name has at most one look-up under way, in a thread of its own that nobody waits for longer than he wants to. While one
is under way, or after it failed, the name's last known addresses serve.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

MAX_LOOKUPS = 64  # at a time: as many as there can be devices (`model.limits`)
MAX_KNOWN = 256
MAX_ADDRESSES = 4
PATIENCE_S = 2.0  # for a name whose addresses of an earlier look-up are known


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address; `scope` is the interface's index for IPv6 addresses of a link, else 0."""

    family: socket.AddressFamily
    host: str
    scope: int = 0

    def __str__(self) -> str:
        return f"{self.host}%{self.scope}" if self.scope else self.host

    def at(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """What `connect` takes."""
        return (self.host, port, 0, self.scope) if self.family is socket.AF_INET6 else (self.host, port)


class NotResolved(Exception):
    """The host has no address now; the text is for the operator."""


def literal(host: str) -> Address | None:
    """The address that `host` is, if it is one. Raises `NotResolved` for one of an interface that does not exist (`fe80::1%eth7`)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return Address(socket.AF_INET, host)
    plain, _, zone = host.partition("%")
    try:
        return Address(socket.AF_INET6, plain, socket.if_nametoindex(zone) if zone else 0)
    except OSError:
        raise NotResolved(f"the camera's address names interface {zone[:16]}, which does not exist") from None


def system_lookup(host: str) -> list[Address]:
    """What the C library says. Blocks; raises OSError and, for what cannot be a name, UnicodeError."""
    found = []
    for family, _, _, _, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        scope = address[3] if family is socket.AF_INET6 and len(address) == 4 else 0
        found.append(Address(family, str(address[0]), int(scope)))
    return found


class Names:
    """`lookup` is what is called in a thread for a name: it may block as long as it likes."""

    def __init__(self, lookup: Callable[[str], list[Address]] = system_lookup) -> None:
        self._lookup = lookup
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[list[Address]]] = {}
        self._known: dict[str, list[Address]] = {}

    async def addresses(self, host: str, timeout_s: float) -> list[Address]:
        """At least one and at most `MAX_ADDRESSES`. Raises `NotResolved`."""
        if (address := literal(host)) is not None:
            return [address]
        known, looking = self._begin(host)
        if looking is None:
            why = "too many names are being looked up"
        else:
            try:
                async with asyncio.timeout(min(timeout_s, PATIENCE_S) if known else timeout_s):
                    return await asyncio.wrap_future(looking)
            except TimeoutError:
                why = f"no answer within {timeout_s:g} s"
            except OSError as error:
                why = error.strerror or str(error)
            except UnicodeError:
                why = "it is not a host name"
        if known:
            return known
        raise NotResolved(f"the camera's name cannot be resolved: {why}")

    def _begin(self, host: str) -> tuple[list[Address], Future[list[Address]] | None]:
        """The addresses known so far, and the look-up that is under way: an earlier one or a new one, None when there are too many."""
        with self._lock:
            known = self._known.get(host, [])
            if host in self._under_way:
                return known, self._under_way[host]
            if len(self._under_way) >= MAX_LOOKUPS:
                return known, None
            future = self._under_way[host] = Future()
        future.set_running_or_notify_cancel()  # from here on nobody who stops waiting can cancel it for the others
        # A daemon thread: a dead name server must not hold up the end of the process either.
        threading.Thread(target=self._look_up, args=(host, future), name=f"name {host[:40]}", daemon=True).start()
        return known, future

    def _look_up(self, host: str, future: Future[list[Address]]) -> None:
        try:
            found = self._lookup(host)[:MAX_ADDRESSES]
            if not found:
                raise OSError("it has no address")
        except (OSError, UnicodeError) as error:
            with self._lock:
                del self._under_way[host]
            future.set_exception(error)
            return
        with self._lock:
            del self._under_way[host]
            self._known.pop(host, None)
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]  # the one that was looked up longest ago
            self._known[host] = found
        future.set_result(found)


NAMES = Names()  # one for the process: its bound is on threads
