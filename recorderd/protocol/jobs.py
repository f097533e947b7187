"""`io.recorderd.Jobs`."""

from __future__ import annotations

from recorderd.model.job import JobConfiguration, JobRequest, JobState
from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Jobs")


class JobInfo(Message, frozen=True):
    token: str
    id: str
    configuration: JobConfiguration


class ListCall(Message, frozen=True):
    after: str | None = None


class ListReply(Message, frozen=True):
    jobs: list[JobInfo]
    next: str | None = None


class JobCall(Message, frozen=True):
    job: str


class JobReply(Message, frozen=True):
    job: JobInfo


class PutReply(Message, frozen=True):
    job: JobInfo
    warnings: list[str]


class CreateCall(Message, frozen=True):
    configuration: JobRequest


class ConfigureCall(Message, frozen=True):
    job: str
    configuration: JobRequest


class ModeCall(Message, frozen=True):
    job: str
    mode: str


class ModeReply(Message, frozen=True):
    warnings: list[str]


class StateReply(Message, frozen=True):
    state: JobState


LIST = INTERFACE.method("List", ListCall, ListReply, access=Access.VIEW)
GET = INTERFACE.method("Get", JobCall, JobReply, access=Access.VIEW)
CREATE = INTERFACE.method("Create", CreateCall, PutReply)
CONFIGURE = INTERFACE.method("Configure", ConfigureCall, PutReply)
SET_MODE = INTERFACE.method("SetMode", ModeCall, ModeReply)
DELETE = INTERFACE.method("Delete", JobCall, Nothing)
GET_STATE = INTERFACE.method("GetState", JobCall, StateReply, access=Access.VIEW)
