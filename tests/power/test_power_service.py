"""The power service on simulated chips: start, budget, faults, adoption, sag, cycles."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import msgspec
import pytest

from hw.boards.board import Board
from hw.boards.loader import load
from hw.poe.bus_thread import InlineBus
from hw.poe.vocabulary import Priority
from hw.sim.pse.load import Load
from recorderd.power.memory import VolatileMemory
from recorderd.power.wishes import UnknownPort
from tests.power.simulated_power import rig, running
from tests.simulated_time import FakeClock, run_simulated


def test_a_bus_that_nobody_gives_up_withholds_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        async with running(made):
            await made.until(lambda: len(made.delivering()) == 8)
            assert made.service.stuck() is None
            monkeypatch.setattr(InlineBus, "oldest_operation_s", lambda _: 59.0)
            assert made.service.stuck() is None
            monkeypatch.setattr(InlineBus, "oldest_operation_s", lambda _: 61.0)
            assert made.service.stuck() == "power: a bus has been busy with one operation for 61 s"
            monkeypatch.setattr(InlineBus, "hung", True)
            assert made.service.stuck() is None, "its bus is FAILED: a restart would not help"

    run_simulated(main)


def test_all_cameras_of_the_eight_port_board_come_up_one_by_one() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        async with running(made):
            took = await made.until(lambda: len(made.delivering()) == 8)
            assert 4 < took < 15, "after the disks' spin-up, half a second apart"
            status = made.service.status()
            assert status.budget.allocated_mw == 15_400 * 5 + 7_000 + 30_000 + 4_000
            assert status.budget.measured_mw == pytest.approx(50_800, rel=0.02)
            assert status.budget.allocated_mw <= status.budget.available_mw
            assert max(c.age_ms for c in status.controllers) <= 1_000
            assert status.line().startswith("PoE 8/8 ports, 50.")

    run_simulated(main)


def test_nothing_is_switched_on_before_the_disks_have_spun_up() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        async with running(made):
            await made.wait(3.5)
            assert not made.delivering()
            assert not made.service.status().budget.ready

    run_simulated(main)


def test_switch_on_is_staggered() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        seen: list[int] = []
        async with running(made):
            for _ in range(1_000):
                await asyncio.sleep(0.02)
                seen.append(sum(made.simulation.powered(str(i)) for i in range(1, 9)))
        steps = [later - earlier for earlier, later in itertools.pairwise(seen)]
        assert max(steps) == 1
        assert seen[-1] == 8

    run_simulated(main)


def _board(total_w: float) -> Board:
    board = load("sim-4port")
    supply = msgspec.structs.replace(board.supply, total_w=total_w, shared=False, guard_w=0, spinup_s=0)
    return msgspec.structs.replace(board, supply=supply, simulated=())


def test_a_camera_of_higher_priority_takes_the_power_of_a_lower_one() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, _board(32))
        async with running(made):
            for label in "12":
                made.simulation.plug(label, Load(pd_class=3))
            await made.until(lambda: made.delivering() == {"1", "2"})
            await made.service.set_priority("4", Priority.HIGH)
            made.simulation.plug("3", Load(pd_class=3))
            await made.until(lambda: made.states()["3"] == "denied")
            made.simulation.plug("4", Load(pd_class=3))
            await made.until(lambda: "4" in made.delivering())
            assert len(made.delivering()) == 2
            assert "shed" in made.heard.what("2") or "shed" in made.heard.what("1")
            made.simulation.unplug("4")
            await made.until(lambda: len(made.delivering()) == 2 and "4" not in made.delivering())
            await made.wait(60)
            assert len(made.delivering()) == 2

    run_simulated(main)


def test_fault_ladder_1_5_30_300() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, _board(100))
        made.simulation.plug("1", Load(pd_class=3, draw_mw=30_000))
        times: list[float] = []
        async with running(made):
            powered = False
            while len(times) < 6:
                await asyncio.sleep(0.02)
                now = made.simulation.powered("1")
                if now and not powered:
                    times.append(clock.boottime_ns() / 1e9)
                powered = now
            waits = [later - earlier for earlier, later in itertools.pairwise(times)]
            for wait, least in zip(waits, (1, 5, 30, 300, 300), strict=True):
                assert least <= wait < least + 4
            assert made.service.status().ports[0].last_fault == "overload"

    run_simulated(main)


def test_running_ports_are_adopted_and_left_running() -> None:
    async def main(clock: FakeClock) -> None:
        memory = VolatileMemory()
        first = rig(clock, "sim-8port", memory)
        async with running(first):
            await first.until(lambda: len(first.delivering()) == 8)
        await asyncio.sleep(30)
        assert all(first.simulation.powered(str(i)) for i in range(1, 9)), "the end of the daemon switches nothing off"
        second = rig(clock, "sim-8port", memory, first.assembly)
        cut = False
        async with running(second):
            for _ in range(200):
                await asyncio.sleep(0.05)
                cut = cut or not all(second.simulation.powered(str(i)) for i in range(1, 9))
            assert len(second.delivering()) == 8
        assert not cut
        assert second.heard.what("3") == ["adopted"]

    run_simulated(main)


def test_adoption_over_budget_sheds_some_and_never_all() -> None:
    async def main(clock: FakeClock) -> None:
        board = load("sim-8port")
        first = rig(clock, board)
        async with running(first):
            await first.until(lambda: len(first.delivering()) == 8)
        poorer = msgspec.structs.replace(board, supply=msgspec.structs.replace(board.supply, total_w=80))
        second = rig(clock, poorer, assembly=replace(first.assembly, board=poorer))
        async with running(second):
            await second.wait(20)
            status = second.service.status()
            assert status.budget.allocated_mw <= status.budget.available_mw
            assert 3 <= len(second.delivering()) < 8

    run_simulated(main)


def test_a_sagging_supply_sheds_at_once_and_asks_for_a_commit() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        async with running(made):
            await made.until(lambda: len(made.delivering()) == 8)
            made.service.alarm()
            took = await made.until(lambda: not all(made.simulation.powered(str(i)) for i in range(1, 9)))
            assert took <= 0.1
            assert len(made.commits) == 1
            await made.wait(20)
            assert made.service.status().budget.sagging
            assert len(made.delivering()) == 7
            await made.wait(60)
            assert len(made.delivering()) == 8

    run_simulated(main)


def test_a_sag_that_is_measured_sheds_until_it_ends() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        made.simulation.supply.resistance_mohm = 9_000
        async with running(made):
            await made.wait(40)
            assert made.commits
            powered = sum(made.simulation.powered(str(i)) for i in range(1, 9))
            assert 1 <= powered < 8
            assert made.simulation.supply.voltage_mv() > 46_000

    run_simulated(main)


def test_cycle_takes_at_least_three_seconds_and_keeps_the_ports_share() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, _board(32))
        for label in "123":
            made.simulation.plug(label, Load(pd_class=3))
        async with running(made):
            await made.until(lambda: len(made.delivering()) == 2)
            victim = min(made.delivering())
            waiting = ({"1", "2", "3"} - made.delivering()).pop()
            cycle = asyncio.create_task(made.service.cycle(victim, "test"))
            await made.until(lambda: not made.simulation.powered(victim))
            off = await made.until(lambda: made.simulation.powered(victim))
            await cycle
            assert 3 <= off < 6
            assert not made.simulation.powered(waiting), "the share of a cycled port is not given away"
            with pytest.raises(UnknownPort):
                await made.service.cycle("77", "test")

    run_simulated(main)


def test_a_port_switched_off_stays_off_over_a_restart() -> None:
    async def main(clock: FakeClock) -> None:
        memory = VolatileMemory()
        first = rig(clock, "sim-8port", memory)
        async with running(first):
            await first.until(lambda: len(first.delivering()) == 8)
            await first.service.set_admin("2", on=False)
            await first.until(lambda: first.states()["2"] == "disabled")
        second = rig(clock, "sim-8port", memory, first.assembly)
        async with running(second):
            await second.wait(20)
            assert second.states()["2"] == "disabled"
            assert len(second.delivering()) == 7

    run_simulated(main)


def test_a_dead_bus_costs_only_its_ports_and_is_found_again() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        async with running(made):
            await made.until(lambda: len(made.delivering()) == 8)
            chip = made.simulation.adapter.registers.pop(0x21)
            await made.wait(5)
            status = made.service.status()
            assert [c.healthy for c in status.controllers] == [True, False]
            assert "nothing answers" in status.controllers[1].detail
            assert {label for label, state in made.states().items() if state == "unknown"} == {"5", "6", "7", "8"}
            assert status.budget.allocated_mw > 100_000, "ports nobody can see still count"
            made.simulation.adapter.registers[0x21] = chip
            await made.until(lambda: len(made.delivering()) == 8)
            assert all(made.simulation.powered(str(i)) for i in range(5, 9))

    run_simulated(main)
