"""The simulated camera's faults over real sockets: what is lost is marked, what is broken is found again, the others notice nothing."""

from __future__ import annotations

import asyncio
import uuid
from fractions import Fraction
from itertools import pairwise

from hw.sim.camera import Camera, SoundSettings, VideoSettings, sound_clip, video_clip
from hw.sim.camera.clip import ClipSource
from recorderd.model.causes import GapCause
from recorderd.model.ports import StreamRequest
from tests.ingest.fetching import compare, pictures, request, service
from tests.ingest.gather import Gather

FPS = Fraction(50)


def clip(**choices):
    return video_clip(VideoSettings("h264", 320, 240, FPS, gop=10, **choices), 25)


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

    given = clip()
    sink = run(scenario, given)
    honest(sink, given)
    assert len(sink.sessions) == 1


def test_reordered_datagrams_are_put_back():
    async def scenario(camera, ingest, sink):
        camera.faults.reorder = 0.2
        await more(sink, 60)
        camera.faults.reorder = 0.0

    given = clip()
    sink = run(scenario, given, transport="udp")
    compare(sink.tracks[0][:60], given)


def test_lost_datagrams_are_marked():
    async def scenario(camera, ingest, sink):
        camera.faults.loss = 0.05
        await more(sink, 100)

    given = clip()
    sink = run(scenario, given, transport="udp")
    honest(sink, given)
    assert any(unit.damaged for unit in sink.tracks[0])


def test_missing_markers_in_mid_stream():
    async def scenario(camera, ingest, sink):
        camera.faults.no_marker = True
        await more(sink)
        camera.faults.no_marker = False
        await more(sink)

    given = clip()
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

    given = clip()
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


def test_one_misbehaving_camera_never_delays_the_others():
    """A good stream beside one that goes through its faults: between sweeps that deliver its pictures there is no hole."""
    given = clip()

    async def main():
        good, bad = Gather(), Gather()
        arrivals: list[int] = []
        original = good.units

        def units(session, new):
            arrivals.append(new[0].arrival_ns)
            original(session, new)

        good.units = units
        async with (
            Camera(ClipSource(given)) as one,
            Camera(ClipSource(clip(texture=0.5)), seed=2) as other,
            service() as ingest,
        ):
            ingest.start(request(one.url), good)
            ingest.start(StreamRequest(uuid.uuid4(), "bad", other.url), bad)
            await good.until(lambda: len(good.tracks.get(0, ())) > 20)
            first = len(arrivals)
            for fault, value in (
                ("cut", 20), ("junk", 50), ("loss", 0.5), ("no_marker", True), ("drip_bytes_per_s", 2000), ("hang", True),
            ):  # fmt: skip
                setattr(other.faults, fault, value)
                await more(good, 40)
            other.reset()
            other.refuse()
            await more(good, 40)
            await other.accept()
        return good, arrivals[first:], ingest.sweep.longest_ns

    good, arrivals, _ = asyncio.run(main())
    assert len(good.sessions) == 1
    compare(good.tracks[0], given)
    gaps = sorted(b - a for a, b in pairwise(arrivals))
    # One sweep is 45 ms; the machine that runs this test is not idle, so the bound holds for nearly all rather than every one.
    assert gaps[int(len(gaps) * 0.95)] < 2 * 45_000_000
