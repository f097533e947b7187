"""Whether a wish can be true at all: every fault is one line with the place, the value and what is allowed."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from recorderd.model.network import CameraLan, IPv4Mode, IPv6Mode, NetworkWish, Opening, Reach, Uplink

INTERFACE = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}"
)  # IFNAMSIZ 16 with its zero; no leading dash: it goes into `ip -batch`
HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

MTU_MIN = {4: 576, 6: 1280}
MTU_MAX = 9000
LEASE_MIN_S = 120  # dnsmasq takes no shorter lease
MOST = 64  # of anything listed

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong: `where` is the key as written in recorderd.toml below [network]."""

    where: str
    got: str
    expected: str

    def __str__(self) -> str:
        return f"network.{self.where}: {self.got!r} is not {self.expected}"


def faults(wish: NetworkWish) -> tuple[Fault, ...]:
    """Everything wrong with `wish`, in the order of its fields. Empty: it can be planned."""
    found = list(_host_name("hostname", wish.hostname))
    if wish.uplink is not None:
        found += _uplink(wish.uplink)
    if wish.cameras is not None:
        found += _cameras(wish.cameras)
    for number, route in enumerate(wish.routes[:MOST]):
        found += _network(f"routes[{number}].to", route.to)
        found += _address(f"routes[{number}].via", route.via)
    for key, servers in (("dns.servers", wish.dns.servers),):
        for server in servers:
            found += _address(key, server)
    found += faults_of_servers(wish.ntp.servers)
    for name in (*wish.dns.search, wish.dns.domain):
        found += _host_name("dns.search", name)
    for key, listed in (("routes", wish.routes), ("dns.servers", wish.dns.servers)):
        if len(listed) > MOST:
            found.append(Fault(key, f"{len(listed)} entries", f"at most {MOST}"))
    return tuple(found) or tuple(_together(wish))


def faults_of_servers(servers: tuple[str, ...]) -> tuple[Fault, ...]:
    """What is wrong with a list of NTP servers."""
    found = [Fault("ntp.servers", f"{len(servers)} entries", f"at most {MOST}")] if len(servers) > MOST else []
    for server in servers[:MOST]:
        if not server:
            found.append(Fault("ntp.servers", server, "a host name or an IP address"))
        elif not _is_address(server):
            found += _host_name("ntp.servers", server, "a host name or an IP address")
    return tuple(found)


def interface_of(text: str) -> Interface:
    """`"192.168.1.5/24"` as an interface address. Raises ValueError."""
    return ipaddress.ip_interface(text)


def lease_range(cameras: CameraLan) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    """First and last address that dnsmasq may lease: as declared, or the upper three quarters of the network."""
    own = ipaddress.IPv4Interface(cameras.address)
    size = own.network.num_addresses
    first = (
        ipaddress.IPv4Address(cameras.dhcp_first)
        if cameras.dhcp_first
        else own.network.network_address + max(1, size // 4)
    )
    last = ipaddress.IPv4Address(cameras.dhcp_last) if cameras.dhcp_last else own.network.broadcast_address - 1
    return first, last


def _uplink(uplink: Uplink) -> Iterator[Fault]:
    yield from _interface("uplink.interface", uplink.interface)
    if not 0 <= uplink.vlan <= 4094:
        yield Fault("uplink.vlan", str(uplink.vlan), "1 to 4094, or 0 for none")
    yield from _mtu("uplink.mtu", uplink.mtu, 6 if uplink.ipv6.mode is not IPv6Mode.OFF else 4)
    for family, part in ((4, uplink.ipv4), (6, uplink.ipv6)):
        key = f"uplink.ipv{family}"
        for text in part.addresses[:MOST]:
            yield from _own_address(f"{key}.addresses", text, family)
        if len(part.addresses) > MOST:
            yield Fault(f"{key}.addresses", f"{len(part.addresses)} entries", f"at most {MOST}")
        if part.gateway:
            yield from _address(f"{key}.gateway", part.gateway, family)
    if uplink.ipv4.mode is IPv4Mode.STATIC and not uplink.ipv4.addresses:
        yield Fault("uplink.ipv4.addresses", "", 'empty with mode = "static": give at least one, e.g. "192.168.1.5/24"')
    if uplink.ipv4.static_fallback and not uplink.ipv4.addresses:
        yield Fault("uplink.ipv4.addresses", "", "empty with static_fallback = true")
    if uplink.ipv6.mode is IPv6Mode.STATIC and not uplink.ipv6.addresses:
        yield Fault("uplink.ipv6.addresses", "", 'empty with mode = "static"')


def _cameras(cameras: CameraLan) -> Iterator[Fault]:
    yield from _interface("cameras.bridge", cameras.bridge)
    for port in cameras.ports:
        yield from _interface("cameras.ports", port)
    if not 1 <= len(cameras.ports) <= MOST:
        yield Fault("cameras.ports", f"{len(cameras.ports)} ports", f"1 to {MOST} interfaces")
    for port, times in Counter(cameras.ports).items():
        if times > 1:
            yield Fault("cameras.ports", port, "named once")
    yield from _mtu("cameras.mtu", cameras.mtu, 4)
    if not 1 <= cameras.vlan <= 4094:
        yield Fault("cameras.vlan", str(cameras.vlan), "1 to 4094")
    own = list(_own_address("cameras.address", cameras.address, 4))
    yield from own
    if not LEASE_MIN_S <= cameras.dhcp_lease_s <= 7 * 86400:
        yield Fault("cameras.dhcp_lease_s", str(cameras.dhcp_lease_s), f"{LEASE_MIN_S} to {7 * 86400} seconds")
    bad = list(_address("cameras.dhcp_first", cameras.dhcp_first, 4, empty=True)) + list(
        _address("cameras.dhcp_last", cameras.dhcp_last, 4, empty=True)
    )
    yield from bad
    if not own and not bad and cameras.dhcp:
        yield from _lease_range(cameras)
    for mac, address in cameras.dhcp_hosts.items():
        yield from _mac("cameras.dhcp_hosts", mac)
        yield from _address("cameras.dhcp_hosts", address, 4)
    for mac, label in cameras.places.items():
        yield from _mac("cameras.places", mac)
        if not label or len(label) > 32:
            yield Fault("cameras.places", label, "a port label of 1 to 32 characters")
    for number, opening in enumerate(cameras.allow[:MOST]):
        yield from _opening(f"cameras.allow[{number}]", opening)
    if len(cameras.allow) > MOST:
        yield Fault("cameras.allow", f"{len(cameras.allow)} entries", f"at most {MOST}")


def _lease_range(cameras: CameraLan) -> Iterator[Fault]:
    own = ipaddress.IPv4Interface(cameras.address)
    if own.network.prefixlen > 29 or own.network.prefixlen < 16:
        yield Fault("cameras.address", cameras.address, "a network of /16 to /29 for leases")
        return
    first, last = lease_range(cameras)
    hosts = (own.network.network_address, own.network.broadcast_address)
    for key, bound in (("dhcp_first", first), ("dhcp_last", last)):
        if bound not in own.network or bound in hosts:
            yield Fault(f"cameras.{key}", str(bound), f"a host of {own.network}")
    if first > last:
        yield Fault("cameras.dhcp_first", str(first), f"at or below dhcp_last {last}")
    if cameras.dhcp_first and cameras.dhcp_last and first <= own.ip <= last:
        yield Fault("cameras.address", cameras.address, f"outside the leases {first} to {last}")


def _opening(where: str, opening: Opening) -> Iterator[Fault]:
    if opening.protocol not in {"", "tcp", "udp"}:
        yield Fault(f"{where}.protocol", opening.protocol, "tcp, udp or empty for any")
    if not 0 <= opening.port <= 65535:
        yield Fault(f"{where}.port", str(opening.port), "1 to 65535, or 0 for any")
    if opening.port and not opening.protocol:
        yield Fault(f"{where}.protocol", "", "empty where a port is given: tcp or udp")
    yield from _network(f"{where}.source", opening.source, empty=True)
    yield from _network(f"{where}.destination", opening.destination, empty=True)
    if opening.destination and opening.reach is not Reach.UPLINK:
        yield Fault(f"{where}.destination", opening.destination, 'allowed with reach = "uplink" only')


def _together(wish: NetworkWish) -> Iterator[Fault]:
    """Contradictions between parts, each of which is well formed."""
    uplink, cameras = wish.uplink, wish.cameras
    subnets: list[tuple[str, Interface]] = []
    if uplink is not None:
        for key, part in (("uplink.ipv4", uplink.ipv4), ("uplink.ipv6", uplink.ipv6)):
            subnets += [(f"{key}.addresses", interface_of(text)) for text in part.addresses]
            networks = [interface_of(text).network for text in part.addresses]
            if part.gateway:
                gateway = ipaddress.ip_address(part.gateway)
                if networks and not gateway.is_link_local and not any(gateway in network for network in networks):
                    where = ", ".join(map(str, networks))
                    yield Fault(f"{key}.gateway", part.gateway, f"reachable: it lies outside {where}")
    if cameras is not None:
        own = interface_of(cameras.address)
        for where, other in subnets:
            if other.version == own.version and other.network.overlaps(own.network):
                yield Fault("cameras.address", cameras.address, f"free: it overlaps {where} {other}")
        for mac, address in cameras.dhcp_hosts.items():
            if ipaddress.ip_address(address) not in own.network:
                yield Fault("cameras.dhcp_hosts", f"{mac} = {address}", f"in {own.network}")
        names = {cameras.bridge, *cameras.ports}
        if cameras.bridge in cameras.ports:
            yield Fault("cameras.bridge", cameras.bridge, "different from the ports")
        if uplink is not None and uplink.interface in names:
            yield Fault("cameras.ports", uplink.interface, "free: it is the uplink")
    for number, route in enumerate(wish.routes):
        if ipaddress.ip_network(route.to).version != ipaddress.ip_address(route.via).version:
            yield Fault(f"routes[{number}].via", route.via, f"of the same family as {route.to}")


def _interface(where: str, text: str) -> Iterable[Fault]:
    if not INTERFACE.fullmatch(text):
        yield Fault(where, text, "an interface name (1 to 15 of A-Z a-z 0-9 _ . -)")


def _mtu(where: str, value: int, family: int) -> Iterator[Fault]:
    if value and not MTU_MIN[family] <= value <= MTU_MAX:
        yield Fault(where, str(value), f"{MTU_MIN[family]} to {MTU_MAX} bytes, or 0 to leave it")


def _mac(where: str, text: str) -> Iterator[Fault]:
    if not MAC.fullmatch(text):
        yield Fault(where, text, 'a MAC address in lower case, e.g. "ac:cc:8e:00:00:01"')


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _address(where: str, text: str, family: int = 0, *, empty: bool = False) -> Iterator[Fault]:
    if empty and not text:
        return
    expected = {0: "an IP address", 4: "an IPv4 address", 6: "an IPv6 address"}[family]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        yield Fault(where, text, expected)
        return
    if (family and address.version != family) or "%" in text:
        yield Fault(where, text, expected)


def _own_address(where: str, text: str, family: int) -> Iterator[Fault]:
    example = {4: "192.168.1.5/24", 6: "2001:db8::5/64"}[family]
    expected = f'an IPv{family} host address with its prefix, e.g. "{example}"'
    try:
        own = interface_of(text)
    except ValueError:
        yield Fault(where, text, expected)
        return
    if own.version != family or "/" not in text or "%" in text or own.ip.is_multicast or own.ip.is_unspecified:
        yield Fault(where, text, expected)
    elif own.ip.is_loopback:
        yield Fault(where, text, f"{expected}, outside loopback")
    elif family == 4 and own.network.prefixlen < 31 and own.ip in (own.network[0], own.network[-1]):
        yield Fault(where, text, f"{expected}: it is the network's own or its broadcast address")


def _network(where: str, text: str, *, empty: bool = False) -> Iterator[Fault]:
    if empty and not text:
        return
    try:
        ipaddress.ip_network(text)
    except ValueError:
        yield Fault(where, text, 'a network, e.g. "10.0.0.0/8"')


def _host_name(where: str, text: str, expected: str = "a host name") -> Iterator[Fault]:
    if text and (len(text) > 253 or not all(HOST_LABEL.fullmatch(label) for label in text.split("."))):
        yield Fault(where, text, expected)
