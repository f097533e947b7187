"""`recorderctl time ...`: what the clock is worth, who keeps it, and who may move it."""

from __future__ import annotations

import argparse

from recorderd.ctl.session import Session
from recorderd.ctl.table import table
from recorderd.protocol import time
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable

_WORTH = {
    "none": "none: the clock was not set since power-on",
    "rtc": "the machine's own clock (RTC)",
    "operator": "an operator set it",
    "ntp": "NTP",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser("status", help="the time, what it is worth, and the NTP servers")
    status.set_defaults(run=run_status)
    change = actions.add_parser(
        "set",
        help="set the clock; trusted from then on",
        epilog="The time needs its offset from UTC.\n\nexample:\n  recorderctl time set 2026-05-04T15:02:00+02:00",
    )
    change.add_argument("time")
    change.set_defaults(run=run_set)
    zone = actions.add_parser(
        "zone", help="set the time zone, or list the zones", epilog="example:\n  recorderctl time zone Europe/Berlin"
    )
    zone.add_argument("zone", nargs="?")
    zone.set_defaults(run=run_zone)
    servers = actions.add_parser(
        "servers",
        help="NTP servers in order of preference",
        epilog="example:\n  recorderctl time servers ntp1.example ntp2.example --no-dhcp\n  recorderctl time servers none",
    )
    servers.add_argument("servers", nargs="+", metavar="SERVER", help='names or addresses, or "none"')
    servers.add_argument("--no-dhcp", action="store_true", help="do not ask the servers that the uplink's lease names")
    servers.set_defaults(run=run_servers)
    trust = actions.add_parser("trust", help="take the step that NTP asks for and that waits for a person")
    trust.set_defaults(run=run_trust)


def run_status(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(time.GET_STATUS, Nothing())
    session.show(reply, lambda: render(reply.status))
    return 1 if reply.status.waits or reply.status.trust == "none" else 0


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    session.call(time.SET_TIME, time.SetTimeCall(time=arguments.time))
    session.show(Nothing(), lambda: "The clock is set.")
    return 0


def run_zone(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.zone is None:
        zones = session.call(time.LIST_ZONES, Nothing())
        session.show(zones, lambda: "\n".join(zones.zones))
    else:
        session.call(time.SET_ZONE, time.SetZoneCall(zone=arguments.zone))
        session.show(Nothing(), lambda: f"The time zone is {printable(arguments.zone)}.")
    return 0


def run_servers(arguments: argparse.Namespace, session: Session) -> int:
    servers = [] if arguments.servers == ["none"] else arguments.servers
    session.call(time.SET_SERVERS, time.SetServersCall(servers=servers, from_dhcp=not arguments.no_dhcp))
    session.show(Nothing(), lambda: "The servers are set; `recorderctl time status` shows whether they answer.")
    return 0


def run_trust(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(time.TRUST, Nothing())
    session.show(reply, lambda: f"Taken: {printable(reply.taken, 200)}")
    return 0


def render(now: time.Status) -> str:
    out = [f"{'WAITS':10}{printable(now.waits, 200)}: `recorderctl time trust` takes it"] if now.waits else []
    out += [
        f"{'time':10}{now.local} ({printable(now.zone)}{', with summer time' if now.dst else ''})",
        f"{'trust':10}{_WORTH[now.trust]}",
    ]
    if now.offset_ms is not None:
        out.append(f"{'offset':10}{now.offset_ms:+.1f} ms by {printable(now.source)}")
    out.append(
        f"{'NTP':10}{'synchronised' if now.synchronised else 'not synchronised'}{'' if now.managed else ', kept by the system'}"
    )
    out.append(f"{'RTC':10}{'yes' if now.rtc else 'none'}")
    if now.last_known:
        out.append(f"{'not before':10}{now.last_known[:19]}Z")
    if now.sources:
        rows = [
            (s.state, s.name, s.stratum, f"{s.offset_ms:+.1f} ms" if s.reachable else "-", f"{s.error_ms:.1f} ms")
            for s in now.sources
        ]
        out += ["", table(("", "SERVER", "STRATUM", "OFFSET", "ERROR"), rows, right="llrrr")]
    elif now.servers or now.servers_from_dhcp:
        out.append(f"{'servers':10}{printable(', '.join([*now.servers, *now.servers_from_dhcp]), 200)}")
    return "\n".join(out)
