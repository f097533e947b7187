"""`io.recorderd.Media`: exports and pictures as raw bytes."""

from __future__ import annotations

from typing import Literal

from recorderd.protocol.interface import Access, Interface, Kind
from recorderd.protocol.message import Message

INTERFACE = Interface("io.recorderd.Media")
Audio = Literal["copy", "aac", "none"]


class Gap(Message, frozen=True):
    track: str
    start: str
    stop: str
    cause: str


class ExportCall(Message, frozen=True):
    recording: str
    start: str
    stop: str
    tracks: tuple[str, ...] = ()
    audio: Audio = "copy"
    fragmented: bool = False
    hand_over: bool = False


class ExportReply(Message, frozen=True):
    start: str
    stop: str
    estimated_bytes: int
    gaps: list[Gap]


class SnapshotCall(Message, frozen=True):
    recording: str
    at: str | None = None
    width: int | None = None


class SnapshotReply(Message, frozen=True):
    at: str


EXPORT = INTERFACE.method("Export", ExportCall, ExportReply, access=Access.VIEW, kind=Kind.UPGRADE)
SNAPSHOT = INTERFACE.method("Snapshot", SnapshotCall, SnapshotReply, access=Access.VIEW, kind=Kind.UPGRADE)
