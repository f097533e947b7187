"""What the kernel has: links, addresses, routes, as plain data. Read once per plan over netlink, never kept as truth."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

IFF_UP = 0x1
IFA_F_PERMANENT = 0x80
RTPROT_KERNEL = 2
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
SCOPE_LINK = 253
FOREVER = 0xFFFFFFFF
DEFAULT = {2: "0.0.0.0/0", 10: "::/0"}  # by address family
RTM_ATTEMPTS = 5


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


async def read_links(netlink: AsyncIPRoute) -> tuple[Link, ...]:
    """All links of the namespace. Masters and parents are given by name."""
    messages = [message async for message in _dump(netlink.link)]
    names = {message["index"]: message.get("ifname") for message in messages}
    return tuple(_link(message, names) for message in messages)


async def read_addresses(netlink: AsyncIPRoute, names: dict[int, str]) -> tuple[Address, ...]:
    """All addresses, in the kernel's order: the primary of a network before its secondaries."""
    return tuple([_address(message, names) async for message in _dump(netlink.addr) if message["index"] in names])


async def read_paths(netlink: AsyncIPRoute, names: dict[int, str]) -> tuple[Path, ...]:
    """Unicast routes of the main table that somebody set; the kernel's own connected routes are left out."""
    paths = []
    async for message in _dump(netlink.route):
        if message.get("table") != RT_TABLE_MAIN or message["type"] != RTN_UNICAST or message["proto"] == RTPROT_KERNEL:
            continue
        paths.append(_path(message, names))
    return tuple(paths)


async def _dump(request: Any) -> AsyncIterator[Any]:  # noqa: ANN401  pyroute2 is untyped
    """One consistent dump: the kernel says with EINTR that something changed in the middle, then it is read again."""
    for attempt in range(RTM_ATTEMPTS):
        try:
            messages = [message async for message in await request("dump")]
        except NetlinkError as error:
            if error.code != errno.EINTR or attempt == RTM_ATTEMPTS - 1:
                raise
            continue
        for message in messages:
            yield message
        return


def _link(message: Any, names: dict[int, str]) -> Link:  # noqa: ANN401
    info = message.get("linkinfo")
    kind = (info.get("kind") if info else "") or ""
    data = info.get("data") if info else None
    slave = info.get("slave_data") if info and info.get("slave_kind") == "bridge" else None
    filtering = data.get("br_vlan_filtering") if kind == "bridge" and data is not None else None
    isolated = slave.get("isolated") if slave is not None else None
    inet = message.get(("af_spec", "af_inet")) or {}
    inet6 = message.get(("af_spec", "af_inet6", "inet6_conf")) or {}
    return Link(
        name=message.get("ifname"),
        index=message["index"],
        kind=kind,
        mac=message.get("address") or "",
        mtu=message.get("mtu") or 0,
        up=bool(message["flags"] & IFF_UP),
        carrier=bool(message.get("carrier")),
        master=names.get(message.get("master") or 0, ""),
        parent=names.get(message.get("link") or 0, ""),
        vlan=_vlan(kind, data, filtering=bool(filtering)),
        isolated=None if isolated is None else bool(isolated),
        vlan_filtering=None if filtering is None else bool(filtering),
        disable_ipv6=inet6.get("disable_ipv6", 0),
        accept_ra=inet6.get("accept_ra", 0),
        forwarding=inet.get("forwarding", 0),
    )


def _vlan(kind: str, data: Any, *, filtering: bool) -> int:  # noqa: ANN401
    """Id of an 802.1Q link, or the untagged VLAN that a filtering bridge gives its ports; 0 for neither."""
    if data is None:
        return 0
    if kind == "vlan":
        return int(data.get("vlan_id") or 0)
    return int(data.get("br_vlan_default_pvid") or 0) if kind == "bridge" and filtering else 0


def _address(message: Any, names: dict[int, str]) -> Address:  # noqa: ANN401
    times = message.get("cacheinfo") or {}
    flags = message.get("flags") or message["flags"]
    permanent = bool(flags & IFA_F_PERMANENT)
    valid, preferred = times.get("ifa_valid", FOREVER), times.get("ifa_preferred", FOREVER)
    text = message.get("local") or message.get("address")
    return Address(
        link=names[message["index"]],
        cidr=f"{ipaddress.ip_address(text)}/{message['prefixlen']}",
        scope=message["scope"],
        valid_s=None if permanent or valid == FOREVER else valid,
        preferred_s=None if permanent or preferred == FOREVER else preferred,
        broadcast=message.get("broadcast") or "",
    )


def _path(message: Any, names: dict[int, str]) -> Path:  # noqa: ANN401
    destination = message.get("dst")
    length = message["dst_len"]
    return Path(
        to=f"{ipaddress.ip_address(destination)}/{length}" if destination else DEFAULT[message["family"]],
        via=message.get("gateway") or "",
        link=names.get(message.get("oif") or 0, ""),
        metric=message.get("priority") or 0,
        protocol=message["proto"],
        source=message.get("prefsrc") or "",
        scope=message["scope"],
    )
