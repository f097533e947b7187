"""`recorderctl poe`: the ports at a glance, switching, limits and the budget."""

from __future__ import annotations

import argparse
import re
import sys
import time

import msgspec

from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import age, table
from recorderd.protocol import poe
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import from_rfc3339

_HEAD = ("PORT", "DEVICE", "STATE", "CLASS", "WATTS", "ALLOWED", "SINCE", "LAST FAULT")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser("status", help="ports, class, watts now and allowed, since, last fault")
    status.set_defaults(run=run_status)
    actions.add_parser("budget", help="where the power of the supply goes").set_defaults(run=run_budget)
    actions.add_parser("watch", help="status, again and again").set_defaults(run=run_watch)
    for word, run, text in (
        ("on", run_on, "switch a port on"),
        ("off", run_off, "switch a port off"),
        ("cycle", run_cycle, "off, three seconds, on again"),
    ):
        action = actions.add_parser(word, help=text, epilog=f"example:\n  recorderctl poe {word} 3")
        action.add_argument("port", metavar="PORT", help="the label on the case")
        action.set_defaults(run=run)
        if word != "on":
            action.add_argument("--yes", action="store_true", help="do not ask, even when a camera is being recorded")
    priority = actions.add_parser(
        "priority", help="who keeps power longest", epilog="example:\n  recorderctl poe priority 3 high"
    )
    priority.add_argument("port", metavar="PORT")
    priority.add_argument("priority", choices=("critical", "high", "low"))
    priority.set_defaults(run=run_priority)
    limit = actions.add_parser(
        "limit", help="the most a port may get", epilog="example:\n  recorderctl poe limit 3 12.5"
    )
    limit.add_argument("port", metavar="PORT")
    limit.add_argument("watts", metavar="WATTS", help="or 'none' for what the board allows")
    limit.add_argument("--yes", action="store_true")
    limit.set_defaults(run=run_limit)
    schedule = actions.add_parser(
        "schedule",
        help="switch a port off by the clock",
        epilog="example:\n  recorderctl poe schedule 3 --off 22:00-06:00 --days mon-fri",
    )
    schedule.add_argument("port", metavar="PORT")
    what = schedule.add_mutually_exclusive_group(required=True)
    what.add_argument("--off", metavar="START-STOP", help="local time, e.g. 22:00-06:00")
    what.add_argument("--clear", action="store_true", help="never off by the clock")
    schedule.add_argument("--days", default="mon-sun", help="e.g. mon-fri or sat,sun (default: every day)")
    schedule.set_defaults(run=run_schedule)


def run_status(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    status = session.call(poe.GET_STATUS, Nothing())
    session.show(status, lambda: render(status, time.time_ns()))
    return 0


def run_watch(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    for status in session.client.stream(poe.WATCH, Nothing()):
        if session.json:
            sys.stdout.write(msgspec.json.encode(status).decode() + "\n")
        else:
            clear = "\x1b[H\x1b[2J" if sys.stdout.isatty() else ""
            sys.stdout.write(clear + render(status, time.time_ns()) + "\n")
        sys.stdout.flush()
    return 0


def run_budget(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    status = session.call(poe.GET_STATUS, Nothing())
    session.show(status.budget, lambda: render_budget(status.budget))
    return 0


def run_on(arguments: argparse.Namespace, session: Session) -> int:
    session.call(poe.SWITCH_ON, poe.PortCall(port=arguments.port))
    return 0


def run_off(arguments: argparse.Namespace, session: Session) -> int:
    call = poe.SwitchOffCall(port=arguments.port)
    done = session.call_confirmed(poe.SWITCH_OFF, call, yes=arguments.yes)
    if done.back_on is None:
        return 0
    print(
        f"Port {arguments.port} is in the path of a login: it is on again at {done.back_on[:19]}Z unless you keep it off.",
        file=sys.stderr,
    )
    if session.ask("Keep it off?"):
        session.call(poe.SWITCH_OFF, msgspec.structs.replace(call, keep=True, confirm=True))
    return 0


def run_cycle(arguments: argparse.Namespace, session: Session) -> int:
    session.call_confirmed(poe.CYCLE, poe.CycleCall(port=arguments.port), yes=arguments.yes)
    return 0


def run_priority(arguments: argparse.Namespace, session: Session) -> int:
    session.call(poe.SET_PRIORITY, poe.PriorityCall(port=arguments.port, priority=arguments.priority))
    return 0


def run_limit(arguments: argparse.Namespace, session: Session) -> int:
    limit_mw = None
    if arguments.watts != "none":
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", arguments.watts, re.ASCII):
            raise Failure(f"{printable(arguments.watts)}: expected watts such as 12.5, or 'none'", 64)
        limit_mw = round(float(arguments.watts) * 1_000)
    call = poe.LimitCall(port=arguments.port, limit_mw=limit_mw)
    if not session.call_confirmed(poe.SET_LIMIT, call, yes=arguments.yes).enforced:
        print("This controller cannot limit a port itself: the limit counts in the budget.", file=sys.stderr)
    return 0


def run_schedule(arguments: argparse.Namespace, session: Session) -> int:
    off = []
    if not arguments.clear:
        start, dash, stop = arguments.off.partition("-")
        if not dash:
            raise Failure(f"{printable(arguments.off)}: expected START-STOP such as 22:00-06:00", 64)
        off = [poe.OffWindow(days=days(arguments.days), start=start, stop=stop)]
    session.call(poe.SET_SCHEDULE, poe.ScheduleCall(port=arguments.port, off=off))
    return 0


def days(text: str) -> list[str]:
    """ "mon-fri,sun" as single days. Raises `Failure`."""
    found: list[str] = []
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise Failure(f"{printable(text)}: expected days such as mon-fri or sat,sun", 64)
        begin, end = _DAYS.index(first), _DAYS.index(last if dash else first)
        found += [_DAYS[i % 7] for i in range(begin, end + 1 if end >= begin else end + 8)]
    return sorted(set(found), key=_DAYS.index)


def render(status: poe.Status, now_ns: int) -> str:
    rows = []
    for port in status.ports:
        since = from_rfc3339(port.since) if port.since else None
        fault = "-"
        if port.last_fault:
            when = from_rfc3339(port.last_fault_at) if port.last_fault_at else now_ns
            fault = f"{port.last_fault} {age((now_ns - when) // 1_000_000)} ago"
        rows.append(
            (
                port.label,
                port.device or "-",
                port.state,
                "-" if port.power_class is None else port.power_class,
                "-" if port.power_mw is None else f"{port.power_mw / 1000:.1f}",
                f"{port.allowed_mw / 1000:.1f}",
                age(None if since is None else max(0, (now_ns - since) // 1_000_000)),
                fault,
            )
        )
    out = [table(_HEAD, rows, right="   rrr")]
    out += [
        f"port {port.label}: {printable(port.reason, 120)}\n"
        for port in status.ports
        if port.state in ("denied", "fault", "backoff", "disabled") and port.reason
    ]
    out += [f"{printable(c.id)}: {printable(c.detail, 160)}\n" for c in status.controllers if not c.healthy]
    budget = status.budget
    line = f"\n{budget.measured_mw / 1000:.1f} W drawn, {budget.allowed_mw / 1000:.1f} W set aside"
    if budget.total_mw:
        line += f" of {budget.available_mw / 1000:.1f} W"
    if budget.sagging:
        line += "; THE SUPPLY SAGS: nothing more is switched on"
    elif not budget.ready:
        line += "; waiting for the disks to spin up"
    out.append(line + "\n")
    return "".join(out)


def render_budget(budget: poe.Budget) -> str:
    if not budget.total_mw:
        return "the board file does not say what the supply gives: nothing is budgeted\n"
    rows = [
        ("supply", budget.total_mw),
        ("the recorder itself", -budget.base_mw),
        ("disks", -budget.disks_mw),
        ("guard", -budget.guard_mw),
        ("for the ports", budget.available_mw),
        ("set aside", budget.allowed_mw),
        ("drawn now", budget.measured_mw),
    ]
    text = "\n".join(f"{name:20} {mw / 1000:8.1f} W" for name, mw in rows)
    return f"{text}\n{'basis':20} {budget.basis:>8}\n"
