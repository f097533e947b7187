"""Changes of links, addresses and routes, by pyroute2.

The library takes ten megabytes for as long as the process lives. Only a network that the recorder manages is ever changed, so only there
is this module loaded (`network_parts`); what is read at every notice of the kernel, `observed.py` decodes itself.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from recorderd.network.observed import Address, Path
from recorderd.network.steps import (
    AddAddress,
    AddLink,
    AddPath,
    DeleteAddress,
    DeleteLink,
    DeletePath,
    SetIsolated,
    SetMaster,
    SetMtu,
    SetUp,
    Step,
)

_GONE = {errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT}


async def change(step: Step) -> None:
    """One socket per step: nothing is kept open between changes. Raises OSError with the kernel's number and reason."""
    try:
        async with AsyncIPRoute() as netlink:
            await _netlink(netlink, step)
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error


async def _netlink(netlink: AsyncIPRoute, step: Step) -> None:
    match step:
        case AddLink(name, "vlan", parent, vlan):
            await netlink.link("add", ifname=name, kind="vlan", link=await _index(netlink, parent), vlan_id=vlan)
        case AddLink(name, kind, vlan=vlan, filtering=filtering):
            options = {"br_vlan_filtering": 1, "br_vlan_default_pvid": vlan} if filtering else {}
            await netlink.link("add", ifname=name, kind=kind, **options)
        case DeleteLink(name):
            await _unless(_GONE, netlink.link("del", index=await _index(netlink, name)))
        case SetMtu(name, mtu):
            await netlink.link("set", index=await _index(netlink, name), mtu=mtu)
        case SetUp(name, up):
            await netlink.link("set", index=await _index(netlink, name), state="up" if up else "down")
        case SetMaster(name, master):
            index = await _index(netlink, master) if master else 0
            await netlink.link("set", index=await _index(netlink, name), master=index)
        case SetIsolated(name, isolated):
            await netlink.brport("set", index=await _index(netlink, name), isolated=int(isolated))
        case AddAddress(address):
            await _add_address(netlink, address)
        case DeleteAddress(address):
            index = await _index(netlink, address.link)
            host, _, prefix = address.cidr.partition("/")
            await _unless(_GONE, netlink.addr("del", index=index, address=host, prefixlen=int(prefix)))
        case AddPath(path):
            await netlink.route("replace", **await _route(netlink, path))
        case DeletePath(path):
            await _unless(_GONE, netlink.route("del", **await _route(netlink, path)))
        case _:
            raise AssertionError(step)


async def _add_address(netlink: AsyncIPRoute, address: Address) -> None:
    host, _, prefix = address.cidr.partition("/")
    options: dict[str, object] = {"scope": address.scope} if address.scope else {}
    if address.broadcast:
        options["broadcast"] = address.broadcast
    if address.valid_s is not None:
        options |= {"preferred": address.preferred_s or 0, "valid": address.valid_s}
    index = await _index(netlink, address.link)
    await netlink.addr("replace", index=index, address=host, prefixlen=int(prefix), **options)


async def _route(netlink: AsyncIPRoute, path: Path) -> dict[str, object]:
    words: dict[str, object] = {"dst": path.to, "proto": path.protocol, "family": 10 if path.family == 6 else 2}
    if path.via:
        words["gateway"] = path.via
    if path.link:
        words["oif"] = await _index(netlink, path.link)
    if path.metric:
        words["priority"] = path.metric
    if path.source:
        words["prefsrc"] = path.source
    if path.scope:
        words["scope"] = path.scope
    return words


async def _index(netlink: AsyncIPRoute, name: str) -> int:
    found: list[int] = list(await netlink.link_lookup(ifname=name))
    if not found:
        raise NetlinkError(errno.ENODEV)
    return found[0]


async def _unless(codes: set[int], request: Awaitable[object]) -> None:
    try:
        await request
    except NetlinkError as error:
        if error.code not in codes:
            raise
