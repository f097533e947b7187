"""The drawn day: bars, gaps with causes, and a clear word where there is nothing."""

from __future__ import annotations

import datetime
import zoneinfo

from recorderd.ctl.bar import ASCII
from recorderd.ctl.timeline import render
from recorderd.protocol.timeline import Bar

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
START = datetime.datetime(2026, 11, 17, tzinfo=BERLIN)
STOP = datetime.datetime(2026, 11, 18, tzinfo=BERLIN)


def _bar(
    start: str, stop: str, *, kind: str | None = "continuous", cause: str | None = None, run: int | None = 1
) -> Bar:
    return Bar(
        start=f"2026-11-17T{start}.000000Z",
        stop=f"2026-11-17T{stop}.000000Z",
        run=run,
        kind=kind,
        cause=cause,
        trust="ntp",
        merged=False,
    )  # type: ignore[arg-type]


def test_a_day_with_a_gap_and_an_event() -> None:
    bars = [
        _bar("05:00:00", "11:00:00"),
        _bar("11:00:00", "11:00:12", kind=None, run=None, cause="camera_silent"),
        _bar("11:00:12", "12:00:00"),
        _bar("14:00:00", "14:00:20", kind="event", run=7),
    ]
    text = render(bars, START, STOP, ASCII, 72)
    lines = text.splitlines()
    assert lines[0] == "Tue 2026-11-17 00:00:00 +01:00 to Wed 2026-11-18 00:00:00 +01:00"
    assert len(lines[2]) <= 72
    assert lines[2].strip().startswith("######")
    assert "|" in lines[2]
    assert "e" in lines[2]
    assert "2026-11-17 12:00:00    12 s  camera silent" in text
    assert "2026-11-17 15:00:00    20 s  event 7" in text


def test_nothing_and_no_gaps_are_told_apart() -> None:
    assert "nothing is recorded here" in render([], START, STOP, ASCII, 80)
    assert "no gaps" in render([_bar("05:00:00", "06:00:00")], START, STOP, ASCII, 80)
