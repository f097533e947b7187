"""Carries steps out over netlink, one after the other. What is already so counts as done."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable
from pathlib import Path as File
from typing import Protocol

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from recorderd.network import filter as packet_filter
from recorderd.network.observed import Address, Observed, Path, read_addresses, read_links, read_paths
from recorderd.network.steps import (
    CONF_FAMILY,
    AddAddress,
    AddLink,
    AddPath,
    DeleteAddress,
    DeleteLink,
    DeletePath,
    LoadTable,
    SetConf,
    SetIsolated,
    SetMaster,
    SetMtu,
    SetUp,
    Step,
    says,
)

GONE = {errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT}
PROC = File("/proc/sys/net")


class StepFailed(Exception):
    """A step could not be done: which, and why, in one line."""

    def __init__(self, step: Step, why: str) -> None:
        super().__init__(f"{says(step)}: {why}")
        self.step = step
        self.why = why


class Executor(Protocol):
    """What a transaction needs of the kernel."""

    async def observe(self) -> Observed: ...

    async def carry_out(self, step: Step) -> None:
        """Raises StepFailed."""


class KernelExecutor:
    """The network namespace this thread is in. One socket per reading or step: nothing is kept open between changes."""

    async def observe(self) -> Observed:
        async with AsyncIPRoute() as netlink:
            links = await read_links(netlink)
            names = {link.index: link.name for link in links}
            addresses = await read_addresses(netlink, names)
            paths = await read_paths(netlink, names)
        table = await packet_filter.listing()
        return Observed(links, addresses, paths, table, socket.gethostname())

    async def carry_out(self, step: Step) -> None:
        try:
            match step:
                case LoadTable(ruleset):
                    await packet_filter.load(ruleset)
                case SetConf(name, key, value):
                    await asyncio.to_thread((PROC / CONF_FAMILY[key] / "conf" / name / key).write_text, f"{value}\n")
                case _:
                    async with AsyncIPRoute() as netlink:
                        await _netlink(netlink, step)
        except NetlinkError as error:
            raise StepFailed(step, _reason(step, error.code)) from error
        except packet_filter.FilterFailed as error:
            raise StepFailed(step, str(error)) from error
        except OSError as error:
            raise StepFailed(step, error.strerror or str(error)) from error


async def _netlink(netlink: AsyncIPRoute, step: Step) -> None:
    match step:
        case AddLink(name, "vlan", parent, vlan):
            await netlink.link("add", ifname=name, kind="vlan", link=await _index(netlink, parent), vlan_id=vlan)
        case AddLink(name, kind, vlan=vlan, filtering=filtering):
            options = {"br_vlan_filtering": 1, "br_vlan_default_pvid": vlan} if filtering else {}
            await netlink.link("add", ifname=name, kind=kind, **options)
        case DeleteLink(name):
            await _unless(GONE, netlink.link("del", index=await _index(netlink, name)))
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
            await _unless(GONE, netlink.addr("del", index=index, address=host, prefixlen=int(prefix)))
        case AddPath(path):
            await netlink.route("replace", **await _route(netlink, path))
        case DeletePath(path):
            await _unless(GONE, netlink.route("del", **await _route(netlink, path)))
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


def _reason(step: Step, code: int) -> str:
    if code == errno.EPERM:
        return "not permitted: CAP_NET_ADMIN is missing"
    if code == errno.EOPNOTSUPP and isinstance(step, AddLink):
        part = "802.1Q VLANs (8021q)" if step.kind == "vlan" else "VLAN filtering in bridges (BRIDGE_VLAN_FILTERING)"
        return f"this kernel has no {part}"
    return f"{os.strerror(code)} ({errno.errorcode.get(code, code)})"
