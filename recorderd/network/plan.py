"""From what is to what should be: an ordered list of steps. Pure; the same inputs give the same plan, and a second plan is empty.

Order: the packet filter closes before a port is joined to the camera LAN; new links before what stands on them; addresses that go, go
before those that come (a removed primary takes its secondaries along, so what shares its network is set again); routes last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from recorderd.network.check import interface_of
from recorderd.network.goal import NOTHING, Goal, GoalLink
from recorderd.network.observed import Address, Link, Observed, Path
from recorderd.network.steps import (
    ROUTE_PROTOCOL,
    AddAddress,
    AddLink,
    AddPath,
    DeleteAddress,
    DeleteLink,
    DeletePath,
    LoadTable,
    SetConf,
    SetIsolated,
    SetMaster,
    SetMtu,
    SetUp,
    Step,
    says,
)

RTPROT_BOOT = 3
RTPROT_STATIC = 4
RTPROT_RA = 9
RTPROT_DHCP = 16


CONF_DEFAULT = {"disable_ipv6": 0, "accept_ra": 1, "forwarding": 0}


class Impossible(Exception):
    """The plan cannot be made on this machine; one line for the operator."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`steps` in order; `notes` are lines for the operator about what is left alone."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        return tuple(says(step) for step in self.steps)


def plan(
    goal: Goal,
    observed: Observed,
    *,
    formerly: Goal = NOTHING,
    table_differs: bool = False,
    repair: bool = False,
) -> Plan:
    """Steps that lead from `observed` to `goal`.

    `formerly` is the goal that stood until now: what only it asked for goes. With `repair`, nothing on a link that exists without us is
    removed: someone may be working through it. `table_differs`: our packet filter is not the one `goal` wants.
    Raises `Impossible` where hardware is missing or a name is taken by someone else's link.
    """
    for name in goal.needs:
        if observed.link(name) is None:
            present = ", ".join(sorted(link.name for link in observed.links if link.name != "lo")) or "none"
            raise Impossible(f"interface {name} does not exist (present: {present})")
    steps: list[Step] = []
    notes: list[str] = []
    if table_differs and goal.ruleset:
        steps.append(LoadTable(goal.ruleset))
    steps += _departing(goal, formerly, observed)
    disturbed: set[str] = set()
    for link in goal.links:
        link_steps = _link_steps(link, observed.link(link.name))
        steps += link_steps
        if any(isinstance(step, SetUp | SetMaster | SetConf | AddLink) for step in link_steps):
            disturbed.add(link.name)
    gone = _addresses_gone(goal, formerly, observed, repair=repair, notes=notes)
    steps += _paths_gone(goal, formerly, observed, repair=repair)
    steps += [DeleteAddress(address) for address in gone]
    steps += _addresses_added(goal, observed, gone, disturbed)
    disturbed |= {address.link for address in gone}
    steps += [
        AddPath(path)
        for path in goal.paths
        if not _standing(path, observed) or path.link in disturbed or (not path.link and disturbed)
    ]
    if table_differs and not goal.ruleset:
        steps.append(LoadTable(""))
    return Plan(tuple(steps), tuple(notes))


def bare(observed: Observed, goal: Goal) -> Observed:
    """The machine as it is just after power-on, as far as `goal` is concerned: its hardware, down, with nothing on it."""
    ours = {link.name for link in goal.links if link.ours}
    links = tuple(
        replace(link, up=False, master="", isolated=None, disable_ipv6=0, accept_ra=1, forwarding=0)
        for link in observed.links
        if link.name not in ours and link.kind not in {"bridge", "vlan"}
    )
    return Observed(links=links)


def _departing(goal: Goal, formerly: Goal, observed: Observed) -> list[Step]:
    """Links that only the former goal wanted: ports leave the bridge, then links of ours go, VLANs before what carries them."""
    steps: list[Step] = []
    for link in formerly.links:
        now, seen = goal.link(link.name), observed.link(link.name)
        if seen is None:
            continue
        if link.master and seen.master == link.master and (now is None or now.master is None):
            steps.append(SetMaster(link.name, ""))
            if now is None and seen.up:
                steps.append(SetUp(link.name, False))  # what leaves the camera LAN is off, as it is after the next boot
        if not link.ours:  # what we switched on hardware goes back to the kernel's default
            for key, default in CONF_DEFAULT.items():
                unwanted = getattr(link, key) is not None and (now is None or getattr(now, key) is None)
                if unwanted and getattr(seen, key) != default:
                    steps.append(SetConf(link.name, key, default))
    for link in reversed(formerly.links):
        if link.ours and goal.link(link.name) is None and observed.link(link.name) is not None:
            steps += [DeletePath(path) for path in observed.paths if path.link == link.name]
            steps += [DeleteAddress(address) for address in observed.addresses_of(link.name) if not address.by_kernel]
            steps += [
                SetMaster(slave.name, "")
                for slave in observed.slaves_of(link.name)
                if SetMaster(slave.name, "") not in steps
            ]
            steps.append(DeleteLink(link.name))
    return steps


def _link_steps(goal: GoalLink, seen: Link | None) -> list[Step]:
    steps: list[Step] = []
    if seen is None:
        steps.append(AddLink(goal.name, goal.kind, goal.parent, goal.vlan, goal.filtering))
    elif goal.ours and seen.kind != goal.kind:
        raise Impossible(
            f"{goal.name} exists already and is no {goal.kind} (it is {seen.kind or 'hardware'}): choose another name"
        )
    elif goal.kind == "vlan" and (seen.vlan, seen.parent) != (goal.vlan, goal.parent):
        raise Impossible(
            f"{goal.name} exists already as VLAN {seen.vlan} on {seen.parent}: remove it or choose another VLAN"
        )
    elif goal.kind == "bridge" and bool(seen.vlan_filtering) != goal.filtering:
        now = "with" if seen.vlan_filtering else "without"
        raise Impossible(f"bridge {goal.name} stands {now} VLAN filtering: choose another bridge name to change it")
    if goal.mtu and (seen is None or seen.mtu != goal.mtu):
        steps.append(SetMtu(goal.name, goal.mtu))
    for key, default in CONF_DEFAULT.items():
        wanted = getattr(goal, key)
        if wanted is not None and (getattr(seen, key) if seen else default) != wanted:
            steps.append(SetConf(goal.name, key, wanted))
    if goal.master is not None and (seen.master if seen else "") != goal.master:
        steps.append(SetMaster(goal.name, goal.master))
    if goal.isolated is not None and (seen is None or seen.master != goal.master or seen.isolated != goal.isolated):
        joined_open = (seen is None or seen.master != goal.master) and not goal.isolated
        if not joined_open:  # a port that has just joined a bridge is open
            steps.append(SetIsolated(goal.name, goal.isolated))
    if (seen.up if seen else False) != goal.up:
        steps.append(SetUp(goal.name, goal.up))
    return steps


def _addresses_gone(goal: Goal, formerly: Goal, observed: Observed, *, repair: bool, notes: list[str]) -> list[Address]:
    gone = []
    wanted = {(address.link, address.cidr) for address in goal.addresses}
    ours_before = {(address.link, address.cidr) for address in formerly.addresses}
    for link in goal.links:
        for address in observed.addresses_of(link.name):
            if link.untouched_addresses and (link.name, address.cidr) not in ours_before:
                continue
            if address.by_kernel or (link.name, address.cidr) in wanted:
                continue
            if address.valid_s is not None and link.keeps_leases:
                continue
            if not link.only_ours and repair:
                notes.append(f"{link.name}: {address.cidr} was added by someone else and is left alone")
                continue
            gone.append(address)
    return gone


def _addresses_added(goal: Goal, observed: Observed, gone: list[Address], disturbed: set[str]) -> list[Step]:
    """What is missing, what lost its primary, what a link set up anew has lost, and what has a lifetime but should stay."""
    standing = {(address.link, address.cidr): address for address in observed.addresses}
    steps: list[Step] = []
    for address in goal.addresses:
        seen = standing.get((address.link, address.cidr))
        network = interface_of(address.cidr).network
        orphaned = any(a.link == address.link and interface_of(a.cidr).network == network for a in gone)
        lost = address.link in disturbed and address.family == 6
        if seen is None or orphaned or lost or seen.valid_s is not None:
            steps.append(AddAddress(address))
    return steps


def _paths_gone(goal: Goal, formerly: Goal, observed: Observed, *, repair: bool) -> list[Step]:
    """Routes of ours that are no longer wanted; and, when not repairing, other default routes where the wish names its own gateway."""
    steps: list[Step] = []
    uplinks = {path.link for path in goal.paths if path.default}
    families = {path.family for path in goal.paths if path.default}
    departed = {link.name for link in formerly.links if link.ours and goal.link(link.name) is None}
    for path in observed.paths:
        if path.link in departed or any(_same(path, wanted) for wanted in goal.paths):
            continue
        replaced = path.default and path.link in uplinks and path.family in families and path.protocol != RTPROT_RA
        if path.protocol == ROUTE_PROTOCOL or (replaced and not repair):
            steps.append(DeletePath(path))
    return steps


def _standing(wanted: Path, observed: Observed) -> bool:
    return any(_same(path, wanted) for path in observed.paths)


def _same(seen: Path, wanted: Path) -> bool:
    return (seen.to, seen.via, seen.metric, seen.protocol) == (
        wanted.to,
        wanted.via,
        wanted.metric,
        ROUTE_PROTOCOL,
    ) and (not wanted.link or seen.link == wanted.link)
