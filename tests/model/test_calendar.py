"""Schedules: iCalendar, special days, daylight saving, and every recurrence against an implementation nobody here wrote."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.model.calendar import Calendar, CalendarError, parse_calendar, zone_of
from recorderd.model.recurrence import RecurrenceError, parse_rule
from recorderd.model.schedule import Schedule, SpecialDayGroup, SpecialDays, TimePeriod

BERLIN = "Europe/Berlin"
NS = 1_000_000_000


def at(local: str, zone: str = BERLIN, fold: int = 0) -> int:
    """Wall time of a local time in ISO form."""
    return round(dt.datetime.fromisoformat(local).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold).timestamp()) * NS


def calendar(
    *events: str, zone: str = BERLIN, special: tuple[SpecialDays, ...] = (), groups: dict[str, str] | None = None
) -> Calendar:
    text = "\r\n".join(f"BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT" for event in events)
    schedule = Schedule(
        token="s", name="s", standard=f"BEGIN:VCALENDAR\r\n{text}\r\nEND:VCALENDAR", special_days=special
    )
    made = {token: SpecialDayGroup(token=token, name=token, days=days) for token, days in (groups or {}).items()}
    return Calendar(schedule, made, zone)


OFFICE = "DTSTART:19700105T080000\r\nDTEND:19700105T180000\r\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"
NIGHT = "DTSTART:19700101T220000\r\nDURATION:PT8H\r\nRRULE:FREQ=DAILY"


def borders(made: Calendar, start: str, stop: str) -> list[str]:
    """Local times at which the schedule changes, found by asking as a service does: again at `until`."""
    zone = zoneinfo.ZoneInfo(BERLIN)
    now, end = at(start), at(stop)
    active = made.at(now).active
    found = []
    asked = 0
    while now < end:
        state = made.at(now)
        assert state.until_ns is not None
        assert state.until_ns > now
        if state.active != active:
            active = state.active
            found.append(
                dt.datetime.fromtimestamp(now / NS, zone).strftime("%a %H:%M%z ") + ("on" if active else "off")
            )
        now = state.until_ns
        asked += 1
    assert asked < 400
    return found


def test_weekly() -> None:
    assert borders(calendar(OFFICE), "2026-05-07T00:00", "2026-05-11T12:00") == [
        "Thu 08:00+0200 on",
        "Thu 18:00+0200 off",
        "Fri 08:00+0200 on",
        "Fri 18:00+0200 off",
        "Mon 08:00+0200 on",
    ]


def test_the_end_is_exclusive() -> None:
    made = calendar(OFFICE)
    assert made.at(at("2026-05-07T08:00:00")).active
    assert made.at(at("2026-05-07T18:00:00") - 1).active
    assert not made.at(at("2026-05-07T18:00:00")).active
    assert not made.at(at("2026-05-07T08:00:00") - 1).active


def test_over_midnight_and_over_both_changes_of_the_clocks() -> None:
    """22:00 to 06:00 local on every night: seven hours in spring, nine in autumn."""
    made = calendar(NIGHT)
    spring = borders(made, "2026-03-28T12:00", "2026-03-29T12:00")
    assert spring == ["Sat 22:00+0100 on", "Sun 06:00+0200 off"]
    assert (at("2026-03-29T06:00") - at("2026-03-28T22:00")) // NS == 7 * 3600
    autumn = borders(made, "2026-10-24T12:00", "2026-10-25T12:00")
    assert autumn == ["Sat 22:00+0200 on", "Sun 06:00+0100 off"]
    assert (at("2026-10-25T06:00") - at("2026-10-24T22:00")) // NS == 9 * 3600


def test_a_local_time_that_is_skipped_and_one_that_comes_twice() -> None:
    """RFC 5545, 3.3.5: the skipped 02:30 is read with the offset before the change (03:30), the doubled one is the first."""
    made = calendar("DTSTART:20260101T023000\r\nDURATION:PT15M\r\nRRULE:FREQ=DAILY")
    assert borders(made, "2026-03-29T00:00", "2026-03-29T12:00") == ["Sun 03:30+0200 on", "Sun 03:45+0200 off"]
    assert borders(made, "2026-10-25T00:00", "2026-10-25T12:00") == ["Sun 02:30+0200 on", "Sun 02:45+0200 off"]
    assert not made.at(at("2026-10-25T02:35", fold=1)).active


def test_all_day_is_23_24_or_25_hours() -> None:
    made = calendar("DTSTART;VALUE=DATE:20260329\r\nRRULE:FREQ=YEARLY;BYMONTH=3,10;BYDAY=-1SU")
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25)):
        start = at(f"{day}T00:00")
        assert made.at(start).active
        assert made.at(start + hours * 3600 * NS - 1).active
        assert not made.at(start + hours * 3600 * NS).active
        assert not made.at(start - 1).active


def test_the_zone_is_the_schedules() -> None:
    assert calendar(OFFICE, zone="America/New_York").at(at("2026-05-07T09:00", "America/New_York")).active
    assert not calendar(OFFICE, zone="America/New_York").at(at("2026-05-07T09:00", BERLIN)).active


def test_special_days_replace_the_regular_times() -> None:
    holidays = "BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261226\nEND:VEVENT"
    periods = (TimePeriod(from_s=10 * 3600, until_s=11 * 3600), TimePeriod(from_s=13 * 3600, until_s=86_400))
    made = calendar(OFFICE, special=(SpecialDays(group="h", periods=periods),), groups={"h": holidays})
    assert borders(made, "2026-12-23T12:00", "2026-12-28T09:00") == [
        "Wed 18:00+0100 off",
        "Thu 10:00+0100 on",
        "Thu 11:00+0100 off",
        "Thu 13:00+0100 on",
        "Fri 00:00+0100 off",
        "Fri 10:00+0100 on",
        "Fri 11:00+0100 off",
        "Fri 13:00+0100 on",
        "Sat 00:00+0100 off",
        "Mon 08:00+0100 on",
    ]
    assert made.at(at("2026-12-24T12:00")).special_day
    assert not made.at(at("2026-12-28T12:00")).special_day
    closed = calendar(OFFICE, special=(SpecialDays(group="h"),), groups={"h": holidays})
    assert borders(closed, "2026-12-23T12:00", "2026-12-28T09:00") == ["Wed 18:00+0100 off", "Mon 08:00+0100 on"]


def test_dates_added_and_taken_out() -> None:
    made = calendar(
        "DTSTART:20260504T080000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\nEXDATE:20260505T080000\r\nRDATE:20260509T100000"
    )
    days = [n for n in range(3, 12) if made.at(at(f"2026-05-{n:02}T08:30")).active]
    assert days == [4, 6]
    assert made.at(at("2026-05-09T10:30")).active


def test_utc_times_are_moved_into_the_zone() -> None:
    made = calendar("DTSTART:20260504T060000Z\r\nDTEND:20260504T070000Z")
    assert made.at(at("2026-05-04T08:30")).active
    assert not made.at(at("2026-05-04T06:30")).active


@pytest.mark.parametrize(
    "text",
    [
        "no calendar",
        "BEGIN:VEVENT\nEND:VEVENT",
        "BEGIN:VEVENT\nDTSTART:2026\nEND:VEVENT",
        "BEGIN:VEVENT\nDTSTART:20260504T080000\nEND:VEVENT",
        "BEGIN:VEVENT\nDTSTART:20260504T080000\nDTEND:20260504T070000\nEND:VEVENT",
        "BEGIN:VEVENT\nDTSTART:20260504T080000\nDURATION:P99D\nEND:VEVENT",
        "BEGIN:VEVENT\nDTSTART:20260504T080000\nDURATION:PT1H\nRRULE:FREQ=NEVER\nEND:VEVENT",
        "BEGIN:VEVENT\nDTSTART:20260504T080000\nDURATION:PT1H",
        "BEGIN:VEVENT\nBEGIN:VEVENT\nEND:VEVENT\nEND:VEVENT",
        "BEGIN:VEVENT\nDTSTART:20260504T080000\nDURATION:PT1H\nEND:VEVENT\n" * 65,
        "X" * 20_000,
    ],
)
def test_bad_calendars_are_refused(text: str) -> None:
    with pytest.raises(CalendarError):
        parse_calendar(text, zone_of(BERLIN))


def test_alarms_and_time_zones_inside_are_passed_over() -> None:
    text = (
        "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:X\nBEGIN:STANDARD\nDTSTART:19701025T030000\nEND:STANDARD\nEND:VTIMEZONE\n"
        "BEGIN:VEVENT\nDTSTART;TZID=X:20260504T08\n 0000\nDURATION:PT1H\nBEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR"
    )
    (event,) = parse_calendar(text, zone_of(BERLIN))
    assert event.start == dt.datetime(2026, 5, 4, 8)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(CalendarError, match="unknown time zone"):
        zone_of("Mars/Olympus")
    with pytest.raises(CalendarError):
        zone_of("../../etc/passwd")


# --- recurrence against dateutil ----------------------------------------------------------------------------


def ours(rule: str, start: dt.datetime, first: dt.date, days: int) -> list[dt.datetime]:
    parsed = parse_rule(rule, start, dt.UTC)
    found = []
    for n in range(days):
        day = first + dt.timedelta(days=n)
        found.extend(dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=t) for t in parsed.times_on(day))
    return found


def theirs(rule: str, start: dt.datetime, first: dt.date, days: int) -> list[dt.datetime]:
    begin = dt.datetime.combine(first, dt.time())
    return list(rrulestr(rule, dtstart=start).between(begin, begin + dt.timedelta(days=days, seconds=-1), inc=True))


RULES = [
    "FREQ=DAILY",
    "FREQ=DAILY;INTERVAL=3",
    "FREQ=DAILY;COUNT=10",
    "FREQ=DAILY;UNTIL=20260301T000000",
    "FREQ=DAILY;BYMONTH=2,5",
    "FREQ=DAILY;BYHOUR=6,18;BYMINUTE=0,30",
    "FREQ=WEEKLY",
    "FREQ=WEEKLY;BYDAY=MO,WE,FR",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO",
    "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1,-1",
    "FREQ=MONTHLY",
    "FREQ=MONTHLY;BYMONTHDAY=1,15,-1",
    "FREQ=MONTHLY;BYDAY=1MO,-1FR",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
    "FREQ=MONTHLY;INTERVAL=5;BYDAY=2TU",
    "FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR",
    "FREQ=YEARLY",
    "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU",
    "FREQ=YEARLY;BYDAY=20MO",
    "FREQ=YEARLY;BYYEARDAY=1,100,-1",
    "FREQ=YEARLY;BYWEEKNO=1,20,53;BYDAY=MO",
    "FREQ=YEARLY;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
    "FREQ=HOURLY;INTERVAL=7",
    "FREQ=HOURLY;INTERVAL=2;BYMINUTE=10,40",
    "FREQ=HOURLY;BYHOUR=9,17;BYDAY=SA,SU",
    "FREQ=MINUTELY;INTERVAL=90",
    "FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10",
]


@pytest.mark.parametrize("rule", RULES)
def test_recurrence_equals_dateutils(rule: str) -> None:
    start = dt.datetime(2026, 1, 13, 9, 20)
    # dateutil counts BYSETPOS from DTSTART on within DTSTART's own period; RFC 5545 counts in the whole period.
    begin = dt.date(2026, 2, 2) if "BYSETPOS" in rule else dt.date(2026, 1, 1)
    for first, days in ((begin, 90), (dt.date(2027, 2, 20), 60), (dt.date(2032, 12, 20), 30)):
        assert ours(rule, start, first, days) == theirs(rule, start, first, days)


DAY_NAMES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(("DAILY", "WEEKLY", "MONTHLY", "YEARLY")))
    parts = [f"FREQ={frequency}"]
    if draw(st.booleans()):
        parts.append(f"INTERVAL={draw(st.integers(1, 6))}")
    if draw(st.booleans()):
        parts.append(f"BYDAY={','.join(draw(st.sets(st.sampled_from(DAY_NAMES), min_size=1, max_size=3)))}")
    if draw(st.booleans()):
        parts.append(f"BYMONTH={','.join(map(str, draw(st.sets(st.integers(1, 12), min_size=1, max_size=4))))}")
    if frequency in ("MONTHLY", "YEARLY") and draw(st.booleans()):
        days = st.integers(1, 31) | st.integers(-31, -1)
        parts.append(f"BYMONTHDAY={','.join(map(str, draw(st.sets(days, min_size=1, max_size=3))))}")
    if draw(st.booleans()):
        parts.append(f"COUNT={draw(st.integers(1, 20))}")
    return ";".join(parts)


@settings(max_examples=150, deadline=None)
@given(rules(), st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2026, 12, 31)), st.integers(0, 900))
def test_any_recurrence_equals_dateutils(rule: str, start: dt.datetime, ahead: int) -> None:
    start = start.replace(microsecond=0)
    first = start.date() + dt.timedelta(days=ahead)
    try:
        found = ours(rule, start, first, 40)
    except RecurrenceError as refusal:
        assert "COUNT" in str(refusal), "only a COUNT that is never reached is refused"
        return
    assert found == theirs(rule, start, first, 40)


def test_every_frequency_is_taken_up_to_its_bound() -> None:
    start = dt.datetime(2026, 1, 1)
    minutely = parse_rule("FREQ=MINUTELY", start, dt.UTC)
    assert len(minutely.times_on(start.date())) == 1440
    for same in ("FREQ=SECONDLY;INTERVAL=60", "FREQ=SECONDLY;BYSECOND=0"):
        assert parse_rule(same, start, dt.UTC).times_on(start.date()) == minutely.times_on(start.date())
    with pytest.raises(RecurrenceError, match="more than 1500 occurrences a day"):
        parse_rule("FREQ=SECONDLY", start, dt.UTC)


def test_a_rule_that_never_comes_true_costs_nothing() -> None:
    start = dt.datetime(1970, 1, 1)
    rule = parse_rule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", start, dt.UTC)
    assert all(rule.times_on(dt.date(2026, 1, 1) + dt.timedelta(days=n)) == [] for n in range(800))


@pytest.mark.parametrize(
    "rule", ["", "FREQ=DAILY;FREQ=DAILY", "FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=2;UNTIL=20260101", "FREQ=DAILY;BYDAY=XX",
             "FREQ=DAILY;BYMONTHDAY=0", "FREQ=SECONDLY", "FREQ=DAILY;X=1", "FREQ=DAILY;INTERVAL=99999999"]
)  # fmt: skip
def test_bad_rules_are_refused(rule: str) -> None:
    with pytest.raises(RecurrenceError):
        parse_rule(rule, dt.datetime(2026, 1, 1), dt.UTC)
