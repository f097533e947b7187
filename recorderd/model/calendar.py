"""When a schedule is active: iCalendar events and special days, in a time zone with daylight saving (ONVIF Schedule service, RFC 5545).

Worked out one local day at a time. An event's start and end are local times, so 08:00 to 17:00 stays that on the day the clocks change. A
local time that the change skips is read with the offset before the change, one that comes twice means the first (RFC 5545, 3.3.5).
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recorderd.model.recurrence import RecurrenceError, Rule, parse_rule
from recorderd.model.schedule import Schedule, SpecialDayGroup

MAX_CHARS = 16_384
MAX_EVENTS = 64
MAX_EVENT_DAYS = 31
_NS = 1_000_000_000
_DURATION = re.compile(r"P(?:(\d{1,3})W)?(?:(\d{1,3})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?")

Interval = tuple[int, int]  # wall, nanoseconds since 1970


class CalendarError(ValueError):
    """The calendar cannot be understood; the text says what and where."""


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """One VEVENT: begins at local times of a day and lasts `length_s` of local time."""

    start: dt.datetime  # local, naive
    length_s: int
    rule: Rule | None
    extra: tuple[dt.datetime, ...]  # RDATE
    excluded: frozenset[dt.datetime]  # EXDATE
    whole_day: bool

    def starts_on(self, day: dt.date) -> list[dt.datetime]:
        midnight = dt.datetime.combine(day, dt.time())
        times = (
            {midnight + dt.timedelta(seconds=t) for t in self.rule.times_on(day)} if self.rule is not None else set()
        )
        times.update(t for t in (self.start, *self.extra) if t.date() == day)
        return sorted(times - self.excluded)


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """`until_ns`: wall time at which to look again, at latest; None when nothing will ever change."""

    active: bool
    special_day: bool
    until_ns: int | None


def parse_calendar(text: str, zone: zoneinfo.ZoneInfo, *, max_events: int = MAX_EVENTS) -> tuple[CalendarEvent, ...]:
    """The VEVENTs of an iCalendar text, with or without VCALENDAR around them. Raises `CalendarError`."""
    if len(text) > MAX_CHARS:
        raise CalendarError(f"a calendar has at most {MAX_CHARS} characters")
    events = []
    fields: list[tuple[str, str, str]] | None = None
    skipped: list[str] = []
    for line in re.sub(r"\r?\n[ \t]", "", text).splitlines():
        if not line.strip():
            continue
        head, colon, value = line.partition(":")
        name, _, parameters = head.partition(";")
        name, value = name.strip().upper(), value.strip()
        if not colon:
            raise CalendarError(f"not a line of a calendar: {line[:60]!r}")
        if name == "BEGIN" and value.upper() not in ("VCALENDAR", "VEVENT"):
            skipped.append(value.upper())
        elif name == "END" and skipped and skipped[-1] == value.upper():
            skipped.pop()
        elif skipped:
            continue
        elif name == "BEGIN" and value.upper() == "VEVENT":
            if fields is not None:
                raise CalendarError("a VEVENT inside a VEVENT")
            fields = []
        elif name == "END" and value.upper() == "VEVENT":
            if fields is None:
                raise CalendarError("END:VEVENT without BEGIN:VEVENT")
            events.append(_event(fields, zone))
            fields = None
        elif fields is not None:
            fields.append((name, parameters.upper(), value))
    if fields is not None or skipped:
        raise CalendarError("the calendar ends inside an entry")
    if len(events) > max_events:
        raise CalendarError(f"a calendar has at most {max_events} events")
    return tuple(events)


def _event(fields: Sequence[tuple[str, str, str]], zone: zoneinfo.ZoneInfo) -> CalendarEvent:
    one = {name: (parameters, value) for name, parameters, value in fields}
    if "DTSTART" not in one:
        raise CalendarError("an event needs DTSTART")
    start, whole_day = _moment(*one["DTSTART"], zone)
    if "DTEND" in one:
        length = _moment(*one["DTEND"], zone)[0] - start
    elif "DURATION" in one:
        length = _duration(one["DURATION"][1])
    else:
        length = dt.timedelta(days=1) if whole_day else dt.timedelta()
    if not dt.timedelta() < length <= dt.timedelta(days=MAX_EVENT_DAYS):
        raise CalendarError(f"an event ends after it starts, and lasts at most {MAX_EVENT_DAYS} days")
    try:
        rule = parse_rule(one["RRULE"][1], start, zone) if "RRULE" in one else None
    except RecurrenceError as error:
        raise CalendarError(str(error)) from error
    lists: dict[str, list[dt.datetime]] = {"RDATE": [], "EXDATE": []}
    for name, parameters, value in fields:
        if name in lists:
            lists[name].extend(_moment(parameters, part, zone)[0] for part in value.split(","))
    return CalendarEvent(
        start, round(length.total_seconds()), rule, tuple(lists["RDATE"]), frozenset(lists["EXDATE"]), whole_day
    )


def _moment(parameters: str, value: str, zone: zoneinfo.ZoneInfo) -> tuple[dt.datetime, bool]:
    """Local, naive; and whether it is a date. Times in UTC or another zone are moved into the schedule's."""
    try:
        if "VALUE=DATE" in parameters.split(";") or len(value) == 8:
            return dt.datetime.strptime(value, "%Y%m%d"), True
        if value.endswith("Z"):
            moment = dt.datetime.strptime(value, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
            return moment.astimezone(zone).replace(tzinfo=None), False
        return dt.datetime.strptime(value, "%Y%m%dT%H%M%S"), False
    except ValueError as error:
        raise CalendarError(f"not a time: {value[:40]!r}") from error


def _duration(value: str) -> dt.timedelta:
    match = _DURATION.fullmatch(value.lstrip("+"))
    if match is None or not any(match.groups()):
        raise CalendarError(f"not a duration: {value[:40]!r}")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return dt.timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """Raises `CalendarError` for an unknown time zone."""
    try:
        return zoneinfo.ZoneInfo(name or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CalendarError(f"unknown time zone {name!r}") from error


class Calendar:
    """A schedule made ready. Remembers the last day it worked out."""

    def __init__(self, schedule: Schedule, groups: Mapping[str, SpecialDayGroup], time_zone: str) -> None:
        """Raises `CalendarError`."""
        self._zone = zone_of(time_zone)
        self._events = parse_calendar(schedule.standard, self._zone)
        self._special = [
            (parse_calendar(groups[d.group].days, self._zone), d.periods)
            for d in schedule.special_days
            if d.group in groups
        ]
        self._days: dict[dt.date, tuple[list[Interval], bool]] = {}

    def at(self, wall_ns: int) -> ScheduleState:
        """State at a wall time. Looks ahead to the end of the next local day."""
        day = dt.datetime.fromtimestamp(wall_ns // _NS, self._zone).date()
        if len(self._days) > 8:
            self._days.clear()
        today, special = self._day(day)
        tomorrow, _ = self._day(day + dt.timedelta(days=1))
        ahead = sorted(today + tomorrow)
        active = any(start <= wall_ns < end for start, end in ahead)
        borders = [border for interval in ahead for border in interval if border > wall_ns]
        borders.append(self._utc(dt.datetime.combine(day + dt.timedelta(days=1), dt.time())))
        return ScheduleState(active, special, min(b for b in borders if b > wall_ns))

    def _day(self, day: dt.date) -> tuple[list[Interval], bool]:
        """Active intervals inside this local day, and whether it is a special one."""
        known = self._days.get(day)
        if known is None:
            known = self._days[day] = self._work_out(day)
        return known

    def _work_out(self, day: dt.date) -> tuple[list[Interval], bool]:
        midnight = dt.datetime.combine(day, dt.time())
        begin, end = self._utc(midnight), self._utc(midnight + dt.timedelta(days=1))
        for days, periods in self._special:
            if any(self._covers(event, day) for event in days):
                found = [
                    (
                        self._utc(midnight + dt.timedelta(seconds=p.from_s)),
                        self._utc(midnight + dt.timedelta(seconds=p.until_s)),
                    )
                    for p in periods
                ]
                return _clip(found, begin, end), True
        found = []
        for event in self._events:
            reach = event.length_s // 86_400 + 1
            for back in range(reach, -1, -1):
                for start in event.starts_on(day - dt.timedelta(days=back)):
                    found.append((self._utc(start), self._utc(start + dt.timedelta(seconds=event.length_s))))
        return _clip(found, begin, end), False

    def _covers(self, event: CalendarEvent, day: dt.date) -> bool:
        """Whether an event of a special day group touches this local day."""
        midnight = dt.datetime.combine(day, dt.time())
        for back in range(event.length_s // 86_400 + 1, -1, -1):
            for start in event.starts_on(day - dt.timedelta(days=back)):
                if start < midnight + dt.timedelta(days=1) and start + dt.timedelta(seconds=event.length_s) > midnight:
                    return True
        return False

    def _utc(self, local: dt.datetime) -> int:
        return round(local.replace(tzinfo=self._zone).timestamp()) * _NS


def _clip(intervals: Sequence[Interval], begin: int, end: int) -> list[Interval]:
    """Inside [begin, end), joined where they touch or overlap."""
    out: list[Interval] = []
    for start, stop in sorted(intervals):
        start, stop = max(start, begin), min(stop, end)
        if start >= stop:
            continue
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], stop))
        else:
            out.append((start, stop))
    return out
