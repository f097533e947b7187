"""The policy's step, port by port: every kind of controller, time-outs, stale readings, sums that hold in every plug order."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from hw.poe.controller import Grants, PortReading
from hw.poe.vocabulary import CLASS_PSE_MW, Fault, PortState, Priority
from recorderd.power.budget import Basis, pse_end_mw
from recorderd.power.decisions import Action, Do, Memory, Phase, PortInput, Step, SupplyInput
from recorderd.power.policy import step

_S = 1_000_000_000


class Ports:
    """Ports that do what they are told, read and stepped once a quarter second."""

    def __init__(self, count: int, available_mw: int, grants: Grants = Grants.HOST, basis: Basis = Basis.CLASS) -> None:
        self.inputs = [
            PortInput(
                label=str(i),
                index=i,
                grants=grants,
                max_mw=90_000,
                wanted=True,
                reading=PortReading(i, admin=True, state=PortState.SEARCHING),
            )
            for i in range(count)
        ]
        self.supply = SupplyInput(available_mw=available_mw, basis=basis)
        self.memory = Memory()
        self.now = 100 * _S
        self.actions: list[Action] = []
        self.notices: list[tuple[str, str]] = []

    def set(self, index: int, **change: object) -> None:
        self.inputs[index] = replace(self.inputs[index], **change)  # type: ignore[arg-type]

    def reading(self, index: int, **change: object) -> None:
        reading = self.inputs[index].reading
        assert reading is not None
        self.set(index, reading=replace(reading, **change))  # type: ignore[arg-type]

    def plug(self, index: int, pd_class: int) -> None:
        self.reading(index, state=PortState.REQUESTING, pd_class=pd_class)

    def step(self, seconds: float = 0.25) -> Step:
        self.now += round(seconds * _S)
        for index in range(len(self.inputs)):
            self.set(index, read_ns=self.now)
        self.supply = replace(self.supply, read_ns=self.now)
        result = step(self.memory, self.inputs, self.supply, self.now + 1)
        self.memory = result.memory
        self.actions += result.actions
        self.notices += [(n.kind, n.label) for n in result.notices]
        for index in range(len(self.inputs)):
            self.set(index, faults=())
        for action in result.actions:
            self._obey(action)
        return result

    def _obey(self, action: Action) -> None:
        if not action.label:
            return
        index = int(action.label)
        match action.do:
            case Do.GRANT:
                self.reading(index, state=PortState.DELIVERING, power_mw=3_000)
            case Do.WITHDRAW if self.inputs[index].grants is Grants.HOST:
                self.reading(index, state=PortState.REQUESTING, power_mw=0)
            case Do.DISABLE | Do.WITHDRAW:
                self.reading(index, admin=False, state=PortState.DISABLED, power_mw=0)
            case Do.ENABLE:
                self.reading(index, admin=True, state=PortState.SEARCHING)

    def run(self, seconds: float) -> int:
        """The largest allocation seen."""
        return max(self.step().allocated_mw for _ in range(int(seconds * 4)))

    def powered(self) -> set[int]:
        return {i for i, p in enumerate(self.inputs) if p.reading is not None and p.reading.powered}


def test_every_plug_order_through_the_whole_policy_stays_in_budget() -> None:
    """Eight ports of classes 0 to 4 in many orders and priorities, with staggering, unplugging and plugging again."""
    chance = random.Random(3)
    for _ in range(60):
        ports = Ports(8, available := chance.choice((60_000, 90_000, 140_000)))
        for index in range(8):
            ports.set(index, priority=chance.choice(list(Priority)))
        for index in chance.sample(range(8), 8):
            ports.plug(index, chance.randint(0, 4))
            assert ports.run(chance.choice((0.25, 1, 3))) <= available
        assert ports.run(10) <= available
        settled = ports.powered()
        ports.actions.clear()
        ports.run(20)
        assert ports.powered() == settled
        assert not ports.actions, "nothing swings back and forth"
        used = sum(m.allocated_mw for m in ports.memory.ports.values())
        for index in set(range(8)) - settled:
            reading = ports.inputs[index].reading
            assert reading is not None and reading.pd_class is not None
            assert CLASS_PSE_MW[reading.pd_class] > available - used, "a port that fits is left without power"


def test_one_port_in_half_a_second() -> None:
    ports = Ports(8, 500_000)
    for index in range(8):
        ports.plug(index, 3)
    times = [ports.now for _ in range(40) if any(a.do is Do.GRANT for a in ports.step(0.1).actions)]
    assert len(times) == 8
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.5 * _S - 1


def test_a_device_that_never_starts_is_tried_again_later_and_holds_no_power_meanwhile() -> None:
    ports = Ports(2, 16_000)
    ports.plug(0, 3)
    ports._obey = lambda action: None  # type: ignore[method-assign]
    assert ports.step().allocated_mw == 15_400
    assert ports.run(2) == 15_400
    ports.run(2)
    assert ports.step().allocated_mw == 0
    assert ("not-started", "0") in ports.notices
    ports.run(6)
    assert sum(a.do is Do.GRANT for a in ports.actions) == 2


def test_a_stale_reading_undoes_no_decision() -> None:
    ports = Ports(1, 50_000)
    ports.plug(0, 3)
    ports.step()
    stale = ports.inputs[0].read_ns
    ports.reading(0, state=PortState.REQUESTING)
    result = step(ports.memory, [replace(ports.inputs[0], read_ns=stale)], ports.supply, ports.now + 2)
    assert not result.actions
    assert result.memory.ports["0"].phase is Phase.GRANTED


def test_ports_nobody_can_read_keep_their_share() -> None:
    ports = Ports(2, 20_000)
    ports.plug(0, 3)
    ports.run(2)
    ports.set(0, reading=None)
    ports.plug(1, 3)
    ports.run(5)
    assert ("denied", "1") in ports.notices
    assert not [a for a in ports.actions if a.label == "1" and a.do is Do.GRANT]


@pytest.mark.parametrize("grants", [Grants.AUTO, Grants.CHIP])
def test_controllers_that_power_by_themselves_are_disabled_after_a_fault_and_enabled_after_the_back_off(
    grants: Grants,
) -> None:
    ports = Ports(1, 50_000, grants)
    ports.reading(0, state=PortState.DELIVERING, pd_class=3)
    ports.run(1)
    for wait in (1, 5, 30):
        ports.actions.clear()
        ports.set(0, faults=(Fault.OVERLOAD,))
        ports.reading(0, state=PortState.FAULT)
        ports.step()
        assert [a.do for a in ports.actions] == [Do.WITHDRAW]
        ports.actions.clear()
        ports.run(wait - 0.5)
        assert not ports.actions
        ports.run(1.5)
        assert [a.do for a in ports.actions] == [Do.ENABLE]


def test_an_automatic_controller_over_budget_is_shed_by_priority() -> None:
    ports = Ports(4, 40_000, Grants.AUTO)
    for index in range(4):
        ports.set(index, priority=Priority.HIGH if index < 2 else Priority.LOW)
        ports.reading(index, state=PortState.DELIVERING, pd_class=3, power_mw=8_000)
    ports.run(3)
    assert ports.powered() == {0, 1}
    assert [k for k, _ in ports.notices].count("shed") == 2


def test_a_controller_with_its_own_budget_is_observed() -> None:
    ports = Ports(3, 20_000, Grants.CHIP)
    for index in range(2):
        ports.reading(index, state=PortState.DELIVERING, pd_class=4, power_mw=9_000, allocated_mw=30_000)
    ports.reading(2, state=PortState.DENIED)
    ports.run(5)
    assert not ports.actions
    assert ports.notices.count(("denied", "2")) == 1


def test_measured_overload_sheds_after_a_second_and_holds_half_a_minute() -> None:
    ports = Ports(3, 40_000, basis=Basis.MEASURED)
    for index in range(3):
        ports.plug(index, 3)
    ports.run(4)
    for index in range(3):
        if index in ports.powered():
            ports.reading(index, power_mw=5_000)
    ports.run(3)
    assert ports.powered() == {0, 1, 2}, "measured, all three fit"
    for index in range(3):
        ports.reading(index, power_mw=15_000)
    ports.step(0.1)
    assert ports.run(3) > 0
    assert len(ports.powered()) == 2
    ports.run(20)
    assert len(ports.powered()) == 2


def test_sag_stops_switching_on_sheds_and_recovers() -> None:
    ports = Ports(4, 200_000)
    ports.supply = replace(ports.supply, low_mv=46_000, supply_mv=54_000)
    for index in range(3):
        ports.set(index, priority=Priority.CRITICAL if index == 0 else Priority.LOW)
        ports.plug(index, 3)
    ports.run(5)
    ports.supply = replace(ports.supply, supply_mv=44_000)
    ports.plug(3, 3)
    ports.actions.clear()
    ports.step(0.05)
    assert [a.do for a in ports.actions] == [Do.COMMIT, Do.WITHDRAW]
    ports.run(5)
    assert ports.powered() == {0}, "critical ports are never shed"
    assert sum(a.do is Do.COMMIT for a in ports.actions) == 1
    ports.supply = replace(ports.supply, supply_mv=54_000)
    ports.run(28)
    assert ports.powered() == {0}
    ports.run(10)
    assert ports.powered() == {0, 1, 2, 3}
    assert ("sag-over", "") in ports.notices


def test_what_is_not_wanted_is_switched_off_and_said_once() -> None:
    ports = Ports(1, 50_000)
    ports.plug(0, 3)
    ports.run(2)
    ports.set(0, wanted=False, why_not="off by schedule")
    ports.run(3)
    assert ports.actions[-1].do is Do.DISABLE
    assert ports.notices.count(("off", "0")) == 1
    ports.reading(0, admin=True, state=PortState.SEARCHING)
    ports.step()
    assert ports.actions[-1].do is Do.DISABLE, "somebody else switched it on: off again"


@pytest.mark.parametrize(("pd_mw", "pse_mw"), [(13_000, 15_400), (25_500, 30_000), (51_000, 60_000), (71_300, 90_000)])
def test_the_cable_s_share_is_set_aside_too(pd_mw: int, pse_mw: int) -> None:
    assert pse_mw <= pse_end_mw(pd_mw) <= pse_mw * 1.02
