"""`io.recorderd.Exports`."""

from __future__ import annotations

from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Exports")


class FileProgressInfo(Message, frozen=True):
    name: str
    progress: float


class OperationInfo(Message, frozen=True):
    token: str
    progress: float
    files_done: int
    files_total: int
    files: list[FileProgressInfo]
    finished: bool
    error: str
    detail: str
    notes: list[str]


class StartCall(Message, frozen=True):
    storage: str
    recordings: tuple[str, ...] = ()
    start: str | None = None
    stop: str | None = None
    format: str = "MP4"
    path: str = ""


class ListReply(Message, frozen=True):
    operations: list[OperationInfo]


class OperationCall(Message, frozen=True):
    operation: str


class OperationReply(Message, frozen=True):
    operation: OperationInfo


class TryCall(Message, frozen=True):
    storage: str


class TryReply(Message, frozen=True):
    works: bool
    reason: str


START = INTERFACE.method("Start", StartCall, OperationReply)
LIST = INTERFACE.method("List", Nothing, ListReply, access=Access.VIEW)
GET = INTERFACE.method("Get", OperationCall, OperationReply, access=Access.VIEW)
STOP = INTERFACE.method("Stop", OperationCall, OperationReply)
TRY = INTERFACE.method("Try", TryCall, TryReply)
