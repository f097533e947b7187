"""Recording jobs (5.13 to 5.19): what their operations do, what they refuse, and the states they tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recorderd.model.causes import GapCause, RecordingState
from recorderd.model.faults import (
    BadConfiguration,
    BadMode,
)
from recorderd.model.job import (
    PROFILE_SOURCE,
    EventCondition,
    EventFilter,
    JobRequest,
    JobTrack,
    SourceRequest,
    aggregate,
)
from recorderd.model.recording import (
    RecordingConfiguration,
)
from recorderd.recording import topics
from tests.recording.fakes import AUDIO, VIDEO
from tests.recording.service_house import AUTO, ServiceHouse, play


def test_jobs_and_their_configuration_events(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        job = await service.create_job(JobRequest(recording=recording.token, sources=AUTO))
        receiver = job.configuration.sources[0].token
        keep = (SourceRequest(token=receiver),)
        changed = await service.set_job(job.token, JobRequest(recording=recording.token, priority=7, sources=keep))
        assert changed.configuration.priority == 7
        assert service.get_job(job.token) == changed
        await service.set_job_mode(job.token, "Active")
        assert service.get_job(job.token).configuration.mode.value == "Active"
        told = [json.loads(dict(e.data)["Configuration"]) for e in house.of(topics.JOB_CONFIGURATION)]
        assert [(c["priority"], c["mode"]) for c in told] == [(0, "Idle"), (7, "Idle"), (7, "Active")]
        await service.set_job(job.token, JobRequest(recording=recording.token, mode="Active", sources=AUTO))
        assert receiver not in {r.token for r in service.list_receivers()}, (
            "an automatic receiver that is no longer used goes"
        )
        with pytest.raises(BadMode):
            await service.set_job_mode(job.token, "Paused")
        assert service.job_state(job.token).recording == recording.token
        await service.delete_job(job.token)
        assert service.list_receivers() == []

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"priority": -1}, "priority"),
        ({"mode": "active"}, "mode"),
        ({"sources": ()}, "sources"),
        ({"sources": (SourceRequest(token="none"),)}, "sources.token"),
        ({"sources": (SourceRequest(auto_create_receiver=True, type=PROFILE_SOURCE),)}, "sources.type"),
        (
            {"sources": (SourceRequest(auto_create_receiver=True, tracks=(JobTrack(destination="VIDEO009"),)),)},
            "sources.tracks.destination",
        ),
        (
            {
                "sources": (
                    SourceRequest(
                        auto_create_receiver=True, tracks=(JobTrack(destination="VIDEO001", source_tag="left eye"),)
                    ),
                )
            },
            "sources.tracks.source_tag",
        ),
        (
            {
                "sources": tuple(
                    SourceRequest(auto_create_receiver=True, tracks=(JobTrack(destination="VIDEO001"),)) for _ in "ab"
                )
            },
            "sources.tracks.destination",
        ),
        ({"event_filter": EventFilter(conditions=())}, "event_filter"),
        ({"event_filter": EventFilter(conditions=(EventCondition(topic="//"),))}, "event_filter"),
        (
            {"event_filter": EventFilter(conditions=(EventCondition(topic="tns1:A"),), before_ms=60_001)},
            "event_filter.before_ms",
        ),
        (
            {"event_filter": EventFilter(conditions=(EventCondition(topic="tns1:A"),), after_ms=3_600_001)},
            "event_filter.after_ms",
        ),
    ],
)
def test_bad_jobs_are_refused_and_leave_nothing(tmp_path: Path, change: dict[str, object], argument: str) -> None:
    async def story(house: ServiceHouse) -> None:
        recording = await house.service.create_recording(RecordingConfiguration())
        transactions = house.state.transactions
        with pytest.raises(BadConfiguration) as refusal:
            await house.service.create_job(JobRequest(**{"recording": recording.token, "sources": AUTO, **change}))  # type: ignore[arg-type]
        assert refusal.value.argument == argument
        assert house.state.transactions == transactions
        assert house.service.list_jobs() == []
        assert house.service.list_receivers() == []

    play(tmp_path, story)


def test_a_connection_that_fails_is_an_event(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        _, job, receiver = await house.one_job()
        token = job.configuration.sources[0].token
        house.source.refuse(receiver, GapCause.CAMERA_REFUSED, "401 Unauthorized")
        (failed,) = house.of(topics.CONNECTION_FAILED)
        assert (failed.source, failed.data) == ((("ReceiverToken", token),), (("MediaUri", "rtsp://192.0.2.1/a"),))

    play(tmp_path, story)


def test_job_state_information_when_the_tracks_differ(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        _, job, receiver = await house.one_job()
        house.source.connect(receiver, (VIDEO, AUDIO))
        await house.seconds(7, receiver)
        last = house.of(topics.JOB_STATE)[-1]
        information = json.loads(dict(last.data)["Information"])
        assert dict(last.data)["State"] == information["state"] == service.job_state(job.token).state.value
        assert [t["state"] for t in information["sources"][0]["tracks"]] == ["Active", "Active", "Idle"]

    play(tmp_path, story)


def test_table_3() -> None:
    idle, active, error, partial = (
        RecordingState.IDLE,
        RecordingState.ACTIVE,
        RecordingState.ERROR,
        RecordingState.PARTIALLY_ACTIVE,
    )
    assert aggregate([]) is idle
    assert aggregate([idle, idle]) is idle
    assert aggregate([active, active]) is active
    assert aggregate([active, idle]) is partial
    assert aggregate([active, partial]) is partial
    assert aggregate([active, idle, error]) is error
