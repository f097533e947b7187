"""`io.recorderd.Timeline`: what is recorded when."""

from __future__ import annotations

from typing import Literal

from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message

INTERFACE = Interface("io.recorderd.Timeline")

KindWord = Literal["continuous", "schedule", "event", "manual"]
TrustWord = Literal["none", "rtc", "operator", "ntp"]
MAX_BARS = 2000
MAX_RUNS = 500


class Bar(Message, frozen=True):
    start: str
    stop: str
    run: int | None
    kind: KindWord | None
    cause: str | None
    trust: TrustWord
    merged: bool


class TimelineCall(Message, frozen=True, kw_only=True):
    recording: str
    track: str | None = None
    start: str
    stop: str
    limit: int | None = None


class Timeline(Message, frozen=True):
    bars: list[Bar]
    next: str | None


class Day(Message, frozen=True):
    day: str
    recorded_ms: int


class CalendarCall(Message, frozen=True, kw_only=True):
    recording: str
    track: str | None = None
    start: str
    stop: str
    utc_offset_s: int


class Calendar(Message, frozen=True):
    days: list[Day]


class Run(Message, frozen=True):
    id: int
    recording: str
    recording_name: str
    job: str
    receiver: str
    kind: KindWord
    topic: str | None
    source: str | None
    event_time: str | None
    tracks: list[str]
    start: str
    stop: str | None
    trust: TrustWord


class RunsCall(Message, frozen=True):
    recording: str | None = None
    job: str | None = None
    kind: KindWord | None = None
    topic: str | None = None
    start: str | None = None
    stop: str | None = None
    after: int | None = None
    limit: int | None = None


class Runs(Message, frozen=True):
    runs: list[Run]
    next: int | None


class LocateCall(Message, frozen=True, kw_only=True):
    recording: str
    track: str | None = None
    at: str


class Located(Message, frozen=True):
    key_frame: str | None
    inside: bool
    run: int | None


class CoverageCall(Message, frozen=True):
    recording: str
    track: str | None = None


class Coverage(Message, frozen=True):
    hour: float | None
    day: float | None


GET_TIMELINE = INTERFACE.method("GetTimeline", TimelineCall, Timeline, access=Access.VIEW)
GET_CALENDAR = INTERFACE.method("GetCalendar", CalendarCall, Calendar, access=Access.VIEW)
LIST_RUNS = INTERFACE.method("ListRuns", RunsCall, Runs, access=Access.VIEW)
LOCATE = INTERFACE.method("Locate", LocateCall, Located, access=Access.VIEW)
GET_COVERAGE = INTERFACE.method("GetCoverage", CoverageCall, Coverage, access=Access.VIEW)
