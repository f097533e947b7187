"""What the network room tells: plain data for faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recorderd.model.network import NetworkWish
from recorderd.model.ports import CameraPlace


@dataclass(frozen=True, slots=True)
class AddressStatus:
    cidr: str
    origin: Literal["static", "dhcp", "link_local", "router"]  # VAPIX's words; router: its RA


@dataclass(frozen=True, slots=True)
class LinkStatus:
    name: str
    kind: Literal["wired", "bridge", "bridged", "vlan"]  # VAPIX's words, and vlan
    role: Literal["uplink", "camera_port", "camera_bridge", "other"]
    label: str
    mac: str
    up: bool
    carrier: bool
    mtu: int
    master: str
    addresses: tuple[AddressStatus, ...]
    speed_mbit_s: int  # 0: unknown
    full_duplex: bool
    isolated: bool
    macs: tuple[str, ...]  # devices behind it


@dataclass(frozen=True, slots=True)
class PendingStatus:
    """A change that awaits its confirmation."""

    left_s: int
    undoing: bool


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    managed: bool
    host_name: str
    links: tuple[LinkStatus, ...]
    gateway: str
    gateway_link: str
    name_servers: tuple[str, ...]
    ntp_servers: tuple[str, ...]
    lease: str  # of the uplink: bound, failed, none, or empty where it has no DHCP client of ours
    isolation: str  # one line
    cameras: tuple[CameraPlace, ...]
    pending: PendingStatus | None
    trouble: tuple[str, ...]  # what is wrong, one line each
    notes: tuple[str, ...]  # what is left alone, and what cannot be had on this machine
    wish: NetworkWish  # as declared
    confirmed: NetworkWish | None
