"""Which schedules are active now, and when that changes: the calendars of all schedules on the recorder's clocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from recorderd.model.calendar import Calendar, CalendarError
from recorderd.model.objects import Objects
from recorderd.model.ports import Clock, Event
from recorderd.model.schedule import Schedule, SpecialDayGroup
from recorderd.recording import topics


class Timetable:
    """Calendars are built when first asked for and dropped with `forget`. A schedule that does not exist is never active (5.3.3)."""

    def __init__(self, *, objects: Objects, clock: Clock, time_zone: str) -> None:
        self._schedules = cast("dict[str, Schedule]", objects.tables["schedule"])
        self._groups = cast("dict[str, SpecialDayGroup]", objects.tables["special_days"])
        self._clock = clock
        self._time_zone = time_zone
        self._calendars: dict[str, Calendar] = {}
        self._told: dict[str, tuple[str, bool, bool]] = {}  # name, active, special day

    def calendar(self, token: str) -> Calendar | None:
        schedule = self._schedules.get(token)
        if schedule is None:
            return None
        calendar = self._calendars.get(token)
        if calendar is None:
            groups = {g.group: self._groups[g.group] for g in schedule.special_days if g.group in self._groups}
            try:
                calendar = Calendar(schedule, groups, schedule.time_zone or self._time_zone)
            except CalendarError:
                return None
            self._calendars[token] = calendar
        return calendar

    def in_zone(self, time_zone: str) -> None:
        """The recorder's zone now: schedules without one of their own follow it."""
        if time_zone != self._time_zone:
            self._time_zone = time_zone
            self._calendars.clear()

    def active(self, token: str) -> bool:
        calendar = self.calendar(token)
        return calendar is not None and calendar.at(self._clock.realtime_ns()).active

    def forget(self, tokens: Iterable[str]) -> None:
        """After a change of schedules or special day groups."""
        changed = set(tokens)
        for token in list(self._calendars):
            schedule = self._schedules.get(token)
            if token in changed or schedule is None or any(d.group in changed for d in schedule.special_days):
                del self._calendars[token]

    def changes(self) -> Iterator[Event]:
        """Schedule/State/Active events of schedules whose state is not what was told last."""
        wall_ns = self._clock.realtime_ns()
        names = {token: schedule.name for token, schedule in self._schedules.items()}
        for token, (name, *_) in list(self._told.items()):
            if names.get(token) != name:
                del self._told[token]
                yield topics.schedule_active(token, name, False, False, "Deleted")
        for token, name in names.items():
            calendar = self.calendar(token)
            if calendar is None:
                continue
            state = calendar.at(wall_ns)
            now = (name, state.active, state.special_day)
            if self._told.get(token) != now:
                self._told[token] = now
                yield topics.schedule_active(token, *now)

    def next_change_ns(self, tokens: Iterable[str]) -> int | None:
        """Boot time of the next change of any of them, as far as the wall clock goes on as it does now."""
        wall_ns = self._clock.realtime_ns()
        ahead = [
            until - wall_ns
            for token in tokens
            if (calendar := self.calendar(token)) is not None and (until := calendar.at(wall_ns).until_ns) is not None
        ]
        return self._clock.boottime_ns() + min(ahead) if ahead else None
