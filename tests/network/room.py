"""The network room without its daemon: transactions on a real kernel, with the real guard and units that only remember."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recorderd.model.clock import SystemClock
from recorderd.model.network import (
    CameraLan,
    IPv4Mode,
    IPv6Mode,
    NetworkWish,
    Route,
    Uplink,
    UplinkIPv4,
    UplinkIPv6,
)
from recorderd.network.execute import KernelExecutor, StepFailed
from recorderd.network.generations import Generations
from recorderd.network.login import Login
from recorderd.network.services import services_of
from recorderd.network.steps import Step
from recorderd.network.transaction import Transactions
from tests.network.fakes import FakeUnits, GuardTimer

NEWER_THAN_ANY_CHANGE = 1e12

FORMER = NetworkWish(
    uplink=Uplink(
        interface="eth0",
        ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=("10.1.0.5/24", "10.1.0.6/24"), gateway="10.1.0.1"),
        ipv6=UplinkIPv6(mode=IPv6Mode.STATIC, addresses=("2001:db8::5/64",), gateway="2001:db8::1"),
    ),
    cameras=CameraLan(ports=("lan1",), address="192.168.50.1/24"),
    routes=(Route(to="172.16.0.0/12", via="10.1.0.254"),),
)
# Everything at once: other addresses on the same network, other MTU, one more port, other camera network, other routes.
LATTER = NetworkWish(
    uplink=Uplink(
        interface="eth0",
        mtu=1400,
        ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=("10.1.0.6/24", "10.9.0.5/16"), gateway="10.9.0.1"),
        ipv6=UplinkIPv6(mode=IPv6Mode.OFF),
    ),
    cameras=CameraLan(ports=("lan1", "lan2"), address="192.168.60.1/24", bridge="cams"),
    routes=(Route(to="172.20.0.0/16", via="10.9.0.254", metric=7),),
)


class Room:
    def __init__(self, folder: Path, executor: KernelExecutor | None = None) -> None:
        self.folder = folder / "network"
        self.folder.mkdir(exist_ok=True)
        said = folder / "systemctl"
        said.write_text(f'#!/bin/sh\necho "$@" >>{folder}/systemctl.log\n')
        said.chmod(0o755)
        self.generations = Generations(self.folder)
        self.timer = GuardTimer(self.folder)
        self.units = FakeUnits()
        self.login: Login | None = Login(NEWER_THAN_ANY_CHANGE)
        self.executor = executor or KernelExecutor()
        self.transactions = Transactions(
            generations=self.generations,
            executor=self.executor,
            undo=self.timer,
            units=self.units,
            services=services_of,
            clock=SystemClock(),
            login_of=lambda pid: self.login,
        )

    async def settle(self, wish: NetworkWish) -> None:
        """Applies and confirms."""
        applied = await self.transactions.apply(wish)
        await self.transactions.confirm(applied.token, pid=1)

    def expire(self) -> None:
        """The deadline of what is pending passes, if something is."""
        pending = self.generations.pending()
        if pending is not None:
            self.generations.arm(replace(pending, deadline_s=0))

    def reboot(self) -> None:
        """What is pending was begun in another boot."""
        pending = self.generations.pending()
        if pending is not None:
            self.generations.arm(replace(pending, boot_id="another-boot"))


class Faulty(KernelExecutor):
    """Fails at the step of one number, counted from 0."""

    def __init__(self, fail_at: int) -> None:
        super().__init__()
        self.fail_at = fail_at
        self.count = 0

    async def carry_out(self, step: Step) -> None:
        if self.count == self.fail_at:
            raise StepFailed(step, "injected")
        self.count += 1
        await super().carry_out(step)
