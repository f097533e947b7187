"""The drawn timeline: what is there shows, and no gap hides."""

from __future__ import annotations

import datetime
import zoneinfo

from hypothesis import given
from hypothesis import strategies as st

from recorderd.ctl.bar import ASCII, Stretch, draw, ruler

HOUR = 3_600_000_000_000


def test_a_day() -> None:
    stretches = [
        Stretch(0, 6 * HOUR, "recorded"),
        Stretch(6 * HOUR, 9 * HOUR, "gap"),
        Stretch(9 * HOUR, 10 * HOUR, "event"),
        Stretch(12 * HOUR, 18 * HOUR, "recorded"),
        Stretch(18 * HOUR, 18 * HOUR + 10**10, "gap"),
        Stretch(18 * HOUR + 10**10, 24 * HOUR, "recorded"),
    ]
    assert draw(stretches, 0, 24 * HOUR, 24, ASCII) == "######...e  ######|#####"


def test_the_shortest_event_and_gap_show() -> None:
    assert draw([Stretch(5 * HOUR, 5 * HOUR + 1, "event")], 0, 24 * HOUR, 72, ASCII).strip() == "e"
    assert draw([Stretch(5 * HOUR, 5 * HOUR + 1, "gap")], 0, 24 * HOUR, 72, ASCII).strip() == "."


@given(
    st.lists(st.tuples(st.integers(-10, 200), st.integers(0, 50), st.sampled_from(("recorded", "event", "gap")))),
    st.integers(1, 90),
)
def test_always_as_wide_as_asked(parts: list[tuple[int, int, str]], width: int) -> None:
    line = draw([Stretch(a, a + n, what) for a, n, what in parts], 0, 100, width, ASCII)  # type: ignore[arg-type]
    assert len(line) == width
    if not any(n and a < 100 and a + n > 0 for a, n, _ in parts):
        assert line.strip() == ""


def test_the_ruler_keeps_local_hours_over_a_change_of_the_clocks() -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    start = datetime.datetime(2026, 10, 25, tzinfo=berlin)
    line = ruler(start, datetime.datetime(2026, 10, 26, tzinfo=berlin), 75)
    assert line.startswith("00:00")
    assert len(line) <= 75
    assert "02:00" in line
