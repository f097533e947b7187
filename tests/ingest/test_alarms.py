"""Alarms of streams that are fetched all the same: states with a beginning and an end, events of both, known before anything is missing."""

from __future__ import annotations

import uuid
from dataclasses import replace

from recorderd.ingest.alarms import TOPICS, Alarm
from recorderd.ingest.rate_cap import CALM_NS, RateCap
from recorderd.model.ports import Event
from tests.ingest.world import RECEIVER, SECOND, World, simulate

SOURCE = (("ReceiverToken", "receiver-1"), ("Camera", "cam1"))


def told(world: World, alarm: Alarm) -> list[Event]:
    events = [event for event in world.events.events if event.topic == TOPICS[alarm]]
    assert all(event.source == SOURCE for event in events)
    return events


def activity(world: World, alarm: Alarm) -> list[str]:
    return [dict(event.data).get("Active", event.operation) for event in told(world, alarm)]


def asked(world: World, **choices: object) -> None:
    world.ingest.start(replace(world.request, token="receiver-1", **choices), world.sink)


def test_a_stream_above_its_rate_cap_is_an_alarm_that_ends_a_minute_after_the_last_drop():
    async def scenario(world):
        asked(world, rate_cap_bps=100_000)
        await world.clock.sleep(60)
        assert [alarm for alarm, _ in world.ingest.alarms(RECEIVER)] == [Alarm.RATE_CAP]
        assert activity(world, Alarm.RATE_CAP) == ["true"]  # though it was exceeded many times
        world.camera.fps = 0.2
        await world.clock.sleep(CALM_NS / 1e9 + 30)
        assert world.ingest.alarms(RECEIVER) == []
        assert activity(world, Alarm.RATE_CAP) == ["true", "false"]

    world = simulate(scenario)
    assert "more than the rate cap of 0.1 Mbit/s" in dict(told(world, Alarm.RATE_CAP)[0].data)["Detail"]


def test_a_pre_buffer_that_a_stream_outgrows_is_an_alarm_before_any_event():
    """Nobody reads the pre-buffer here: the alarm comes from the stream's size alone."""

    async def scenario(world):
        asked(world, prebuffer_s=60.0, options=(("videomaxbitrate", "1"),))
        await world.clock.sleep(5)
        assert world.ingest.alarms(RECEIVER) == []
        await world.clock.sleep(60)
        ((alarm, detail),) = world.ingest.alarms(RECEIVER)
        assert alarm == "prebuffer-short"
        assert "limits.media_ram" in detail
        assert activity(world, alarm) == ["true"]

    simulate(scenario, media_ram=2_000_000)


def test_a_pre_buffer_that_does_not_fit_from_the_first_is_one_too_and_ends_with_what_asked_for_it():
    async def scenario(world):
        asked(world, prebuffer_s=600.0)
        assert activity(world, Alarm.PREBUFFER_SHORT) == ["true"]
        await world.clock.sleep(5)
        asked(world, prebuffer_s=1.0, options=(("videomaxbitrate", "1000"),))
        assert world.ingest.alarms(RECEIVER) == []
        assert activity(world, Alarm.PREBUFFER_SHORT) == ["true", "Deleted"]
        asked(world, prebuffer_s=600.0)
        world.ingest.stop(RECEIVER)
        assert activity(world, Alarm.PREBUFFER_SHORT)[-2:] == ["true", "Deleted"]
        await world.clock.sleep(5)
        assert world.ingest.alarms(RECEIVER) == []

    simulate(scenario)


def test_what_the_cap_says():
    cap = RateCap(8_000)
    assert cap.alarm(0) == ""
    assert cap.take(4000, 0)
    assert not cap.take(4000, 1)
    assert "0.008 Mbit/s" in cap.alarm(SECOND)
    assert cap.alarm(CALM_NS + SECOND) == ""


def test_alarms_of_different_receivers_do_not_meet():
    async def scenario(world):
        asked(world, prebuffer_s=600.0)
        assert world.ingest.alarms(uuid.uuid4()) == []
        await world.clock.sleep(1)

    simulate(scenario)
