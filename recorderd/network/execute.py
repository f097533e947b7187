"""Carries steps out over netlink, one after the other. What is already so counts as done."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path as File
from typing import Protocol

from recorderd.network import filter as packet_filter
from recorderd.network import rtnetlink
from recorderd.network.observed import Observed, read_addresses, read_links, read_paths
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
        links = await read_links()
        names = {link.index: link.name for link in links}
        addresses = await read_addresses(names)
        paths = await read_paths(names)
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
                    await _change(step)
        except packet_filter.FilterFailed as error:
            raise StepFailed(step, str(error)) from error
        except OSError as error:
            raise StepFailed(step, _reason(step, error)) from error


async def _change(step: Step) -> None:
    match step:
        case AddLink(name, "vlan", parent, vlan):
            await rtnetlink.add_vlan(name, _index(parent), vlan)
        case AddLink(name, kind, vlan=vlan, filtering=filtering):
            await rtnetlink.add_link(name, kind, untagged_vlan=vlan if filtering else None)
        case DeleteLink(name):
            with _gone_is_done():
                await rtnetlink.delete_link(_index(name))
        case SetMtu(name, mtu):
            await rtnetlink.set_mtu(_index(name), mtu)
        case SetUp(name, up):
            await rtnetlink.set_up(_index(name), up=up)
        case SetMaster(name, master):
            await rtnetlink.set_master(_index(name), _index(master) if master else 0)
        case SetIsolated(name, isolated):
            await rtnetlink.set_isolated(_index(name), isolated=isolated)
        case AddAddress(address):
            await rtnetlink.add_address(_index(address.link), address)
        case DeleteAddress(address):
            with _gone_is_done():
                await rtnetlink.delete_address(_index(address.link), address)
        case AddPath(path):
            await rtnetlink.add_path(_index(path.link) if path.link else 0, path)
        case DeletePath(path):
            with _gone_is_done():
                await rtnetlink.delete_path(_index(path.link) if path.link else 0, path)
        case _:
            raise AssertionError(step)


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:  # it comes without a number
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None


@contextlib.contextmanager
def _gone_is_done() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise


def _reason(step: Step, error: OSError) -> str:
    if error.errno == errno.EPERM:
        return "not permitted: CAP_NET_ADMIN is missing"
    if error.errno == errno.EOPNOTSUPP and isinstance(step, AddLink):
        part = "802.1Q VLANs (8021q)" if step.kind == "vlan" else "VLAN filtering in bridges (BRIDGE_VLAN_FILTERING)"
        return f"this kernel has no {part}"
    return error.strerror or str(error)
