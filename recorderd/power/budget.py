"""Who gets power: pure functions over the ports' demands and what the supply can give.

Invariants, checked exhaustively in the tests: the sum of what is granted never exceeds what is available; a port is shed only for one of
strictly higher priority, so no sequence of decisions repeats; no waiting port that fits is left without power.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from hw.poe.vocabulary import CLASS_PSE_MW, Priority

_UNKNOWN_CLASS_MW = 15_400  # what a device that did not say may draw: IEEE class 0


class Basis(enum.StrEnum):
    """What a port's allocation follows."""

    CLASS = "class"
    LLDP = "lldp"  # what the device asked for over LLDP, its class until it does
    MEASURED = "measured"  # what it draws, plus a tenth and a guard, its class until it settles


@dataclass(frozen=True, slots=True)
class Demand:
    """One port that has power or waits for it."""

    label: str
    priority: Priority
    power_mw: int
    powered: bool
    waiting_since_ns: int = 0
    index: int = 0  # position on the board


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now. Shedding comes first; `grant` fits only afterwards."""

    grant: tuple[str, ...] = ()
    shed: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()


def allocation_mw(
    *,
    basis: Basis,
    pd_class: int | None,
    limit_mw: int,
    lldp_mw: int | None = None,
    measured_mw: int | None = None,
    guard_mw: int = 1_000,
) -> int:
    """What to set aside for a port in mW; never above `limit_mw`, the least of the port's hardware and its owner's limit."""
    by_class = CLASS_PSE_MW.get(pd_class, _UNKNOWN_CLASS_MW) if pd_class is not None else _UNKNOWN_CLASS_MW
    wanted = by_class
    if basis is Basis.LLDP and lldp_mw is not None:
        wanted = lldp_mw
    elif basis is Basis.MEASURED and measured_mw is not None:
        wanted = min(by_class, measured_mw + measured_mw // 10 + guard_mw)
    return min(limit_mw, wanted)


def pse_end_mw(pd_mw: int) -> int:
    """What a PSE must set aside for a PD that asks for `pd_mw` at its own end: the longest cable's loss on top.

    From the pairs in IEEE 802.3 table 145-11 (13 and 15.4, 25.5 and 30, 51 and 60, 71.3 and 90 W), rounded up.
    """
    return -(-pd_mw * (119 if pd_mw <= 51_000 else 127) // 100)


def smallest_shed(victims: Sequence[Demand], needed_mw: int) -> tuple[str, ...] | None:
    """The labels whose release gives `needed_mw`: no port of a higher priority than necessary, then as few ports as possible, then as
    little power as possible, then the highest positions. None when all together do not suffice."""
    if needed_mw <= 0:
        return ()
    if sum(v.power_mw for v in victims) < needed_mw:
        return None
    chosen: list[Demand] = []
    missing = needed_mw
    tiers = sorted({v.priority for v in victims})  # most important first
    for position, tier in enumerate(tiers):
        missing_here = missing - sum(v.power_mw for v in victims if v.priority in tiers[position + 1 :])
        for victim in sorted((v for v in victims if v.priority == tier), key=lambda v: (-v.power_mw, -v.index)):
            if missing_here <= 0:
                break
            chosen.append(victim)
            missing -= victim.power_mw
            missing_here -= victim.power_mw
    chosen = _with_less_excess(chosen, victims, needed_mw)
    return tuple(v.label for v in sorted(chosen, key=lambda v: (-v.priority, v.index)))


def _with_less_excess(chosen: Sequence[Demand], victims: Sequence[Demand], needed_mw: int) -> list[Demand]:
    """Exchanges each, largest first, for the smallest of its priority that still suffices."""
    taken = list(chosen)
    total = sum(v.power_mw for v in taken)
    for position, old in enumerate(taken):
        spare = [v for v in victims if v.priority == old.priority and v not in taken]
        enough = [v for v in spare if v.power_mw < old.power_mw and total - old.power_mw + v.power_mw >= needed_mw]
        if enough:
            taken[position] = min(enough, key=lambda v: (v.power_mw, -v.index))
            total += taken[position].power_mw - old.power_mw
    return taken


def in_turn(demands: Sequence[Demand]) -> list[Demand]:
    """Those that wait, in the order they are considered: priority, then how long they have waited, then position."""
    return sorted((d for d in demands if not d.powered), key=lambda d: (d.priority, d.waiting_since_ns, d.index))


def admit(demand: Demand, powered: Sequence[Demand], available_mw: int) -> tuple[str, ...] | None:
    """The labels to shed so that `demand` fits beside `powered`: none when it fits as it is, None when it cannot be made to fit."""
    free = available_mw - sum(d.power_mw for d in powered)
    if demand.power_mw <= free:
        return ()
    return smallest_shed([d for d in powered if d.priority > demand.priority], demand.power_mw - free)


def decide(demands: Sequence[Demand], available_mw: int) -> Decision:
    """Grants what fits, in turn; sheds lower priorities for a higher one; refuses the rest.

    A port that does not fit does not hold back a smaller one behind it: cameras stay plugged for years, and power left unused records
    nothing. What a port of higher priority lacks, it takes from those below it as soon as that is enough.
    """
    powered = {d.label: d for d in demands if d.powered}
    shed: list[str] = []
    grant: list[str] = []
    refuse: list[str] = []
    for demand in in_turn(demands):
        victims = admit(demand, list(powered.values()), available_mw)
        if victims is None:
            refuse.append(demand.label)
            continue
        for label in victims:
            del powered[label]
        shed += victims
        powered[demand.label] = demand
        grant.append(demand.label)
    return Decision(tuple(grant), tuple(shed), tuple(refuse))


def over_budget(demands: Sequence[Demand], available_mw: int) -> tuple[str, ...]:
    """Which powered ports to shed when what is granted exceeds what is available: at start with running ports, or when the supply gives
    less than before. Critical ports are never shed, and neither is the last port that has power."""
    powered = [d for d in demands if d.powered]
    excess = sum(d.power_mw for d in powered) - available_mw
    if excess <= 0:
        return ()
    victims = [d for d in powered if d.priority is not Priority.CRITICAL]
    if len(victims) == len(powered) and victims:
        victims.remove(min(victims, key=lambda d: (d.priority, d.power_mw, d.index)))
    chosen = smallest_shed(victims, excess)
    return (
        chosen if chosen is not None else tuple(v.label for v in sorted(victims, key=lambda v: (-v.priority, v.index)))
    )
