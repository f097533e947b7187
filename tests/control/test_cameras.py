"""The cameras of `status`: what is wrong with a stream that is fetched all the same is said there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from recorderd.control.cameras import Cameras, Seen
from recorderd.control.explain import Chain
from recorderd.ingest.alarms import TOPICS, Alarm
from recorderd.ingest.service import Ingest
from recorderd.ingest.stream import StreamState, StreamStatus
from recorderd.model.causes import GapCause
from recorderd.model.media_ram import MediaRam
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.recording.requests import stream_request
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import RingState
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


@pytest.mark.parametrize(
    ("state", "broken"),
    [
        (StreamState.QUIET, "frames"),
        (StreamState.WAITING, "rtsp"),
        (StreamState.CONNECTING, "rtsp"),
    ],
)
def test_a_silent_camera_owes_media_within_a_session_and_answers_without_one(state: StreamState, broken: str) -> None:
    trouble = (GapCause.CAMERA_SILENT, "nothing from the camera for 10 s", 7)
    cameras = SimpleNamespace(
        trouble=lambda _: trouble, wall=lambda _: "2026-01-01T00:00:07Z", reaches_disk=lambda _: False
    )
    ring = SimpleNamespace(status=lambda: SimpleNamespace(state=RingState.HEALTHY, detail=""))
    stream = StreamStatus(state=state, cause=trouble[0], detail=trouble[1], sessions=1, peer="192.0.2.7")
    receiver = SimpleNamespace(token="receiver-1")
    seen = Seen(receiver, None, (), stream, None, None, True)  # type: ignore[arg-type]
    told = Chain(cameras, ring, None).explain(seen)  # type: ignore[arg-type]
    assert told.broken == broken
    (link,) = [link for link in told.links if link.name == broken]
    assert (link.detail, link.since) == (trouble[1], "2026-01-01T00:00:07Z")
    assert ("is playing" in " ".join(link.detail for link in told.links)) == (state is StreamState.QUIET)
