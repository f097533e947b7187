"""A wish in the kernel's terms: which links, addresses, routes and switches must stand. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from recorderd.model.network import CameraLan, IPv4Mode, IPv6Mode, LinkLocal, NetworkWish, Opening, Reach, Uplink
from recorderd.network.check import Interface, interface_of
from recorderd.network.linklocal import candidate
from recorderd.network.observed import SCOPE_LINK, Address, Path
from recorderd.network.steps import ROUTE_PROTOCOL


@dataclass(frozen=True, slots=True)
class GoalLink:
    """What one link must be. None: not ours to say."""

    name: str
    kind: str = ""  # bridge, vlan: made and removed by us; empty: hardware
    parent: str = ""
    vlan: int = 0
    mtu: int = 0
    up: bool = True
    master: str | None = None
    isolated: bool | None = None
    filtering: bool = False
    only_ours: bool = False  # every address on it that is not wanted goes, also when drift is repaired
    disable_ipv6: int | None = None
    accept_ra: int | None = None
    forwarding: int | None = None
    untouched_addresses: bool = False  # carries a VLAN of ours only: its untagged side belongs to someone else
    keeps_leases: bool = False  # addresses with a lifetime belong to the DHCP client or to router advertisements

    @property
    def ours(self) -> bool:
        return bool(self.kind)


@dataclass(frozen=True, slots=True)
class Goal:
    """Everything that must stand, in the order in which it is set up."""

    links: tuple[GoalLink, ...] = ()
    addresses: tuple[Address, ...] = ()
    paths: tuple[Path, ...] = ()
    ruleset: str = ""  # our nftables table as libnftables JSON; empty: none
    needs: tuple[str, ...] = ()  # hardware links without which nothing can be done

    def link(self, name: str) -> GoalLink | None:
        return next((link for link in self.links if link.name == name), None)


NOTHING = Goal()


def goal_of(wish: NetworkWish, ruleset: str = "", uplink_mac: str = "") -> Goal:
    """The wish, which must be free of `check.faults`, in the kernel's terms. `ruleset` comes from `isolation.ruleset`; `uplink_mac`
    gives the link-local address where it is always on."""
    links: list[GoalLink] = []
    addresses: list[Address] = []
    paths: list[Path] = []
    needs: list[str] = []
    leads_out = wish.uplink is not None and any(opening.reach is Reach.UPLINK for opening in _openings(wish))
    if wish.cameras is not None:
        links += _camera_links(wish.cameras, leads_out=leads_out)
        addresses.append(_ours(wish.cameras.bridge, interface_of(wish.cameras.address)))
        needs += wish.cameras.ports
    if wish.uplink is not None:
        links += _uplink_links(wish.uplink, leads_out=leads_out)
        name = uplink_link(wish.uplink)
        addresses += [_ours(name, interface_of(text)) for text in _standing(wish.uplink)]
        if wish.uplink.ipv4.link_local is LinkLocal.ON and uplink_mac:
            own = interface_of(f"{candidate(uplink_mac, 0)}/16")
            addresses.append(replace(_ours(name, own), scope=SCOPE_LINK))
        paths += _gateways(wish.uplink)
        needs.append(wish.uplink.interface)
    paths += [Path(to=route.to, via=route.via, metric=route.metric, protocol=ROUTE_PROTOCOL) for route in wish.routes]
    return Goal(tuple(links), tuple(addresses), tuple(_with_links(paths, addresses)), ruleset, tuple(needs))


def uplink_link(uplink: Uplink) -> str:
    """The link that carries the uplink's addresses: the interface, or its VLAN link (name cut to IFNAMSIZ)."""
    if not uplink.vlan:
        return uplink.interface
    suffix = f".{uplink.vlan}"
    return uplink.interface[: 15 - len(suffix)] + suffix


def _openings(wish: NetworkWish) -> tuple[Opening, ...]:
    return wish.cameras.allow if wish.cameras is not None and wish.cameras.isolate else ()


def _camera_links(cameras: CameraLan, *, leads_out: bool) -> list[GoalLink]:
    bridge = GoalLink(
        cameras.bridge,
        "bridge",
        vlan=cameras.vlan if cameras.vlan_aware else 0,
        mtu=cameras.mtu,
        filtering=cameras.vlan_aware,
        only_ours=True,
        accept_ra=0,
        forwarding=int(leads_out) if cameras.isolate else None,
    )
    isolated = cameras.isolate and all(opening.reach is not Reach.CAMERAS for opening in cameras.allow)
    ports = [
        GoalLink(port, mtu=cameras.mtu, master=cameras.bridge, isolated=isolated, only_ours=True)
        for port in cameras.ports
    ]
    return [bridge, *ports]


def _uplink_links(uplink: Uplink, *, leads_out: bool) -> list[GoalLink]:
    v6 = uplink.ipv6.mode
    addressed = GoalLink(
        uplink_link(uplink),
        mtu=uplink.mtu,
        up=uplink.up,
        disable_ipv6=int(v6 is IPv6Mode.OFF),
        accept_ra=int(v6 is IPv6Mode.AUTO) if v6 is not IPv6Mode.OFF else None,
        forwarding=1 if leads_out else None,
        keeps_leases=uplink.ipv4.mode is IPv4Mode.DHCP or v6 is IPv6Mode.AUTO,
    )
    if not uplink.vlan:
        return [replace(addressed, master="")]
    carrier = GoalLink(uplink.interface, up=uplink.up, master="", untouched_addresses=True)
    return [carrier, replace(addressed, kind="vlan", parent=uplink.interface, vlan=uplink.vlan, only_ours=True)]


def _standing(uplink: Uplink) -> tuple[str, ...]:
    """Addresses that are set by us at once; those of `static_fallback` wait for DHCP to fail."""
    v4 = uplink.ipv4.addresses if uplink.ipv4.mode is IPv4Mode.STATIC else ()
    v6 = uplink.ipv6.addresses if uplink.ipv6.mode in {IPv6Mode.STATIC, IPv6Mode.AUTO} else ()
    return v4 + v6


def _gateways(uplink: Uplink) -> list[Path]:
    paths = []
    name = uplink_link(uplink)
    if uplink.ipv4.gateway and uplink.ipv4.mode is IPv4Mode.STATIC:
        paths.append(Path("0.0.0.0/0", uplink.ipv4.gateway, name, protocol=ROUTE_PROTOCOL))
    if uplink.ipv6.gateway and uplink.ipv6.mode in {IPv6Mode.STATIC, IPv6Mode.AUTO}:
        # Linux gives IPv6 routes without a metric 1024 (IP6_RT_PRIO_USER): said here, so that wish and kernel compare equal.
        paths.append(Path("::/0", uplink.ipv6.gateway, name, metric=1024, protocol=ROUTE_PROTOCOL))
    return paths


def _with_links(paths: list[Path], addresses: list[Address]) -> list[Path]:
    """Routes get the link on whose network their gateway lies; without one the kernel decides, and reports it."""
    found = []
    for path in paths:
        link = path.link
        gateway = ipaddress.ip_address(path.via)
        for address in addresses:
            network = interface_of(address.cidr).network
            if not link and gateway.version == network.version and gateway in network:
                link = address.link
        metric = path.metric or (1024 if path.family == 6 else 0)
        found.append(Path(path.to, path.via, link, metric, path.protocol))
    return found


def _ours(link: str, own: Interface) -> Address:
    wide = own.version == 4 and own.network.prefixlen < 31
    return Address(link, str(own), broadcast=str(own.network.broadcast_address) if wide else "")
