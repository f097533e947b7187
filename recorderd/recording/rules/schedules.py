"""Schedules and special day groups (ONVIF Schedule service)."""

from __future__ import annotations

import msgspec

from recorderd.model.calendar import CalendarError, parse_calendar, zone_of
from recorderd.model.faults import AlreadyExists, BadConfiguration, CannotDelete, MaxSchedules, NotFound
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.model.schedule import DAY_S, Schedule, SpecialDayGroup, SpecialDays
from recorderd.recording.rules import check


def get(draft: Draft, token: str) -> Schedule:
    schedule = draft.schedules.get(token)
    if schedule is None:
        raise NotFound(f"there is no schedule {token!r}", argument="schedule", got=token)
    return schedule


def get_group(draft: Draft, token: str) -> SpecialDayGroup:
    group = draft.special_days.get(token)
    if group is None:
        raise NotFound(f"there is no special day group {token!r}", argument="group", got=token)
    return group


def create(draft: Draft, limits: Limits, schedule: Schedule) -> Schedule:
    """An empty token is replaced by a new one."""
    if schedule.token in draft.schedules:
        raise AlreadyExists(f"there is a schedule {schedule.token!r} already", argument="token", got=schedule.token)
    if len(draft.schedules) >= limits.schedules:
        raise MaxSchedules(f"the recorder takes {limits.schedules} schedules", expected=str(limits.schedules))
    if not schedule.token:
        schedule = msgspec.structs.replace(schedule, token=f"schedule-{draft.number('schedule')}")
    return put(draft, limits, schedule)


def modify(draft: Draft, limits: Limits, schedule: Schedule) -> Schedule:
    get(draft, schedule.token)
    return put(draft, limits, schedule)


def put(draft: Draft, limits: Limits, schedule: Schedule) -> Schedule:
    check.token(schedule.token, "token", limits.token_chars)
    check.text(schedule.name, "name", limits.name_chars)
    check.text(schedule.description, "description", limits.description_chars)
    try:
        parse_calendar(schedule.standard, zone_of(schedule.time_zone), max_events=limits.calendar_events)
    except CalendarError as error:
        raise BadConfiguration(str(error), argument="standard") from None
    if len(schedule.special_days) > limits.special_days_per_schedule:
        raise MaxSchedules(
            f"a schedule takes {limits.special_days_per_schedule} special day groups",
            expected=str(limits.special_days_per_schedule),
        )
    for days in schedule.special_days:
        _check_special(draft, limits, days)
    draft.schedules.put(schedule)
    return schedule


def _check_special(draft: Draft, limits: Limits, days: SpecialDays) -> None:
    if days.group not in draft.special_days:
        raise NotFound(f"there is no special day group {days.group!r}", argument="special_days.group", got=days.group)
    if len(days.periods) > limits.periods_per_day:
        raise MaxSchedules(f"a day takes {limits.periods_per_day} periods", expected=str(limits.periods_per_day))
    for period in days.periods:
        check.number(period.from_s, "special_days.from_s", 0, DAY_S - 1)
        check.number(period.until_s, "special_days.until_s", period.from_s + 1, DAY_S)


def delete(draft: Draft, token: str) -> Schedule:
    """A job that names it stays and no longer records: the schedule does not exist (5.3.3)."""
    schedule = get(draft, token)
    draft.schedules.delete(token)
    return schedule


def create_group(draft: Draft, limits: Limits, group: SpecialDayGroup) -> SpecialDayGroup:
    if group.token in draft.special_days:
        raise AlreadyExists(f"there is a special day group {group.token!r} already", argument="token", got=group.token)
    if len(draft.special_days) >= limits.special_day_groups:
        raise MaxSchedules(
            f"the recorder takes {limits.special_day_groups} special day groups",
            expected=str(limits.special_day_groups),
        )
    if not group.token:
        group = msgspec.structs.replace(group, token=f"days-{draft.number('special_days')}")
    return put_group(draft, limits, group)


def put_group(draft: Draft, limits: Limits, group: SpecialDayGroup) -> SpecialDayGroup:
    check.token(group.token, "token", limits.token_chars)
    check.text(group.name, "name", limits.name_chars)
    check.text(group.description, "description", limits.description_chars)
    try:
        parse_calendar(group.days, zone_of(""), max_events=limits.days_per_special_day_group)
    except CalendarError as error:
        raise BadConfiguration(str(error), argument="days") from None
    draft.special_days.put(group)
    return group


def delete_group(draft: Draft, token: str) -> SpecialDayGroup:
    group = get_group(draft, token)
    for schedule in draft.schedules:
        if any(days.group == token for days in schedule.special_days):
            raise CannotDelete(f"schedule {schedule.token} uses it", argument="group", got=token)
    draft.special_days.delete(token)
    return group
