"""Every limit and every name: what is too many, taken, unknown or still needed is refused with its own fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import msgspec
import pytest

from recorderd.model.destination import Destination
from recorderd.model.device import DeviceSettings
from recorderd.model.faults import (
    AlreadyExists,
    BadConfiguration,
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
    NoConfig,
    NoDevice,
    NoRecording,
    NoRecordingJob,
    NotFound,
    NoTrack,
    UnknownToken,
)
from recorderd.model.group import GroupSettings
from recorderd.model.job import (
    JobRequest,
    SourceRequest,
)
from recorderd.model.limits import Limits
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import (
    RecordingConfiguration,
    TrackConfiguration,
    TrackType,
)
from recorderd.model.schedule import Schedule, SpecialDayGroup, SpecialDays
from recorderd.recording import topics
from tests.recording.service_house import AUTO, ServiceHouse, play, sources

LOCAL = Destination(token="", type="Local")


WEEK = "BEGIN:VEVENT\r\nDTSTART:20260101T000000\r\nDTEND:20260101T100000\r\nRRULE:FREQ=WEEKLY\r\nUID:1\r\nEND:VEVENT"


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
