"""The simulated camera's faults over real sockets: what is lost is marked, what is broken is found again, the others notice nothing."""

from __future__ import annotations

import asyncio
import json
from fractions import Fraction

from hw.sim.camera import Camera, SoundSettings, VideoSettings, sound_clip, video_clip
from hw.sim.camera.clip import ClipSource
from hw.sim.camera.control import obey
from recorderd.model.causes import GapCause
from tests.ingest.fetching import compare, pictures, request, service
from tests.ingest.gather import Gather

FPS = Fraction(50)
QUICK = {"fps": Fraction(250), "bitrate_bps": 3_000_000}  # where it does not matter how many sweeps a picture takes


def clip(**choices):
    return video_clip(VideoSettings(**{"width": 320, "height": 240, "fps": FPS, "gop": 10} | choices), 25)


def run(scenario, *tracks, **choices):
    """`scenario(camera, ingest, sink)` beside a running stream of one camera."""

    async def main():
        sink = Gather()
        async with Camera(ClipSource(*tracks), seed=1) as camera, service() as ingest:
            ingest.start(request(camera.url, **choices), sink)
            await sink.until(lambda: len(sink.tracks.get(0, ())) > 10)
            await scenario(camera, ingest, sink)
        return sink

    return asyncio.run(main())


def more(sink: Gather, count: int = 30):
    """Until so many more pictures have come."""
    have = len(sink.tracks[0])
    return sink.until(lambda: len(sink.tracks[0]) >= have + count)


def honest(sink: Gather, given) -> None:
    """Every picture that is not marked is one of the clip's, bit by bit."""
    coded = {tuple(data for data in units if data[0] & 31 in (1, 5)) for units in given.coded}
    for unit in sink.tracks[0]:
        slices = tuple(data for data in pictures("h264", unit) if data[0] & 31 in (1, 5))
        assert unit.damaged or slices in coded


def test_lost_packets_are_marked_and_ledgered():
    async def scenario(camera, ingest, sink):
        camera.faults.lose = 3
        await more(sink)
        await sink.until(lambda: bool(sink.said("interrupted")))

    given = clip()
    sink = run(scenario, given)
    honest(sink, given)
    assert any(unit.damaged for unit in sink.tracks[0])
    assert {entry[2] for entry in sink.said("interrupted")} == {GapCause.PACKET_LOSS}


def test_broken_interleaving_is_found_again():
    async def scenario(camera, ingest, sink):
        for fault in ("cut", "junk", "cut", "junk"):
            setattr(camera.faults, fault, 2)
            await more(sink)

    given = clip(**QUICK)
    sink = run(scenario, given)
    honest(sink, given)
    assert len(sink.sessions) == 1


def test_reordered_datagrams_are_put_back():
    async def scenario(camera, ingest, sink):
        camera.faults.reorder = 0.2
        await more(sink, 60)
        camera.faults.reorder = 0.0

    given = clip(**QUICK)
    sink = run(scenario, given, transport="udp")
    compare(sink.tracks[0][:60], given)


def test_lost_datagrams_are_marked():
    async def scenario(camera, ingest, sink):
        camera.faults.loss = 0.05
        await more(sink, 100)

    given = clip(**QUICK)
    sink = run(scenario, given, transport="udp")
    honest(sink, given)
    assert any(unit.damaged for unit in sink.tracks[0])


def test_missing_markers_in_mid_stream():
    async def scenario(camera, ingest, sink):
        camera.faults.no_marker = True
        await more(sink)
        camera.faults.no_marker = False
        await more(sink)

    given = clip(**QUICK)
    sink = run(scenario, given)
    compare(sink.tracks[0], given)


def test_new_parameter_sets_are_told_before_the_key_frame():
    async def scenario(camera, ingest, sink):
        camera.source.change_parameter_sets()
        await sink.until(lambda: bool(sink.said("format")))
        await more(sink)

    small, large = clip(), video_clip(VideoSettings("h264", 640, 360, FPS, gop=10), 25)

    async def main():
        sink = Gather()
        async with Camera(ClipSource(small, alternates={0: large})) as camera, service() as ingest:
            ingest.start(request(camera.url), sink)
            await sink.until(lambda: len(sink.tracks.get(0, ())) > 10)
            await scenario(camera, ingest, sink)
        return sink

    sink = asyncio.run(main())
    ((_, track, form),) = sink.said("format")
    assert (track, form.width, form.height) == (0, 640, 360)
    (changed,) = [unit for unit in sink.tracks[0] if unit.parameter_sets_changed]
    assert changed.key
    assert len(sink.sessions) == 1


def test_rtp_time_that_steps_costs_no_picture():
    async def scenario(camera, ingest, sink):
        await more(sink, 60)
        camera.step_timestamps(10_000.0)
        await more(sink, 60)

    given = clip(**QUICK)
    sink = run(scenario, given)
    assert [session.serial for session in sink.sessions] == [1, 2]
    assert [pictures("h264", unit) for unit in sink.tracks[0]] == [
        [data for data in given.coded[n % 25] if data[0] & 31 not in (7, 8, 9)] for n in range(len(sink.tracks[0]))
    ]
    assert camera_connections(sink) == 1


def camera_connections(sink: Gather) -> int:
    return len([entry for entry in sink.said("closed") if entry[1] is not GapCause.CAMERA_ERROR])


def test_nonsense_reports_change_no_media_time():
    async def scenario(camera, ingest, sink):
        for kind in ("nonsense", "zero", "stale", "none"):
            camera.faults.reports = kind
            await more(sink, 20)

    given, sound = clip(), sound_clip(SoundSettings("aac", 16_000), 12)
    sink = run(scenario, given, sound)
    compare(sink.tracks[0], given)
    assert len(sink.sessions) == 1


def test_a_camera_that_resets_or_closes_is_told_apart_and_fetched_again():
    async def scenario(camera, ingest, sink):
        camera.reset()
        await sink.until(lambda: len(sink.sessions) == 2)
        await more(sink, 10)
        camera.close()
        await sink.until(lambda: len(sink.sessions) == 3)

    sink = run(scenario, clip())
    causes = [entry[1] for entry in sink.said("closed")]
    assert causes[:2] == [GapCause.CAMERA_RESET, GapCause.CAMERA_CLOSED]


MISBEHAVIOUR = (
    {"do": "faults", "lose": 5},
    {"do": "faults", "loss": 0.5},
    {"do": "faults", "reorder": 0.5},
    {"do": "faults", "no_marker": True},
    {"do": "faults", "cut": 20},
    {"do": "faults", "junk": 50},
    {"do": "faults", "reports": "nonsense"},
    {"do": "faults", "drift_ppm": {"video": 5000.0}},
    {"do": "clock", "step_s": 3600.0, "drift_ppm": 500.0},
    {"do": "rtp-step", "seconds": 10_000.0},
    {"do": "parameter-sets"},
    {"do": "faults", "stall": True},
    {"do": "faults", "drip_bytes_per_s": 2000},
    {"do": "faults", "hang": True},
    {"do": "reset"},
    {"do": "close"},
)
WHILE_CONNECTING = (
    {"do": "faults", "content_length_error": 40},
    {"do": "faults", "content_length_error": -40},
    {"do": "faults", "redirect": "rtsp://127.0.0.1:9/"},
    {"do": "faults", "no_media": True},
    {"do": "faults", "drip_bytes_per_s": 200},
    {"do": "authentication", "user": "root", "password": "new"},
    {"do": "refuse"},
)


def test_one_misbehaving_camera_never_delays_the_others_by_more_than_one_sweep():
    """Counted, not timed: which pass of the sweep a picture is delivered by, against the pass it was sent before or in."""
    given = clip()
    sent: dict[int, int] = {}  # RTP timestamp: passes of the sweep so far
    late: list[int] = []

    async def main():
        good, bad = Gather(), Gather()
        async with (
            Camera(ClipSource(given)) as one,
            Camera(
                ClipSource(clip(texture=0.5), alternates={0: clip(bitrate_bps=900_000)}), name="bad", seed=2
            ) as other,
            service() as ingest,
        ):
            one.unit_sent = lambda _, timestamp: sent.setdefault(timestamp, ingest.sweep.passes)
            delivered = good.units

            def units(session, new):
                late.extend(ingest.sweep.passes - sent.pop(unit.pts & 0xFFFFFFFF) for unit in new)
                delivered(session, new)

            good.units = units
            ingest.start(request(one.url), good)
            ingest.start(request(other.url), bad)
            await good.until(lambda: len(good.tracks.get(0, ())) > 20)
            await bad.until(lambda: len(bad.tracks.get(0, ())) > 5)
            late.clear()
            for misbehaviour in (*MISBEHAVIOUR, *WHILE_CONNECTING):
                assert await obey({"bad": other}, json.dumps({"camera": "bad"} | misbehaviour).encode()) == {"ok": True}
                if misbehaviour in WHILE_CONNECTING:
                    ingest.start(request(other.url), Gather())
                await more(good, 12)
                await obey({"bad": other}, b'{"camera": "bad", "do": "clear"}')
            assert other.accepted >= len(WHILE_CONNECTING)
        return good, bad

    good, bad = asyncio.run(main())
    assert len(good.sessions) == 1
    compare(good.tracks[0], given)
    # 0: by the next pass. 1: it was sent while a pass had already read that socket and was busy with another's.
    assert max(late) <= 1
    assert len(late) >= 12 * len((*MISBEHAVIOUR, *WHILE_CONNECTING))
    assert any(unit.damaged for unit in bad.tracks[0])
