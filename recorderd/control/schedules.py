"""The face of `io.recorderd.Schedules`."""

from __future__ import annotations

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.control.refusals import page, refusing
from recorderd.protocol import schedules as protocol
from recorderd.protocol.message import Nothing
from recorderd.protocol.wall import to_rfc3339
from recorderd.recording.service import RecordingService

PAGE = 16


class SchedulesFace:
    def __init__(self, *, service: RecordingService) -> None:
        self._service = service

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.LIST, refusing(self._list))
        table.reply(protocol.GET, refusing(self._get))
        table.reply(protocol.CREATE, refusing(self._create))
        table.reply(protocol.MODIFY, refusing(self._modify))
        table.reply(protocol.SET, refusing(self._set))
        table.reply(protocol.DELETE, refusing(self._delete))
        table.reply(protocol.GET_STATE, refusing(self._get_state))
        table.reply(protocol.LIST_SPECIAL_DAYS, refusing(self._list_special_days))
        table.reply(protocol.GET_SPECIAL_DAYS, refusing(self._get_special_days))
        table.reply(protocol.SET_SPECIAL_DAYS, refusing(self._set_special_days))
        table.reply(protocol.DELETE_SPECIAL_DAYS, refusing(self._delete_special_days))
        table.reply(protocol.GET_CAPABILITIES, refusing(self._get_capabilities))

    async def _list(self, call: protocol.ListCall, _: Peer) -> protocol.ListReply:
        schedules, further = page(self._service.calendars.list_schedules(), lambda s: s.token, call.after, PAGE)
        return protocol.ListReply(schedules=schedules, next=further)

    async def _get(self, call: protocol.ScheduleCall, _: Peer) -> protocol.ScheduleReply:
        return protocol.ScheduleReply(schedule=self._service.calendars.get_schedule(call.schedule))

    async def _create(self, call: protocol.PutCall, _: Peer) -> protocol.TokenReply:
        return protocol.TokenReply(token=(await self._service.calendars.create_schedule(call.schedule)).token)

    async def _modify(self, call: protocol.PutCall, _: Peer) -> Nothing:
        await self._service.calendars.modify_schedule(call.schedule)
        return Nothing()

    async def _set(self, call: protocol.PutCall, _: Peer) -> Nothing:
        await self._service.calendars.set_schedule(call.schedule)
        return Nothing()

    async def _delete(self, call: protocol.ScheduleCall, _: Peer) -> Nothing:
        await self._service.calendars.delete_schedule(call.schedule)
        return Nothing()

    async def _get_state(self, call: protocol.ScheduleCall, _: Peer) -> protocol.StateReply:
        state = self._service.calendars.schedule_state(call.schedule)
        until = to_rfc3339(state.until_ns) if state.until_ns is not None else None
        return protocol.StateReply(active=state.active, special_day=state.special_day, until=until)

    async def _list_special_days(self, _call: Nothing, _: Peer) -> protocol.ListSpecialDaysReply:
        return protocol.ListSpecialDaysReply(groups=self._service.calendars.list_special_days())

    async def _get_special_days(self, call: protocol.GroupCall, _: Peer) -> protocol.GroupReply:
        return protocol.GroupReply(group=self._service.calendars.get_special_days(call.group))

    async def _set_special_days(self, call: protocol.PutGroupCall, _: Peer) -> protocol.TokenReply:
        return protocol.TokenReply(token=(await self._service.calendars.set_special_days(call.group)).token)

    async def _delete_special_days(self, call: protocol.GroupCall, _: Peer) -> Nothing:
        await self._service.calendars.delete_special_days(call.group)
        return Nothing()

    async def _get_capabilities(self, _call: Nothing, _: Peer) -> protocol.Capabilities:
        limits = self._service.limits
        return protocol.Capabilities(
            max_limit=PAGE,
            max_schedules=limits.schedules,
            max_time_periods_per_day=limits.periods_per_day,
            max_special_day_groups=limits.special_day_groups,
            max_days_in_special_day_group=limits.days_per_special_day_group,
            max_special_days_schedules=limits.special_days_per_schedule,
            extended_recurrence=True,
            special_days=True,
            state_reporting=True,
            client_supplied_token=True,
        )
