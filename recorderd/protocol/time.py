"""`io.recorderd.Time`: what the clock is worth, who keeps it, and who may move it."""

from __future__ import annotations

from typing import Literal

from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Time")

TrustWord = Literal["none", "rtc", "operator", "ntp"]
ModeWord = Literal["hold", "step", "trusted"]


class Source(Message, frozen=True):
    name: str
    state: str
    stratum: int
    reachable: bool
    offset_ms: float
    error_ms: float


class Status(Message, frozen=True):
    now: str
    local: str
    zone: str
    posix_zone: str
    dst: bool
    dhcp_zone: str | None
    latest_year: int
    trust: TrustWord
    synchronised: bool
    managed: bool
    source: str
    offset_ms: float | None
    sources: list[Source]
    servers: list[str]
    servers_from_dhcp: list[str]
    rtc: bool
    last_known: str | None
    mode: ModeWord
    waits: str


class StatusReply(Message, frozen=True):
    status: Status


class ZonesReply(Message, frozen=True):
    zones: list[str]


class SetTimeCall(Message, frozen=True):
    time: str


class SetZoneCall(Message, frozen=True):
    zone: str


class SetServersCall(Message, frozen=True):
    servers: list[str]
    from_dhcp: bool


class TrustReply(Message, frozen=True):
    taken: str


GET_STATUS = INTERFACE.method("GetStatus", Nothing, StatusReply, access=Access.VIEW)
LIST_ZONES = INTERFACE.method("ListZones", Nothing, ZonesReply, access=Access.VIEW)
SET_TIME = INTERFACE.method("SetTime", SetTimeCall, Nothing)
SET_ZONE = INTERFACE.method("SetZone", SetZoneCall, Nothing)
SET_SERVERS = INTERFACE.method("SetServers", SetServersCall, Nothing)
TRUST = INTERFACE.method("Trust", Nothing, TrustReply)
