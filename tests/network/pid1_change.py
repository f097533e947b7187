"""Run under systemd as PID 1: one change of the network with the real units, then the process ends as if it had been killed.

Arguments: `apply ADDRESS` (prints the token) or `confirm TOKEN`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from recorderd.model.clock import SystemClock
from recorderd.model.network import CameraLan, IPv4Mode, IPv6Mode, NetworkWish, Uplink, UplinkIPv4, UplinkIPv6
from recorderd.network.execute import KernelExecutor
from recorderd.network.generations import Generations
from recorderd.network.login import Login
from recorderd.network.services import services_of
from recorderd.network.transaction import Transactions
from recorderd.network.undo import SystemdUndoTimer
from recorderd.network.units import SystemdUnits


def transactions() -> Transactions:
    units = SystemdUnits()
    return Transactions(
        generations=Generations(Path("/var/lib/recorderd/network")),
        executor=KernelExecutor(),
        undo=SystemdUndoTimer(units=units),
        units=units,
        services=services_of,
        clock=SystemClock(),
        login_of=lambda _: Login(1e12),
    )


def wish(address: str) -> NetworkWish:
    return NetworkWish(
        hostname="box-of-the-test",
        uplink=Uplink(
            interface="eth0",
            ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=(address,)),
            ipv6=UplinkIPv6(mode=IPv6Mode.OFF),
        ),
        cameras=CameraLan(ports=("lan1",)),
    )


async def main(verb: str, argument: str) -> None:
    if verb == "apply":
        applied = await transactions().apply(wish(argument), confirm_within_s=10)
        print(applied.token, flush=True)
        os.kill(os.getpid(), 9)
    await transactions().confirm(argument, pid=1)


asyncio.run(main(*sys.argv[1:]))
