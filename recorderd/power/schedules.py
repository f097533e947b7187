"""When a port is off by the clock: weekly windows in local time, which may reach over midnight."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES = 24 * 60


class OffWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Off from `start_min` to `stop_min` (minutes after midnight) on `days` (0 is Monday: the day it begins).

    A stop at or before the start is on the next day.
    """

    days: tuple[int, ...]
    start_min: int
    stop_min: int

    def __post_init__(self) -> None:
        if not self.days or not all(0 <= day < 7 for day in self.days):
            raise ValueError("days: one or more of 0 (Monday) to 6")
        if not (0 <= self.start_min < MINUTES and 0 <= self.stop_min < MINUTES):
            raise ValueError(f"start_min, stop_min: 0 to {MINUTES - 1}")

    def __str__(self) -> str:
        days = "daily" if len(set(self.days)) == 7 else ",".join(DAYS[d] for d in sorted(set(self.days)))
        return f"{days} {_clock(self.start_min)}-{_clock(self.stop_min)}"


def off_now(windows: Sequence[OffWindow], local: datetime.datetime) -> OffWindow | None:
    """The window that `local` lies in, if any."""
    minute = local.hour * 60 + local.minute
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    for window in windows:
        overnight = window.stop_min <= window.start_min
        if today in window.days and minute >= window.start_min and (overnight or minute < window.stop_min):
            return window
        if overnight and yesterday in window.days and minute < window.stop_min:
            return window
    return None


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
