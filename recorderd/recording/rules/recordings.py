"""Recordings and tracks (5.4 to 5.12)."""

from __future__ import annotations

import re
import uuid

import msgspec

from recorderd.model.deletion import PendingDeletion
from recorderd.model.faults import BadConfiguration, MaxRecordings, MaxTracks, NoRecording, NoTrack
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.model.recording import Recording, RecordingConfiguration, Target, Track, TrackConfiguration, TrackType
from recorderd.recording.rules import check, jobs

FIRST_TRACKS = (TrackType.VIDEO, TrackType.AUDIO, TrackType.METADATA)  # table 2
_HEX_16 = re.compile(r"[0-9A-Fa-f]{32}")
MAX_RETENTION_MS = 100 * 365 * 86_400_000


def get(draft: Draft, token: str) -> Recording:
    recording = draft.recordings.get(token)
    if recording is None:
        raise NoRecording(f"there is no recording {token!r}", argument="recording", got=token)
    return recording


def get_track(draft: Draft, recording: str, token: str) -> Track:
    track = get(draft, recording).track(token)
    if track is None:
        raise NoTrack(f"recording {recording} has no track {token!r}", argument="track", got=token)
    return track


def create(
    draft: Draft, limits: Limits, configuration: RecordingConfiguration, keys: dict[str, str] | None = None
) -> Recording:
    if len(draft.recordings) >= limits.recordings:
        raise MaxRecordings(f"the recorder takes {limits.recordings} recordings", expected=str(limits.recordings))
    tracks: list[Track] = []
    for kind in FIRST_TRACKS:
        tracks.append(
            Track(id=uuid.uuid4(), token=_track_token(tracks, kind), configuration=TrackConfiguration(type=kind))
        )
    recording = Recording(
        id=uuid.uuid4(),
        token=f"recording-{draft.number('recording')}",
        configuration=RecordingConfiguration(),
        tracks=tuple(tracks),
    )
    return _configure(draft, limits, recording, configuration, keys or {})


def configure(
    draft: Draft, limits: Limits, token: str, configuration: RecordingConfiguration, keys: dict[str, str] | None = None
) -> Recording:
    """`keys`: encryption keys by KID; those not given stay as they are."""
    return _configure(draft, limits, get(draft, token), configuration, keys or {})


def _configure(
    draft: Draft, limits: Limits, old: Recording, configuration: RecordingConfiguration, keys: dict[str, str]
) -> Recording:
    source = configuration.source
    source = msgspec.structs.replace(
        source,
        source_id=check.text(source.source_id, "source.source_id", limits.uri_chars),
        name=check.text(source.name, "source.name", limits.name_chars),
        location=check.shortened(source.location, "source.location", limits.description_chars),
        description=check.shortened(source.description, "source.description", limits.description_chars),
        address=check.text(source.address, "source.address", limits.uri_chars),
    )
    check.number(configuration.maximum_retention_ms, "maximum_retention_ms", 0, MAX_RETENTION_MS)
    check.number(configuration.minimum_retention_ms, "minimum_retention_ms", 0, MAX_RETENTION_MS)
    check.number(configuration.quota_bytes, "quota_bytes", 0, 1 << 53)
    if 0 < configuration.maximum_retention_ms < configuration.minimum_retention_ms:
        raise BadConfiguration("the minimum is longer than the maximum", argument="minimum_retention_ms")
    recording = msgspec.structs.replace(
        old,
        configuration=msgspec.structs.replace(
            configuration,
            source=source,
            content=check.shortened(configuration.content, "content", limits.description_chars),
        ),
    )
    draft.recordings.put(recording)
    _check_target(draft, limits, recording, configuration.target, keys)
    return recording


def _check_target(
    draft: Draft, limits: Limits, recording: Recording, target: Target | None, keys: dict[str, str]
) -> None:
    entries = target.encryption if target is not None else ()
    if target is not None:
        if target.storage not in draft.destinations:
            raise BadConfiguration(
                f"there is no storage {target.storage!r}", argument="target.storage", got=target.storage
            )
        check.text(target.prefix, "target.prefix", 256)
        check.text(target.postfix, "target.postfix", 256)
        check.number(target.segment_duration_ms, "target.segment_duration_ms", 1000, 86_400_000)
        check.number(target.span_duration_ms, "target.span_duration_ms", 0, 86_400_000)
        if len(entries) > limits.encryption_entries:
            raise BadConfiguration(
                "too many encryption entries", argument="target.encryption", expected=f"{limits.encryption_entries}"
            )
    covered: set[str] = set()
    for entry in entries:
        if _HEX_16.fullmatch(entry.kid.replace("-", "")) is None:
            raise BadConfiguration(
                "KID is no 16-byte value", argument="target.encryption.kid", expected="32 hexadecimal digits"
            )
        tracks = set(entry.tracks) or {t.token for t in recording.tracks}
        if covered & tracks or (not entry.tracks and len(entries) > 1):
            raise BadConfiguration("a track is covered by two encryption entries", argument="target.encryption.tracks")
        if unknown := tracks - {t.token for t in recording.tracks}:
            raise BadConfiguration(f"there is no track {min(unknown)!r}", argument="target.encryption.tracks")
        covered |= tracks
    kids = {entry.kid for entry in entries}
    for kid, key in keys.items():
        if kid not in kids or _HEX_16.fullmatch(key) is None:
            raise BadConfiguration(
                "an encryption key cannot be used", argument="target.encryption.key", expected="16 bytes in hexadecimal"
            )
        draft.secret("recording", recording.token, f"key {kid}", key)


def delete(draft: Draft, token: str) -> Recording:
    """With its tracks, its jobs, and their automatic receivers that nothing else uses (5.5)."""
    recording = get(draft, token)
    for job in list(draft.jobs):
        if job.configuration.recording == token:
            jobs.delete(draft, job.token)
    draft.recordings.delete(token)
    _delete_media(draft, recording)
    return recording


def create_track(draft: Draft, limits: Limits, recording_token: str, configuration: TrackConfiguration) -> Track:
    recording = get(draft, recording_token)
    kind = configuration.type
    if spare_tracks(recording, limits, kind) <= 0:
        raise MaxTracks(
            f"a recording takes {limits.tracks_per_type} tracks of type {kind.value}",
            expected=str(limits.tracks_per_type),
        )
    track = Track(
        id=uuid.uuid4(),
        token=_track_token(recording.tracks, kind),
        configuration=_described(configuration, limits),
    )
    draft.recordings.put(msgspec.structs.replace(recording, tracks=(*recording.tracks, track)))
    return track


def spare_tracks(recording: Recording, limits: Limits, kind: TrackType) -> int:
    return limits.tracks_per_type - sum(1 for t in recording.tracks if t.configuration.type is kind)


def _described(configuration: TrackConfiguration, limits: Limits) -> TrackConfiguration:
    return msgspec.structs.replace(
        configuration, description=check.shortened(configuration.description, "description", limits.description_chars)
    )


def _track_token(tracks: tuple[Track, ...] | list[Track], kind: TrackType) -> str:
    """The lowest free number; the id behind it is new, so a token used again never shows old data."""
    taken = {t.token for t in tracks}
    return next(token for n in range(1, 1000) if (token := f"{kind.prefix}{n:03}") not in taken)


def configure_track(
    draft: Draft, limits: Limits, recording_token: str, token: str, configuration: TrackConfiguration
) -> Track:
    """The type cannot be changed and is ignored (5.12)."""
    old = get_track(draft, recording_token, token)
    new = _described(msgspec.structs.replace(configuration, type=old.configuration.type), limits)
    return _replace_track(draft, recording_token, msgspec.structs.replace(old, configuration=new))


def note_encoding(draft: Draft, recording_token: str, token: str, encoding: str) -> Track:
    """From its first data on, all data of a track has this encoding (5.1)."""
    track = get_track(draft, recording_token, token)
    return _replace_track(draft, recording_token, msgspec.structs.replace(track, encoding=encoding))


def _replace_track(draft: Draft, recording_token: str, track: Track) -> Track:
    recording = get(draft, recording_token)
    tracks = tuple(track if t.token == track.token else t for t in recording.tracks)
    draft.recordings.put(msgspec.structs.replace(recording, tracks=tracks))
    return track


def delete_track(draft: Draft, recording_token: str, token: str) -> Track:
    """Jobs lose their routes to it; a job without routes stays and records nothing."""
    track = get_track(draft, recording_token, token)
    recording = get(draft, recording_token)
    jobs.forget_track(draft, recording_token, token)
    draft.recordings.put(
        msgspec.structs.replace(recording, tracks=tuple(t for t in recording.tracks if t.token != token))
    )
    _delete_media(draft, recording, token)
    return track


def _delete_media(draft: Draft, recording: Recording, track: str = "") -> None:
    """Written down with the change; `recording.deletions` does it."""
    draft.deletions.put(PendingDeletion(token=f"deletion-{draft.number('deletion')}", recording=recording, track=track))
