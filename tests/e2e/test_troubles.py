"""A camera in every kind of trouble, in simulated time: the right gap with the right cause, nothing lost that arrived, neighbours
untouched."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from itertools import pairwise

import pytest

from hw.sim.camera import Camera, CameraClock, ClipSource, SoundSettings, VideoSettings, sound_clip, video_clip
from recorderd.model.causes import GapCause
from tests.e2e.faults import TROUBLES, Trouble
from tests.e2e.rig import Rig
from tests.simulated_time import FakeClock, run_simulated

GOP_S = 2.0
BEFORE_S, LASTS_S = 20.0, 45.0
FRAME_S = 0.2
EDGE_S = GOP_S + 1.0  # a gap may begin a frame before the trouble, and end with the first key frame after it


def small(name: str, clock: FakeClock, seed: int) -> Camera:
    """Five pictures and five packets of sound a second."""
    settings = VideoSettings("h264", 160, 120, Fraction(5), gop=10, bitrate_bps=40_000)
    other = VideoSettings("h264", 320, 240, Fraction(5), gop=10, bitrate_bps=40_000)
    sound = sound_clip(SoundSettings("pcmu", 8_000, packet_ms=200), 40)
    source = ClipSource(video_clip(settings, 50), sound, alternates={0: video_clip(other, 50)}, phase_s=0.03 * seed)
    return Camera(source, name=name, seed=seed, clock=CameraClock(clock.realtime_ns))


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_trouble(trouble: Trouble) -> None:
    async def main(clock: FakeClock) -> None:
        async with small("one", clock, 1) as camera, small("two", clock, 2) as neighbour:
            async with Rig(clock, [camera, neighbour]) as rig:
                await asyncio.sleep(BEFORE_S)
                began = clock.boottime_ns() / 1e9
                await trouble.begin(camera)
                await asyncio.sleep(LASTS_S)
                await trouble.end(camera)
                await asyncio.sleep(trouble.recovery_s + 30.0)
                ended = clock.boottime_ns() / 1e9
                lost = rig.ingest.lost_packets(rig.receivers["one"])
                bars = [bar for bar in rig.timeline("one") if bar[2] > began - BEFORE_S / 2]
                others = [bar for bar in rig.timeline("two") if bar[2] > began - BEFORE_S / 2]
            for name in ("one", "two"):
                arrived, stored = rig.counts(name)
                assert arrived == stored, f"{arrived} access units of {name} arrived, {stored} are stored"
        gaps = [(cause, start, stop) for cause, start, stop in bars if cause is not None]
        allowed = {*trouble.causes, *([GapCause.PACKET_LOSS] if trouble.loses else [])}
        assert {cause for cause, _, _ in gaps} <= allowed, gaps
        assert lost > 0 or not trouble.loses
        if trouble.causes and trouble.certain:
            assert any(cause is trouble.causes[0] for cause, _, _ in gaps), gaps
        for cause, start, stop in gaps:
            assert start >= began - EDGE_S, (cause, start, began)
            assert stop <= began + LASTS_S + trouble.recovery_s + EDGE_S, (cause, stop)
        assert all(a[2] == pytest.approx(b[1], abs=FRAME_S) for a, b in pairwise(bars)), bars
        assert bars[-1][0] is None
        assert bars[-1][2] > ended - 6.0, "and records up to now"
        assert [cause for cause, _, _ in others] == [None], others

    run_simulated(main)
