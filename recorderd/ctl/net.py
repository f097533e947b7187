"""`recorderctl net ...`: the recorder's network, and changes that undo themselves."""

from __future__ import annotations

import argparse
import re
import sys

import msgspec

from recorderd.ctl.net_keys import changed, flat
from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import table
from recorderd.protocol import network
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable

_UNITS_S = {"s": 1, "min": 60, "m": 60}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser("status", help="links, addresses, cameras, what is wrong, at a glance")
    status.set_defaults(run=run_status)
    settings = actions.add_parser("show", help="what is declared, as the keys that `set` takes")
    settings.set_defaults(run=run_show)
    change = actions.add_parser(
        "set",
        help="declare what the network should be; nothing changes before `apply`",
        epilog="Lists are separated by commas; an empty value takes a key back to its default.\n\nexamples:\n"
        "  recorderctl net set uplink.interface=eth0 uplink.ipv4.mode=static \\\n"
        "      uplink.ipv4.addresses=192.168.1.5/24 uplink.ipv4.gateway=192.168.1.1\n"
        "  recorderctl net set cameras.ports=lan1,lan2,lan3,lan4 cameras.address=192.168.50.1/24\n"
        "  recorderctl net set cameras=",
    )
    change.add_argument("changes", nargs="+", metavar="KEY=VALUE")
    change.set_defaults(run=run_set)
    plan = actions.add_parser("plan", help="what `apply` would do")
    plan.set_defaults(run=run_plan)
    apply = actions.add_parser(
        "apply",
        help="change the network; it undoes itself unless confirmed",
        epilog="example:\n  recorderctl net apply --confirm-within 2min",
    )
    apply.add_argument("--confirm-within", default="60s", metavar="TIME", help="10s to 60min; default 60s")
    apply.set_defaults(run=run_apply)
    confirm = actions.add_parser(
        "confirm", help="keep a change: from a login made after it, with the token that apply printed"
    )
    confirm.add_argument("token")
    confirm.set_defaults(run=run_confirm)
    rollback = actions.add_parser("rollback", help="restore the former network at once")
    rollback.set_defaults(run=run_rollback)
    rescue = actions.add_parser("rescue", help="from the console: DHCP and a link-local address on the uplink")
    rescue.add_argument("interface", nargs="?", help="default: the declared uplink")
    rescue.add_argument("--confirm-within", default="5min", metavar="TIME")
    rescue.set_defaults(run=run_rescue)
    capture = actions.add_parser(
        "capture",
        help="packets of a port, for Wireshark (headers only)",
        epilog="example:\n  recorderctl net capture 3 -o door.pcapng --seconds 20",
    )
    capture.add_argument("port", help="the label on the case, or an interface")
    capture.add_argument("-o", "--output", required=True, metavar="FILE", help="a file, or - for standard output")
    capture.add_argument("--seconds", type=int, default=10, help="at most 60; default 10")
    capture.add_argument("--max-mib", type=int, default=16, help="at most 64; default 16")
    capture.add_argument("--force", action="store_true", help="replace the file")
    capture.set_defaults(run=run_capture)
    leases = actions.add_parser("leases", help="addresses that cameras were given")
    leases.set_defaults(run=run_leases)
    neighbours = actions.add_parser("neighbours", help="every device seen on the camera LAN, and behind which port")
    neighbours.set_defaults(run=run_neighbours)


def run_status(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(network.GET_STATUS, Nothing())
    session.show(reply, lambda: render_status(reply.status))
    return 1 if reply.status.trouble else 0


def run_show(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(network.GET_SETTINGS, Nothing())

    def text() -> str:
        lines = [f"{key} = {printable(value, 200)}" for key, value in flat(msgspec.to_builtins(reply.settings))]
        where = "recorderd.toml" if reply.from_file else "recorderctl net set"
        state = "confirmed and in force" if reply.confirmed == reply.settings else "not applied"
        return "\n".join([*lines, f"# declared by {where}; {state}"])

    session.show(reply, text)
    return 0


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(network.GET_SETTINGS, Nothing())
    wish = changed(reply.settings, arguments.changes)
    plan = session.call(network.SET_SETTINGS, network.SetSettingsCall(settings=wish))
    session.show(plan, lambda: render_plan(plan, "Declared. `recorderctl net apply` would:"))
    return 0


def run_plan(_: argparse.Namespace, session: Session) -> int:
    plan = session.call(network.PREVIEW, Nothing())
    session.show(plan, lambda: render_plan(plan, "`recorderctl net apply` would:"))
    return 0


def run_apply(arguments: argparse.Namespace, session: Session) -> int:
    within_ms = milliseconds(arguments.confirm_within)
    if not session.json:
        plan = session.call(network.PREVIEW, Nothing())
        sys.stdout.write(render_plan(plan, "Doing now:") + "\n")
        sys.stdout.flush()
    applied = session.call(network.APPLY, network.ApplyCall(confirm_within_ms=within_ms))
    session.show(applied, lambda: render_applied(applied))
    return 0


def run_confirm(arguments: argparse.Namespace, session: Session) -> int:
    session.call(network.CONFIRM, network.ConfirmCall(token=arguments.token))
    session.show(Nothing(), lambda: "Confirmed: the network stays as it is, also after a reboot.")
    return 0


def run_rollback(_: argparse.Namespace, session: Session) -> int:
    session.call(network.ROLLBACK, Nothing())
    session.show(Nothing(), lambda: "The former network stands again.")
    return 0


def run_rescue(arguments: argparse.Namespace, session: Session) -> int:
    call = network.RescueCall(interface=arguments.interface, confirm_within_ms=milliseconds(arguments.confirm_within))
    applied = session.call(network.RESCUE, call)
    session.show(applied, lambda: render_applied(applied))
    return 0


def run_capture(arguments: argparse.Namespace, session: Session) -> int:
    from recorderd.ctl.download import target  # only here: start-up counts

    call = network.CaptureCall(port=arguments.port, seconds=arguments.seconds, max_bytes=arguments.max_mib << 20)
    with target(arguments.output, force=arguments.force) as file:
        reply, download = session.client.upgrade(network.CAPTURE, call)
        file.take(download)
    if arguments.output != "-":
        session.show(reply, lambda: f"{printable(arguments.output)}: packets of {reply.interface}")
    return 0


def run_leases(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(network.LIST_LEASES, Nothing())
    rows = [(x.port or "-", x.address, x.mac, x.name or "-", (x.expires or "never")[:19]) for x in reply.leases]
    session.show(reply, lambda: table(("PORT", "ADDRESS", "MAC", "NAME", "EXPIRES"), rows))
    return 0


def run_neighbours(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(network.LIST_NEIGHBOURS, Nothing())
    session.show(reply, lambda: render_places(reply.places))
    return 0


def milliseconds(text: str) -> int:
    """`90s`, `2min` or bare seconds."""
    match = re.fullmatch(r"(\d{1,5})\s*(s|min|m)?", text)
    if match is None:
        raise Failure(f"--confirm-within {text}: a time such as 90s or 2min is expected", 64)
    return int(match[1]) * _UNITS_S[match[2] or "s"] * 1000


def render_plan(plan: network.PlanReply, head: str) -> str:
    lines = [head, *(f"  {printable(line, 160)}" for line in plan.lines)] if plan.lines else ["Nothing has to change."]
    return "\n".join([*lines, *(f"note: {printable(note, 200)}" for note in plan.notes)])


def render_applied(applied: network.AppliedReply) -> str:
    seconds = applied.confirm_within_ms // 1000
    return (
        f"Done. Within {seconds} s open a NEW login (ssh) and there:\n"
        f"  recorderctl net confirm {applied.token}\n"
        "Otherwise the former network comes back by itself."
    )


def render_places(places: list[network.Place]) -> str:
    rows = [
        (p.port or "-", p.address or "-", p.mac, p.name or "-", "" if p.alone else f"one of {p.devices_behind}")
        for p in places
    ]
    return table(("PORT", "ADDRESS", "MAC", "NAME", ""), rows)


def render_status(now: network.Status) -> str:
    out = [f"{'TROUBLE':10}{printable(line, 200)}" for line in now.trouble]
    if now.pending is not None:
        what = (
            "is being undone"
            if now.pending.undoing
            else f"is undone in {now.pending.left_ms // 1000} s unless confirmed"
        )
        out.append(f"{'PENDING':10}a change {what}")
    if not now.managed:
        out.append(f"{'managed':10}no: recorderd changes nothing here ([network] manage)")
    elif not now.declared_applied:
        out.append(f"{'declared':10}differs from what is in force: see `recorderctl net plan`")
    out.append(f"{'host':10}{printable(now.hostname)}")
    out.append(f"{'gateway':10}{f'{now.gateway} on {printable(now.gateway_link)}' if now.gateway else 'none'}")
    out.append(f"{'dns':10}{printable(', '.join(now.name_servers)) or 'none'}")
    out.append(f"{'ntp':10}{printable(', '.join(now.ntp_servers)) or 'none'}")
    out.append(f"{'cameras':10}{printable(now.isolation, 200)}")
    rows = []
    for link in now.links:
        state = "off" if not link.up else "up" if link.carrier else "no link"
        speed = f"{link.speed_mbit_s} Mbit/s{'' if link.full_duplex else ' HALF'}" if link.speed_mbit_s else "-"
        addresses = " ".join(f"{a.address}/{a.prefix}" for a in link.addresses) or "-"
        rows.append((link.label or "-", link.name, link.role.replace("_", " "), state, speed, addresses))
    out += ["", table(("PORT", "LINK", "ROLE", "STATE", "SPEED", "ADDRESSES"), rows)]
    if now.cameras:
        out.append(render_places(now.cameras))
    return "\n".join([*out, *(f"note: {printable(note, 200)}" for note in now.notes)])
