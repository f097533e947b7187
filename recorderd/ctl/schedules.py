"""`recorderctl schedules`: times at which jobs record."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from recorderd.ctl.devices import fields
from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import table
from recorderd.model.schedule import Schedule, SpecialDayGroup, SpecialDays, TimePeriod
from recorderd.protocol import schedules

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ICAL = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WEEKLY = re.compile(r"([a-z,-]+) (\d\d):(\d\d)-(\d\d):(\d\d)")
EXAMPLES = """examples:
  recorderctl schedules set office --weekly 'mon-fri 08:00-18:00'
  recorderctl schedules set night --weekly 'mon-sun 22:00-06:00' --zone Europe/Berlin
  recorderctl schedules set site --file site.ics

A file may use every frequency of iCalendar (RFC 5545) as long as a rule comes at most 1500 times a day; so FREQ=MINUTELY is taken, and
FREQ=SECONDLY with INTERVAL=60, but not every second: for that, use a job without a schedule."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all schedules and whether they are active").set_defaults(run=run_list)
    show = actions.add_parser("show", help="one schedule, in full")
    show.add_argument("schedule")
    show.set_defaults(run=run_show)
    put = actions.add_parser("set", help="create or replace a schedule", epilog=EXAMPLES)
    put.add_argument("schedule")
    put.add_argument("--name")
    put.add_argument("--description", default="")
    put.add_argument("--weekly", action="append", metavar="'DAYS HH:MM-HH:MM'", help="over midnight is possible")
    put.add_argument("--file", type=Path, metavar="ICS", help="an iCalendar file; - for standard input")
    put.add_argument("--zone", default="", help="IANA name (default: the recorder's)")
    put.add_argument(
        "--special", action="append", metavar="GROUP[=HH:MM-HH:MM,...]", help="other times on special days"
    )
    put.set_defaults(run=run_set)
    remove = actions.add_parser("remove", help="delete a schedule; jobs that name it no longer record")
    remove.add_argument("schedule")
    remove.set_defaults(run=run_remove)
    days = actions.add_parser("days", help="create or replace a group of special days")
    days.add_argument("group")
    days.add_argument("dates", nargs="+", metavar="YYYY-MM-DD")
    days.add_argument("--name")
    days.set_defaults(run=run_days)
    actions.add_parser("list-days", help="all groups of special days").set_defaults(run=run_list_days)
    forget = actions.add_parser("remove-days", help="delete a group of special days")
    forget.add_argument("group")
    forget.set_defaults(run=run_remove_days)


def weekly(text: str) -> str:
    """`mon-fri 08:00-18:00` as a VEVENT that begins on the matching days of the first week of 1970. Raises `Failure`."""
    match = _WEEKLY.fullmatch(text.strip().lower())
    if match is None:
        raise Failure(f"{text!r}: expected DAYS HH:MM-HH:MM, such as mon-fri 08:00-18:00", 64)
    days: list[int] = []
    for part in match[1].split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise Failure(f"{part!r}: a day is one of {', '.join(_DAYS)}", 64)
        start, stop = _DAYS.index(first), _DAYS.index(last or first)
        days.extend((start + n) % 7 for n in range((stop - start) % 7 + 1))
    begins, ends = int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5])
    if int(match[2]) > 23 or int(match[3]) > 59 or ends > 1440 or int(match[5]) > 59:
        raise Failure(f"{text!r}: times are from 00:00 to 24:00", 64)
    minutes = (ends - begins - 1) % 1440 + 1
    first_day = 5 + min(days)  # 1970-01-05 was a Monday
    return "\r\n".join(
        (
            "BEGIN:VEVENT",
            f"DTSTART:197001{first_day:02}T{match[2]}{match[3]}00",
            f"DURATION:PT{minutes}M",
            f"RRULE:FREQ=WEEKLY;BYDAY={','.join(_ICAL[d] for d in sorted(set(days)))}",
            "END:VEVENT",
        )
    )


def _special(text: str) -> SpecialDays:
    group, _, periods = text.partition("=")
    return SpecialDays(group=group, periods=tuple(_period(p) for p in periods.split(",") if p))


def _period(text: str) -> TimePeriod:
    match = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", text)
    if match is None:
        raise Failure(f"{text!r}: expected HH:MM-HH:MM", 64)
    return TimePeriod(
        from_s=int(match[1]) * 3600 + int(match[2]) * 60, until_s=int(match[3]) * 3600 + int(match[4]) * 60
    )


def run_list(_: argparse.Namespace, session: Session) -> int:
    found = [
        x
        for reply in session.pages(schedules.LIST, schedules.ListCall(), lambda reply: reply.next)
        for x in reply.schedules
    ]
    rows = []
    for schedule in found:
        state = session.call(schedules.GET_STATE, schedules.ScheduleCall(schedule=schedule.token))
        now = ("active" if state.active else "-") + (" (special day)" if state.special_day else "")
        rows.append((schedule.token, schedule.name, schedule.time_zone or "-", now, state.until or "-"))
    session.show(
        schedules.ListReply(schedules=found), lambda: table(("SCHEDULE", "NAME", "ZONE", "NOW", "AT LEAST UNTIL"), rows)
    )
    return 0


def run_show(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(schedules.GET, schedules.ScheduleCall(schedule=arguments.schedule))
    session.show(reply, lambda: fields(reply.schedule))
    return 0


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.file is not None:
        standard = sys.stdin.read(20_000) if str(arguments.file) == "-" else arguments.file.read_text(encoding="utf-8")
    else:
        events = "\r\n".join(weekly(text) for text in arguments.weekly or ())
        standard = f"BEGIN:VCALENDAR\r\n{events}\r\nEND:VCALENDAR\r\n"
    schedule = Schedule(
        token=arguments.schedule,
        name=arguments.name or arguments.schedule,
        description=arguments.description,
        standard=standard,
        special_days=tuple(_special(text) for text in arguments.special or ()),
        time_zone=arguments.zone,
    )
    session.show(session.call(schedules.SET, schedules.PutCall(schedule=schedule)), str)
    return 0


def run_remove(arguments: argparse.Namespace, session: Session) -> int:
    session.show(session.call(schedules.DELETE, schedules.ScheduleCall(schedule=arguments.schedule)), str)
    return 0


def run_days(arguments: argparse.Namespace, session: Session) -> int:
    events = []
    for date in arguments.dates:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", date) is None:
            raise Failure(f"{date!r}: expected YYYY-MM-DD", 64)
        events.append(f"BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:{date.replace('-', '')}\r\nEND:VEVENT")
    group = SpecialDayGroup(
        token=arguments.group,
        name=arguments.name or arguments.group,
        days="BEGIN:VCALENDAR\r\n" + "\r\n".join(events) + "\r\nEND:VCALENDAR\r\n",
    )
    reply = session.call(schedules.SET_SPECIAL_DAYS, schedules.PutGroupCall(group=group))
    session.show(reply, lambda: f"{reply.token}: {len(events)} days")
    return 0


def run_list_days(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(schedules.LIST_SPECIAL_DAYS, schedules.LIST_SPECIAL_DAYS.parameters())
    rows = [(g.token, g.name, ", ".join(re.findall(r"\d{8}", g.days))) for g in reply.groups]
    session.show(reply, lambda: table(("GROUP", "NAME", "DAYS"), rows))
    return 0


def run_remove_days(arguments: argparse.Namespace, session: Session) -> int:
    session.show(session.call(schedules.DELETE_SPECIAL_DAYS, schedules.GroupCall(group=arguments.group)), str)
    return 0
