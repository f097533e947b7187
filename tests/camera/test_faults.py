"""Each thing a simulated camera can be told to get wrong, seen at the wire."""

import asyncio
import struct
from fractions import Fraction
from itertools import pairwise

import pytest

from hw.sim.camera import (
    Camera,
    CameraClock,
    ClipSource,
    Credentials,
    Quirks,
    SoundSettings,
    VideoSettings,
    sound_clip,
    video_clip,
)
from tests.camera.plain_client import Packet, PlainClient, digest
from tests.simulated_time import run_simulated

VIDEO = VideoSettings("h264", 320, 240, Fraction(25), gop=25, bitrate_bps=2_000_000, texture=0.2)


def source(**choices) -> ClipSource:
    return ClipSource(
        video_clip(VIDEO, 50),
        sound_clip(SoundSettings("pcmu", 8_000), 25),
        alternates={0: video_clip(VideoSettings("h264", 160, 120, Fraction(25), gop=25), 25)},
        **choices,
    )


def on_camera(test, **options):
    """Runs `test(camera, client)` in simulated time, over real sockets."""

    async def main(clock):
        wall = CameraClock(clock.realtime_ns)
        async with (
            Camera(source(), clock=wall, seed=7, **options) as camera,
            await PlainClient.connect(camera.url) as client,
        ):
            return await test(camera, client)

    return run_simulated(main)


def numbers(packets: list[Packet]) -> list[int]:
    """How far each packet's sequence number is from the one before."""
    return [(b.sequence - a.sequence) & 0xFFFF for a, b in pairwise(packets)]


def test_a_healthy_camera():
    async def test(camera, client):
        assert "PLAY" in (await client.ask("OPTIONS")).get("Public")
        described = await client.ask("DESCRIBE")
        assert described.get("Content-Type") == "application/sdp"
        assert described.body.count(b"\r\nm=") == 2
        played = await client.play(2)
        assert played.status == 200
        first = (await client.rtp(1))[0]
        assert f"seq={first.sequence};rtptime=" in played.get("RTP-Info")
        assert set(numbers(await client.rtp(500))) == {1}
        assert (await client.ask("TEARDOWN")).status == 200
        assert camera.playing == 0

    on_camera(test)


def test_packets_are_spread_over_time():
    async def main(clock):
        async with Camera(source(), seed=7) as camera, await PlainClient.connect(camera.url) as client:
            await client.play()
            arrived = []
            while len(arrived) < 200:
                packet = await client.next()
                if packet.channel == 0:
                    arrived.append((packet.timestamp, clock.boottime_ns()))
            first = [at for timestamp, at in arrived if timestamp == arrived[0][0]]
            assert len(first) > 6
            assert (first[-1] - first[0]) / 1e6 == pytest.approx((len(first) - 1) // 3, abs=0.01)

    run_simulated(main)


def test_loss_is_seen_in_the_sequence_numbers():
    async def test(camera, client):
        await client.play()
        await client.rtp(10)
        camera.faults.lose = 5
        assert sorted(set(numbers(await client.rtp(60)))) == [1, 6]
        camera.faults.loss = 0.1
        gaps = numbers(await client.rtp(500))
        assert 20 < sum(gap - 1 for gap in gaps) < 100

    on_camera(test)


def test_reordering_loses_nothing():
    async def test(camera, client):
        await client.play()
        camera.faults.reorder = 0.1
        got = [packet.sequence for packet in await client.rtp(500)]
        assert got != sorted(got)
        inner = range(min(got[:50]) + 5, max(got[-50:]) - 5)
        assert set(inner) <= set(got)

    on_camera(test)


def test_no_marker():
    async def test(camera, client):
        await client.play()
        assert any(packet.marker for packet in await client.rtp(40))
        camera.faults.no_marker = True
        await client.rtp(40)
        assert not any(packet.marker for packet in await client.rtp(200))

    on_camera(test)


def test_stall_answers_and_resumes_with_a_key_picture():
    async def test(camera, client):
        await client.play()
        await client.rtp(5)
        camera.faults.stall = True
        await asyncio.sleep(1)
        assert (await client.ask("GET_PARAMETER")).status == 200
        client.packets.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.rtp(1), 5)
        camera.faults.stall = False
        first = (await client.rtp(1))[0]
        assert first.payload[0] & 0x1F == 24, "an aggregation packet with parameter sets"

    on_camera(test)


def test_hang_says_nothing_and_closes_nothing():
    async def test(camera, client):
        await client.play()
        camera.faults.hang = True
        await asyncio.sleep(1)
        client.packets.clear()
        while client.reader._buffer:
            await client.next()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ask("OPTIONS"), 10)
        async with await PlainClient.connect(camera.url) as second:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(second.ask("OPTIONS"), 10)

    on_camera(test)


@pytest.mark.parametrize("kind", ["close", "reset"])
def test_ends_of_connections(kind):
    async def test(camera, client):
        await client.play()
        getattr(camera, kind)()
        expected = ConnectionResetError if kind == "reset" else asyncio.IncompleteReadError
        with pytest.raises(expected):
            await client.rtp(10_000)

    on_camera(test)


def test_refuse_and_accept():
    async def test(camera, client):
        url = camera.url
        camera.refuse()
        with pytest.raises(ConnectionRefusedError):
            await PlainClient.connect(camera.url)
        assert (await client.ask("OPTIONS")).status == 200, "open connections stay"
        await camera.accept()
        assert camera.url == url
        async with await PlainClient.connect(camera.url) as second:
            assert (await second.ask("OPTIONS")).status == 200

    on_camera(test)


def test_nothing_after_play_and_not_found_and_redirect():
    async def test(camera, client):
        camera.faults.no_media = True
        assert (await client.play()).status == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.next(), 20)
        camera.faults.not_found = True
        assert (await client.ask("DESCRIBE")).status == 404
        camera.faults.redirect = "rtsp://192.0.2.1/elsewhere"
        moved = await client.ask("DESCRIBE")
        assert (moved.status, moved.get("Location")) == (302, "rtsp://192.0.2.1/elsewhere")

    on_camera(test)


def test_another_path_is_not_found():
    async def test(camera, client):
        assert (await client.ask("DESCRIBE", camera.url + "x")).status == 404
        assert (await client.ask("DESCRIBE", camera.url + "?resolution=1920x1080&fps=30")).status == 200

    on_camera(test)


def test_wrong_content_length():
    async def test(camera, client):
        right = await client.ask("DESCRIBE")
        camera.faults.content_length_error = -20
        short = await client.ask("DESCRIBE")
        assert len(short.body) == len(right.body) - 20
        assert await client.reader.readexactly(20) == right.body[-20:]

    on_camera(test)


def test_broken_interleaving():
    async def test(camera, client):
        await client.play()
        await client.rtp(5)
        camera.faults.cut = 1
        packets, damaged = [], False
        for _ in range(60):  # the reader loses its way after the cut packet
            first = await client.reader.readexactly(1)
            if first != b"$":
                damaged = True
                break
            channel, length = struct.unpack(">BH", await client.reader.readexactly(3))
            packets.append(Packet(channel, await client.reader.readexactly(length)))
        assert damaged

    on_camera(test)


def test_junk_between_packets():
    async def test(camera, client):
        await client.play()
        await client.rtp(5)
        camera.faults.junk = 1
        seen = b""
        while len(seen) < 400_000:
            seen += await client.reader.read(65_536)
        at = junk = 0
        while at + 4 < len(seen) - 2000:
            if seen[at : at + 1] == b"$":
                at += 4 + int.from_bytes(seen[at + 2 : at + 4], "big")
            else:
                at, junk = at + 1, junk + 1
        assert 1 <= junk <= 40

    on_camera(test)


def test_slow_drip():
    async def main(clock):
        async with Camera(source(), seed=7) as camera, await PlainClient.connect(camera.url) as client:
            camera.faults.drip_bytes_per_s = 200
            began = clock.boottime_ns()
            reply = await client.ask("DESCRIBE")
            took = (clock.boottime_ns() - began) / 1e9
            size = len(reply.body) + sum(len(name) + len(value) + 4 for name, value in reply.headers) + 19
            assert took == pytest.approx(size / 200, abs=0.2)

    run_simulated(main)


def test_a_client_that_never_reads_costs_bounded_memory():
    async def test(camera, client):
        await client.play()
        await asyncio.sleep(600)
        (connection,) = camera.connections
        assert connection.dropped > 100
        assert connection.backlog < 3_000_000

    on_camera(test, quirks=Quirks(session_timeout_s=3600))


def test_rtp_step_and_drift():
    async def test(camera, client):
        await client.play(2)
        before = (await client.rtp(1))[0].timestamp
        camera.step_timestamps(10.0)
        stepped = [(packet.timestamp - before) & 0xFFFFFFFF for packet in await client.rtp(400)]
        assert any(900_000 <= step < 1_800_000 for step in stepped)
        assert (await client.ask("TEARDOWN")).status == 200
        client.session, client.packets = "", []

        camera.faults.drift_ppm = {"audio": 500.0}
        await client.play(2)
        times = [packet.timestamp for packet in await client.rtp(1001, channel=2)]  # 40 s of sound
        gained = ((times[-1] - times[0]) & 0xFFFFFFFF) - 1000 * 320
        assert gained == pytest.approx(1000 * 320 * 500e-6, abs=1)

    on_camera(test)


def reports(mode: str):
    async def test(camera, client):
        camera.faults.reports = mode
        await client.play(1)
        found, last = [], None
        for _ in range(5000):  # less than the session's time-out, so that "none" ends here
            item = await asyncio.wait_for(client.next(), 30)
            if item.channel == 1:
                assert item.data[1] == 200
                ntp, rtp = struct.unpack_from(">QI", item.data, 8)
                found.append((ntp / 2**32 - 2_208_988_800, rtp, last.timestamp if last else None))
                camera.clock.step(7.0)
                if len(found) == 3:
                    break
            elif item.channel == 0:
                last = item
        return found, camera

    return on_camera(test)


def test_sender_reports_tie_rtp_time_to_the_cameras_clock():
    found, _ = reports("good")
    (t0, r0, _), (t1, r1, last) = found[:2]
    assert ((r1 - r0) & 0xFFFFFFFF) / 90_000 == pytest.approx(5.0, abs=0.2)
    assert t1 - t0 - 7.0 == pytest.approx(((r1 - r0) & 0xFFFFFFFF) / 90_000, abs=0.001), "but for the commanded step"
    assert abs(((r1 - last + 2**31) & 0xFFFFFFFF) - 2**31) < 90_000 / 5


def test_nonsense_and_missing_sender_reports():
    nonsense = [t for t, _, _ in reports("nonsense")[0]]
    assert len({round(t) for t in nonsense}) == 3
    assert not any(abs(t - 1_760_000_000) < 1000 for t in nonsense)
    assert {round(t) for t, _, _ in reports("zero")[0]} == {-2_208_988_800}
    assert len({rtp for _, rtp, _ in reports("stale")[0]}) == 1
    assert reports("none")[0] == []


def test_the_session_times_out_without_a_sign_of_life():
    async def test(camera, client):
        camera.faults.no_media = True
        await client.play()
        for _ in range(3):
            await asyncio.sleep(8)
            assert (await client.ask("GET_PARAMETER")).status == 200
        with pytest.raises(asyncio.IncompleteReadError):
            await asyncio.wait_for(client.next(), 60)
        assert camera.timed_out == 1

    on_camera(test, quirks=Quirks(session_timeout_s=10))


def test_receiver_reports_keep_the_session_alive():
    async def test(camera, client):
        camera.faults.no_media = True
        await client.play()
        report = struct.pack(">BBHI", 0x80, 201, 1, 1)
        for _ in range(5):
            await asyncio.sleep(8)
            client.writer.write(struct.pack(">BBH", 0x24, 1, len(report)) + report)
        assert (await client.ask("OPTIONS")).status == 200
        assert camera.timed_out == 0

    on_camera(test, quirks=Quirks(session_timeout_s=10))


@pytest.mark.parametrize("schemes", [("MD5",), ("SHA-256",), ("SHA-256", "MD5")])
@pytest.mark.parametrize("qop", [True, False])
def test_digest_authentication(schemes, qop):
    async def test(camera, client):
        asked = await client.ask("DESCRIBE")
        challenges = [value for name, value in asked.headers if name == "WWW-Authenticate"]
        assert asked.status == 401
        assert all(f"algorithm={scheme}" in line for scheme, line in zip(schemes, challenges, strict=True))
        for challenge in challenges:
            right = digest(challenge, "DESCRIBE", camera.url, "root", "pa:ss")
            assert (await client.ask("DESCRIBE", Authorization=right)).status == 200
            wrong = digest(challenge, "DESCRIBE", camera.url, "root", "other")
            assert (await client.ask("DESCRIBE", Authorization=wrong)).status == 401
        camera.authenticator.retire_nonce()
        stale = await client.ask("DESCRIBE", Authorization=right)
        assert stale.status == 401
        assert "stale=TRUE" in stale.get("WWW-Authenticate")
        camera.set_credentials(Credentials("root", "new", schemes, qop=qop))
        fresh = digest((await client.ask("DESCRIBE")).get("WWW-Authenticate"), "DESCRIBE", camera.url, "root", "new")
        assert (await client.ask("DESCRIBE", Authorization=fresh)).status == 200

    on_camera(test, credentials=Credentials("root", "pa:ss", schemes, qop=qop))


def test_quirks():
    async def test(camera, client):
        described = await client.ask("DESCRIBE")
        assert b"\r\no=" not in described.body
        assert described.get("Content-Type") == described.get("Content-Base") == ""
        assert f"a=control:{camera.url}/trackID=0".encode() in described.body
        await client.ask("SETUP", f"{camera.url}/trackID=0", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
        await client.ask("PLAY")
        assert client.packets, "media came before the reply"
        assert (await client.ask("GET_PARAMETER")).status == 405
        udp = await client.ask("SETUP", f"{camera.url}/trackID=1", Transport="RTP/AVP;unicast;client_port=5000-5001")
        assert udp.status in (455, 461)

    quirks = Quirks(
        keepalive_methods=frozenset({"OPTIONS"}),
        data_before_play_reply=True,
        sdp_without_origin=True,
        describe_without_content_type=True,
        content_base=False,
        absolute_control=True,
        transports=frozenset({"tcp"}),
    )
    on_camera(test, quirks=quirks)


def test_garbage_ends_the_connection_and_nothing_else():
    async def test(camera, client):
        client.writer.write(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert (await client.next()).status == 400
        assert await client.reader.read() == b""
        async with await PlainClient.connect(camera.url) as second:
            assert (await second.ask("OPTIONS")).status == 200

    on_camera(test)
