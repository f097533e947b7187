"""Streams that lose packets, jump, flood or are not supported, in simulated time: what is kept, what is said, when the camera is left."""

from __future__ import annotations

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.ports import StreamRequest
from recorderd.rtsp.inbound import MAX_WORK
from tests.ingest.world import RECEIVER, SECOND, simulate
from tests.rtsp.packets import rtp


def test_lost_packets_are_an_interval_up_to_the_next_key_frame():
    async def scenario(world):
        await world.clock.sleep(10)
        world.camera.faults.drop_every = 10
        await world.clock.sleep(0.5)
        world.camera.faults.drop_every = 0
        await world.clock.sleep(10)

    world = simulate(scenario)
    (entry,) = world.sink.said("interrupted")
    assert entry[2] is GapCause.PACKET_LOSS
    assert (entry[4] - entry[3]) / SECOND < 1.6
    assert any(unit.damaged for unit in world.sink.tracks[0])


def test_media_time_that_jumps_is_a_session_of_its_own_without_a_cut():
    async def scenario(world):
        await world.clock.sleep(60)
        world.camera.jump_ticks += 3600 * 90000
        await world.clock.sleep(60)
        world.camera.jump_ticks -= 7200 * 90000
        await world.clock.sleep(60)

    world = simulate(scenario)
    assert world.camera.sessions == 1
    assert [session.serial for session in world.sink.sessions] == [1, 2, 3]
    assert len(world.sink.tracks[0]) >= 177 * 25


def test_one_flooding_camera_is_cut_off_and_tried_again():
    async def scenario(world):
        await world.clock.sleep(5)
        world.camera.faults.flood = 400_000
        await world.clock.sleep(5)

    world = simulate(scenario)
    assert world.sink.said("closed")[0][1] is GapCause.CAMERA_ERROR


def test_a_camera_that_sends_more_packets_than_can_be_taken_in_is_cut_off():
    async def scenario(world):
        await world.clock.sleep(5)
        tiny = b"$\x00\x00\x0e" + rtp(0, 0, b"\x06\x00")
        world.camera._send = lambda wire, number, ticks: wire.deliver(tiny * 10_000)
        while not world.sink.said("closed"):
            await world.clock.sleep(1)

    world = simulate(scenario)
    (_, cause, detail), *_ = world.sink.said("closed")
    assert cause is GapCause.CAMERA_ERROR
    assert detail == "the camera sends more packets, or more nonsense, than can be taken in"


def test_what_a_camera_sent_in_one_burst_before_it_closed_is_not_lost():
    """More packets than one sweep takes on, and then the end: they all count."""

    async def scenario(world):
        await world.clock.sleep(5)
        (wire,) = world.camera.wires
        have = len(world.sink.tracks[0])
        at = world.sink.tracks[0][-1].pts - wire.track.start
        burst = b"".join(b"".join(wire.track.frames(at + n, [b"\x41\x9a\x00\x00"])) for n in range(1, 2 * MAX_WORK))
        wire.deliver(burst)
        wire.end()
        while not world.sink.said("closed"):
            await world.clock.sleep(0.01)
        assert len(world.sink.tracks[0]) - have >= 2 * MAX_WORK - 1
        assert not world.sink.said("interrupted")

    world = simulate(scenario)
    assert world.sink.said("closed")[0][1] is GapCause.CAMERA_CLOSED


def test_the_rate_cap_drops_whole_stretches_and_says_so():
    async def scenario(world):
        request = StreamRequest(receiver=RECEIVER, name="cam1", uri="rtsp://192.0.2.1/x", rate_cap_bps=100_000)
        world.ingest.start(request, world.sink)
        await world.clock.sleep(60)

    world = simulate(scenario)
    capped = [entry for entry in world.sink.said("interrupted") if entry[2] is GapCause.RATE_CAP]
    assert capped
    delivered = sum(len(unit.data) for unit in world.sink.tracks[0])
    assert delivered * 8 < 100_000 * 66


VIDEO = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:1\r\n"


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (VIDEO.replace("AVP", "SAVP"), "cam1: video is encrypted (SRTP), which is not supported: choose RTSP over TLS"),
        (VIDEO.replace("H264", "MP4V-ES"), "cam1: video codec MP4V-ES is not supported"),
        (
            VIDEO + "m=application 0 RTP/AVP 98\r\na=rtpmap:98 vnd.onvif.metadata.exi.onvif/90000\r\na=control:2\r\n",
            "cam1: application codec VND.ONVIF.METADATA.EXI.ONVIF: EXI compression is not supported, choose none or gzip",
        ),
    ],
)
def test_what_is_not_supported_is_said_with_the_cameras_name(description, said, caplog):
    async def scenario(world):
        await world.clock.sleep(2)

    caplog.set_level("INFO")
    world = simulate(scenario, description="v=0\r\n" + description)
    assert any(text.startswith(said) for text in caplog.messages)
    failed = world.sink.said("no session")
    assert not failed or failed[0][1] is GapCause.INCOMPATIBLE_STREAM


def test_a_stream_without_key_frames_is_said_to_be_useless():
    async def scenario(world):
        slice_ = b"\x41\x9a\x00\x00"
        world.camera._send = lambda wire, number, ticks: wire.deliver(b"".join(wire.track.frames(ticks, [slice_])))
        await world.clock.sleep(40)

    world = simulate(scenario)
    assert 0 not in world.sink.tracks
    assert any("no key frame" in text for text in world.status().remarks)
