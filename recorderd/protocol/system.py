"""`io.recorderd.System`: the state of the whole, and why something is not recorded."""

from __future__ import annotations

from typing import Literal

from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.System")

Severity = Literal["error", "warning", "notice"]
CameraState = Literal["recording", "waiting", "connecting", "failing", "idle"]
DiskState = Literal["recording", "opening", "degraded", "missing", "foreign", "blank"]
TrustWord = Literal["none", "rtc", "operator", "ntp"]
LinkState = Literal["good", "bad", "unknown"]


class Problem(Message, frozen=True):
    severity: Severity
    subject: str
    text: str
    since: str | None = None


class Camera(Message, frozen=True):
    device: str
    name: str
    recording: str
    due: bool
    state: CameraState
    cause: str | None
    detail: str
    since: str | None
    durable_age_ms: int | None
    codec: str
    width: int
    height: int
    frame_rate: float
    asked_frame_rate: float | None
    bit_rate: int
    coverage_hour: float | None
    coverage_day: float | None
    loss_bound_ms: int | None
    prebuffer_ms: int
    lost_packets: int
    port: str | None


class Disk(Message, frozen=True):
    state: DiskState
    detail: str
    path: str
    medium: str
    durable: bool
    size_bytes: int
    slots: int
    free_slots: int
    locked_bytes: int
    oldest: str | None
    reach_ms: int | None
    forecast_ms: int | None
    required_ms: int | None
    commit_age_ms: int | None
    slowest_commit_ms: float | None
    bytes_per_day: int | None


class Clock(Message, frozen=True):
    now: str
    zone: str
    utc_offset_s: int
    trust: TrustWord


class Poe(Message, frozen=True):
    board: str
    state: str
    summary: str
    budget_mw: int | None
    used_mw: int | None
    ports_on: int
    ports: int


class Process(Message, frozen=True):
    uptime_ms: int
    media_ram_bytes: int
    media_ram_limit_bytes: int
    stall_s: float | None
    late_p99_ms: float
    overruns: int


class Status(Message, frozen=True):
    name: str
    version: str
    verdict: str
    well: bool
    problems: list[Problem]
    cameras: list[Camera]
    disk: Disk
    clock: Clock
    poe: Poe | None
    board: str | None
    process: Process


class ExplainCall(Message, frozen=True):
    camera: str


class Link(Message, frozen=True):
    name: str
    state: LinkState
    detail: str
    since: str | None = None


class Explanation(Message, frozen=True):
    camera: str
    links: list[Link]
    broken: str | None
    recorder_does: str
    person_can: str


GET_STATUS = INTERFACE.method("GetStatus", Nothing, Status, access=Access.VIEW)
EXPLAIN = INTERFACE.method("Explain", ExplainCall, Explanation, access=Access.VIEW)
