"""What goes with a recording or a track, what keeps it, and what a crash in between leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorderd.model.causes import GapCause, RecordingState
from recorderd.model.faults import (
    CannotDelete,
    NotFound,
    StorageUnavailable,
)
from recorderd.model.job import (
    JobRequest,
    JobTrack,
    SourceRequest,
)
from recorderd.model.ports import StoreUnavailable
from recorderd.model.recording import (
    RecordingConfiguration,
)
from recorderd.model.timeline import Lock
from recorderd.recording import topics
from recorderd.recording.operations import FileProgress, Operation
from tests.recording.fakes import AUDIO, VIDEO
from tests.recording.service_house import AUTO, ServiceHouse, play, sources


def test_delete_recording_takes_tracks_jobs_and_automatic_receivers(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        one, two = [await service.create_recording(RecordingConfiguration()) for _ in range(2)]
        kept, _ = await house.new_receiver()
        shared = (
            (await service.create_job(JobRequest(recording=two.token, sources=AUTO))).configuration.sources[0].token
        )
        job = await service.create_job(
            JobRequest(
                recording=one.token,
                mode="Active",
                sources=(
                    SourceRequest(auto_create_receiver=True, tracks=(JobTrack(destination="VIDEO001"),)),
                    SourceRequest(token=shared, tracks=(JobTrack(destination="AUDIO001"),)),
                    SourceRequest(token=kept, tracks=(JobTrack(destination="META001"),)),
                ),
            )
        )
        assert len(service.list_receivers()) == 3
        await service.delete_recording(one.token)
        assert [r.token for r in service.list_recordings()] == [two.token]
        assert job.token not in {j.token for j in service.list_jobs()}
        assert {r.token for r in service.list_receivers()} == {kept, shared}
        assert house.archive.deleted == [(one.id, None, None, None, None)]
        assert len(house.of(topics.DELETE_TRACK)) == 3
        assert sources(house.of(topics.DELETE_RECORDING), "RecordingToken") == [(one.token,)]
        assert house.store.running() == []
        again = await service.create_recording(RecordingConfiguration())
        assert again.token != one.token, "a name is not used again"

    play(tmp_path, story)


def test_a_deleted_track_leaves_its_jobs(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording, job, receiver = await house.one_job()
        house.source.connect(receiver, (VIDEO, AUDIO))
        await house.seconds(6, receiver)
        await service.delete_track(recording.token, "AUDIO001")
        assert [t.destination for t in service.get_job(job.token).configuration.sources[0].tracks] == [
            "VIDEO001",
            "META001",
        ]
        await house.seconds(8, receiver)
        assert [len(r.tracks) for r in house.store.running()] == [2]
        assert service.job_state(job.token).sources[0].tracks[0].state is RecordingState.ACTIVE

    play(tmp_path, story)


def test_deletion_is_refused_for_locked_data_and_without_a_disk(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        lock = await service.media.lock(recording.token, ("VIDEO001",), 0, 10**18, "x", "y")
        with pytest.raises(CannotDelete):
            await service.delete_recording(recording.token)
        with pytest.raises(CannotDelete):
            await service.delete_track(recording.token, "VIDEO001")
        with pytest.raises(CannotDelete):
            await service.media.delete_range(recording.token, None, None, None)
        assert len(service.get_recording(recording.token).tracks) == 3
        await service.media.unlock(lock.id)
        with pytest.raises(NotFound):
            await service.media.unlock(lock.id)
        house.archive.missing = StoreUnavailable(GapCause.DISK_MISSING, "no disk")
        with pytest.raises(StorageUnavailable):
            await service.delete_recording(recording.token)
        assert len(service.list_recordings()) == 1

    play(tmp_path, story)


def test_export_operations(tmp_path: Path) -> None:
    """5.21 to 5.23: token, progress by events, file list, stop; and a deletion that waits for the export."""

    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())

        async def work(operation: Operation) -> None:
            for step in range(1, 5):
                await asyncio.sleep(1)
                service.operations.report(operation, [FileProgress(name="a.mp4", progress=step / 4)], step / 4)

        operation = service.operations.start("ExportRecordedData", [recording.id], work)
        await asyncio.sleep(2.5)
        assert service.operations.get(operation.token).progress == 0.5
        assert service.operations.get(operation.token).files == [FileProgress(name="a.mp4", progress=0.5)]
        await service.delete_recording(recording.token)
        assert house.archive.deleted == [], "the export has its data until it ends"
        await asyncio.sleep(2)
        assert house.archive.deleted == [(recording.id, None, None, None, None)]
        events = house.of(topics.OPERATION_STATUS)
        assert sources(events, "OperationName", "ServiceName")[0] == ("ExportRecordedData", "Recording")
        assert [e.operation for e in events] == ["Initialized", *["Changed"] * 4, "Deleted"]
        assert [dict(e.data)["Progress"] for e in events[:5]] == ["0.000", "0.250", "0.500", "0.750", "1.000"]
        stopped = service.operations.start("ExportRecordedData", [], work)
        await asyncio.sleep(1.5)
        assert (await service.operations.stop(stopped.token)).progress == 0.25
        await asyncio.sleep(9)
        assert service.operations.get(stopped.token).progress == 0.25

        async def fails(_: Operation) -> None:
            raise OSError("disk gone")

        broken = service.operations.start("ExportRecordedData", [], fails)
        await asyncio.sleep(1)
        assert service.operations.get(broken.token).error == "disk gone"

    play(tmp_path, story)


def test_a_deletion_waits_for_what_hinders_it(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())

        async def work(operation: Operation) -> None:
            await asyncio.sleep(10)

        service.operations.start("ExportRecordedData", [recording.id], work)
        with pytest.raises(CannotDelete, match="reads it"):
            await service.delete_media(recording.token, None, 0, 10**18)
        await service.delete_recording(recording.token)
        house.archive.held.append(Lock(1, recording.id, 0, 10**18, "uid 0", "evidence", ()))
        await asyncio.sleep(20)
        assert house.archive.deleted == [], "locked after the export began and before it ended: the lock wins"
        house.archive.held.clear()
        house.archive.missing = StoreUnavailable(GapCause.DISK_MISSING, "no disk")
        await asyncio.sleep(60)
        assert len(service.objects.tables["deletion"]) == 1
        house.archive.missing = None
        await asyncio.sleep(60)
        assert [row[0] for row in house.archive.deleted] == [recording.id]
        assert service.objects.tables["deletion"] == {}

    play(tmp_path, story)


def test_a_crash_between_an_object_and_its_media_leaves_neither(tmp_path: Path) -> None:
    """The deletion is written down with the change, and taken up at the next start."""

    async def crash(house: ServiceHouse) -> None:
        service = house.service
        one = await service.create_recording(RecordingConfiguration())
        two = await service.create_recording(RecordingConfiguration())

        async def power_cut() -> None: ...

        service.deletions.take_up = power_cut  # type: ignore[method-assign]
        await service.delete_recording(one.token)
        await service.delete_track(two.token, "AUDIO001")
        assert house.archive.deleted == []

    async def next_start(house: ServiceHouse) -> None:
        await asyncio.sleep(1)
        (two,) = house.service.list_recordings()
        assert [t.token for t in two.tracks] == ["VIDEO001", "META001"]
        assert [row[:2] for row in house.archive.deleted][1][0] == two.id
        assert house.archive.deleted[1][1] is not None, "one track only"
        assert house.service.objects.tables["deletion"] == {}

    async def and_never_again(house: ServiceHouse) -> None:
        await asyncio.sleep(100)
        assert house.archive.deleted == []

    for story in (crash, next_start, and_never_again):
        play(tmp_path, story)


def test_recycling_is_told_with_the_exact_range(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        recording = await house.service.create_recording(RecordingConfiguration())
        (listener,) = house.archive.listeners
        listener(recording.id, recording.tracks[0].id, 1_762_000_000_123_456_789, 1_762_000_060_000_001_000)
        (event,) = house.of(topics.DELETE_TRACK_DATA)
        assert event.source == (("RecordingToken", recording.token), ("TrackToken", "VIDEO001"))
        assert event.data == (
            ("StartTime", "2025-11-01T12:26:40.123456Z"),
            ("EndTime", "2025-11-01T12:27:40.000001Z"),
        )

    play(tmp_path, story)
