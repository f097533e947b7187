"""Recording groups (VAPIX): each owns a recording, a receiver and a job that carry out what it says."""

from __future__ import annotations

import msgspec

from recorderd.model.faults import AlreadyExists, BadConfiguration, CannotDelete, MaxGroups, NotFound
from recorderd.model.group import GroupSettings, RecordingGroup
from recorderd.model.job import EventFilter, JobMode, JobRequest, RecordingJob, SourceRequest
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.model.receiver import ReceiverConfiguration, StreamOption
from recorderd.model.recording import Recording, RecordingConfiguration, SourceInformation
from recorderd.model.streamoptions import BadStreamOptions, StreamOptions, parse_stream_options, prebuffer_faults
from recorderd.recording.requests import AXIS_MEDIA_PATH
from recorderd.recording.rules import check, jobs, receivers, recordings

HOUR_MS = 3_600_000


def get(draft: Draft, group_id: str) -> RecordingGroup:
    group = draft.groups.get(group_id)
    if group is None:
        raise NotFound(f"there is no recording group {group_id!r}", argument="group", got=group_id)
    return group


def create(draft: Draft, limits: Limits, group_id: str, settings: GroupSettings) -> RecordingGroup:
    """An empty id is replaced by a new one."""
    if len(draft.groups) >= limits.groups:
        raise MaxGroups(f"the recorder takes {limits.groups} recording groups", expected=str(limits.groups))
    group_id = check.group_id(group_id or f"group-{draft.number('group')}")
    if group_id in draft.groups:
        raise AlreadyExists(f"there is a recording group {group_id!r} already", argument="id", got=group_id)
    return _put(draft, limits, RecordingGroup(id=group_id), settings)


def update(draft: Draft, limits: Limits, group_id: str, settings: GroupSettings) -> RecordingGroup:
    """`disk_id` is immutable; changed stream options restart the running recording."""
    old = get(draft, group_id)
    if settings.disk_id is not None and settings.disk_id != old.disk_id:
        raise BadConfiguration("the disk of a group cannot be changed", argument="disk_id", expected=old.disk_id)
    return _put(draft, limits, old, settings)


def _put(draft: Draft, limits: Limits, old: RecordingGroup, settings: GroupSettings) -> RecordingGroup:
    given = {name: value for name, value in msgspec.structs.asdict(settings).items() if value is not None}
    group = msgspec.structs.replace(old, **given)
    check.text(group.nice_name, "nice_name", limits.name_chars)
    check.text(group.description, "description", limits.description_chars)
    check.text(group.disk_id, "disk_id", limits.token_chars)
    check.number(group.retention_hours, "retention_hours", 0, recordings.MAX_RETENTION_MS // HOUR_MS)
    check.number(group.pre_duration_ms, "pre_duration_ms", 0, limits.before_ms)
    check.number(group.post_duration_ms, "post_duration_ms", 0, limits.after_ms)
    group = _own_recording(draft, limits, group)
    if group.stream_options:
        group = _own_stream(draft, limits, group)
    draft.groups.put(group)
    return group


def _own_recording(draft: Draft, limits: Limits, group: RecordingGroup) -> RecordingGroup:
    old = draft.recordings.get(group.recording) if group.recording else None
    base = old.configuration if old is not None else RecordingConfiguration()
    configuration = msgspec.structs.replace(
        base,
        source=msgspec.structs.replace(base.source, name=group.nice_name, description=group.description)
        if old is not None
        else SourceInformation(name=group.nice_name, description=group.description),
        maximum_retention_ms=group.retention_hours * HOUR_MS,
    )
    recording: Recording = (
        recordings.create(draft, limits, configuration)
        if old is None
        else recordings.configure(draft, limits, old.token, configuration)
    )
    draft.recordings.put(msgspec.structs.replace(recording, group=group.id))
    return msgspec.structs.replace(group, recording=recording.token)


def _own_stream(draft: Draft, limits: Limits, group: RecordingGroup) -> RecordingGroup:
    options = stream_options(draft, group.stream_options, prebuffer=group.pre_duration_ms > 0)
    configuration = ReceiverConfiguration(
        media_uri=AXIS_MEDIA_PATH,
        options=tuple(StreamOption(name=n, value=v) for n, v in options.forwarded),
        device=options.device,
        audio=options.audio,
        video=options.video,
        metadata=False,
    )
    if group.receiver:
        receivers.configure(draft, limits, group.receiver, configuration)
        _renew_durations(draft, group)
        return group
    receiver = receivers.create(draft, limits, configuration)
    job = jobs.create(
        draft, limits, JobRequest(recording=group.recording, sources=(SourceRequest(token=receiver.token),))
    )
    return msgspec.structs.replace(group, receiver=receiver.token, job=job.token)


def _renew_durations(draft: Draft, group: RecordingGroup) -> None:
    """A job that listens already does so with the group's durations, old or new."""
    job = jobs.get(draft, group.job)
    listens = job.configuration.event_filter
    if listens is None:
        return
    new = msgspec.structs.replace(listens, before_ms=group.pre_duration_ms, after_ms=group.post_duration_ms)
    draft.jobs.put(
        msgspec.structs.replace(job, configuration=msgspec.structs.replace(job.configuration, event_filter=new))
    )


def stream_options(draft: Draft, text: str, *, prebuffer: bool) -> StreamOptions:
    """Options that name a device the recorder knows, and that with a pre-buffer keep to the page's Zipstream table."""
    try:
        options = parse_stream_options(text)
    except BadStreamOptions as error:
        raise BadConfiguration(str(error), argument="stream_options") from None
    if options.device not in draft.devices:
        raise BadConfiguration(
            f"there is no device {options.device!r}", argument="stream_options.device", got=options.device
        )
    for option, text in prebuffer_faults(options.forwarded) if prebuffer else ():
        raise BadConfiguration(text, argument=f"stream_options.{option}")
    return options


def set_active(draft: Draft, group_id: str, active: bool, event_filter: EventFilter | None = None) -> RecordingJob:
    """Starts or stops recording into the group, continuously or on an event with the group's pre- and post-duration."""
    group = get(draft, group_id)
    if not group.job:
        raise BadConfiguration("the group has no stream options yet", argument="stream_options")
    job = jobs.get(draft, group.job)
    if event_filter is not None:
        event_filter = EventFilter(
            conditions=event_filter.conditions, before_ms=group.pre_duration_ms, after_ms=group.post_duration_ms
        )
    configuration = msgspec.structs.replace(job.configuration, event_filter=event_filter)
    draft.jobs.put(msgspec.structs.replace(job, configuration=configuration))
    return jobs.set_mode(draft, group.job, JobMode.ACTIVE if active else JobMode.IDLE)


def delete(draft: Draft, group_id: str) -> RecordingGroup:
    """Its recordings go with it; refused while something records into it."""
    group = get(draft, group_id)
    for job in draft.jobs:
        if job.configuration.recording == group.recording and job.configuration.mode is JobMode.ACTIVE:
            raise CannotDelete(f"recording job {job.token} is active", argument="group", got=group_id)
    recordings.delete(draft, group.recording)
    if group.receiver:
        receivers.delete(draft, group.receiver)
    draft.groups.delete(group_id)
    return group
