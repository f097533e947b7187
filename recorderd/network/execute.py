"""Carries steps out over netlink, one after the other. What is already so counts as done."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path as File
from typing import Protocol

from recorderd.network import filter as packet_filter
from recorderd.network.observed import Observed, read_addresses, read_links, read_paths
from recorderd.network.steps import CONF_FAMILY, AddLink, LoadTable, SetConf, Step, says

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
    """The network namespace this thread is in."""

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
                    from recorderd.network.changing import change  # ten megabytes, which who only looks can do without

                    await change(step)
        except packet_filter.FilterFailed as error:
            raise StepFailed(step, str(error)) from error
        except OSError as error:
            raise StepFailed(step, _reason(step, error)) from error


def _reason(step: Step, error: OSError) -> str:
    if error.errno == errno.EPERM:
        return "not permitted: CAP_NET_ADMIN is missing"
    if error.errno == errno.EOPNOTSUPP and isinstance(step, AddLink):
        part = "802.1Q VLANs (8021q)" if step.kind == "vlan" else "VLAN filtering in bridges (BRIDGE_VLAN_FILTERING)"
        return f"this kernel has no {part}"
    return error.strerror or str(error)
