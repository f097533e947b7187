"""The configuration events of 5.26 and the Schedule service, from what a change did to the objects: pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from recorderd.model.job import RecordingJob
from recorderd.model.objects import Change, Objects
from recorderd.model.ports import Event
from recorderd.model.recording import Recording, Track
from recorderd.recording import topics


def events_of(before: Objects, after: Objects, change: Change) -> Iterator[Event]:
    """In the order of cause and effect: recordings, their tracks, jobs, schedules."""
    for token in sorted(change.touched("recording")):
        old = cast("Recording | None", before.tables["recording"].get(token))
        new = cast("Recording | None", after.tables["recording"].get(token))
        yield from _recording(token, old, new)
    for token in sorted(change.touched("job")):
        old_job = cast("RecordingJob | None", before.tables["job"].get(token))
        new_job = cast("RecordingJob | None", after.tables["job"].get(token))
        if new_job is not None and (old_job is None or old_job.configuration != new_job.configuration):
            yield topics.job_configuration(token, new_job.configuration)
    for token in sorted(change.touched("schedule")):
        yield from _calendar(
            token, after.tables["schedule"].get(token), topics.SCHEDULE_CHANGED, topics.SCHEDULE_REMOVED
        )
    for token in sorted(change.touched("special_days")):
        group = after.tables["special_days"].get(token)
        yield from _calendar(token, group, topics.SPECIAL_DAYS_CHANGED, topics.SPECIAL_DAYS_REMOVED)


def _recording(token: str, old: Recording | None, new: Recording | None) -> Iterator[Event]:
    if new is None:
        for track in old.tracks if old is not None else ():
            yield topics.delete_track(token, track.token)
        yield topics.delete_recording(token)
        return
    if old is None:
        yield topics.create_recording(token)
    elif old.configuration != new.configuration:
        yield topics.recording_configuration(token, new.configuration)
    yield from _tracks(
        token, {t.token: t for t in old.tracks} if old is not None else {}, {t.token: t for t in new.tracks}
    )


def _tracks(recording: str, old: dict[str, Track], new: dict[str, Track]) -> Iterator[Event]:
    """A track whose token is used again is another track: its id differs."""
    for token, track in old.items():
        if token not in new or new[token].id != track.id:
            yield topics.delete_track(recording, token)
    for token, track in new.items():
        if token not in old or old[token].id != track.id:
            yield topics.create_track(recording, token)
        elif old[token].configuration != track.configuration:
            yield topics.track_configuration(recording, token, track.configuration)


def _calendar(token: str, now: object, changed: str, removed: str) -> Iterator[Event]:
    yield Event(changed if now is not None else removed, ((topics.CALENDAR_ITEM[changed], token),))
