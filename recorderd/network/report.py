"""What is told about links, addresses and isolation. Pure: from one reading of the kernel and the table of places."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from recorderd.model.network import NetworkWish
from recorderd.model.ports import CameraPlace
from recorderd.network import ethtool
from recorderd.network.goal import uplink_link
from recorderd.network.observed import Address, Link, Observed
from recorderd.network.places import Places
from recorderd.network.status import AddressStatus, LinkStatus

Role = Literal["uplink", "camera_port", "camera_bridge", "other"]
Kind = Literal["wired", "bridge", "bridged", "vlan"]


def links(
    observed: Observed, wish: NetworkWish, places: Places, labelled: Collection[str], *, leased: str
) -> tuple[LinkStatus, ...]:
    """Every link but loopback. `labelled` are the board's port interfaces, `leased` the address of the uplink's lease."""
    return tuple(
        _link(link, observed, _role(link, wish, labelled), places, leased)
        for link in observed.links
        if link.name != "lo"
    )


def isolation(observed: Observed, confirmed: NetworkWish | None, places: Places) -> str:
    """Whether cameras are kept to themselves, in one line; begins with BROKEN or PARTLY where they are not, or not all."""
    if confirmed is None or confirmed.cameras is None:
        return "no camera LAN of ours"
    cameras = confirmed.cameras
    if not cameras.isolate:
        return "off: cameras reach each other and the recorder"
    if observed.table is None:
        return "BROKEN: the packet filter is missing"
    ports = [link for link in observed.links if link.name in cameras.ports]
    if any(link.master == cameras.bridge and link.isolated is False for link in ports):
        return "PARTLY: ports of the switch are open to each other"
    crowded = [
        places.label(port.name)
        for port in ports
        if len([place for place in _behind(port.name, places) if places.live(place.mac)]) > 1
    ]
    if crowded:
        return f"PARTLY: behind port {', '.join(crowded)} is a switch that recorderd does not manage; devices there reach each other"
    holes = f", with {len(cameras.allow)} exceptions" if cameras.allow else ""
    return f"cameras reach DHCP and NTP on the recorder and nothing else{holes}"


def _role(link: Link, wish: NetworkWish, labelled: Collection[str]) -> Role:
    if wish.uplink is not None and link.name in {wish.uplink.interface, uplink_link(wish.uplink)}:
        return "uplink"
    if wish.cameras is not None and link.name == wish.cameras.bridge:
        return "camera_bridge"
    if (wish.cameras is not None and link.name in wish.cameras.ports) or link.name in labelled:
        return "camera_port"
    return "other"


def _link(link: Link, observed: Observed, role: Role, places: Places, leased: str) -> LinkStatus:
    speed = ethtool.speed_of(link.name) if link.carrier else None
    kind: Kind = "bridged" if link.master else "wired"
    if link.kind == "bridge":
        kind = "bridge"
    elif link.kind == "vlan":
        kind = "vlan"
    port = role == "camera_port"
    return LinkStatus(
        name=link.name,
        kind=kind,
        role=role,
        label=places.label(link.name) if port else "",
        mac=link.mac,
        up=link.up,
        carrier=link.carrier,
        mtu=link.mtu,
        master=link.master,
        addresses=tuple(_address(address, leased) for address in observed.addresses_of(link.name)),
        speed_mbit_s=speed.mbit_s if speed else 0,
        full_duplex=speed.full_duplex if speed else False,
        isolated=bool(link.isolated),
        macs=tuple(place.mac for place in _behind(link.name, places)) if port else (),
    )


def _address(address: Address, leased: str) -> AddressStatus:
    if address.by_kernel or address.cidr.startswith("169.254."):
        return AddressStatus(address.cidr, "link_local")
    if address.valid_s is None:
        return AddressStatus(address.cidr, "static")
    by_dhcp = address.family == 4 or leased == address.cidr.partition("/")[0]
    return AddressStatus(address.cidr, "dhcp" if by_dhcp else "router")


def _behind(port: str, places: Places) -> list[CameraPlace]:
    label = places.label(port)
    return [place for place in places.all() if place.port == label]
