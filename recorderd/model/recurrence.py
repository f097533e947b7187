"""Recurrence rules of iCalendar (RFC 5545, 3.3.10): which local times of a given day a rule makes occurrences of.

Asked day by day, so the work is bounded whatever the rule and however long ago it began; a rule that never comes true costs nothing.

All seven frequencies are taken, SECONDLY too, as long as a rule comes at most `MAX_PER_DAY` times a day: once a minute is 1,440. The text
of the Schedule service sets no such bound; but every occurrence begins and ends a period of recording, and what comes every few seconds
is either always active, which no rule says better, or a run of its own each time, which fills a ring's tables and shows nobody anything.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache

MAX_PER_DAY = 1500  # occurrences of a sub-daily rule
MAX_COUNT = 1000
MAX_COUNT_DAYS = 20_000  # how far a rule with COUNT may reach

_FREQUENCIES = ("SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_UNIT_S = {"SECONDLY": 1, "MINUTELY": 60, "HOURLY": 3600}
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_RANGES = {
    "BYSECOND": (0, 60),
    "BYMINUTE": (0, 59),
    "BYHOUR": (0, 23),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53),
    "BYMONTH": (1, 12),
    "BYSETPOS": (-366, 366),
}


class RecurrenceError(ValueError):
    """The rule cannot be understood, or asks for more than is taken."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One RRULE with its DTSTART. Times are local and naive, to the second."""

    start: dt.datetime
    frequency: str
    interval: int = 1
    until: dt.datetime | None = None
    by: tuple[tuple[str, tuple[int, ...]], ...] = ()
    by_day: tuple[tuple[int, int], ...] = ()  # (ordinal or 0, weekday from Monday = 0)
    week_start: int = 0

    def parts(self, name: str) -> tuple[int, ...]:
        return next((values for key, values in self.by if key == name), ())

    def times_on(self, day: dt.date) -> list[int]:
        """Seconds since midnight at which occurrences begin on this day, ascending. Raises `RecurrenceError` beyond `MAX_PER_DAY`."""
        if day < self.start.date() or (self.until is not None and day > self.until.date()):
            return []
        times = self._sub_daily(day) if self.frequency in _UNIT_S else self._daily(day)
        first = _seconds(self.start) if day == self.start.date() else 0
        last = _seconds(self.until) if self.until is not None and day == self.until.date() else 86_400
        return [t for t in times if first <= t <= last]

    # --- DAILY and longer ----------------------------------------------------------------------------------

    def _daily(self, day: dt.date) -> list[int]:
        if not self._on_interval(day) or not self._day_matches(day):
            return []
        times = sorted(
            h * 3600 + m * 60 + s
            for h in self.parts("BYHOUR") or (self.start.hour,)
            for m in self.parts("BYMINUTE") or (self.start.minute,)
            for s in self.parts("BYSECOND") or (self.start.second,)
        )
        if len(times) > MAX_PER_DAY:
            raise RecurrenceError(f"more than {MAX_PER_DAY} occurrences a day")
        positions = self.parts("BYSETPOS")
        if not positions:
            return times
        candidates = [(d, t) for d in self._period(day) if self._day_matches(d) for t in times]
        chosen = {candidates[p - 1 if p > 0 else p] for p in positions if 0 < abs(p) <= len(candidates)}
        return [t for d, t in sorted(chosen) if d == day]

    def _on_interval(self, day: dt.date) -> bool:
        begin = self.start.date()
        if self.frequency == "DAILY":
            steps = (day - begin).days
        elif self.frequency == "WEEKLY":
            steps = (self._week(day) - self._week(begin)).days // 7
        elif self.frequency == "MONTHLY":
            steps = (day.year - begin.year) * 12 + day.month - begin.month
        elif self.parts("BYWEEKNO"):
            steps = self._iso_year(day) - begin.year
        else:
            steps = day.year - begin.year
        return steps >= 0 and steps % self.interval == 0

    def _week(self, day: dt.date) -> dt.date:
        return day - dt.timedelta(days=(day.weekday() - self.week_start) % 7)

    def _period(self, day: dt.date) -> list[dt.date]:
        """The days of the period that BYSETPOS counts in."""
        if self.frequency == "DAILY":
            return [day]
        if self.frequency == "WEEKLY":
            first = self._week(day)
            return [first + dt.timedelta(days=i) for i in range(7)]
        if self.frequency == "MONTHLY":
            first = day.replace(day=1)
            return [first + dt.timedelta(days=i) for i in range(calendar.monthrange(day.year, day.month)[1])]
        first = dt.date(day.year, 1, 1)
        return [first + dt.timedelta(days=i) for i in range(366 if calendar.isleap(day.year) else 365)]

    def _day_matches(self, day: dt.date) -> bool:
        months = self.parts("BYMONTH")
        if months and day.month not in months:
            return False
        if not _counted(day.day, calendar.monthrange(day.year, day.month)[1], self.parts("BYMONTHDAY")):
            return False
        year_days = 366 if calendar.isleap(day.year) else 365
        if not _counted(day.timetuple().tm_yday, year_days, self.parts("BYYEARDAY")):
            return False
        if not self._week_matches(day):
            return False
        if self.by_day:
            return any(weekday == day.weekday() and self._ordinal(day, n) for n, weekday in self.by_day)
        return self._implied(day)

    def _implied(self, day: dt.date) -> bool:
        """What a rule leaves out is taken from DTSTART."""
        begin = self.start.date()
        if self.frequency == "WEEKLY":
            return day.weekday() == begin.weekday()
        if self.frequency == "MONTHLY":
            return bool(self.parts("BYMONTHDAY")) or day.day == begin.day
        if self.frequency == "YEARLY":
            if self.parts("BYYEARDAY") or self.parts("BYMONTHDAY"):
                return True
            if self.parts("BYWEEKNO"):
                return day.weekday() == begin.weekday()
            return day.day == begin.day and (bool(self.parts("BYMONTH")) or day.month == begin.month)
        return True

    def _ordinal(self, day: dt.date, n: int) -> bool:
        """Whether `day` is the n-th such weekday of its month (MONTHLY, or with BYMONTH) or of its year."""
        if n == 0 or self.frequency not in ("MONTHLY", "YEARLY"):
            return True
        if self.frequency == "MONTHLY" or self.parts("BYMONTH"):
            place, length = day.day, calendar.monthrange(day.year, day.month)[1]
        else:
            place, length = day.timetuple().tm_yday, 366 if calendar.isleap(day.year) else 365
        return (place - 1) // 7 + 1 == n if n > 0 else (length - place) // 7 + 1 == -n

    def _week_matches(self, day: dt.date) -> bool:
        weeks = self.parts("BYWEEKNO")
        if not weeks:
            return True
        year = self._iso_year(day)
        number = (self._week(day) - _first_week(year, self.week_start)).days // 7 + 1
        length = (_first_week(year + 1, self.week_start) - _first_week(year, self.week_start)).days // 7
        return _counted(number, length, weeks)

    def _iso_year(self, day: dt.date) -> int:
        """The year whose week 1 (at least four days in the year) or later holds the day."""
        for year in (day.year + 1, day.year):
            if self._week(day) >= _first_week(year, self.week_start):
                return year
        return day.year - 1

    # --- shorter than a day --------------------------------------------------------------------------------

    def _sub_daily(self, day: dt.date) -> list[int]:
        if not self._day_matches(day):
            return []
        step = _UNIT_S[self.frequency] * self.interval
        midnight = dt.datetime.combine(day, dt.time())
        behind = round((midnight - self._anchor()).total_seconds())
        first = -behind % step
        hours, minutes, seconds = self.parts("BYHOUR"), self.parts("BYMINUTE"), self.parts("BYSECOND")
        times: list[int] = []
        for base in range(first, 86_400, step):
            times.extend(
                t
                for t in self._expanded(base, minutes, seconds)
                if (not hours or t // 3600 in hours) and (not minutes or t // 60 % 60 in minutes)
            )
        if len(times) > MAX_PER_DAY:
            raise RecurrenceError(f"more than {MAX_PER_DAY} occurrences a day")
        return sorted(set(times))

    def _anchor(self) -> dt.datetime:
        """DTSTART without the parts that the rule expands."""
        if self.frequency == "HOURLY":
            return self.start.replace(
                minute=0 if self.parts("BYMINUTE") else self.start.minute,
                second=0 if self.parts("BYSECOND") else self.start.second,
            )
        if self.frequency == "MINUTELY" and self.parts("BYSECOND"):
            return self.start.replace(second=0)
        return self.start

    def _expanded(self, base: int, minutes: tuple[int, ...], seconds: tuple[int, ...]) -> list[int]:
        if self.frequency == "SECONDLY":
            return [base] if not seconds or base % 60 in seconds else []
        at_minutes = (
            [base - base // 60 % 60 * 60 + m * 60 for m in minutes]
            if self.frequency == "HOURLY" and minutes
            else [base]
        )
        return [t - t % 60 + s for t in at_minutes for s in seconds] if seconds else at_minutes


@lru_cache(maxsize=64)
def _first_week(year: int, week_start: int) -> dt.date:
    """First day of the week that has at least four days in the year."""
    first = dt.date(year, 1, 1)
    back = (first.weekday() - week_start) % 7
    return first - dt.timedelta(days=back) if back <= 3 else first + dt.timedelta(days=7 - back)


def _counted(place: int, length: int, wanted: tuple[int, ...]) -> bool:
    """Whether a place (from 1) is named, from the front or from the back."""
    return not wanted or place in wanted or place - length - 1 in wanted


def _seconds(moment: dt.datetime) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def parse_rule(text: str, start: dt.datetime, until_local: dt.tzinfo) -> Rule:
    """An RRULE value. `until_local` is the zone in which an UNTIL in UTC is read. Raises `RecurrenceError`."""
    fields: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not equals or name.upper() in fields:
            raise RecurrenceError(f"not a recurrence rule: {part!r}")
        fields[name.upper()] = value.upper()
    frequency = fields.pop("FREQ", "")
    if frequency not in _FREQUENCIES:
        raise RecurrenceError(f"FREQ must be one of {', '.join(_FREQUENCIES)}")
    interval = _number("INTERVAL", fields.pop("INTERVAL", "1"), 1, 10_000)
    if "COUNT" in fields and "UNTIL" in fields:
        raise RecurrenceError("COUNT and UNTIL exclude each other")
    count = _number("COUNT", fields.pop("COUNT"), 1, MAX_COUNT) if "COUNT" in fields else 0
    until = _until(fields.pop("UNTIL"), until_local) if "UNTIL" in fields else None
    week_start = fields.pop("WKST", "MO")
    if week_start not in _WEEKDAYS:
        raise RecurrenceError(f"WKST must be one of {', '.join(_WEEKDAYS)}")
    by_day = tuple(_weekday(part) for part in fields.pop("BYDAY").split(",")) if "BYDAY" in fields else ()
    by = []
    for name, value in fields.items():
        if name not in _RANGES:
            raise RecurrenceError(f"unknown part {name} in a recurrence rule")
        low, high = _RANGES[name]
        values = tuple(_number(name, v, low, high) for v in value.split(","))
        if low < 0 and 0 in values:
            raise RecurrenceError(f"{name} counts from 1 or from -1")
        by.append((name, values))
    rule = Rule(start, frequency, interval, until, tuple(by), by_day, _WEEKDAYS.index(week_start))
    rule.times_on(start.date())
    return _with_count(rule, count) if count else rule


def _with_count(rule: Rule, count: int) -> Rule:
    """COUNT as an UNTIL: found once, when the rule is read."""
    day = rule.start.date()
    for _ in range(MAX_COUNT_DAYS):
        times = rule.times_on(day)
        if len(times) >= count:
            last = dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=times[count - 1])
            return Rule(rule.start, rule.frequency, rule.interval, last, rule.by, rule.by_day, rule.week_start)
        count -= len(times)
        day += dt.timedelta(days=1)
    raise RecurrenceError(f"the rule needs more than {MAX_COUNT_DAYS} days for its COUNT")


def _number(name: str, text: str, low: int, high: int) -> int:
    if re.fullmatch(r"[+-]?\d{1,5}", text) is None or not low <= int(text) <= high:
        raise RecurrenceError(f"{name} must be a number from {low} to {high}, not {text!r}")
    return int(text)


def _weekday(text: str) -> tuple[int, int]:
    match = _DAY.fullmatch(text)
    if match is None or (match[1] is not None and not 1 <= abs(int(match[1])) <= 53):
        raise RecurrenceError(f"not a weekday: {text!r}")
    return int(match[1] or 0), _WEEKDAYS.index(match[2])


def _until(text: str, zone: dt.tzinfo) -> dt.datetime:
    for form, days in (("%Y%m%dT%H%M%SZ", 0), ("%Y%m%dT%H%M%S", 0), ("%Y%m%d", 1)):
        try:
            moment = dt.datetime.strptime(text, form)
        except ValueError:
            continue
        if form.endswith("Z"):
            return moment.replace(tzinfo=dt.UTC).astimezone(zone).replace(tzinfo=None)
        return moment + dt.timedelta(days=days) - dt.timedelta(seconds=days)
    raise RecurrenceError(f"not a time: UNTIL={text}")
