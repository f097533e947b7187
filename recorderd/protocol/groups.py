"""`io.recorderd.Groups`."""

from __future__ import annotations

import msgspec

from recorderd.model.group import GroupSettings, RecordingGroup
from recorderd.model.job import EventCondition
from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Groups")


class DestinationInfo(Message, frozen=True):
    token: str
    type: str
    storage_uri: str
    local_path: str
    region: str
    username: str
    certificate_policy: str
    secrets_set: list[str]


class ListReply(Message, frozen=True):
    groups: list[RecordingGroup]


class GroupCall(Message, frozen=True):
    group: str


class GroupReply(Message, frozen=True):
    group: RecordingGroup


class SettingsCall(Message, frozen=True):
    group: str
    settings: GroupSettings


class PutReply(Message, frozen=True):
    group: RecordingGroup
    warnings: list[str]


class StartCall(Message, frozen=True):
    group: str
    conditions: tuple[EventCondition, ...] = ()


class StartReply(Message, frozen=True):
    job: str
    warnings: list[str]


class DeleteCall(Message, frozen=True):
    group: str
    confirm: bool = False


class ListDestinationsReply(Message, frozen=True):
    destinations: list[DestinationInfo]


class DestinationCall(Message, frozen=True):
    destination: str


class DestinationReply(Message, frozen=True):
    destination: DestinationInfo


class CreateDestinationCall(Message, frozen=True):
    type: str
    storage_uri: str = ""
    local_path: str = ""
    region: str = ""
    username: str = ""
    certificate_policy: str = ""
    secrets: dict[str, str] = msgspec.field(default_factory=dict)


class TokenReply(Message, frozen=True):
    token: str


class SetDestinationCall(Message, frozen=True):
    destination: str
    type: str
    storage_uri: str = ""
    local_path: str = ""
    region: str = ""
    username: str = ""
    certificate_policy: str = ""
    secrets: dict[str, str] = msgspec.field(default_factory=dict)


LIST = INTERFACE.method("List", Nothing, ListReply, access=Access.VIEW)
GET = INTERFACE.method("Get", GroupCall, GroupReply, access=Access.VIEW)
CREATE = INTERFACE.method("Create", SettingsCall, PutReply)
UPDATE = INTERFACE.method("Update", SettingsCall, PutReply)
START = INTERFACE.method("Start", StartCall, StartReply)
STOP = INTERFACE.method("Stop", GroupCall, Nothing)
DELETE = INTERFACE.method("Delete", DeleteCall, Nothing)
LIST_DESTINATIONS = INTERFACE.method("ListDestinations", Nothing, ListDestinationsReply, access=Access.VIEW)
GET_DESTINATION = INTERFACE.method("GetDestination", DestinationCall, DestinationReply, access=Access.VIEW)
CREATE_DESTINATION = INTERFACE.method("CreateDestination", CreateDestinationCall, TokenReply)
SET_DESTINATION = INTERFACE.method("SetDestination", SetDestinationCall, Nothing)
DELETE_DESTINATION = INTERFACE.method("DeleteDestination", DestinationCall, Nothing)
