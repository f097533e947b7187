"""Jobs with schedules on a clock that goes on, changes its offset and steps."""

from __future__ import annotations

import asyncio
import datetime as dt
import zoneinfo
from pathlib import Path

from recorderd.model.causes import RunKind
from recorderd.model.job import JobRequest, SourceRequest
from recorderd.model.recording import RecordingConfiguration
from recorderd.model.schedule import Schedule
from recorderd.recording import topics
from tests.recording.service_house import ServiceHouse, living
from tests.simulated_time import FakeClock, run_simulated

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
DAILY = "BEGIN:VEVENT\nDTSTART:20260101T{0}00\nDURATION:PT{1}M\nRRULE:FREQ=DAILY\nEND:VEVENT"


def set_clock(clock: FakeClock, local: str) -> None:
    wanted = dt.datetime.fromisoformat(local).replace(tzinfo=BERLIN).timestamp()
    clock.step(wanted - clock.realtime_ns() / 1e9)


def local(house: ServiceHouse, boot_ns: int) -> str:
    wall = house.clock.realtime_ns() - house.clock.boottime_ns() + boot_ns
    return dt.datetime.fromtimestamp(wall / 1e9, BERLIN).strftime("%d %H:%M:%S")


async def scheduled(house: ServiceHouse, begins: str, minutes: int) -> str:
    service = house.service
    await service.calendars.set_schedule(Schedule(token="s", name="s", standard=DAILY.format(begins, minutes)))
    recording = await service.create_recording(RecordingConfiguration())
    token, _ = await house.new_receiver()
    request = JobRequest(recording=recording.token, mode="Active", schedule="s", sources=(SourceRequest(token=token),))
    return (await service.create_job(request)).token


def test_periods_to_the_second(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        set_clock(clock, "2026-05-04T17:00:00")
        async with living(ServiceHouse(clock, tmp_path / "s", time_zone="Europe/Berlin")) as house:
            await scheduled(house, "0800", 600)
            await asyncio.sleep(15 * 3600 + 60)
            runs = list(house.store.runs.values())
            spans = [(local(house, r.start_ns), local(house, r.stop_ns or clock.boottime_ns())) for r in runs]
            assert spans == [("04 17:00:00", "04 18:00:00"), ("05 08:00:00", "05 08:01:00")]
            assert {r.cause.kind for r in runs} == {RunKind.SCHEDULE}
            assert {r.cause.source for r in runs} == {"s"}
            told = [dict(e.data)["Active"] for e in house.of(topics.SCHEDULE_ACTIVE)]
            assert told == ["true", "false", "true"]

    run_simulated(main)


def test_the_night_the_clocks_go_back_has_an_hour_more(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        set_clock(clock, "2026-10-24T21:00:00")
        async with living(ServiceHouse(clock, tmp_path / "s", time_zone="Europe/Berlin")) as house:
            await scheduled(house, "2200", 480)
            await asyncio.sleep(16 * 3600)
            (run,) = house.store.runs.values()
            assert run.stop_ns is not None
            assert (run.stop_ns - run.start_ns) // 10**9 == 9 * 3600

    run_simulated(main)


def test_the_night_the_clocks_go_forward_has_an_hour_less(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        set_clock(clock, "2026-03-28T21:00:00")
        async with living(ServiceHouse(clock, tmp_path / "s", time_zone="Europe/Berlin")) as house:
            service = house.service
            night = "BEGIN:VEVENT\nDTSTART:20260101T220000\nDTEND:20260102T060000\nRRULE:FREQ=DAILY\nEND:VEVENT"
            await scheduled(house, "2200", 1)
            await service.calendars.set_schedule(Schedule(token="s", name="s", standard=night))
            await asyncio.sleep(12 * 3600)
            (run,) = house.store.runs.values()
            assert run.stop_ns is not None
            assert round((run.stop_ns - run.start_ns) / 1e9) == 7 * 3600

    run_simulated(main)


def test_schedules_follow_the_recorders_zone(tmp_path: Path) -> None:
    """Unless they have one of their own."""

    async def main(clock: FakeClock) -> None:
        set_clock(clock, "2026-05-04T08:30:00")
        async with living(ServiceHouse(clock, tmp_path / "s", time_zone="UTC")) as house:
            await scheduled(house, "0800", 60)
            assert house.store.running() == [], "half past six in UTC"
            house.time_zone = "Europe/Berlin"
            await asyncio.sleep(1.1)
            assert len(house.store.running()) == 1
            own = Schedule(token="s", name="s", standard=DAILY.format("0800", 60), time_zone="America/New_York")
            await house.service.calendars.set_schedule(own)
            await asyncio.sleep(1.1)
            assert house.store.running() == []
            house.time_zone = "America/New_York"
            await asyncio.sleep(5 * 3600 + 1800 + 1)
            assert len(house.store.running()) == 1, "eight o'clock there"

    run_simulated(main)


def test_a_clock_that_steps_is_noticed_within_a_second(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        set_clock(clock, "2026-05-04T07:00:00")
        async with living(ServiceHouse(clock, tmp_path / "s", time_zone="Europe/Berlin")) as house:
            await scheduled(house, "0800", 60)
            await asyncio.sleep(10)
            assert house.store.running() == []
            clock.step(3600)
            await asyncio.sleep(1.1)
            assert len(house.store.running()) == 1, "forward, into the period"
            clock.step(-3600)
            await asyncio.sleep(1.1)
            assert house.store.running() == [], "back, out of it"
            clock.step(2 * 3600)
            await asyncio.sleep(1.1)
            assert house.store.running() == [], "over it"

    run_simulated(main)


def test_a_schedule_that_does_not_exist_is_not_active(tmp_path: Path) -> None:
    """5.3.3: the job shall only record if the schedule exists and is active; a lower priority may record then."""

    async def main(clock: FakeClock) -> None:
        set_clock(clock, "2026-05-04T08:30:00")
        async with living(ServiceHouse(clock, tmp_path / "s", time_zone="Europe/Berlin")) as house:
            high = await scheduled(house, "0800", 60)
            job = house.service.get_job(high)
            low = await house.service.create_job(
                JobRequest(
                    recording=job.configuration.recording,
                    mode="Active",
                    sources=(SourceRequest(token=job.configuration.sources[0].token),),
                )
            )
            await house.service.set_job(
                high,
                JobRequest(
                    recording=job.configuration.recording,
                    mode="Active",
                    priority=9,
                    schedule="s",
                    sources=(SourceRequest(token=job.configuration.sources[0].token),),
                ),
            )
            assert [r.job for r in house.store.running()] == [job.id]
            await house.service.calendars.delete_schedule("s")
            assert [r.job for r in house.store.running()] == [low.id]
            await house.service.calendars.set_schedule(Schedule(token="s", name="s", standard=DAILY.format("0800", 60)))
            assert [r.job for r in house.store.running()] == [job.id]
            await asyncio.sleep(3600)
            assert [r.job for r in house.store.running()] == [low.id], "the period is over"

    run_simulated(main)
