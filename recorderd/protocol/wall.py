"""Wall times on the wire: RFC 3339 strings in UTC with microseconds; nanoseconds since 1970 inside."""

from __future__ import annotations

import re
import time

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAYS_TO_1970 = 719_468
NS = 1_000_000_000


def to_rfc3339(ns: int) -> str:
    """`ns` since 1970 as `YYYY-MM-DDThh:mm:ss.ffffffZ`, rounded down. Raises ValueError outside the years 1 to 9999."""
    seconds, rest = divmod(ns, NS)
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        raise ValueError(f"not in the years 1 to 9999: {ns} ns")
    t = time.gmtime(seconds)
    return f"{t[0]:04}-{t[1]:02}-{t[2]:02}T{t[3]:02}:{t[4]:02}:{t[5]:02}.{rest // 1000:06}Z"


def from_rfc3339(text: str) -> int:
    """Nanoseconds since 1970. An offset is required; leap second 60 counts as the next second. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("expected an RFC 3339 time such as 2026-05-04T13:02:01.5Z")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    if not (1 <= month <= 12 and 1 <= day <= _days_in(year, month) and hour < 24 and minute < 60 and second <= 60):
        raise ValueError(f"no such time: {text}")
    offset = 0
    if match[8] not in "Zz":
        offset_hours, offset_minutes = int(match[8][1:3]), int(match[8][4:6])
        if offset_hours > 23 or offset_minutes > 59:
            raise ValueError(f"no such offset: {match[8]}")
        offset = (offset_hours * 3600 + offset_minutes * 60) * (-1 if match[8][0] == "-" else 1)
    seconds = _days_from_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
    return seconds * NS + int((match[7] or "0").ljust(9, "0"))


def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _days_from_1970(year: int, month: int, day: int) -> int:
    """Proleptic Gregorian, as days since 1970-01-01 (no datetime: the command line starts without it)."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - _DAYS_TO_1970
