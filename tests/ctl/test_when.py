"""Times as people say them."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorderd.ctl.when import NotATime, from_ns, parse, spoken, to_ns, zone_of

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOW = datetime.datetime(2026, 11, 22, 15, 30, tzinfo=BERLIN)  # a Sunday


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("now", "Sun 2026-11-22 15:30:00 +01:00"),
        ("14:03", "Sun 2026-11-22 14:03:00 +01:00"),
        ("16:00", "Sat 2026-11-21 16:00:00 +01:00"),
        ("yesterday 14:03", "Sat 2026-11-21 14:03:00 +01:00"),
        ("Yesterday", "Sat 2026-11-21 00:00:00 +01:00"),
        ("today 9:00", "Sun 2026-11-22 09:00:00 +01:00"),
        ("last Tuesday 14:03", "Tue 2026-11-17 14:03:00 +01:00"),
        ("tue 14:03:20", "Tue 2026-11-17 14:03:20 +01:00"),
        ("sunday 8:00", "Sun 2026-11-15 08:00:00 +01:00"),
        ("2026-11-17 14:03", "Tue 2026-11-17 14:03:00 +01:00"),
        ("2026-11-17T14:03:05", "Tue 2026-11-17 14:03:05 +01:00"),
        ("2026-11-17T14:03:00Z", "Tue 2026-11-17 15:03:00 +01:00"),
        ("2026-11-17 14:03+0300", "Tue 2026-11-17 12:03:00 +01:00"),
        ("2026-07-01", "Wed 2026-07-01 00:00:00 +02:00"),
        ("10 min ago", "Sun 2026-11-22 15:20:00 +01:00"),
        ("2 hours ago", "Sun 2026-11-22 13:30:00 +01:00"),
        ("-90s", "Sun 2026-11-22 15:28:30 +01:00"),
        ("2026-10-25 02:30", "Sun 2026-10-25 02:30:00 +02:00"),
    ],
)
def test_what_people_say(said: str, meant: str) -> None:
    assert spoken(parse(said, NOW)) == meant


@pytest.mark.parametrize(
    "said",
    [
        "",
        "noon",
        "tuseday 14:03",
        "25:00",
        "2026-02-30",
        "2026-03-29 02:30",
        "5 fortnights ago",
        "999999 days ago ago",
        "2026-11-17T99:00Z",
    ],
)
def test_what_is_no_time(said: str) -> None:
    with pytest.raises(NotATime):
        parse(said, NOW)


@given(st.text(max_size=30))
def test_nothing_else_is_raised(said: str) -> None:
    try:
        parse(said, NOW)
    except NotATime as error:
        assert str(error)


@given(st.integers(0, 4_102_444_800_000_000))
def test_nanoseconds_round_trip(us: int) -> None:
    assert to_ns(from_ns(us * 1000, BERLIN)) == us * 1000


def test_an_unknown_zone_keeps_its_offset() -> None:
    assert NOW.astimezone(zone_of("Mars/Olympus", 7200)).utcoffset() == datetime.timedelta(hours=2)
    assert zone_of("Europe/Berlin", 0) is BERLIN or zone_of("Europe/Berlin", 0) == BERLIN
