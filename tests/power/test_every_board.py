"""Every shipped board with its buses simulated, through the whole service: powered, faulted, switched, adopted, over budget, sagging."""

from __future__ import annotations

import msgspec
import pytest

from hw.boards.board import Board
from hw.boards.loader import load, shipped
from hw.sim.pse.load import Load
from recorderd.power.memory import VolatileMemory
from tests.power.simulated_power import rig, running
from tests.simulated_time import FakeClock, run_simulated

NAMES = [*sorted(set(shipped()) - {"kernel-pse"}), "sim-4port in auto mode"]


def _board(name: str) -> Board:
    board = load(name.partition(" ")[0])
    auto = name.endswith("auto mode")
    pse = tuple(
        msgspec.structs.replace(
            p, auto=auto, bus=msgspec.structs.replace(p.bus, kind="simulated", name="", node="", path="")
        )
        for p in board.pse
    )
    return msgspec.structs.replace(board, pse=pse, simulated=())


@pytest.mark.parametrize("name", NAMES)
def test_a_camera_lives_its_life_on_every_board(name: str) -> None:
    async def main(clock: FakeClock) -> None:
        memory = VolatileMemory()
        first = rig(clock, _board(name), memory)
        labels = [p.label for p in first.assembly.board.port]
        one, two = labels[0], labels[1]
        async with running(first):
            for label in (one, two):
                first.simulation.plug(label, Load(pd_class=3, draw_mw=5_000))
            await first.until(lambda: first.delivering() == {one, two}, limit_s=90)
            status = {p.label: p for p in first.service.status().ports}
            assert status[one].power_mw == pytest.approx(5_000, rel=0.03)
            assert status[one].allocated_mw > 0
            # An overload cuts the port, is named, and the ladder brings it back.
            load_two = first.simulation.load(two)
            assert load_two is not None
            load_two.draw_mw = 60_000
            await first.until(lambda: first.states()[two] != "delivering", limit_s=30)
            load_two.draw_mw = 5_000
            await first.until(lambda: first.delivering() == {one, two}, limit_s=90)
            assert {p.label: p.last_fault for p in first.service.status().ports}[two] == "overload"
            # Off stays off, over a restart too; the other port never notices either.
            await first.service.set_admin(two, on=False)
            await first.until(lambda: first.states()[two] == "disabled", limit_s=30)
        second = rig(clock, first.assembly.board, memory, first.assembly)
        async with running(second):
            await second.until(lambda: second.delivering() == {one}, limit_s=60)
            assert second.simulation.powered(one)
            assert second.states()[two] == "disabled"
            await second.service.set_admin(two, on=True)
            await second.until(lambda: second.delivering() == {one, two}, limit_s=60)
            await second.service.cycle(one, "test")
            await second.until(lambda: second.delivering() == {one, two}, limit_s=60)
            second.simulation.unplug(one)
            await second.until(lambda: second.delivering() == {two}, limit_s=30)

    run_simulated(main)


@pytest.mark.parametrize("name", NAMES)
def test_the_budget_holds_on_every_board(name: str) -> None:
    async def main(clock: FakeClock) -> None:
        board = _board(name)
        board = msgspec.structs.replace(
            board, supply=msgspec.structs.replace(board.supply, total_w=50, shared=False, guard_w=2, spinup_s=0)
        )
        made = rig(clock, board)
        async with running(made):
            for port in board.port:
                made.simulation.plug(port.label, Load(pd_class=3, draw_mw=9_000))
            await made.wait(40)
            assert 2 <= len(made.delivering()) <= 3
            drawn = sum(made.simulation.powered(p.label) for p in board.port) * 9_000
            assert drawn <= 50_000
            before = made.delivering()
            await made.wait(60)
            assert made.delivering() == before, "settled"

    run_simulated(main)


def test_eight_inrushes_during_spin_up_would_sag_and_one_at_a_time_does_not() -> None:
    async def main(clock: FakeClock) -> None:
        board = _board("sim-8port")
        made = rig(clock, board)
        supply = made.simulation.supply
        supply.resistance_mohm = 4_800
        for port in board.port:
            made.simulation.plug(port.label, Load(pd_class=2, draw_mw=3_000, inrush_ms=55))
        lowest = 54_000.0
        async with running(made):
            for second in range(300):
                supply.other_mw = 30_000 if clock.boottime_ns() < 5e9 else 8_000
                await made.wait(0.05)
                lowest = min(lowest, supply.voltage_mv())
                assert second < 299 or len(made.delivering()) == 8
        assert lowest > 46_000
        assert not made.commits
        # The same eight at once, as a chip that powers by itself would do it:
        for port in board.port:
            made.simulation.unplug(port.label)
        supply.draws_mw.update(all_at_once=8 * 425 * 54)
        assert supply.voltage_mv() < 40_000

    run_simulated(main)


def test_a_controller_that_restarts_in_the_middle_gets_its_settings_again() -> None:
    async def main(clock: FakeClock) -> None:
        board = _board("generic-pd69200-uart")
        made = rig(clock, board)
        async with running(made):
            made.simulation.plug("1", Load(pd_class=3, draw_mw=5_000))
            await made.until(lambda: made.delivering() == {"1"})
            await made.service.set_limit("1", 12_000)
            mcu = made.simulation.chips["pse0"]
            mcu.restart()  # type: ignore[attr-defined]
            assert mcu.ports[0].added == 0  # type: ignore[attr-defined]
            mcu.faults.telemetry_before = 1  # type: ignore[attr-defined]
            await made.until(lambda: mcu.ports[0].mode == 3, limit_s=10)  # type: ignore[attr-defined]
            await made.until(lambda: made.delivering() == {"1"})

    run_simulated(main)
