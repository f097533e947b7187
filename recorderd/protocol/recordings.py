"""`io.recorderd.Recordings`."""

from __future__ import annotations

import msgspec

from recorderd.model.recording import RecordingConfiguration, TrackConfiguration
from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Recordings")


class TrackInfo(Message, frozen=True):
    token: str
    id: str
    configuration: TrackConfiguration
    encoding: str


class Override(Message, frozen=True):
    segment_duration_ms: int
    remaining_ms: int


class RecordingInfo(Message, frozen=True):
    token: str
    id: str
    configuration: RecordingConfiguration
    tracks: list[TrackInfo]
    group: str
    is_recording: bool
    override: Override | None = None


class LockInfo(Message, frozen=True):
    id: int
    recording: str
    tracks: tuple[str, ...]
    start: str
    stop: str
    owner: str
    reason: str


class ListCall(Message, frozen=True):
    after: str | None = None


class ListReply(Message, frozen=True):
    recordings: list[RecordingInfo]
    next: str | None = None


class RecordingCall(Message, frozen=True):
    recording: str


class RecordingReply(Message, frozen=True):
    recording: RecordingInfo


class CreateCall(Message, frozen=True):
    configuration: RecordingConfiguration = RecordingConfiguration()
    keys: dict[str, str] = msgspec.field(default_factory=dict)


class ConfigureCall(Message, frozen=True):
    recording: str
    configuration: RecordingConfiguration
    keys: dict[str, str] = msgspec.field(default_factory=dict)


class DeleteCall(Message, frozen=True):
    recording: str
    confirm: bool = False


class CreateTrackCall(Message, frozen=True):
    recording: str
    configuration: TrackConfiguration


class TrackReply(Message, frozen=True):
    track: TrackInfo


class ConfigureTrackCall(Message, frozen=True):
    recording: str
    track: str
    configuration: TrackConfiguration


class DeleteTrackCall(Message, frozen=True):
    recording: str
    track: str
    confirm: bool = False


class Options(Message, frozen=True):
    spare_jobs: int
    spare_tracks: int
    spare_video: int
    spare_audio: int
    spare_metadata: int


class OverrideCall(Message, frozen=True):
    recording: str
    segment_duration_ms: int
    expiration_ms: int


class DeleteMediaCall(Message, frozen=True):
    recording: str
    track: str | None = None
    run: int | None = None
    start: str | None = None
    stop: str | None = None
    confirm: bool = False


class DeleteMediaReply(Message, frozen=True):
    tracks: int
    freed_bytes: int
    partial_bytes: int


class LockCall(Message, frozen=True):
    recording: str
    start: str
    stop: str
    tracks: tuple[str, ...] = ()
    reason: str = ""


class LockReply(Message, frozen=True):
    lock: LockInfo


class UnlockCall(Message, frozen=True):
    lock: int


class ListLocksCall(Message, frozen=True):
    recording: str | None = None


class ListLocksReply(Message, frozen=True):
    locks: list[LockInfo]


class Capabilities(Message, frozen=True):
    dynamic_recordings: bool
    dynamic_tracks: bool
    encodings: list[str]
    max_rate_kbps: float
    max_total_rate_kbps: float
    max_recordings: int
    max_recording_jobs: int
    options: bool
    metadata_recording: bool
    export_file_formats: list[str]
    scheduled_recording: bool
    event_recording: bool
    before_event_limit_ms: int
    after_event_limit_ms: int
    target_formats: list[str]
    encryption_entry_limit: int
    encryption_modes: list[str]
    override_segment_duration: bool


LIST = INTERFACE.method("List", ListCall, ListReply, access=Access.VIEW)
GET = INTERFACE.method("Get", RecordingCall, RecordingReply, access=Access.VIEW)
CREATE = INTERFACE.method("Create", CreateCall, RecordingReply)
CONFIGURE = INTERFACE.method("Configure", ConfigureCall, Nothing)
DELETE = INTERFACE.method("Delete", DeleteCall, Nothing)
CREATE_TRACK = INTERFACE.method("CreateTrack", CreateTrackCall, TrackReply)
CONFIGURE_TRACK = INTERFACE.method("ConfigureTrack", ConfigureTrackCall, Nothing)
DELETE_TRACK = INTERFACE.method("DeleteTrack", DeleteTrackCall, Nothing)
GET_OPTIONS = INTERFACE.method("GetOptions", RecordingCall, Options, access=Access.VIEW)
OVERRIDE_SEGMENT_DURATION = INTERFACE.method("OverrideSegmentDuration", OverrideCall, Nothing)
DELETE_MEDIA = INTERFACE.method("DeleteMedia", DeleteMediaCall, DeleteMediaReply)
LOCK = INTERFACE.method("Lock", LockCall, LockReply)
UNLOCK = INTERFACE.method("Unlock", UnlockCall, Nothing)
LIST_LOCKS = INTERFACE.method("ListLocks", ListLocksCall, ListLocksReply, access=Access.VIEW)
GET_CAPABILITIES = INTERFACE.method("GetCapabilities", Nothing, Capabilities, access=Access.VIEW)
