"""The single changes a plan is made of: what each says to a person, how it is undone, and how `ip -batch` writes it.

The daemon carries steps out over netlink (`execute.py`). The written form exists for what must work without the daemon: the undo of an
unconfirmed change and the set-up at boot (`systemd/recorderd-network-guard`). Nothing from outside reaches a batch line unchecked: names
match `check.INTERFACE`, everything else is a number or has been through `ipaddress`.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

from recorderd.network.check import INTERFACE
from recorderd.network.observed import Address, Link, Observed, Path

CONF_FAMILY = {"disable_ipv6": "ipv6", "accept_ra": "ipv6", "forwarding": "ipv4"}
ROUTE_PROTOCOL = 212  # rtm_protocol of our routes; free in iproute2's rt_protos


@dataclass(frozen=True, slots=True)
class AddLink:
    """A bridge or an 802.1Q link of ours. `filtering` (and with it `vlan`, the ports' untagged VLAN) is set at birth, before any port
    is in the bridge."""

    name: str
    kind: str  # bridge, vlan
    parent: str = ""
    vlan: int = 0
    filtering: bool = False


@dataclass(frozen=True, slots=True)
class DeleteLink:
    name: str


@dataclass(frozen=True, slots=True)
class SetMtu:
    name: str
    mtu: int


@dataclass(frozen=True, slots=True)
class SetUp:
    name: str
    up: bool


@dataclass(frozen=True, slots=True)
class SetMaster:
    """`master` empty: the link leaves its bridge."""

    name: str
    master: str


@dataclass(frozen=True, slots=True)
class SetIsolated:
    """Bridge ports that are isolated exchange nothing with each other, only with ports that are not (and with the bridge)."""

    name: str
    isolated: bool


@dataclass(frozen=True, slots=True)
class SetConf:
    """/proc/sys/net/ipvN/conf/<name>/<key>. A process with CAP_NET_ADMIN may write it."""

    name: str
    key: str  # one of CONF_FAMILY
    value: int


@dataclass(frozen=True, slots=True)
class AddAddress:
    address: Address


@dataclass(frozen=True, slots=True)
class DeleteAddress:
    address: Address


@dataclass(frozen=True, slots=True)
class AddPath:
    path: Path


@dataclass(frozen=True, slots=True)
class DeletePath:
    path: Path


@dataclass(frozen=True, slots=True)
class LoadTable:
    """Our nftables table, whole and atomic; `ruleset` is libnftables JSON, empty: the table goes."""

    ruleset: str
    summary: str = ""


Step = (
    AddLink
    | DeleteLink
    | SetMtu
    | SetUp
    | SetMaster
    | SetIsolated
    | SetConf
    | AddAddress
    | DeleteAddress
    | AddPath
    | DeletePath
    | LoadTable
)


def says(step: Step) -> str:
    """One line for the operator."""
    match step:
        case AddLink(name, "vlan", parent, vlan):
            return f"add {name}: VLAN {vlan} on {parent}"
        case AddLink(name, kind, vlan=vlan, filtering=filtering):
            return f"add {kind} {name}{f' with VLAN filtering, ports in VLAN {vlan}' if filtering else ''}"
        case DeleteLink(name):
            return f"remove {name}"
        case SetMtu(name, mtu):
            return f"{name}: MTU {mtu}"
        case SetUp(name, up):
            return f"{name}: switch {'on' if up else 'off'}"
        case SetMaster(name, master):
            return f"{name}: into bridge {master}" if master else f"{name}: out of its bridge"
        case SetIsolated(name, isolated):
            return f"{name}: {'isolated from' if isolated else 'open to'} the other ports"
        case SetConf(name, key, value):
            return f"{name}: {key} = {value}"
        case AddAddress(address):
            return f"{address.link}: add address {address.cidr}"
        case DeleteAddress(address):
            return f"{address.link}: remove address {address.cidr}"
        case AddPath(path):
            return f"route to {_to(path)}: {_way(path)}"
        case DeletePath(path):
            return f"remove route to {_to(path)} {_way(path)}"
        case LoadTable(ruleset, summary):
            return summary or ("load the packet filter" if ruleset else "remove the packet filter")


def touched(step: Step) -> str:
    """The link whose addresses and routes the step may disturb; empty for none."""
    match step:
        case AddLink(name=name) | DeleteLink(name) | SetUp(name) | SetMaster(name) | SetConf(name) | SetMtu(name):
            return name
        case AddAddress(address) | DeleteAddress(address):
            return address.link
        case AddPath(path) | DeletePath(path):
            return path.link
        case _:
            return ""


def inverse(step: Step, before: Observed) -> tuple[Step, ...]:
    """What brings the former state back, given `before`, the state the whole plan began with. Harmless where the step was never done."""
    match step:
        case AddLink(name=name):
            return () if before.link(name) else (DeleteLink(name),)
        case DeleteLink(name):
            former = before.link(name)
            return rebuild(former) if former else ()
        case SetMtu(name):
            return tuple(SetMtu(name, former.mtu) for former in _existing(before, name))
        case SetUp(name):
            return tuple(SetUp(name, former.up) for former in _existing(before, name))
        case SetMaster(name):
            return tuple(
                again
                for former in _existing(before, name)
                for again in (
                    SetMaster(name, former.master),
                    *((SetIsolated(name, former.isolated),) if former.isolated is not None else ()),
                )
            )
        case SetIsolated(name):
            return tuple(SetIsolated(name, f.isolated) for f in _existing(before, name) if f.isolated is not None)
        case SetConf(name, key):
            return tuple(SetConf(name, key, getattr(former, key)) for former in _existing(before, name))
        case AddAddress(address):
            return () if _had(before, address) else (DeleteAddress(address),)
        case DeleteAddress(address):
            return (AddAddress(address),)
        case AddPath(path):
            return () if path in before.paths else (DeletePath(path),)
        case DeletePath(path):
            return (AddPath(path),)
        case LoadTable():
            return ()  # a whole file: the guard loads the former one


def rebuild(link: Link) -> tuple[Step, ...]:
    """A link of ours as it was, without its ports and addresses."""
    made: tuple[Step, ...] = (AddLink(link.name, link.kind, link.parent, link.vlan, bool(link.vlan_filtering)),)
    conf = tuple(SetConf(link.name, key, getattr(link, key)) for key in CONF_FAMILY)
    return (*made, *conf, SetMtu(link.name, link.mtu), SetUp(link.name, link.up))


def undo_steps(steps: tuple[Step, ...], before: Observed) -> tuple[Step, ...]:
    """The way back from any prefix of `steps`: every inverse, last first, then what the kernel drops on the way (addresses and
    routes of the links concerned), each harmless where it already stands."""
    back: list[Step] = []
    for step in reversed(steps):
        back += inverse(step, before)
    links = {touched(step) for step in steps} - {""}
    back += [DeleteAddress(address) for address in _out_of_order(steps, before)]
    back += [AddAddress(a) for a in before.addresses if a.link in links and not a.by_kernel]
    back += [AddPath(path) for path in before.paths if path.link in links]
    return tuple(back)


def _out_of_order(steps: tuple[Step, ...], before: Observed) -> list[Address]:
    """Addresses that share a network of which the plan removes one: the kernel promotes another to primary, which then gives the source
    address of new connections. Taken away and set again in the former order, the former primary is primary."""
    disturbed = {_network(step.address) for step in steps if isinstance(step, DeleteAddress)}
    sharing = Counter(map(_network, before.addresses))
    return [a for a in before.addresses if _network(a) in disturbed and sharing[_network(a)] > 1 and not a.by_kernel]


def _network(address: Address) -> tuple[str, str]:
    return address.link, str(ipaddress.ip_interface(address.cidr).network)


def batch_line(step: Step) -> str:
    """The step for `ip -force -batch`; empty where it is not `ip`'s business. Addresses and routes are set with `replace`."""
    match step:
        case AddLink(name, "vlan", parent, vlan):
            return f"link add link {_name(parent)} name {_name(name)} type vlan id {int(vlan)}"
        case AddLink(name, "bridge", vlan=vlan, filtering=filtering):
            ports = f" vlan_filtering 1 vlan_default_pvid {int(vlan)}" if filtering else ""
            return f"link add name {_name(name)} type bridge{ports}"
        case AddLink():
            return ""
        case DeleteLink(name):
            return f"link del dev {_name(name)}"
        case SetMtu(name, mtu):
            return f"link set dev {_name(name)} mtu {int(mtu)}"
        case SetUp(name, up):
            return f"link set dev {_name(name)} {'up' if up else 'down'}"
        case SetMaster(name, master):
            return f"link set dev {_name(name)} " + (f"master {_name(master)}" if master else "nomaster")
        case SetIsolated(name, isolated):
            return f"link set dev {_name(name)} type bridge_slave isolated {'on' if isolated else 'off'}"
        case AddAddress(address):
            return f"address replace {_address_words(address)}{_lifetime(address)}"
        case DeleteAddress(address):
            return f"address del {_address_words(address)}"
        case AddPath(path):
            return f"route replace {_path_words(path)}"
        case DeletePath(path):
            return f"route del {_path_words(path)}"
        case SetConf() | LoadTable():
            return ""


def sysctl_line(step: Step) -> str:
    """The step for `sysctl -p`; empty where it is none. Slashes, because interface names may hold dots."""
    if isinstance(step, SetConf):
        return f"net/{CONF_FAMILY[step.key]}/conf/{_name(step.name)}/{step.key} = {int(step.value)}"
    return ""


def _existing(before: Observed, name: str) -> tuple[Link, ...]:
    link = before.link(name)
    return (link,) if link else ()


def _had(before: Observed, address: Address) -> bool:
    return any(a.link == address.link and a.cidr == address.cidr for a in before.addresses)


def _name(name: str) -> str:
    if not INTERFACE.fullmatch(name):
        raise ValueError(f"{name!r} is not an interface name")
    return name


def _address_words(address: Address) -> str:
    scope = f" scope {int(address.scope)}" if address.scope else ""
    broadcast = f" brd {address.broadcast}" if address.broadcast else ""
    return f"{address.cidr}{broadcast} dev {_name(address.link)}{scope}"


def _lifetime(address: Address) -> str:
    if address.valid_s is None:
        return ""
    return f" valid_lft {int(address.valid_s)} preferred_lft {int(address.preferred_s or 0)}"


def _path_words(path: Path) -> str:
    words = [path.to]
    if path.via:
        words.append(f"via {path.via}")
    if path.link:
        words.append(f"dev {_name(path.link)}")
    words.append(f"proto {int(path.protocol)}")
    if path.metric:
        words.append(f"metric {int(path.metric)}")
    if path.source:
        words.append(f"src {path.source}")
    if path.scope:
        words.append(f"scope {int(path.scope)}")
    return " ".join(words)


def _to(path: Path) -> str:
    return "everywhere" if path.default else path.to


def _way(path: Path) -> str:
    return " ".join(filter(None, (f"via {path.via}" if path.via else "", f"on {path.link}" if path.link else "")))
