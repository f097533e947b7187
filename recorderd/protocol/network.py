"""`io.recorderd.Network`: the uplink, the camera LAN, and changes that undo themselves. Settings are `model.network`'s own structs."""

from __future__ import annotations

from typing import Literal

from recorderd.model.network import NetworkWish
from recorderd.protocol.errors import ControlError
from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.interface import Kind as MethodKind
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Network")

Kind = Literal["wired", "bridge", "bridged", "vlan"]
Role = Literal["uplink", "camera_port", "camera_bridge", "other"]
Origin = Literal["static", "dhcp", "link_local", "router"]


class Refused(ControlError):
    """The request changes nothing; `code` is for programs, `reason` for people."""

    name = "io.recorderd.Network.Refused"
    fields = ("code", "reason")
    code: str
    reason: str

    def sentence(self) -> str:
        return self.reason


class Undone(ControlError):
    """The change failed and the former network stands again."""

    name = "io.recorderd.Network.Undone"
    fields = ("reason",)
    reason: str

    def sentence(self) -> str:
        return self.reason


class Address(Message, frozen=True):
    address: str
    prefix: int
    origin: Origin


class Link(Message, frozen=True):
    name: str
    kind: Kind
    role: Role
    label: str
    mac: str
    up: bool
    carrier: bool
    mtu: int
    master: str
    addresses: list[Address]
    speed_mbit_s: int | None
    full_duplex: bool
    isolated: bool
    macs: list[str]


class Place(Message, frozen=True):
    mac: str
    address: str
    port: str
    name: str
    alone: bool
    devices_behind: int


class Pending(Message, frozen=True):
    left_ms: int
    undoing: bool


class Status(Message, frozen=True):
    managed: bool
    hostname: str
    links: list[Link]
    gateway: str
    gateway_link: str
    name_servers: list[str]
    ntp_servers: list[str]
    lease: str
    isolation: str
    cameras: list[Place]
    pending: Pending | None
    trouble: list[str]
    notes: list[str]
    declared_applied: bool


class Lease(Message, frozen=True):
    mac: str
    address: str
    name: str
    port: str
    expires: str | None


class StatusReply(Message, frozen=True):
    status: Status


class SettingsReply(Message, frozen=True):
    settings: NetworkWish
    from_file: bool
    confirmed: NetworkWish | None


class SetSettingsCall(Message, frozen=True):
    settings: NetworkWish


class PlanReply(Message, frozen=True):
    lines: list[str]
    notes: list[str]


class ApplyCall(Message, frozen=True):
    confirm_within_ms: int


class AppliedReply(Message, frozen=True):
    lines: list[str]
    notes: list[str]
    token: str
    confirm_within_ms: int


class ConfirmCall(Message, frozen=True):
    token: str


class RescueCall(Message, frozen=True):
    interface: str | None
    confirm_within_ms: int


class LeasesReply(Message, frozen=True):
    leases: list[Lease]


class NeighboursReply(Message, frozen=True):
    places: list[Place]


class CaptureCall(Message, frozen=True):
    port: str
    seconds: int
    max_bytes: int


class CaptureReply(Message, frozen=True):
    interface: str


GET_STATUS = INTERFACE.method("GetStatus", Nothing, StatusReply, access=Access.VIEW)
GET_SETTINGS = INTERFACE.method("GetSettings", Nothing, SettingsReply, access=Access.VIEW)
SET_SETTINGS = INTERFACE.method("SetSettings", SetSettingsCall, PlanReply)
PREVIEW = INTERFACE.method("Preview", Nothing, PlanReply, access=Access.VIEW)
APPLY = INTERFACE.method("Apply", ApplyCall, AppliedReply)
CONFIRM = INTERFACE.method("Confirm", ConfirmCall, Nothing)
ROLLBACK = INTERFACE.method("Rollback", Nothing, Nothing)
RESCUE = INTERFACE.method("Rescue", RescueCall, AppliedReply)
LIST_LEASES = INTERFACE.method("ListLeases", Nothing, LeasesReply, access=Access.VIEW)
LIST_NEIGHBOURS = INTERFACE.method("ListNeighbours", Nothing, NeighboursReply, access=Access.VIEW)
CAPTURE = INTERFACE.method("Capture", CaptureCall, CaptureReply, kind=MethodKind.UPGRADE)
