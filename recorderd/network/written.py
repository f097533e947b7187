"""A plan as files: what the guard needs to set a configuration up at boot and to lead back from it. Pure."""

from __future__ import annotations

import msgspec

from recorderd.model.network import NetworkWish
from recorderd.network.filter import replacement
from recorderd.network.goal import Goal
from recorderd.network.observed import Observed
from recorderd.network.plan import Plan, bare, plan
from recorderd.network.steps import Step, batch_line, sysctl_line, undo_steps


def generation(
    wish: NetworkWish,
    goal: Goal,
    change: Plan,
    before: Observed,
    *,
    former_ruleset: str,
    units: tuple[str, ...],
    services: dict[str, str],
) -> dict[str, str]:
    """The files of a new generation (see `generations`). `former_ruleset` is the table to restore, empty for none."""
    back = undo_steps(change.steps, before)
    fresh = plan(goal, bare(before, goal)).steps
    return {
        "wish.json": msgspec.json.encode(wish).decode(),
        "undo.ip": _batch(back),
        "undo.sysctl": _sysctl(back),
        "undo.table.json": replacement(former_ruleset),
        "undo.hostname": f"{before.hostname}\n" if wish.hostname and before.hostname else "",
        "boot.ip": _batch(fresh),
        "boot.sysctl": _sysctl(fresh),
        "boot.table.json": replacement(goal.ruleset) if goal.ruleset else "",
        "units": "".join(f"{unit}\n" for unit in units),
        **services,
    }


def _batch(steps: tuple[Step, ...]) -> str:
    return "".join(f"{line}\n" for line in map(batch_line, steps) if line)


def _sysctl(steps: tuple[Step, ...]) -> str:
    return "".join(f"{line}\n" for line in map(sysctl_line, steps) if line)
