"""The Recording Control operations of 5.4 to 5.26 one by one: what they do, what they refuse, and the events they cause."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import msgspec
import pytest

from recorderd.model.causes import GapCause, RecordingState
from recorderd.model.destination import Destination
from recorderd.model.device import DeviceSettings
from recorderd.model.faults import (
    AlreadyExists,
    BadConfiguration,
    BadDuration,
    BadMode,
    CannotDelete,
    CannotDeleteReceiver,
    Fault,
    MaxGroups,
    MaxLocks,
    MaxReceivers,
    MaxRecordingJobs,
    MaxRecordings,
    MaxSchedules,
    MaxStorageConfigurations,
    MaxTracks,
    NoConfig,
    NoDevice,
    NoRecording,
    NoRecordingJob,
    NotFound,
    NoTrack,
    StateUnavailable,
    StorageUnavailable,
    UnknownToken,
)
from recorderd.model.group import GroupSettings
from recorderd.model.job import (
    PROFILE_SOURCE,
    EventCondition,
    EventFilter,
    JobRequest,
    JobTrack,
    SourceRequest,
    aggregate,
)
from recorderd.model.limits import Limits
from recorderd.model.ports import StoreUnavailable
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import (
    EncryptionEntry,
    EncryptionMode,
    RecordingConfiguration,
    SourceInformation,
    Target,
    TrackConfiguration,
    TrackType,
)
from recorderd.model.schedule import Schedule, SpecialDayGroup, SpecialDays
from recorderd.model.timeline import Lock
from recorderd.recording import topics
from recorderd.recording.operations import FileProgress, Operation
from recorderd.state.store import StateError
from tests.recording.fakes import AUDIO, VIDEO
from tests.recording.service_house import ServiceHouse, living
from tests.simulated_time import FakeClock, run_simulated

AUTO = (SourceRequest(auto_create_receiver=True),)
Story = Callable[[ServiceHouse], Awaitable[None]]


LOCAL = Destination(token="", type="Local")
WEEK = "BEGIN:VEVENT\r\nDTSTART:20260101T000000\r\nDTEND:20260101T100000\r\nRRULE:FREQ=WEEKLY\r\nUID:1\r\nEND:VEVENT"


def play(tmp_path: Path, story: Story, limits: Limits | None = None) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s", limits=limits or Limits())) as house:
            await story(house)

    run_simulated(main)


def sources(events: list, *names: str) -> list[tuple[str, ...]]:  # type: ignore[type-arg]
    return [tuple(dict(e.source)[n] for n in names) for e in events]


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


def test_a_deleted_track_leaves_its_jobs(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        token, receiver = await house.new_receiver()
        job = await service.create_job(
            JobRequest(recording=recording.token, mode="Active", sources=(SourceRequest(token=token),))
        )
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


UNKNOWN: list[tuple[str, type[Fault], Callable[[ServiceHouse], Awaitable[object]]]] = [
    ("DeleteRecording", NoRecording, lambda h: h.service.delete_recording("x")),
    ("SetRecordingConfiguration", NoRecording, lambda h: h.service.set_recording("x", RecordingConfiguration())),
    ("CreateTrack", NoRecording, lambda h: h.service.create_track("x", TrackConfiguration(type=TrackType.AUDIO))),
    ("DeleteTrack", NoTrack, lambda h: h.service.delete_track("recording-1", "x")),
    (
        "SetTrackConfiguration",
        NoTrack,
        lambda h: h.service.set_track("recording-1", "x", TrackConfiguration(type=TrackType.AUDIO)),
    ),
    ("CreateRecordingJob", NoRecording, lambda h: h.service.create_job(JobRequest(recording="x", sources=AUTO))),
    ("DeleteRecordingJob", NoRecordingJob, lambda h: h.service.delete_job("x")),
    (
        "SetRecordingJobConfiguration",
        NoRecordingJob,
        lambda h: h.service.set_job("x", JobRequest(recording="recording-1")),
    ),
    ("SetRecordingJobMode", NoRecordingJob, lambda h: h.service.set_job_mode("x", "Active")),
    ("ConfigureReceiver", UnknownToken, lambda h: h.service.configure_receiver("x", ReceiverConfiguration())),
    ("DeleteReceiver", UnknownToken, lambda h: h.service.delete_receiver("x")),
    ("DeleteSchedule", NotFound, lambda h: h.service.calendars.delete_schedule("x")),
]


@pytest.mark.parametrize(("operation", "fault", "call"), UNKNOWN, ids=[u[0] for u in UNKNOWN])
def test_unknown_tokens(
    tmp_path: Path, operation: str, fault: type[Fault], call: Callable[[ServiceHouse], Awaitable[object]]
) -> None:
    async def story(house: ServiceHouse) -> None:
        await house.service.create_recording(RecordingConfiguration())
        with pytest.raises(fault) as refusal:
            await call(house)
        assert refusal.value.got == "x", operation

    play(tmp_path, story)


def test_unknown_tokens_of_reading_operations(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        for fault, call in (
            (NoRecording, lambda: service.get_recording("x")),
            (NoRecording, lambda: service.spare("x")),
            (NoRecording, lambda: service.override_segment_duration("x", 5000, 5000)),
            (NoRecordingJob, lambda: service.get_job("x")),
            (NoRecordingJob, lambda: service.job_state("x")),
            (BadConfiguration, lambda: service.operations.get("x")),
        ):
            with pytest.raises(fault):
                call()

    play(tmp_path, story)


def test_limits(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        await service.create_recording(RecordingConfiguration())
        with pytest.raises(MaxRecordings):
            await service.create_recording(RecordingConfiguration())
        first = await service.create_receiver(ReceiverConfiguration())
        assert service.spare("recording-1")[0] == 3
        with pytest.raises(MaxReceivers):
            await service.create_job(JobRequest(recording="recording-1", sources=AUTO))
        await service.create_job(JobRequest(recording="recording-1", sources=(SourceRequest(token=first.token),)))
        assert service.spare("recording-1")[0] == 2
        with pytest.raises(CannotDeleteReceiver):
            await service.delete_receiver(first.token)

    play(tmp_path, story, Limits(recordings=1, receivers=1, jobs=3))


def test_every_other_limit_and_name(tmp_path: Path) -> None:
    """Each limit is reached once, and told with its figure; each name that is taken or unknown is refused."""

    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        await service.create_device("door", DeviceSettings())
        await service.create_receiver(ReceiverConfiguration())
        await service.create_job(JobRequest(recording=recording.token, sources=(SourceRequest(token="receiver-1"),)))
        await service.groups.create_group("g", GroupSettings())
        await service.create_destination(LOCAL, {})
        days = SpecialDayGroup(token="d", name="d", days="")
        await service.calendars.set_special_days(days)
        week = Schedule(token="s", name="s", standard=WEEK)
        await service.calendars.create_schedule(week)
        lock = await service.media.lock(recording.token, [], 0, 10, "uid 0", "")
        house.archive.full = True
        again = msgspec.structs.replace
        refused: list[tuple[type[Fault], Callable[[], Coroutine[None, None, object]]]] = [
            (MaxRecordingJobs, lambda: service.create_job(
                JobRequest(recording=recording.token, sources=(SourceRequest(token="receiver-1"),)))),
            (MaxGroups, lambda: service.groups.create_group("h", GroupSettings())),
            (MaxStorageConfigurations, lambda: service.create_destination(LOCAL, {})),
            (MaxSchedules, lambda: service.calendars.create_schedule(again(week, token="t"))),
            (MaxSchedules, lambda: service.calendars.set_special_days(again(days, token="e"))),
            (MaxLocks, lambda: service.media.lock(recording.token, [], 0, 10, "uid 0", "")),
            (AlreadyExists, lambda: service.create_device("door", DeviceSettings())),
            (AlreadyExists, lambda: service.calendars.create_schedule(week)),
            (AlreadyExists, lambda: service.restore(house.service.objects)),
            (NoDevice, lambda: service.update_device("x", DeviceSettings())),
            (NotFound, lambda: service.groups.delete_group("x")),
            (NotFound, lambda: service.calendars.delete_schedule("x")),
            (NotFound, lambda: service.calendars.delete_special_days("x")),
            (NotFound, lambda: service.media.unlock(lock.id + 1)),
            (NoConfig, lambda: service.delete_destination("x")),
        ]  # fmt: skip
        for fault, call in refused:
            before = house.state.transactions
            with pytest.raises(fault) as raised:
                await call()
            assert type(raised.value) is fault
            if fault.kind.endswith("s") and fault is not MaxLocks:
                assert raised.value.expected in ("1", "2"), "the limit is in the answer"
            assert house.state.transactions == before

    play(
        tmp_path, story,
        Limits(recordings=2, jobs=1, groups=1, destinations=1, schedules=1, special_day_groups=1),
    )  # fmt: skip


def test_a_connection_that_fails_is_an_event(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        recording = await house.service.create_recording(RecordingConfiguration())
        token, receiver = await house.new_receiver()
        await house.service.create_job(
            JobRequest(recording=recording.token, mode="Active", sources=(SourceRequest(token=token),))
        )
        house.source.refuse(receiver, GapCause.CAMERA_REFUSED, "401 Unauthorized")
        (failed,) = house.of(topics.CONNECTION_FAILED)
        assert (failed.source, failed.data) == ((("ReceiverToken", token),), (("MediaUri", "rtsp://192.0.2.1/a"),))

    play(tmp_path, story)


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


def test_history_events_for_the_search_service(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        token, receiver = await house.new_receiver()
        job = await service.create_job(
            JobRequest(recording=recording.token, mode="Active", sources=(SourceRequest(token=token),))
        )
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


def test_job_state_information_when_the_tracks_differ(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        recording = await service.create_recording(RecordingConfiguration())
        token, receiver = await house.new_receiver()
        job = await service.create_job(
            JobRequest(recording=recording.token, mode="Active", sources=(SourceRequest(token=token),))
        )
        house.source.connect(receiver, (VIDEO, AUDIO))
        await house.seconds(7, receiver)
        last = house.of(topics.JOB_STATE)[-1]
        information = json.loads(dict(last.data)["Information"])
        assert dict(last.data)["State"] == information["state"] == service.job_state(job.token).state.value
        assert [t["state"] for t in information["sources"][0]["tracks"]] == ["Active", "Active", "Idle"]

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


def test_schedules_and_special_days_are_checked(tmp_path: Path) -> None:
    async def story(house: ServiceHouse) -> None:
        service = house.service
        with pytest.raises(BadConfiguration):
            await service.calendars.set_schedule(Schedule(token="s", name="s", standard="nonsense"))
        with pytest.raises(BadConfiguration):
            await service.calendars.set_schedule(Schedule(token="s", name="s", time_zone="Nowhere"))
        with pytest.raises(NotFound):
            await service.calendars.set_schedule(Schedule(token="s", name="s", special_days=(SpecialDays(group="g"),)))
        await service.calendars.set_special_days(SpecialDayGroup(token="g", name="g"))
        made = await service.calendars.create_schedule(
            Schedule(token="", name="s", special_days=(SpecialDays(group="g"),))
        )
        with pytest.raises(CannotDelete):
            await service.calendars.delete_special_days("g")
        assert sources(house.of(topics.SCHEDULE_CHANGED), "ScheduleToken") == [(made.token,)]
        await service.calendars.delete_schedule(made.token)
        assert sources(house.of(topics.SCHEDULE_REMOVED), "ScheduleToken") == [(made.token,)]
        await service.calendars.delete_special_days("g")
        assert len(house.of(topics.SPECIAL_DAYS_CHANGED)) == len(house.of(topics.SPECIAL_DAYS_REMOVED)) == 1

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
