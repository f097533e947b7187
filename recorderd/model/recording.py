"""Recordings and their tracks (Recording Control Service 5.3.1, 5.3.2)."""

from __future__ import annotations

import enum
import uuid

import msgspec

from recorderd.model.stream import MediaKind


class TrackType(enum.StrEnum):
    VIDEO = "Video"
    AUDIO = "Audio"
    METADATA = "Metadata"

    @property
    def kind(self) -> MediaKind:
        return MediaKind(self.value.lower())

    @property
    def prefix(self) -> str:
        """Track tokens are this and three digits (table 2)."""
        return {"Video": "VIDEO", "Audio": "AUDIO", "Metadata": "META"}[self.value]


class TargetFormat(enum.StrEnum):
    MP4 = "MP4"
    CMAF = "CMAF"


class EncryptionMode(enum.StrEnum):
    CENC = "CENC"
    CBCS = "CBCS"


class EncryptionEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:RecordingEncryption without its Key, which is write-only and kept as a secret under the entry's `kid`."""

    mode: EncryptionMode
    kid: str  # 16 bytes as hexadecimal digits
    tracks: tuple[str, ...] = ()  # empty: all


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:RecordingTargetConfiguration: where segments go besides the ring. Stored; uploading is a later step."""

    storage: str  # token of a storage destination
    format: TargetFormat = TargetFormat.MP4
    prefix: str = ""
    postfix: str = ""
    span_duration_ms: int = 0  # 0: no limit
    segment_duration_ms: int = 60_000
    encryption: tuple[EncryptionEntry, ...] = ()


class SourceInformation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:RecordingSourceInformation: stored and returned, not used."""

    source_id: str = ""
    name: str = ""
    location: str = ""
    description: str = ""
    address: str = ""


class RecordingConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:RecordingConfiguration, and what the ring can do beyond it."""

    source: SourceInformation = SourceInformation()
    content: str = ""
    maximum_retention_ms: int = 0  # 0: unlimited
    minimum_retention_ms: int = 0  # younger data is recycled only when nothing else is left
    quota_bytes: int = 0  # 0: unlimited
    target: Target | None = None


class TrackConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: TrackType
    description: str = ""


class Track(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A track. `encoding` is the codec of the data it holds, empty while it holds none: all data of a track has one encoding (5.1)."""

    id: uuid.UUID
    token: str  # unique within the recording
    configuration: TrackConfiguration
    encoding: str = ""


class Recording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A container of tracks. `id` is never reused; `token` is its name outside."""

    id: uuid.UUID
    token: str
    configuration: RecordingConfiguration
    tracks: tuple[Track, ...]
    group: str = ""  # the recording group it belongs to

    def track(self, token: str) -> Track | None:
        return next((t for t in self.tracks if t.token == token), None)
