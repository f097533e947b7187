"""The budget: every plug order of eight ports, against the invariants."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from hw.poe.vocabulary import CLASS_PSE_MW, Priority
from recorderd.power.budget import Basis, Demand, allocation_mw, decide, over_budget, smallest_shed

LOW, HIGH, CRITICAL = Priority.LOW, Priority.HIGH, Priority.CRITICAL


def _demand(
    label: str, priority: Priority, power: int, powered: bool = True, index: int = 0, waiting: int = 0
) -> Demand:
    return Demand(label, priority, power, powered, waiting, index)


def _settle(ports: list[Demand], available: int) -> tuple[list[Demand], int]:
    """Applies decisions until nothing changes; returns the ports and the number of rounds."""
    for rounds in range(len(ports) * 4):
        decision = decide(ports, available)
        if not decision.grant and not decision.shed:
            return ports, rounds
        ports = [
            replace(p, powered=(p.powered or p.label in decision.grant) and p.label not in decision.shed) for p in ports
        ]
        assert sum(p.power_mw for p in ports if p.powered) <= available
    raise AssertionError("the budget oscillates")


def _check_settled(ports: list[Demand], available: int) -> None:
    used = sum(p.power_mw for p in ports if p.powered)
    for waiting in (p for p in ports if not p.powered):
        assert waiting.power_mw > available - used, f"{waiting} fits and is left without power"
        below = sum(p.power_mw for p in ports if p.powered and p.priority > waiting.priority)
        assert waiting.power_mw > available - used + below, f"{waiting} could have its power from below"


def _plug_in_order(order: tuple[tuple[Priority, int], ...], available: int) -> None:
    ports: list[Demand] = []
    for position, (priority, power) in enumerate(order):
        ports.append(Demand(str(position), priority, power, False, position, position))
        ports, _ = _settle(ports, available)
        _check_settled(ports, available)


def test_every_plug_order_of_eight_ports_keeps_the_invariants() -> None:
    """Classes 0 to 4 (0 and 3 take the same power): every multiset of eight, in eight orders each, by priorities and budget."""
    powers = sorted({CLASS_PSE_MW[c] for c in range(5)})
    checked = 0
    for mix in itertools.product(range(9), repeat=len(powers) - 1):
        if sum(mix) > 8:
            continue
        counts = (*mix, 8 - sum(mix))
        loads = [p for p, n in zip(powers, counts, strict=True) for _ in range(n)]
        total = sum(loads)
        random.seed(checked)
        orders = {tuple(random.sample(loads, 8)) for _ in range(6)} | {tuple(loads), tuple(reversed(loads))}
        for order in orders:
            for available in (total // 3, total // 2, total - 1):
                _plug_in_order(tuple(zip(random.choices((CRITICAL, HIGH, LOW), k=8), order, strict=True)), available)
                checked += 1
    assert checked > 3_000


@pytest.mark.slow
def test_every_order_without_exception() -> None:
    """All 4^8 orders of the four powers, three priority patterns, two budgets."""
    powers = sorted({CLASS_PSE_MW[c] for c in range(5)})
    patterns = [(LOW,) * 8, (LOW, HIGH) * 4, (LOW, LOW, HIGH, LOW, CRITICAL, HIGH, LOW, CRITICAL)]
    for order in itertools.product(powers, repeat=8):
        for pattern in patterns:
            for available in (60_000, 110_000):
                _plug_in_order(tuple(zip(pattern, order, strict=True)), available)


def test_sampled_orders_of_classes_5_to_8() -> None:
    chance = random.Random(5)
    for _ in range(400):
        order = tuple((chance.choice(list(Priority)), CLASS_PSE_MW[chance.randint(0, 8)]) for _ in range(8))
        _plug_in_order(order, chance.choice((90_000, 150_000, 240_000)))


def test_the_smallest_set_of_the_lowest_priority_is_shed() -> None:
    ports = [
        _demand("a", LOW, 7_000, index=0),
        _demand("b", LOW, 15_400, index=1),
        _demand("c", HIGH, 30_000, index=2),
        _demand("d", LOW, 4_000, index=3),
    ]
    assert smallest_shed(ports, 5_000) == ("a",)
    assert smallest_shed(ports, 15_000) == ("b",)
    assert set(smallest_shed(ports, 20_000) or ()) == {"a", "b"}
    assert set(smallest_shed(ports, 30_000) or ()) == {"c"}
    assert smallest_shed(ports, 60_000) is None


def test_smallest_shed_is_smallest_by_brute_force() -> None:
    chance = random.Random(1)
    for _ in range(300):
        ports = [
            _demand(str(i), chance.choice(list(Priority)), chance.choice(list(CLASS_PSE_MW.values())), index=i)
            for i in range(chance.randint(1, 7))
        ]
        needed = chance.randint(1, 120_000)
        got = smallest_shed(ports, needed)
        by_label = {p.label: p for p in ports}
        enough = [
            subset
            for n in range(len(ports) + 1)
            for subset in itertools.combinations(ports, n)
            if sum(p.power_mw for p in subset) >= needed
        ]
        if not enough:
            assert got is None
            continue
        assert got is not None
        chosen = [by_label[label] for label in got]

        def harm(subset: tuple[Demand, ...] | list[Demand]) -> tuple[int, int, int]:
            return tuple(sum(p.priority is level for p in subset) for level in (CRITICAL, HIGH, LOW))  # type: ignore[return-value]

        assert sum(p.power_mw for p in chosen) >= needed
        assert harm(chosen) == min(harm(subset) for subset in enough)


def test_equal_priority_never_sheds() -> None:
    ports = [_demand("old", HIGH, 15_400), _demand("new", HIGH, 15_400, powered=False)]
    assert decide(ports, 20_000).refuse == ("new",)


def test_adoption_over_budget_sheds_by_priority_and_never_all() -> None:
    ports = [_demand(str(i), LOW if i < 6 else CRITICAL, 15_400, index=i) for i in range(8)]
    shed = over_budget(ports, 70_000)
    assert len(shed) == 4
    assert not {"6", "7"} & set(shed)
    assert len(over_budget([_demand("a", LOW, 15_400), _demand("b", LOW, 15_400, index=1)], 1_000)) == 1
    assert over_budget(ports, 200_000) == ()


@pytest.mark.parametrize(
    ("basis", "given", "expected"),
    [
        (Basis.CLASS, {"pd_class": 4}, 30_000),
        (Basis.CLASS, {"pd_class": None}, 15_400),
        (Basis.CLASS, {"pd_class": 4, "limit_mw": 12_000}, 12_000),
        (Basis.LLDP, {"pd_class": 4, "lldp_mw": 18_000}, 18_000),
        (Basis.LLDP, {"pd_class": 4}, 30_000),
        (Basis.MEASURED, {"pd_class": 3, "measured_mw": 5_000}, 6_500),
        (Basis.MEASURED, {"pd_class": 3, "measured_mw": 15_000}, 15_400),
        (Basis.MEASURED, {"pd_class": 3}, 15_400),
    ],
)
def test_allocation(basis: Basis, given: dict[str, int | None], expected: int) -> None:
    assert allocation_mw(basis=basis, **{"limit_mw": 30_000, **given}) == expected  # type: ignore[arg-type]
