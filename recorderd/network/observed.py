"""What the kernel has: links, addresses, routes, as plain data. Read once per plan over rtnetlink(7), never kept as truth."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from hw import netlink
from hw.netlink import attributes, number, text

IFF_UP = 0x1
IFA_F_PERMANENT = 0x80
RTPROT_KERNEL = 2
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
SCOPE_LINK = 253
FOREVER = 0xFFFFFFFF
DEFAULT = {2: "0.0.0.0/0", 10: "::/0"}  # by address family

RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE = 18, 22, 26
IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst and src length, tos, table, protocol, scope, type, flags
# Types of attributes: linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h, and places in the arrays of linux/ip.h and linux/ipv6.h
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_CARRIER = 26, 29, 33
INFO_KIND, INFO_DATA, INFO_SLAVE_KIND, INFO_SLAVE_DATA = 1, 2, 4, 5
VLAN_ID, BR_VLAN_FILTERING, BR_VLAN_DEFAULT_PVID, BRPORT_ISOLATED = 1, 7, 39, 33
INET_CONF, INET6_CONF = 1, 2
CONF4_FORWARDING, CONF6_ACCEPT_RA, CONF6_DISABLE = 0, 3, 26
AF_INET, AF_INET6 = 2, 10
SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_CACHEINFO, IFA_FLAGS = 1, 2, 4, 6, 8
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE = 1, 4, 5, 6, 7, 15


@dataclass(frozen=True, slots=True)
class Link:
    """One interface. `isolated` and `vlan_filtering` are None where they do not apply or the kernel does not know them."""

    name: str
    index: int
    kind: str  # "", bridge, vlan, veth, dsa, ...
    mac: str
    mtu: int  # bytes
    up: bool
    carrier: bool
    master: str = ""
    parent: str = ""  # of a VLAN link, the conduit of a DSA port
    vlan: int = 0
    isolated: bool | None = None
    vlan_filtering: bool | None = None
    disable_ipv6: int = 0
    accept_ra: int = 0
    forwarding: int = 0  # IPv4


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a link, `cidr` as 192.168.1.5/24. `valid_s` is None for ever."""

    link: str
    cidr: str
    scope: int = 0
    valid_s: int | None = None
    preferred_s: int | None = None
    broadcast: str = ""

    @property
    def family(self) -> int:
        return 6 if ":" in self.cidr else 4

    @property
    def by_kernel(self) -> bool:
        """IPv6 link-local, which the kernel makes by itself."""
        return self.cidr.lower().startswith("fe80:")


@dataclass(frozen=True, slots=True)
class Path:
    """One unicast route of the main table. `to` is always a network, 0.0.0.0/0 for the default."""

    to: str
    via: str = ""
    link: str = ""
    metric: int = 0
    protocol: int = 0
    source: str = ""
    scope: int = 0

    @property
    def family(self) -> int:
        return 6 if ":" in self.to else 4

    @property
    def default(self) -> bool:
        return self.to in DEFAULT.values()


@dataclass(frozen=True, slots=True)
class Observed:
    """One reading. `table` is the listing of our nftables table, normalised, or None where there is none."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    paths: tuple[Path, ...] = ()
    table: str | None = None
    hostname: str = ""

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)

    def addresses_of(self, name: str) -> tuple[Address, ...]:
        return tuple(address for address in self.addresses if address.link == name)

    def slaves_of(self, name: str) -> tuple[Link, ...]:
        return tuple(link for link in self.links if link.master == name)


async def read_links() -> tuple[Link, ...]:
    """All links of the namespace. Masters and parents are given by name."""
    body = IFINFOMSG.pack(0, 0, 0, 0, 0) + netlink.attribute(IFLA_EXT_MASK, SKIP_STATISTICS)
    return links(await netlink.dump(RTM_GETLINK, body))


def links(messages: list[netlink.Message]) -> tuple[Link, ...]:
    found = []
    for message in messages:
        if len(message.body) >= IFINFOMSG.size:
            _, _, index, flags, _ = IFINFOMSG.unpack_from(message.body)
            found.append((index, flags, attributes(message.body, IFINFOMSG.size)))
    names = {index: text(said.get(IFLA_IFNAME)) for index, _, said in found}
    return tuple(_link(index, flags, said, names) for index, flags, said in found)


async def read_addresses(names: dict[int, str]) -> tuple[Address, ...]:
    """All addresses of the links of these numbers, in the kernel's order: the primary of a network before its secondaries."""
    return addresses(await netlink.dump(RTM_GETADDR, IFADDRMSG.pack(0, 0, 0, 0, 0)), names)


def addresses(messages: list[netlink.Message], names: dict[int, str]) -> tuple[Address, ...]:
    found = []
    for message in messages:
        if len(message.body) >= IFADDRMSG.size:
            family, length, flags, scope, index = IFADDRMSG.unpack_from(message.body)
            if index in names and family in DEFAULT:
                said = attributes(message.body, IFADDRMSG.size)
                found.append(_address(names[index], length, number(said.get(IFA_FLAGS), flags), scope, said))
    return tuple(found)


async def read_paths(names: dict[int, str]) -> tuple[Path, ...]:
    """Unicast routes of the main table that somebody set; the kernel's own connected routes are left out."""
    return paths(await netlink.dump(RTM_GETROUTE, RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)), names)


def paths(messages: list[netlink.Message], names: dict[int, str]) -> tuple[Path, ...]:
    found = []
    for message in messages:
        if len(message.body) < RTMSG.size:
            continue
        family, length, _, _, table, protocol, scope, kind, _ = RTMSG.unpack_from(message.body)
        if family not in DEFAULT or kind != RTN_UNICAST or protocol == RTPROT_KERNEL:
            continue
        said = attributes(message.body, RTMSG.size)
        if number(said.get(RTA_TABLE), table) == RT_TABLE_MAIN:
            found.append(
                Path(
                    to=f"{_ip(said[RTA_DST])}/{length}" if RTA_DST in said else DEFAULT[family],
                    via=_ip(said.get(RTA_GATEWAY)),
                    link=names.get(number(said.get(RTA_OIF)), ""),
                    metric=number(said.get(RTA_PRIORITY)),
                    protocol=protocol,
                    source=_ip(said.get(RTA_PREFSRC)),
                    scope=scope,
                )
            )
    return tuple(found)


def _link(index: int, flags: int, said: dict[int, bytes], names: dict[int, str]) -> Link:
    info = attributes(said.get(IFLA_LINKINFO, b""))
    kind = text(info.get(INFO_KIND))
    data = attributes(info.get(INFO_DATA, b""))
    slave = attributes(info.get(INFO_SLAVE_DATA, b"")) if text(info.get(INFO_SLAVE_KIND)) == "bridge" else {}
    filtering = bool(number(data[BR_VLAN_FILTERING])) if kind == "bridge" and BR_VLAN_FILTERING in data else None
    families = attributes(said.get(IFLA_AF_SPEC, b""))
    inet = attributes(families.get(AF_INET, b"")).get(INET_CONF, b"")
    inet6 = attributes(families.get(AF_INET6, b"")).get(INET6_CONF, b"")
    return Link(
        name=names[index],
        index=index,
        kind=kind,
        mac=said.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=number(said.get(IFLA_MTU)),
        up=bool(flags & IFF_UP),
        carrier=bool(number(said.get(IFLA_CARRIER))),
        master=names.get(number(said.get(IFLA_MASTER)), ""),
        parent=names.get(number(said.get(IFLA_LINK)), ""),
        vlan=_vlan(kind, data, filtering=bool(filtering)),
        isolated=bool(number(slave[BRPORT_ISOLATED])) if BRPORT_ISOLATED in slave else None,
        vlan_filtering=filtering,
        disable_ipv6=_conf(inet6, CONF6_DISABLE),
        accept_ra=_conf(inet6, CONF6_ACCEPT_RA),
        forwarding=_conf(inet, CONF4_FORWARDING),
    )


def _vlan(kind: str, data: dict[int, bytes], *, filtering: bool) -> int:
    """Id of an 802.1Q link, or the untagged VLAN that a filtering bridge gives its ports; 0 for neither."""
    if kind == "vlan":
        return number(data.get(VLAN_ID))
    return number(data.get(BR_VLAN_DEFAULT_PVID)) if kind == "bridge" and filtering else 0


def _conf(values: bytes, place: int) -> int:
    """One of the link's settings under /proc/sys/net, which come as an array of 32 bit numbers."""
    return int(struct.unpack_from("=i", values, 4 * place)[0]) if len(values) >= 4 * place + 4 else 0


def _address(link: str, length: int, flags: int, scope: int, said: dict[int, bytes]) -> Address:
    times = said.get(IFA_CACHEINFO, b"")
    preferred, valid = struct.unpack_from("=II", times) if len(times) >= 8 else (FOREVER, FOREVER)
    permanent = bool(flags & IFA_F_PERMANENT)
    return Address(
        link=link,
        cidr=f"{_ip(said.get(IFA_LOCAL) or said.get(IFA_ADDRESS))}/{length}",
        scope=scope,
        valid_s=None if permanent or valid == FOREVER else valid,
        preferred_s=None if permanent or preferred == FOREVER else preferred,
        broadcast=_ip(said.get(IFA_BROADCAST)),
    )


def _ip(data: bytes | None) -> str:
    return str(ipaddress.ip_address(data)) if data and len(data) in (4, 16) else ""
