"""Times as people say them, in the recorder's zone: "yesterday 14:03", "last tuesday 14:03", "2026-11-17 14:03", "10 min ago", ISO 8601.

Weekday names mean the most recent such day before today. A time without a day means its most recent occurrence. A local time that a change
of the clocks skips is refused; one that occurs twice means the earlier, and `-o` style offsets or `Z` say which otherwise.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86_400,
    "day": 86_400,
}
_AGO = re.compile(r"(\d{1,6}) ?([a-z]+?)s? ago", re.ASCII)
_MINUS = re.compile(r"-(\d{1,6})(s|m|min|h|d)", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)([Zz]|[+-]\d\d:?\d\d)", re.ASCII)
EXPECTED = (
    'a time such as "yesterday 14:03", "tuesday 9:30", "2026-11-17 14:03", "10 min ago" or 2026-11-17T14:03:00+01:00'
)


class NotATime(ValueError):
    """The text does not name a time; the message says what does."""


def zone_of(name: str, utc_offset_s: int) -> datetime.tzinfo:
    """The recorder's zone; its present offset when this machine does not know the name."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return datetime.timezone(datetime.timedelta(seconds=utc_offset_s))


def parse(text: str, now: datetime.datetime) -> datetime.datetime:
    """`text` as an aware time. `now` is aware, in the recorder's zone. Raises `NotATime`."""
    said = " ".join(text.lower().split())
    zone = now.tzinfo
    if not said:
        raise NotATime(f"expected {EXPECTED}")
    if said == "now":
        return now
    if match := _AGO.fullmatch(said) or _MINUS.fullmatch(said):
        unit = _UNITS.get(match[2])
        if unit is None:
            raise NotATime(f"{text!r}: the unit is not s, min, h or d")
        return _shifted(now, int(match[1]) * unit, text)
    if match := _ISO.fullmatch(text.strip()):
        try:
            return datetime.datetime.fromisoformat(
                f"{match[1]}T{match[2]}{match[3].upper().replace('Z', '+00:00')}"
            ).astimezone(zone)
        except (ValueError, OverflowError) as error:
            raise NotATime(f"{text!r} is no time that exists") from error
    day_words, _, last = said.replace("t", " ", 1).rpartition(" ") if _DATE.match(said) else said.rpartition(" ")
    clock = _TIME.fullmatch(last)
    if clock is None:
        day_words, moment = said, datetime.time()
    else:
        moment = _moment(clock, text)
    day = _day(day_words, now, text)
    if day is None:
        naive = datetime.datetime.combine(now.date(), moment)
        if naive > now.replace(tzinfo=None):
            naive -= datetime.timedelta(days=1)
    else:
        naive = datetime.datetime.combine(day, moment)
    return _existing(naive, zone, text)


def _shifted(now: datetime.datetime, seconds: int, text: str) -> datetime.datetime:
    try:
        return (now.astimezone(datetime.UTC) - datetime.timedelta(seconds=seconds)).astimezone(now.tzinfo)
    except OverflowError as error:
        raise NotATime(f"{text!r} is too long ago") from error


def _moment(match: re.Match[str], text: str) -> datetime.time:
    try:
        return datetime.time(int(match[1]), int(match[2]), int(match[3] or 0), int((match[4] or "0").ljust(6, "0")))
    except ValueError as error:
        raise NotATime(f"{text!r}: no such time of day") from error


def _day(words: str, now: datetime.datetime, text: str) -> datetime.date | None:
    """The day that `words` name; None for no words (a time alone)."""
    if not words:
        return None
    today = now.date()
    if words in ("today", "yesterday"):
        return today - datetime.timedelta(days=words == "yesterday")
    weekday = words.removeprefix("last ")
    names = [i for i, name in enumerate(_WEEKDAYS) if weekday in (name, name[:3])]
    if names:
        return today - datetime.timedelta(days=(today.weekday() - names[0] - 1) % 7 + 1)
    if match := _DATE.fullmatch(words):
        try:
            return datetime.date(int(match[1]), int(match[2]), int(match[3]))
        except ValueError as error:
            raise NotATime(f"{text!r}: no such day") from error
    raise NotATime(f"{text!r} is not a time; expected {EXPECTED}")


def _existing(naive: datetime.datetime, zone: datetime.tzinfo | None, text: str) -> datetime.datetime:
    aware = naive.replace(tzinfo=zone)
    if aware.astimezone(datetime.UTC).astimezone(zone).replace(tzinfo=None) != naive:
        raise NotATime(f"{text!r} does not exist: the clocks were put forward over it")
    return aware


def to_ns(time: datetime.datetime) -> int:
    """Nanoseconds since 1970, exactly."""
    return (time - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1) * 1000


def from_ns(ns: int, zone: datetime.tzinfo) -> datetime.datetime:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (epoch + datetime.timedelta(microseconds=ns // 1000)).astimezone(zone)


def spoken(time: datetime.datetime) -> str:
    """With its offset, as everything that is printed: Tue 2026-11-17 14:03:00 +01:00."""
    return f"{_WEEKDAYS[time.weekday()][:3].capitalize()} {time.strftime('%Y-%m-%d %H:%M:%S')} {_offset(time)}"


def _offset(time: datetime.datetime) -> str:
    text = time.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"
