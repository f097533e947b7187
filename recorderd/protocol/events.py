"""`io.recorderd.Events`."""

from __future__ import annotations

from recorderd.protocol.interface import Access, Interface, Kind
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Events")


class Item(Message, frozen=True):
    name: str
    value: str


class EventInfo(Message, frozen=True):
    number: int
    time: str
    topic: str
    source: list[Item]
    data: list[Item]
    operation: str


class EmitCall(Message, frozen=True):
    topic: str
    source: tuple[Item, ...] = ()
    data: tuple[Item, ...] = ()
    operation: str = ""


class WatchCall(Message, frozen=True):
    topic: str = ""
    source: str = ""
    properties: bool = True


class WatchReply(Message, frozen=True):
    event: EventInfo
    lost: int


class SearchCall(Message, frozen=True):
    topic: str = ""
    source: str = ""
    start: str | None = None
    stop: str | None = None
    after: int = 0
    newest_first: bool = False


class EventsReply(Message, frozen=True):
    events: list[EventInfo]
    more: bool


class PropertiesCall(Message, frozen=True):
    topic: str = ""
    source: str = ""
    after: int = 0


EMIT = INTERFACE.method("Emit", EmitCall, Nothing)
WATCH = INTERFACE.method("Watch", WatchCall, WatchReply, access=Access.VIEW, kind=Kind.STREAM)
SEARCH = INTERFACE.method("Search", SearchCall, EventsReply, access=Access.VIEW)
PROPERTIES = INTERFACE.method("Properties", PropertiesCall, EventsReply, access=Access.VIEW)
