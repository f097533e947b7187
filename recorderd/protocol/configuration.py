"""`io.recorderd.Configuration`."""

from __future__ import annotations

from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Configuration")


class Content(Message, frozen=True):
    devices: int
    receivers: int
    recordings: int
    jobs: int
    schedules: int
    groups: int
    storages: int


class State(Message, frozen=True):
    content: Content
    problem: str
    mirror_problem: str
    offered: Content | None = None
    offered_written: str | None = None


class RestoreCall(Message, frozen=True):
    confirm: bool = False


class Restored(Message, frozen=True):
    content: Content
    missing_secrets: list[str]


GET_STATE = INTERFACE.method("GetState", Nothing, State, access=Access.VIEW)
RESTORE = INTERFACE.method("Restore", RestoreCall, Restored)
