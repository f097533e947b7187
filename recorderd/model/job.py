"""Recording jobs (Recording Control Service 5.3.3, 5.3.4) and the aggregation of their states (5.19, table 3)."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable

import msgspec

from recorderd.model.causes import RecordingState

RECEIVER_SOURCE = "http://www.onvif.org/ver10/schema/Receiver"
PROFILE_SOURCE = "http://www.onvif.org/ver10/schema/Profile"

INCOMPATIBLE_STREAM = "Incompatible Stream"


class JobMode(enum.StrEnum):
    IDLE = "Idle"
    ACTIVE = "Active"


class EventCondition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One filter pair: a topic expression (core 9.6.3) and an optional filter on source items (core 9.4.4)."""

    topic: str
    source: str = ""


class EventFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records while one of the conditions holds, and `before_ms` and `after_ms` around it."""

    conditions: tuple[EventCondition, ...]
    before_ms: int = 0
    after_ms: int = 0


class JobTrack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`source_tag` tells tracks of one type apart within a stream: "video", "audio", "metadata", or with a number from 1, "video2"."""

    destination: str
    source_tag: str = ""


class JobSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: str  # of a receiver
    type: str = RECEIVER_SOURCE
    tracks: tuple[JobTrack, ...] = ()


class JobConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:RecordingJobConfiguration as the recorder holds it: every source has a token."""

    recording: str  # token
    mode: JobMode = JobMode.IDLE
    priority: int = 0  # higher wins
    schedule: str = ""  # token
    event_filter: EventFilter | None = None
    sources: tuple[JobSource, ...] = ()


class RecordingJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job. `activation` grows with every change to Active: among equal priorities the latest wins (XSD of Priority)."""

    id: uuid.UUID
    token: str
    configuration: JobConfiguration
    activation: int = 0


class SourceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:RecordingJobSource as a client sends it. No tracks: all tracks of the recording."""

    token: str = ""
    type: str = RECEIVER_SOURCE
    auto_create_receiver: bool = False
    tracks: tuple[JobTrack, ...] = ()


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:RecordingJobConfiguration as a client sends it."""

    recording: str
    mode: str = JobMode.IDLE.value
    priority: int = 0
    schedule: str = ""
    event_filter: EventFilter | None = None
    sources: tuple[SourceRequest, ...] = ()


class JobTrackState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    source_tag: str
    destination: str
    state: RecordingState
    error: str = ""


class JobSourceState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: str
    type: str
    state: RecordingState
    tracks: tuple[JobTrackState, ...]


class JobState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:RecordingJobStateInformation."""

    recording: str
    state: RecordingState
    sources: tuple[JobSourceState, ...] = ()


def aggregate(states: Iterable[RecordingState]) -> RecordingState:
    """Table 3. A node without sub-nodes is idle; PartiallyActive below makes PartiallyActive above."""
    seen = set(states)
    if RecordingState.ERROR in seen:
        return RecordingState.ERROR
    if not seen or seen == {RecordingState.IDLE}:
        return RecordingState.IDLE
    if seen == {RecordingState.ACTIVE}:
        return RecordingState.ACTIVE
    return RecordingState.PARTIALLY_ACTIVE
