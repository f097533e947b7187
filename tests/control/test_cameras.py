"""The cameras of `status`: what is wrong with a stream that is fetched all the same is said there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recorderd.control.cameras import Cameras
from recorderd.ingest.alarms import TOPICS, Alarm
from recorderd.ingest.service import Ingest
from recorderd.model.media_ram import MediaRam
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.recording.requests import stream_request
from recorderd.ring.ledger.ledger import RingLedger
from tests.ingest.gather import Gather
from tests.recording.service_house import ServiceHouse
from tests.simulated_time import FakeClock, run_simulated


def test_a_short_pre_buffer_is_named_with_its_camera(tmp_path: Path) -> None:
    async def scenario(clock: FakeClock) -> None:
        house = ServiceHouse(clock, tmp_path / "state.db")
        service = house.service
        receiver = await service.create_receiver(ReceiverConfiguration(media_uri="rtsp://192.0.2.7/stream"))
        ingest = Ingest(clock=clock, media_ram=MediaRam(4 << 20), events=house.broker)
        cameras = Cameras(
            objects=service.objects,
            engine=service.engine,
            ingest=ingest,
            queries=RingLedger(clock=clock).queries,
            clock=clock,
            tick_ns=1_000_000_000,
        )
        request = stream_request(receiver, None, "", prebuffer_s=60.0, want_metadata=False)
        assert cameras.alarms() == []
        ingest.start(request, Gather())
        ((name, text),) = cameras.alarms()
        assert name == receiver.token
        assert text.startswith("prebuffer-short: the pre-buffer needs ")
        (event,) = [event for event in house.broker.properties() if event.topic == TOPICS[Alarm.PREBUFFER_SHORT]]
        assert dict(event.source)["ReceiverToken"] == receiver.token
        ingest.start(replace(request, prebuffer_s=0.0), Gather())
        assert cameras.alarms() == []
        assert event not in house.broker.properties()
        house.state.close()

    run_simulated(scenario)
