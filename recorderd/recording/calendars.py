"""What can be asked of schedules and special days (ONVIF Schedule service). Every change is durable when its call returns."""

from __future__ import annotations

from recorderd.model.calendar import ScheduleState
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.model.ports import Clock
from recorderd.model.schedule import Schedule, SpecialDayGroup
from recorderd.recording.rules import schedules
from recorderd.recording.timetable import Timetable
from recorderd.recording.transactions import Transactions


class Calendars:
    """Every refusal is a `model.faults.Fault`."""

    def __init__(self, *, transactions: Transactions, timetable: Timetable, clock: Clock, limits: Limits) -> None:
        self._transactions = transactions
        self._timetable = timetable
        self._clock = clock
        self._limits = limits

    def list_schedules(self) -> list[Schedule]:
        return list(self._transactions.read().schedules)

    def get_schedule(self, token: str) -> Schedule:
        return schedules.get(self._transactions.read(), token)

    def schedule_state(self, token: str) -> ScheduleState:
        schedules.get(self._transactions.read(), token)
        calendar = self._timetable.calendar(token)
        if calendar is None:
            return ScheduleState(False, False, None)
        return calendar.at(self._clock.realtime_ns())

    async def create_schedule(self, schedule: Schedule) -> Schedule:
        return await self._transactions.run(lambda d: schedules.create(d, self._limits, schedule))

    async def modify_schedule(self, schedule: Schedule) -> Schedule:
        return await self._transactions.run(lambda d: schedules.modify(d, self._limits, schedule))

    async def set_schedule(self, schedule: Schedule) -> Schedule:
        """Creates or replaces, under the client's token."""

        def rule(draft: Draft) -> Schedule:
            known = schedule.token in draft.schedules
            return (schedules.modify if known else schedules.create)(draft, self._limits, schedule)

        return await self._transactions.run(rule)

    async def delete_schedule(self, token: str) -> None:
        await self._transactions.run(lambda d: schedules.delete(d, token))

    def list_special_days(self) -> list[SpecialDayGroup]:
        return list(self._transactions.read().special_days)

    def get_special_days(self, token: str) -> SpecialDayGroup:
        return schedules.get_group(self._transactions.read(), token)

    async def set_special_days(self, group: SpecialDayGroup) -> SpecialDayGroup:
        def rule(draft: Draft) -> SpecialDayGroup:
            known = group.token in draft.special_days
            return (schedules.put_group if known else schedules.create_group)(draft, self._limits, group)

        return await self._transactions.run(rule)

    async def delete_special_days(self, token: str) -> None:
        await self._transactions.run(lambda d: schedules.delete_group(d, token))
