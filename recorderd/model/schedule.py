"""Schedules and special day groups (ONVIF Schedule service), as stored. `recorderd.model.calendar` says when one is active."""

from __future__ import annotations

import msgspec

DAY_S = 86_400


class TimePeriod(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local seconds since midnight, end exclusive."""

    from_s: int
    until_s: int = DAY_S


class SpecialDays(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On the days of the group these periods replace the regular schedule; none means inactive all day."""

    group: str
    periods: tuple[TimePeriod, ...] = ()


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`standard` is an iCalendar text. Local times in it are in `time_zone`, the recorder's own where that is empty."""

    token: str
    name: str
    description: str = ""
    standard: str = ""
    special_days: tuple[SpecialDays, ...] = ()
    time_zone: str = ""


class SpecialDayGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: str
    name: str
    description: str = ""
    days: str = ""  # iCalendar
