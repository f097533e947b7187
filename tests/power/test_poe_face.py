"""`io.recorderd.Poe` over a simulated board, and what `recorderctl poe` prints."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Awaitable, Callable

import pytest

from hw.boards.findings import Finding, error
from hw.poe.vocabulary import Priority
from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.control.poe import PoeFace, PortUsers
from recorderd.ctl.board import render as render_board
from recorderd.ctl.poe import days, render, render_budget
from recorderd.ctl.session import Failure
from recorderd.protocol import poe
from recorderd.protocol.errors import ConfirmationNeeded, InvalidArgument, NotFound, Unavailable
from recorderd.protocol.interface import Access
from recorderd.protocol.message import Nothing
from tests.power.simulated_power import Rig, rig, running
from tests.simulated_time import FakeClock, run_simulated

PEER = Peer(1, 0, Access.OPERATE)
DEVICE = uuid.UUID(int=3)


def _face(made: Rig, protected: frozenset[str] = frozenset(), recorded: str = "3") -> PoeFace:
    async def check() -> tuple[str, list[Finding]]:
        return "Simulated", [error("pse0", "nothing answers", "check the cable")]

    face = PoeFace(
        power=made.service,
        rescue=None,
        clock=made.clock,
        users=lambda: {recorded: PortUsers(("door",), ("door",))},
        protected=lambda: protected,
        device=lambda name: DEVICE if name == "door" else None,
        device_names=lambda: {DEVICE: "door"},
        check=check,
    )
    table = Dispatch()
    face.bind(table)
    assert not table.missing()
    return face


def _with_face(
    test: Callable[[Rig, PoeFace], Awaitable[None]], protected: frozenset[str] = frozenset(), recorded: str = "3"
) -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        async with running(made):
            await made.until(lambda: len(made.delivering()) == 8)
            await test(made, _face(made, protected, recorded))

    run_simulated(main)


def test_status_is_complete_and_reads_at_a_glance() -> None:
    async def check(made: Rig, face: PoeFace) -> None:
        await made.service.set_priority("2", Priority.HIGH)
        status = await face._status(Nothing(), PEER)
        text = render(status, made.clock.realtime_ns())
        lines = text.splitlines()
        assert lines[0].split() == ["PORT", "DEVICE", "STATE", "CLASS", "WATTS", "ALLOWED", "SINCE", "LAST", "FAULT"]
        assert lines[3].split()[:6] == ["3", "door", "delivering", "2", "3.2", "7.0"]
        assert all(len(line) <= 80 for line in lines)
        assert f"{status.budget.measured_mw / 1000:.1f} W drawn" in text
        assert status.ports[1].priority == "high"
        assert "for the ports" in render_budget(status.budget)
        assert status.controllers[0].age_ms is not None
        assert status.controllers[0].age_ms <= 1_000

    _with_face(check)


def test_cutting_a_recorded_camera_needs_a_confirmation() -> None:
    async def check(made: Rig, face: PoeFace) -> None:
        for call in (
            face._switch_off(poe.SwitchOffCall(port="3"), PEER),
            face._cycle(poe.CycleCall(port="3"), PEER),
            face._set_limit(poe.LimitCall(port="3", limit_mw=1_500), PEER),
        ):
            with pytest.raises(ConfirmationNeeded, match="door is being recorded"):
                await call
        assert made.simulation.powered("3")
        await face._cycle(poe.CycleCall(port="3", confirm=True), PEER)
        await made.until(lambda: made.simulation.powered("3"))
        assert (await face._switch_off(poe.SwitchOffCall(port="3", confirm=True), PEER)).back_on is None
        await made.until(lambda: not made.simulation.powered("3"))
        await face._switch_on(poe.PortCall(port="3"), PEER)
        await made.until(lambda: made.simulation.powered("3"))

    _with_face(check)


def test_off_in_the_path_of_a_login_undoes_itself_unless_kept() -> None:
    async def check(made: Rig, face: PoeFace) -> None:
        answer = await face._switch_off(poe.SwitchOffCall(port="4"), PEER)
        assert answer.back_on is not None
        await made.until(lambda: not made.simulation.powered("4"))
        assert 50 < await made.until(lambda: made.simulation.powered("4"), limit_s=70) < 65
        await face._switch_off(poe.SwitchOffCall(port="4"), PEER)
        await made.wait(5)
        assert (await face._switch_off(poe.SwitchOffCall(port="4", keep=True), PEER)).back_on is None
        await made.wait(120)
        assert made.states()["4"] == "disabled"

    _with_face(check, protected=frozenset("4"))


def test_schedule_switches_off_at_night_and_on_again() -> None:
    async def check(made: Rig, face: PoeFace) -> None:
        window = poe.OffWindow(days=["mon", "tue", "wed", "thu", "fri", "sat", "sun"], start="22:00", stop="06:00")
        await face._set_schedule(poe.ScheduleCall(port="5", off=[window]), PEER)
        seconds = made.clock.realtime_ns() / 1e9 % 86_400
        made.clock.step(21.99 * 3_600 - seconds)
        await made.wait(5)
        assert made.states()["5"] == "delivering"
        await made.wait(60)
        assert made.states()["5"] == "disabled"
        assert "off by schedule (daily 22:00-06:00)" in (await face._status(Nothing(), PEER)).ports[4].reason
        made.zones.append(datetime.timezone(datetime.timedelta(hours=-3)))
        await made.until(lambda: made.states()["5"] == "delivering")  # 19:00 there
        made.zones.append(datetime.UTC)
        await made.until(lambda: made.states()["5"] == "disabled")
        made.clock.step(8 * 3_600)
        await made.until(lambda: made.states()["5"] == "delivering")

    _with_face(check)


def test_wrong_arguments_are_named() -> None:
    async def check(made: Rig, face: PoeFace) -> None:
        del made
        with pytest.raises(NotFound, match="99"):
            await face._switch_on(poe.PortCall(port="99"), PEER)
        with pytest.raises(InvalidArgument, match="limit_mw"):
            await face._set_limit(poe.LimitCall(port="1", limit_mw=5), PEER)
        with pytest.raises(InvalidArgument, match="start"):
            bad = poe.OffWindow(days=["mon"], start="25:00", stop="06:00")
            await face._set_schedule(poe.ScheduleCall(port="1", off=[bad]), PEER)
        with pytest.raises(NotFound, match="nobody"):
            await face._hold(poe.HoldCall(device="nobody", for_ms=1_000), PEER)
        with pytest.raises(Unavailable, match="rescue is switched off"):
            await face._hold(poe.HoldCall(device="door", for_ms=1_000), PEER)

    _with_face(check)


def test_what_cannot_be_stored_is_not_done_and_said() -> None:
    async def check(made: Rig, face: PoeFace) -> None:
        store = made.service._wishes._keeper._store

        async def save(record: object) -> None:
            raise OSError(30, "Read-only file system")

        store.save = save  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match=r"nothing was changed: .* Read-only file system"):
            await face._switch_off(poe.SwitchOffCall(port="4"), PEER)
        await made.wait(3)
        assert made.states()["4"] == "delivering"

    _with_face(check)


def test_limit_is_policed_by_the_chip() -> None:
    async def check(made: Rig, face: PoeFace) -> None:
        assert (await face._set_limit(poe.LimitCall(port="2", limit_mw=4_000, confirm=True), PEER)).enforced
        load = made.simulation.load("2")
        assert load is not None
        await made.until(lambda: not made.simulation.powered("2"))
        assert made.service.status().ports[1].limit_mw == 4_000

    _with_face(check)


def test_board_report_in_words() -> None:
    async def check(made: Rig, face: PoeFace) -> None:
        del made
        text = render_board(await face._check_board(Nothing(), PEER))
        assert text.splitlines()[1].split() == ["BAD", "pse0", "nothing", "answers"]
        assert "-> check the cable" in text

    _with_face(check)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("mon-fri", "mon tue wed thu fri"), ("sat,sun", "sat sun"), ("fri-mon", "mon fri sat sun"), ("wed", "wed")],
)
def test_days(text: str, expected: str) -> None:
    assert days(text) == expected.split()


def test_days_that_do_not_exist() -> None:
    with pytest.raises(Failure, match="expected days"):
        days("mon-frx")
