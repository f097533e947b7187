"""Recordings and tracks (5.4 to 5.12, 5.24): what their operations do, what they refuse, and the events they cause."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from recorderd.model.destination import Destination
from recorderd.model.faults import (
    BadConfiguration,
    BadDuration,
    CannotDelete,
    MaxTracks,
    NoConfig,
    StateUnavailable,
)
from recorderd.model.job import (
    JobRequest,
    SourceRequest,
)
from recorderd.model.limits import Limits
from recorderd.model.recording import (
    EncryptionEntry,
    EncryptionMode,
    RecordingConfiguration,
    SourceInformation,
    Target,
    TrackConfiguration,
    TrackType,
)
from recorderd.recording import topics
from recorderd.state.store import StateError
from tests.recording.fakes import AUDIO, VIDEO
from tests.recording.service_house import ServiceHouse, play, sources


def test_create_recording_and_its_events(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        recording = await house.service.create_recording(RecordingConfiguration())
        assert recording.configuration.maximum_retention_ms == 0
        assert [t.token for t in recording.tracks] == ["VIDEO001", "AUDIO001", "META001"]
        assert all(t.configuration.description == "" for t in recording.tracks)
        assert sources(house.of(topics.CREATE_RECORDING), "RecordingToken") == [(recording.token,)]
        assert [s[1] for s in sources(house.of(topics.CREATE_TRACK), "RecordingToken", "TrackToken")] == [
            "VIDEO001",
            "AUDIO001",
            "META001",
        ]

    play(tmp_path, story)


def test_set_recording_configuration(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        long = SourceInformation(name="n", location="l" * 5000, description="d" * 5000)
        sent = RecordingConfiguration(source=long, content="c" * 5000, maximum_retention_ms=60_000)
        await service.set_recording(recording.token, sent)
        found = service.get_recording(recording.token).configuration
        assert len(found.content) == len(found.source.location) == 1024, (
            "descriptive strings may be truncated without a fault"
        )
        assert found.maximum_retention_ms == 60_000
        assert house.archive.retention[recording.id].maximum_ns == 60 * 10**9
        (event,) = house.of(topics.RECORDING_CONFIGURATION)
        assert event.operation == ""
        assert json.loads(dict(event.data)["Configuration"])["maximum_retention_ms"] == 60_000
        with pytest.raises(BadConfiguration):
            await service.set_recording(recording.token, RecordingConfiguration(maximum_retention_ms=-1))
        with pytest.raises(BadConfiguration):
            await service.set_recording(
                recording.token, RecordingConfiguration(maximum_retention_ms=5, minimum_retention_ms=6)
            )
        with pytest.raises(BadConfiguration):
            await service.set_recording(
                recording.token, RecordingConfiguration(source=SourceInformation(name="x" * 65))
            )

    play(tmp_path, story)


def test_targets_are_stored_and_keys_are_never_told(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        with pytest.raises(BadConfiguration):
            await service.create_recording(RecordingConfiguration(target=Target(storage="none")))
        made = Destination(token="", type="ObjectStorageS3", storage_uri="https://s3/b")
        storage = await service.create_destination(made, {"password": "s3cr3t"})
        kid, key = "00" * 16, "0123456789abcdef" * 2
        entry = EncryptionEntry(mode=EncryptionMode.CENC, kid=kid)
        target = Target(storage=storage.token, prefix="site", segment_duration_ms=5000, encryption=(entry,))
        recording = await service.create_recording(RecordingConfiguration(target=target), {kid: key})
        assert service.get_recording(recording.token).configuration.target == target
        assert house.state.secret("recording", recording.token, f"key {kid}") == key
        await service.set_recording(recording.token, RecordingConfiguration(target=target, content="x"))
        assert house.state.secret("recording", recording.token, f"key {kid}") == key, "keys that are not given stay"
        assert key not in repr(house.events)
        assert "s3cr3t" not in repr(house.events)
        two = (entry, EncryptionEntry(mode=EncryptionMode.CBCS, kid="11" * 16, tracks=("VIDEO001",)))
        with pytest.raises(BadConfiguration):
            await service.set_recording(
                recording.token, RecordingConfiguration(target=Target(storage=storage.token, encryption=two))
            )
        with pytest.raises(CannotDelete):
            await service.delete_destination(storage.token)
        with pytest.raises(NoConfig):
            await service.delete_destination("nothing")

    play(tmp_path, story)


def test_tracks(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        assert service.spare(recording.token)[1] == {"Video": 1, "Audio": 1, "Metadata": 1}
        track = await service.create_track(recording.token, TrackConfiguration(type=TrackType.VIDEO, description="low"))
        assert track.token == "VIDEO002"
        assert service.spare(recording.token)[1]["Video"] == 0
        with pytest.raises(MaxTracks):
            await service.create_track(recording.token, TrackConfiguration(type=TrackType.VIDEO))
        changed = TrackConfiguration(type=TrackType.AUDIO, description="lower")
        await service.set_track(recording.token, "VIDEO002", changed)
        found = service.get_track(recording.token, "VIDEO002").configuration
        assert found == TrackConfiguration(type=TrackType.VIDEO, description="lower"), "the type is ignored"
        assert sources(house.of(topics.TRACK_CONFIGURATION), "TrackToken") == [("VIDEO002",)]
        await service.delete_track(recording.token, "VIDEO002")
        assert house.archive.deleted == [(recording.id, track.id, None, None, None)]
        assert sources(house.of(topics.DELETE_TRACK), "TrackToken") == [("VIDEO002",)]
        (gone,) = house.of(topics.DELETE_TRACK_DATA)
        assert sources([gone], "RecordingToken", "TrackToken") == [(recording.token, "VIDEO002")]
        assert [name for name, _ in gone.data] == ["StartTime", "EndTime"]
        again = await service.create_track(recording.token, TrackConfiguration(type=TrackType.VIDEO))
        assert (again.token, again.id == track.id) == ("VIDEO002", False), "the token may come again, the id never"

    play(tmp_path, story, Limits(tracks_per_type=2))


def test_override_segment_duration(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        token = recording.token
        for duration_ms, expiration_ms in ((5000, 3_600_001), (5000, 0), (0, 5000), (3_600_001, 5000)):
            with pytest.raises(BadDuration):
                service.override_segment_duration(token, duration_ms, expiration_ms)
        service.override_segment_duration(token, 10_000, 60_000)
        await asyncio.sleep(20)
        assert service.segment_override(token) == (10_000, 40_000)
        service.override_segment_duration(token, 5000, 30_000)
        assert service.segment_override(token) == (5000, 30_000), "a newer one replaces it, with the new expiration"
        await asyncio.sleep(31)
        assert service.segment_override(token) is None
        service.override_segment_duration(token, 5000, 30_000)
        await service.set_recording(token, RecordingConfiguration(content="new"))
        assert service.segment_override(token) is None, "a change of the configuration removes it"

    play(tmp_path, story)


def test_history_events_for_the_search_service(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording, job, receiver = await house.one_job()
        house.source.connect(receiver, (VIDEO, AUDIO))
        await house.seconds(7, receiver)
        assert service.is_recording(recording.token)
        house.source.disconnect(receiver)
        assert not service.is_recording(recording.token)
        await asyncio.sleep(3)
        house.source.connect(receiver, (VIDEO, AUDIO))
        await house.seconds(7, receiver)
        await service.set_job_mode(job.token, "Idle")
        assert {e.topic for e in house.broker.properties()} >= {topics.RECORDING_STATE, topics.TRACK_STATE}
        told = [dict(e.data)["IsRecording"] for e in house.of(topics.RECORDING_STATE)]
        assert told == ["true", "false", "true", "false"], "they alternate"
        video = [
            dict(e.data)["IsDataPresent"] for e in house.of(topics.TRACK_STATE) if dict(e.source)["Track"] == "VIDEO001"
        ]
        assert video == ["true", "false", "true", "false"]
        states = [dict(e.data)["NewState"] for e in house.of(topics.RECEIVER_STATE)]
        assert states == ["Connecting", "Connected", "Connecting", "Connected", "NotConnected"]
        (pictures,) = house.of(topics.VIDEO_PARAMETERS)
        assert dict(pictures.source) == {"Recording": recording.token, "Track": "VIDEO001"}
        assert dict(pictures.data) == {"VideoEncoding": "H264", "VideoWidth": "640", "VideoHeight": "360"}
        (sound,) = house.of(topics.AUDIO_PARAMETERS)
        assert dict(sound.data) == {"AudioEncoding": "G711", "AudioSampleRate": "8000"}
        anything = [dict(e.data)["recording"] for e in house.of(topics.STORAGE_RECORDING)]
        assert anything == ["1", "0", "1", "0"]
        await service.delete_recording(recording.token)
        left = {e.topic for e in house.broker.properties()}
        assert left == {topics.STORAGE_RECORDING}, "what is gone states nothing"

    play(tmp_path, story)


def test_a_state_file_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        def fail(change: object) -> None:
            raise StateError("state.sqlite: disk I/O error")

        house.state.commit_now = fail  # type: ignore[method-assign]
        with pytest.raises(StateUnavailable):
            await house.service.create_recording(RecordingConfiguration())
        assert house.service.list_recordings() == []
        assert house.events == []

    play(tmp_path, story)


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    """5.2: all objects and all their configuration are persistent."""
    kept: list[object] = []

    async def first(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration(content="c"))
        await service.create_track(recording.token, TrackConfiguration(type=TrackType.VIDEO))
        token, _ = await house.new_receiver()
        await service.create_job(
            JobRequest(recording=recording.token, mode="Active", sources=(SourceRequest(token=token),))
        )
        service.override_segment_duration(recording.token, 5000, 60_000)
        kept.extend([service.list_recordings(), service.list_receivers(), service.list_jobs()])

    async def second(house: ServiceHouse) -> None:
        service = house.service
        assert [service.list_recordings(), service.list_receivers(), service.list_jobs()] == kept
        assert len(house.source.requests) == 1, "and it records again by itself"
        assert len(house.store.running()) == 1
        assert service.segment_override("recording-1") is None, "an override may not persist"
        new = await service.create_recording(RecordingConfiguration())
        assert new.token == "recording-2"

    play(tmp_path, first)
    play(tmp_path, second)
