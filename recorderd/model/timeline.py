"""What the ring says about time: instants, runs, spans, gaps and locks (format.md sections 9 to 13)."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass, field
from typing import NamedTuple

from recorderd.model.causes import GapCause, RunKind


class Instant(NamedTuple):
    """A moment as it is stored: CLOCK_BOOTTIME of a boot. Wall time is derived from it through the epoch table."""

    boot_id: uuid.UUID
    ns: int


class Trust(enum.IntEnum):
    """How far a wall time can be relied on."""

    NONE = 0  # the clock has not been set since power-on
    RTC = 1
    OPERATOR = 2
    NTP = 3


@dataclass(frozen=True, slots=True)
class RunCause:
    """Why a run began; `topic` and `instant_ns` (wall, since 1970) name the event of an event run."""

    kind: RunKind
    topic: str = ""
    source: str = ""
    instant_ns: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One uninterrupted activity of one job on a set of tracks: what VAPIX lists as a recording."""

    id: int  # ring-wide, grows, never reused
    recording: uuid.UUID
    job: uuid.UUID
    source: str  # receiver or device, as the operator names it
    cause: RunCause
    tracks: tuple[uuid.UUID, ...]
    start: Instant
    stop: Instant | None = None  # None while it runs


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a track's timeline in wall time. `cause` is set on gaps, `run` on recorded stretches."""

    track: uuid.UUID
    start_ns: int  # wall, since 1970
    stop_ns: int
    run: int | None = None
    run_kind: RunKind | None = None
    cause: GapCause | None = None
    trust: Trust = Trust.NTP


@dataclass(frozen=True, slots=True)
class Lock:
    """Keeps a wall-time range of a recording from recycling, retention and deletion; may reach into the future."""

    id: int
    recording: uuid.UUID
    start_ns: int
    stop_ns: int
    owner: str
    reason: str
    tracks: tuple[uuid.UUID, ...] = field(default=())  # empty: all
