"""Changes of links, addresses and routes as requests of rtnetlink(7). Each raises `OSError` with what the kernel says."""

from __future__ import annotations

import ipaddress
import struct

from hw.netlink import ACK, CREATE, EXCLUSIVE, REPLACE, ask, attribute, nest
from recorderd.network.observed import (
    AF_INET,
    AF_INET6,
    BR_VLAN_DEFAULT_PVID,
    BR_VLAN_FILTERING,
    BRPORT_ISOLATED,
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_CACHEINFO,
    IFA_LOCAL,
    IFADDRMSG,
    IFF_UP,
    IFINFOMSG,
    IFLA_IFNAME,
    IFLA_LINK,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    INFO_DATA,
    INFO_KIND,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTMSG,
    RTN_UNICAST,
    VLAN_ID,
    Address,
    Path,
)

RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK = 16, 17, 19
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
AF_BRIDGE = 7
IFLA_PROTINFO = 12
SCOPE_NOWHERE = 255  # in a deletion: whatever the route's scope is


async def add_vlan(name: str, parent: int, vlan: int) -> None:
    """An 802.1Q link above the link of number `parent`."""
    info = nest(IFLA_LINKINFO, attribute(INFO_KIND, "vlan"), nest(INFO_DATA, attribute(VLAN_ID, vlan, 2)))
    await _link(
        RTM_NEWLINK, 0, attribute(IFLA_IFNAME, name), attribute(IFLA_LINK, parent), info, flags=CREATE | EXCLUSIVE
    )


async def add_link(name: str, kind: str, *, untagged_vlan: int | None) -> None:
    """`untagged_vlan`: of a bridge that filters VLANs from birth, the one its ports are in."""
    data = b""
    if untagged_vlan is not None:
        filtering = attribute(BR_VLAN_FILTERING, 1, 1), attribute(BR_VLAN_DEFAULT_PVID, untagged_vlan, 2)
        data = nest(INFO_DATA, *filtering)
    info = nest(IFLA_LINKINFO, attribute(INFO_KIND, kind), data)
    await _link(RTM_NEWLINK, 0, attribute(IFLA_IFNAME, name), info, flags=CREATE | EXCLUSIVE)


async def delete_link(index: int) -> None:
    await _link(RTM_DELLINK, index)


async def set_mtu(index: int, mtu: int) -> None:
    await _link(RTM_NEWLINK, index, attribute(IFLA_MTU, mtu))


async def set_up(index: int, *, up: bool) -> None:
    body = IFINFOMSG.pack(0, 0, index, IFF_UP if up else 0, IFF_UP)
    await ask(RTM_NEWLINK, ACK, body)


async def set_master(index: int, master: int) -> None:
    """`master` 0: none."""
    await _link(RTM_NEWLINK, index, attribute(IFLA_MASTER, master))


async def set_isolated(index: int, *, isolated: bool) -> None:
    """Of a bridge's port: frames are not forwarded between two isolated ones."""
    body = IFINFOMSG.pack(AF_BRIDGE, 0, index, 0, 0)
    await ask(RTM_SETLINK, ACK, body + nest(IFLA_PROTINFO, attribute(BRPORT_ISOLATED, int(isolated), 1)))


async def add_address(index: int, address: Address) -> None:
    """Sets its times anew where the link has it already."""
    said = _of_address(address)
    if address.broadcast:
        said += attribute(IFA_BROADCAST, ipaddress.ip_address(address.broadcast).packed)
    if address.valid_s is not None:
        said += attribute(IFA_CACHEINFO, struct.pack("=IIII", address.preferred_s or 0, address.valid_s, 0, 0))
    await ask(RTM_NEWADDR, ACK | CREATE | REPLACE, _ifaddrmsg(index, address) + said)


async def delete_address(index: int, address: Address) -> None:
    await ask(RTM_DELADDR, ACK, _ifaddrmsg(index, address) + _of_address(address))


async def add_path(index: int, path: Path) -> None:
    """`index` is the number of `path.link`, 0 where none is named. Replaces the route of the same network and metric."""
    await ask(RTM_NEWROUTE, ACK | CREATE | REPLACE, _route(index, path, path.scope))


async def delete_path(index: int, path: Path) -> None:
    await ask(RTM_DELROUTE, ACK, _route(index, path, path.scope or SCOPE_NOWHERE))


async def _link(kind: int, index: int, *attributes: bytes, flags: int = 0) -> None:
    await ask(kind, ACK | flags, IFINFOMSG.pack(0, 0, index, 0, 0) + b"".join(attributes))


def _ifaddrmsg(index: int, address: Address) -> bytes:
    length = int(address.cidr.partition("/")[2])
    return IFADDRMSG.pack(AF_INET6 if address.family == 6 else AF_INET, length, 0, address.scope, index)


def _of_address(address: Address) -> bytes:
    host = ipaddress.ip_interface(address.cidr).packed
    return attribute(IFA_LOCAL, host) + attribute(IFA_ADDRESS, host)


def _route(index: int, path: Path, scope: int) -> bytes:
    network = ipaddress.ip_network(path.to)
    family = AF_INET6 if path.family == 6 else AF_INET
    body = RTMSG.pack(family, network.prefixlen, 0, 0, RT_TABLE_MAIN, path.protocol, scope, RTN_UNICAST, 0)
    if network.prefixlen:
        body += attribute(RTA_DST, network.network_address.packed)
    if path.via:
        body += attribute(RTA_GATEWAY, ipaddress.ip_address(path.via).packed)
    if index:
        body += attribute(RTA_OIF, index)
    if path.metric:
        body += attribute(RTA_PRIORITY, path.metric)
    if path.source:
        body += attribute(RTA_PREFSRC, ipaddress.ip_address(path.source).packed)
    return body
