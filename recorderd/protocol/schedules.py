"""`io.recorderd.Schedules`."""

from __future__ import annotations

from recorderd.model.schedule import Schedule, SpecialDayGroup
from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Schedules")


class ListCall(Message, frozen=True):
    after: str | None = None


class ListReply(Message, frozen=True):
    schedules: list[Schedule]
    next: str | None = None


class ScheduleCall(Message, frozen=True):
    schedule: str


class ScheduleReply(Message, frozen=True):
    schedule: Schedule


class PutCall(Message, frozen=True):
    schedule: Schedule


class TokenReply(Message, frozen=True):
    token: str


class StateReply(Message, frozen=True):
    active: bool
    special_day: bool
    until: str | None = None


class ListSpecialDaysReply(Message, frozen=True):
    groups: list[SpecialDayGroup]


class GroupCall(Message, frozen=True):
    group: str


class GroupReply(Message, frozen=True):
    group: SpecialDayGroup


class PutGroupCall(Message, frozen=True):
    group: SpecialDayGroup


class Capabilities(Message, frozen=True):
    max_limit: int
    max_schedules: int
    max_time_periods_per_day: int
    max_special_day_groups: int
    max_days_in_special_day_group: int
    max_special_days_schedules: int
    extended_recurrence: bool
    special_days: bool
    state_reporting: bool
    client_supplied_token: bool


LIST = INTERFACE.method("List", ListCall, ListReply, access=Access.VIEW)
GET = INTERFACE.method("Get", ScheduleCall, ScheduleReply, access=Access.VIEW)
CREATE = INTERFACE.method("Create", PutCall, TokenReply)
MODIFY = INTERFACE.method("Modify", PutCall, Nothing)
SET = INTERFACE.method("Set", PutCall, Nothing)
DELETE = INTERFACE.method("Delete", ScheduleCall, Nothing)
GET_STATE = INTERFACE.method("GetState", ScheduleCall, StateReply, access=Access.VIEW)
LIST_SPECIAL_DAYS = INTERFACE.method("ListSpecialDays", Nothing, ListSpecialDaysReply, access=Access.VIEW)
GET_SPECIAL_DAYS = INTERFACE.method("GetSpecialDays", GroupCall, GroupReply, access=Access.VIEW)
SET_SPECIAL_DAYS = INTERFACE.method("SetSpecialDays", PutGroupCall, TokenReply)
DELETE_SPECIAL_DAYS = INTERFACE.method("DeleteSpecialDays", GroupCall, Nothing)
GET_CAPABILITIES = INTERFACE.method("GetCapabilities", Nothing, Capabilities, access=Access.VIEW)
