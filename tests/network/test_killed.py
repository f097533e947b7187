"""The daemon is killed, or the power cut, at every point of a change: before and after each step and each write that must last."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from recorderd.model.network import CameraLan, IPv4Mode, IPv6Mode, NetworkWish, Uplink, UplinkIPv4, UplinkIPv6
from recorderd.network.execute import KernelExecutor
from recorderd.network.steps import Step
from tests.network.namespaces import Lab, differences, picture
from tests.network.room import FORMER, LATTER, Room

KILLED = 9


def small(address: str, port: str, cameras: str) -> NetworkWish:
    return NetworkWish(
        uplink=Uplink(
            interface="eth0",
            ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=(address,), gateway="10.1.0.1"),
            ipv6=UplinkIPv6(mode=IPv6Mode.LINK_LOCAL),
        ),
        cameras=CameraLan(ports=(port,), address=cameras),
    )


SMALL_FORMER = small("10.1.0.5/24", "lan1", "192.168.50.1/24")
SMALL_LATTER = small("10.1.0.6/24", "lan2", "192.168.60.1/24")


class Fuse:
    """Ends the process at its `after`-th point."""

    def __init__(self, after: int) -> None:
        self.left = after

    def point(self) -> None:
        if self.left == 0:
            os._exit(KILLED)
        self.left -= 1


class FusedExecutor(KernelExecutor):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    async def carry_out(self, step: Step) -> None:
        self.fuse.point()
        await super().carry_out(step)


def killed_at(number: int, folder: Path, wish: NetworkWish, *, confirm: bool) -> bool:
    """Applies `wish` (and confirms it) in a child that dies at the given point. False: it ended before reaching it."""
    child = os.fork()
    if child == 0:
        fuse = Fuse(number)
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "unlink")):
            wrap(owner, name, fuse)
        room = Room(folder, FusedExecutor(fuse))

        async def story() -> None:
            applied = await room.transactions.apply(wish)
            if confirm:
                await room.transactions.confirm(applied.token, pid=1)

        try:
            asyncio.run(story())
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, KILLED}, code
    return code == KILLED


def wrap(owner: object, name: str, fuse: Fuse) -> None:
    real = getattr(owner, name)

    def fused(*arguments, **options):
        fuse.point()
        return real(*arguments, **options)

    setattr(owner, name, fused)


def every_kill(lab: Lab, folder: Path, former: NetworkWish, latter: NetworkWish) -> int:
    room = Room(folder)
    asyncio.run(room.settle(former))
    before = picture()
    number = 0
    while killed_at(number, folder, latter, confirm=False):
        room.expire()
        asyncio.run(room.timer.guard("tick"))
        assert not differences(picture(), before), f"killed at point {number}"
        assert room.generations.pending() is None
        assert room.transactions.confirmed_wish() == former
        assert not asyncio.run(room.transactions.preview(former)).plan.steps
        number += 1
    return number


def test_killed_at_every_point_the_former_network_stands_again(lab: Lab, tmp_path: Path) -> None:
    assert every_kill(lab, tmp_path, SMALL_FORMER, SMALL_LATTER) > 25


@pytest.mark.slow
def test_killed_at_every_point_of_a_large_change(lab: Lab, tmp_path: Path) -> None:
    assert every_kill(lab, tmp_path, FORMER, LATTER) > 40


def every_power_cut(lab: Lab, folder: Path, former: NetworkWish, latter: NetworkWish, stride: int) -> None:
    """Until the confirmation is taken the former network stands after the next boot, from then on the new one; never a mixture."""
    room = Room(folder)
    asyncio.run(room.settle(former))
    before = picture()
    asyncio.run(room.settle(latter))
    after = picture()
    asyncio.run(room.settle(former))
    outcomes = []
    number = 0
    while killed_at(number, folder, latter, confirm=True):
        room.reboot()
        lab.power_cut()
        asyncio.run(room.timer.guard("boot"))
        wish = room.transactions.confirmed_wish()
        assert wish in (former, latter)
        assert not differences(picture(), before if wish == former else after), f"cut at point {number}"
        assert room.generations.pending() is None
        outcomes.append(wish == latter)
        if wish == latter:
            asyncio.run(room.settle(former))
        number += stride
    assert outcomes == sorted(outcomes), "a later cut must not lose what an earlier one kept"
    assert outcomes[0] is False


def test_power_cut_at_points_of_a_change(lab: Lab, tmp_path: Path) -> None:
    every_power_cut(lab, tmp_path, SMALL_FORMER, SMALL_LATTER, stride=4)


@pytest.mark.slow
def test_power_cut_at_every_point_of_a_change(lab: Lab, tmp_path: Path) -> None:
    every_power_cut(lab, tmp_path, SMALL_FORMER, SMALL_LATTER, stride=1)


def test_the_guard_itself_may_be_cut_off(lab: Lab, tmp_path: Path) -> None:
    """`undoing` stands until everything is restored: whatever was lost in between is done again."""
    room = Room(tmp_path)
    asyncio.run(room.settle(SMALL_FORMER))
    before = picture()
    asyncio.run(room.transactions.apply(SMALL_LATTER))
    (room.folder / "pending").rename(room.folder / "undoing")
    assert room.transactions.unsettled()
    asyncio.run(room.timer.guard("tick"))
    assert not differences(picture(), before)
    assert not room.transactions.unsettled()
