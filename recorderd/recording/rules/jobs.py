"""Recording jobs (5.13 to 5.18)."""

from __future__ import annotations

import uuid

import msgspec

from recorderd.events.filter import BadFilter, parse_condition
from recorderd.model.faults import BadConfiguration, BadMode, MaxRecordingJobs, NoRecording, NoRecordingJob
from recorderd.model.job import (
    RECEIVER_SOURCE,
    EventFilter,
    JobConfiguration,
    JobMode,
    JobRequest,
    JobSource,
    JobTrack,
    RecordingJob,
    SourceRequest,
)
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import Recording, TrackType
from recorderd.recording.rules import check, receivers
from recorderd.recording.tags import valid_tag

MAX_PRIORITY = (1 << 31) - 1


def get(draft: Draft, token: str) -> RecordingJob:
    job = draft.jobs.get(token)
    if job is None:
        raise NoRecordingJob(f"there is no recording job {token!r}", argument="job", got=token)
    return job


def spare(draft: Draft, limits: Limits, recording: str) -> int:
    """Jobs that can still be created for a recording."""
    mine = sum(1 for job in draft.jobs if job.configuration.recording == recording)
    return max(0, min(limits.jobs - len(draft.jobs), limits.jobs_per_recording - mine))


def create(draft: Draft, limits: Limits, request: JobRequest) -> RecordingJob:
    if request.recording not in draft.recordings:
        raise NoRecording(f"there is no recording {request.recording!r}", argument="recording", got=request.recording)
    if spare(draft, limits, request.recording) <= 0:
        raise MaxRecordingJobs(
            f"the recorder takes {limits.jobs} recording jobs, {limits.jobs_per_recording} of them for one recording",
            expected=str(limits.jobs),
        )
    configuration = _configuration(draft, limits, request)
    job = RecordingJob(id=uuid.uuid4(), token=f"job-{draft.number('job')}", configuration=configuration)
    return _put(draft, job, None)


def configure(draft: Draft, limits: Limits, token: str, request: JobRequest) -> RecordingJob:
    """The recording cannot be changed (5.16). Receivers that were created automatically and are no longer used go."""
    old = get(draft, token)
    if request.recording != old.configuration.recording:
        raise BadConfiguration(
            "the recording of a job cannot be changed", argument="recording", expected=old.configuration.recording
        )
    new = msgspec.structs.replace(old, configuration=_configuration(draft, limits, request))
    job = _put(draft, new, old)
    _drop_unused(draft, old)
    return job


def set_mode(draft: Draft, token: str, mode: str) -> RecordingJob:
    """The same as writing the configuration back with another mode (5.18)."""
    old = get(draft, token)
    configuration = msgspec.structs.replace(old.configuration, mode=_mode(mode))
    return _put(draft, msgspec.structs.replace(old, configuration=configuration), old)


def delete(draft: Draft, token: str) -> RecordingJob:
    job = get(draft, token)
    draft.jobs.delete(token)
    _drop_unused(draft, job)
    return job


def forget_track(draft: Draft, recording: str, track: str) -> None:
    """The track is being deleted: no job records into it any more."""
    for job in list(draft.jobs):
        if job.configuration.recording == recording:
            sources = tuple(
                msgspec.structs.replace(s, tracks=tuple(t for t in s.tracks if t.destination != track))
                for s in job.configuration.sources
            )
            draft.jobs.put(
                msgspec.structs.replace(job, configuration=msgspec.structs.replace(job.configuration, sources=sources))
            )


def _put(draft: Draft, job: RecordingJob, old: RecordingJob | None) -> RecordingJob:
    """A change to Active makes the job the latest among equal priorities."""
    active = job.configuration.mode is JobMode.ACTIVE
    if active and (old is None or old.configuration.mode is not JobMode.ACTIVE):
        job = msgspec.structs.replace(job, activation=draft.number("activation"))
    draft.jobs.put(job)
    return job


def _mode(mode: str) -> JobMode:
    try:
        return JobMode(mode)
    except ValueError:
        raise BadMode("no such mode", argument="mode", expected="Idle or Active", got=mode[:40]) from None


def _configuration(draft: Draft, limits: Limits, request: JobRequest) -> JobConfiguration:
    recording = draft.recordings.get(request.recording)
    assert recording is not None
    try:
        mode = _mode(request.mode)
    except BadMode as fault:
        raise BadConfiguration(
            "no such mode", argument=fault.argument, expected=fault.expected, got=fault.got
        ) from None
    check.number(request.priority, "priority", 0, MAX_PRIORITY)
    if request.schedule:
        check.token(request.schedule, "schedule", limits.token_chars)
    if not request.sources:
        raise BadConfiguration(
            "a job needs a source", argument="sources", expected="a source token, or auto_create_receiver"
        )
    if len(request.sources) > limits.sources_per_job:
        raise BadConfiguration("too many sources", argument="sources", expected=f"at most {limits.sources_per_job}")
    requested = request.sources
    if not any(s.tracks for s in requested):
        requested = _all_tracks(recording, requested)
    sources = tuple(_source(draft, limits, recording, s) for s in requested)
    destinations = [t.destination for s in sources for t in s.tracks]
    if len(set(destinations)) != len(destinations):
        raise BadConfiguration(
            "two sources of one job have the same destination", argument="sources.tracks.destination"
        )
    return JobConfiguration(
        recording=request.recording,
        mode=mode,
        priority=request.priority,
        schedule=request.schedule,
        event_filter=_event_filter(limits, request.event_filter),
        sources=sources,
    )


def _all_tracks(recording: Recording, sources: tuple[SourceRequest, ...]) -> tuple[SourceRequest, ...]:
    """A job without tracks gets all tracks of its recording (5.13): the n-th of each type goes to the n-th source, in turn."""
    shares: list[list[JobTrack]] = [[] for _ in sources]
    places: dict[TrackType, int] = {}
    for track in recording.tracks:
        place = places.get(track.configuration.type, 0)
        places[track.configuration.type] = place + 1
        shares[place % len(sources)].append(JobTrack(destination=track.token))
    return tuple(msgspec.structs.replace(s, tracks=tuple(share)) for s, share in zip(sources, shares, strict=True))


def _source(draft: Draft, limits: Limits, recording: Recording, request: SourceRequest) -> JobSource:
    if request.type != RECEIVER_SOURCE:
        raise BadConfiguration(
            "only receivers can be recorded", argument="sources.type", expected=RECEIVER_SOURCE, got=request.type[:80]
        )
    if not request.token and not request.auto_create_receiver:
        raise BadConfiguration("a source needs a token or auto_create_receiver", argument="sources.token")
    if request.token and request.token not in draft.receivers:
        raise BadConfiguration(
            f"there is no receiver {request.token!r}", argument="sources.token", got=request.token[:80]
        )
    for track in request.tracks:
        if recording.track(track.destination) is None:
            raise BadConfiguration(
                f"recording {recording.token} has no track {track.destination!r}", argument="sources.tracks.destination"
            )
        if not valid_tag(track.source_tag):
            raise BadConfiguration(
                "source_tag cannot be used",
                argument="sources.tracks.source_tag",
                expected="video, audio or metadata, with a number from 1 where a stream has several",
                got=track.source_tag[:40],
            )
    token = request.token or receivers.create(draft, limits, ReceiverConfiguration(), auto_created=True).token
    return JobSource(token=token, type=request.type, tracks=request.tracks)


def _event_filter(limits: Limits, wanted: EventFilter | None) -> EventFilter | None:
    if wanted is None:
        return None
    if not 1 <= len(wanted.conditions) <= limits.filters_per_job:
        raise BadConfiguration(
            "a filter has one condition or more", argument="event_filter", expected=f"1 to {limits.filters_per_job}"
        )
    for condition in wanted.conditions:
        try:
            parse_condition(condition.topic, condition.source)
        except BadFilter as error:
            raise BadConfiguration(str(error), argument="event_filter", got=condition.topic[:80]) from None
    check.number(wanted.before_ms, "event_filter.before_ms", 0, limits.before_ms)
    check.number(wanted.after_ms, "event_filter.after_ms", 0, limits.after_ms)
    return wanted


def _drop_unused(draft: Draft, old: RecordingJob) -> None:
    """Automatic receivers go with the last job that uses them (5.1)."""
    used = {s.token for job in draft.jobs for s in job.configuration.sources}
    for source in old.configuration.sources:
        receiver = draft.receivers.get(source.token)
        if receiver is not None and receiver.auto_created and source.token not in used:
            draft.receivers.delete(source.token)
