"""The table from method names to handlers, typed so that a handler that does not fit its method does not pass the type check."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from recorderd.control.peer import Peer
from recorderd.protocol.interface import Interface, Kind, Method
from recorderd.protocol.upgrade import Trailer

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)
R_co = TypeVar("R_co", bound=msgspec.Struct, covariant=True)


class Body(Protocol):
    """The raw bytes of an upgraded call. The server iterates, then asks for the trailer, and closes in every case.

    An empty piece says only that work goes on elsewhere.
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def trailer(self) -> Trailer: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Upgrade(Generic[R_co]):
    """`beside` goes to the caller with the reply, as a descriptor; the server closes it."""

    reply: R_co
    body: Body
    beside: socket.socket | None = None


@dataclass(frozen=True, slots=True)
class Last(Generic[R_co]):
    """Wraps the reply that ends a stream; a stream without an end (events) never yields it."""

    reply: R_co


ReplyHandler = Callable[[P, Peer], Awaitable[R]]
StreamHandler = Callable[[P, Peer], AsyncIterator[R | Last[R]]]
UpgradeHandler = Callable[[P, Peer], Awaitable[Upgrade[R]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A method and the one handler it has. The types of both were compared when it was added."""

    method: Method[Any, Any]
    reply: ReplyHandler[msgspec.Struct, msgspec.Struct] | None = None
    stream: StreamHandler[msgspec.Struct, msgspec.Struct] | None = None
    upgrade: UpgradeHandler[msgspec.Struct, msgspec.Struct] | None = None


class Dispatch:
    """Filled by the faces at start. A method is served by exactly one handler; `missing` lists the declared ones without."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.interfaces: dict[str, Interface] = {}

    def reply(self, method: Method[P, R], handler: ReplyHandler[P, R]) -> None:
        self._add(Kind.REPLY, Entry(method, reply=lambda call, peer: handler(_of(method, call), peer)))

    def stream(self, method: Method[P, R], handler: StreamHandler[P, R]) -> None:
        """`handler` yields replies, the final one as `Last`; without `more` the caller gets the first one only."""
        self._add(Kind.STREAM, Entry(method, stream=lambda call, peer: handler(_of(method, call), peer)))

    def upgrade(self, method: Method[P, R], handler: UpgradeHandler[P, R]) -> None:
        self._add(Kind.UPGRADE, Entry(method, upgrade=lambda call, peer: handler(_of(method, call), peer)))

    def missing(self) -> list[str]:
        return [
            method.full_name
            for interface in self.interfaces.values()
            for method in interface.methods.values()
            if method.full_name not in self.entries
        ]

    def _add(self, kind: Kind, entry: Entry) -> None:
        method = entry.method
        if method.kind is not kind or method.full_name in self.entries:
            raise ValueError(f"{method.full_name}: wrong kind of handler, or a second one")
        self.interfaces.setdefault(method.interface.name, method.interface)
        self.entries[method.full_name] = entry


def _of(method: Method[P, R], call: msgspec.Struct) -> P:
    """The server decoded it by this method."""
    assert isinstance(call, method.parameters)
    return call


class Face(Protocol):
    """One interface's side of the server: translates between messages and a service."""

    def bind(self, table: Dispatch) -> None: ...
