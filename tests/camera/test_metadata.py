"""The ONVIF metadata track at the wire: whole documents by marker bit, states on connecting, changes as they happen."""

import gzip
import xml.etree.ElementTree as ET
from datetime import datetime
from itertools import pairwise

import pytest

from hw.sim.camera import Camera, EventScript, StatefulEvent, VideoSettings, WithEvents, video_clip
from hw.sim.camera.clip import ClipSource
from hw.sim.camera.metadata import RULE_MOTION, VMD4, document
from tests.camera.plain_client import PlainClient
from tests.simulated_time import run_simulated

NAMES = {
    "tt": "http://www.onvif.org/ver10/schema",
    "wsnt": "http://docs.oasis-open.org/wsn/b-2",
}


async def documents(client: PlainClient, count: int) -> list[bytes]:
    got, pieces = [], []
    while len(got) < count:
        (packet,) = await client.rtp(1, channel=2)
        pieces.append(packet.payload)
        if packet.marker:
            got.append(b"".join(pieces))
            pieces = []
    return got


def events(text: bytes) -> list[tuple[str, str, dict, dict, datetime]]:
    found = []
    for message in ET.fromstring(text).iterfind("tt:Event/wsnt:NotificationMessage", NAMES):
        inner = message.find("wsnt:Message/tt:Message", NAMES)
        source, data = (
            {item.get("Name"): item.get("Value") for item in inner.iterfind(f"tt:{part}/tt:SimpleItem", NAMES)}
            for part in ("Source", "Data")
        )
        when = datetime.fromisoformat(inner.get("UtcTime"))
        found.append((message.findtext("wsnt:Topic", None, NAMES), inner.get("PropertyOperation"), source, data, when))
    return found


def on_camera(test, **options):
    async def main(clock):
        clip = ClipSource(video_clip(VideoSettings("h264", 160, 120), 30))
        source = WithEvents(clip, wall_ns=clock.realtime_ns, **options)
        async with Camera(source, seed=1) as camera, await PlainClient.connect(camera.url) as client:
            described = (await client.ask("DESCRIBE")).body.decode()
            await client.play(2)
            return await test(source, client, clock, described)

    return run_simulated(main)


def test_initial_states_then_changes():
    async def test(source, client, clock, described):
        assert "m=application 0 RTP/AVP 98\r\na=rtpmap:98 vnd.onvif.metadata/90000" in described
        empty, first, second = await documents(client, 3)
        assert events(empty) == []
        ((topic, operation, about, state, when),) = events(first)
        assert (topic, operation) == ("tns1:VideoSource/MotionAlarm", "Initialized")
        assert (about, state) == ({"Source": "0"}, {"State": "false"})
        assert abs(when.timestamp() - clock.realtime_ns() / 1e9) < 1
        assert events(second)[0][3] == {"active": "0"}
        source.set(VMD4, True)
        source.set(VMD4, True)  # no change, no event
        source.set(VMD4, False)
        changes = [event for text in await documents(client, 2) for event in events(text)]
        assert [(topic, operation, state) for topic, operation, _, state, _ in changes] == [
            (VMD4.topic, "Changed", {"active": "1"}),
            (VMD4.topic, "Changed", {"active": "0"}),
        ]

    on_camera(test, events=(StatefulEvent(), VMD4))


def test_a_script_repeats():
    async def test(source, client, clock, described):
        await documents(client, 2)
        began = clock.boottime_ns()
        seen = []
        for text in await documents(client, 4):
            ((_, _, _, state, when),) = events(text)
            seen.append(
                (state["IsMotion"], round(when.timestamp() - (clock.realtime_ns() - clock.boottime_ns() + began) / 1e9))
            )
        assert seen == [("true", 2), ("false", 5), ("true", 12), ("false", 15)]

    on_camera(test, events=(RULE_MOTION,), script=EventScript(10, [(2, RULE_MOTION, True), (5, RULE_MOTION, False)]))


@pytest.mark.parametrize("compressed", [False, True])
def test_long_documents_span_packets(compressed):
    async def test(source, client, clock, described):
        await documents(client, 2)
        text = document("".join(f"<!-- {n * 7919 % 99991:x} -->" for n in range(2000)))
        source.send(text)
        (got,) = await documents(client, 1)
        assert (gzip.decompress(got) if compressed else got).decode() == text
        assert ("vnd.onvif.metadata.gzip/90000" in described) is compressed

    on_camera(test, compressed=compressed)


def test_video_goes_on_beside_it():
    async def test(source, client, clock, described):
        packets = await client.rtp(50)
        assert {(b.sequence - a.sequence) & 0xFFFF for a, b in pairwise(packets)} == {1}

    on_camera(test)
