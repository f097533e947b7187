"""Changes of a real kernel's network in a namespace, and their way back, with the real guard."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from recorderd.network.login import Login
from recorderd.network.services import CHRONY, DNSMASQ, RESOLV
from recorderd.network.transaction import Refused, Undone
from tests.network.eventually import until
from tests.network.namespaces import Lab, differences, picture, run
from tests.network.room import FORMER, LATTER, NEWER_THAN_ANY_CHANGE, Faulty, Room


def test_every_part_is_applied_and_a_second_plan_is_empty(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)

    async def story() -> None:
        await room.settle(FORMER)
        assert not (await room.transactions.preview(FORMER)).plan.steps
        await room.settle(LATTER)
        assert not (await room.transactions.preview(LATTER)).plan.steps

    asyncio.run(story())
    shown = picture()
    assert shown["links"]["eth0"]["mtu"] == 1400
    assert [a["local"] for a in shown["links"]["eth0"]["addresses"]] == ["10.1.0.6", "10.9.0.5"]
    assert shown["links"]["eth0"]["disable_ipv6"] == "1"
    assert "cameras" not in shown["links"]
    assert [a["local"] for a in shown["links"]["cams"]["addresses"]] == ["192.168.60.1"]
    for port in ("lan1", "lan2"):
        assert shown["links"][port]["master"] == "cams"
        assert shown["links"][port]["isolated"] is True
        assert shown["links"][port]["up"]
    assert {(r["dst"], r["gateway"]) for r in shown["routes"]} == {
        ("default", "10.9.0.1"),
        ("172.20.0.0/16", "10.9.0.254"),
    }
    assert room.units.running == {DNSMASQ, CHRONY, RESOLV}


def test_an_unconfirmed_change_is_undone_by_the_guard_alone(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    asyncio.run(room.settle(FORMER))
    before = picture()
    asyncio.run(room.transactions.apply(LATTER))
    assert picture() != before
    assert room.timer.armed
    asyncio.run(room.timer.guard("tick"))  # not yet due
    assert picture() != before
    room.expire()
    said = asyncio.run(room.timer.guard("tick"))
    assert not differences(picture(), before), said
    assert room.generations.pending() is None
    assert room.transactions.confirmed_wish() == FORMER
    log = (tmp_path / "systemctl.log").read_text()
    assert [line for line in log.splitlines() if DNSMASQ in line] == [f"stop {DNSMASQ}", f"start {DNSMASQ}"]


def test_what_the_machine_had_before_us_comes_back(lab: Lab, tmp_path: Path) -> None:
    """First change on a machine that someone set up by hand, with a lease and a route of its own."""
    run("ip", "link", "set", "eth0", "up")
    run("ip", "addr", "add", "10.1.0.77/24", "dev", "eth0", "valid_lft", "3600", "preferred_lft", "1800")
    run("ip", "addr", "add", "10.5.0.7/16", "brd", "+", "dev", "eth0")
    run("ip", "route", "add", "default", "via", "10.1.0.1")
    run("ip", "link", "add", "foreign", "type", "bridge")
    run("nft", "add", "table", "inet", "someone")
    before = picture()
    room = Room(tmp_path)

    async def story() -> None:
        await room.transactions.apply(LATTER)
        assert picture() != before
        await room.transactions.rollback()

    asyncio.run(story())
    assert not differences(picture(), before)
    assert room.transactions.confirmed_wish() is None


def test_each_step_made_to_fail_in_turn_leaves_the_former_network(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    asyncio.run(room.settle(FORMER))
    before = picture()
    steps = asyncio.run(room.transactions.preview(LATTER)).plan.steps
    assert len(steps) > 15
    for number in range(len(steps)):
        faulty = Room(tmp_path, Faulty(number))
        with pytest.raises(Undone, match="injected"):
            asyncio.run(faulty.transactions.apply(LATTER))
        assert not differences(picture(), before), f"step {number}: {steps[number]}"
        assert faulty.generations.pending() is None
        assert faulty.transactions.confirmed_wish() == FORMER


def test_boot_files_set_the_confirmed_network_up_from_nothing(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    asyncio.run(room.settle(FORMER))
    before = picture()
    lab.power_cut()
    assert picture() != before
    asyncio.run(room.timer.guard("boot"))
    assert not differences(picture(), before)
    # and with a change pending when the power goes: the former network, at boot
    asyncio.run(room.transactions.apply(LATTER))
    room.reboot()
    lab.power_cut()
    asyncio.run(room.timer.guard("boot"))
    assert not differences(picture(), before)
    assert json.loads((room.folder / "confirmed" / "wish.json").read_text())["uplink"]["mtu"] == 0


def test_confirmation_needs_the_token_and_a_new_login(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)

    async def story() -> None:
        await room.settle(FORMER)
        before = picture()
        with pytest.raises(Refused, match="no change awaits"):
            await room.transactions.confirm("0", pid=1)
        applied = await room.transactions.apply(LATTER)
        with pytest.raises(Refused, match="another change"):
            await room.transactions.apply(FORMER)
        room.login = Login(1.0)
        with pytest.raises(Refused, match="new SSH connection"):
            await room.transactions.confirm(applied.token, pid=1)
        room.login = None
        with pytest.raises(Refused, match="new SSH connection"):
            await room.transactions.confirm(applied.token, pid=1)
        room.login = Login(NEWER_THAN_ANY_CHANGE)
        for _ in range(2):
            with pytest.raises(Refused, match="not the token"):
                await room.transactions.confirm("wrong", pid=1)
        with pytest.raises(Refused, match="third time"):
            await room.transactions.confirm("wrong", pid=1)
        assert not differences(picture(), before)
        applied = await room.transactions.apply(LATTER)
        await room.transactions.confirm(applied.token, pid=1)
        assert room.transactions.confirmed_wish() == LATTER
        room.login = Login(1.0, console=True)
        await room.settle(FORMER)
        assert not room.timer.armed

    asyncio.run(story())


def test_nothing_is_changed_without_an_undo(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    before = picture()
    room.timer.refuse = True
    with pytest.raises(Refused, match="nothing was changed"):
        asyncio.run(room.transactions.apply(FORMER))
    assert not differences(picture(), before)
    assert room.generations.pending() is None


def test_a_unit_that_does_not_start_undoes_the_change(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    before = picture()
    room.units.refuse.add("restart recorderd-dnsmasq.service")
    with pytest.raises(Undone, match="refused"):
        asyncio.run(room.transactions.apply(FORMER))
    assert not differences(picture(), before)


def test_a_caller_that_is_cut_off_does_not_stop_the_change(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)

    async def story() -> None:
        await room.settle(FORMER)
        calling = asyncio.ensure_future(room.transactions.apply(LATTER))
        await until(lambda: room.generations.pending() is not None)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await until(lambda: not room.transactions._running, within_s=20)

    asyncio.run(story())
    assert [a["local"] for a in picture()["links"]["eth0"]["addresses"]] == ["10.1.0.6", "10.9.0.5"]
    assert room.generations.pending() is not None  # and it is undone unless confirmed


def test_a_confirmation_that_was_taken_is_carried_to_its_end(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)

    async def story() -> None:
        await room.settle(FORMER)
        await room.transactions.apply(LATTER)

    asyncio.run(story())
    assert room.generations.take()  # and here the daemon was killed
    again = Room(tmp_path)
    assert again.transactions.confirmed_wish() == FORMER
    again.transactions.finish_confirmation()
    assert again.transactions.confirmed_wish() == LATTER
    assert not asyncio.run(again.transactions.preview(LATTER)).plan.steps
    assert again.transactions.release()
    assert not again.transactions.release()
    before = picture()
    asyncio.run(again.timer.guard("boot"))
    assert not differences(picture(), before)


def test_the_guard_that_was_already_running_is_run_again(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    real, runs = room.timer.run_now, []

    async def joins_an_older_run_first() -> None:
        runs.append(1)
        if len(runs) > 1:
            await real()

    room.timer.run_now = joins_an_older_run_first

    async def story() -> None:
        await room.settle(FORMER)
        before = picture()
        await room.transactions.apply(LATTER)
        await room.transactions.rollback()
        assert not differences(picture(), before)

    asyncio.run(story())
    assert len(runs) == 2
