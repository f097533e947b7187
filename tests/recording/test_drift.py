"""From arrivals to the export's axis: the recorder's minimum-delay estimate and the export's alignment, over a day of drifting clocks."""

from __future__ import annotations

import random

import pytest

from recorderd.ingest.sweep import PERIOD_S
from recorderd.media import formats
from recorderd.media.alignment import Alignment
from recorderd.model.stream import Codec, TrackFormat
from recorderd.rtsp.arrival import ArrivalEstimate

NS = 1_000_000_000
SWEEP_NS = round(PERIOD_S * 1e9)
FRAGMENT_S = 4
VIDEO, AUDIO = TrackFormat(Codec.H264, 90_000), formats.aac_format(b"\x11\x90")


@pytest.mark.parametrize(
    ("video_ppm", "audio_ppm"),
    [
        (0, 500),
        (-250, 250),
        pytest.param(0, -500, marks=pytest.mark.slow),
        pytest.param(500, 500, marks=pytest.mark.slow),
    ],
)
def test_a_day_stays_in_time(video_ppm: float, audio_ppm: float) -> None:
    """Units leave the camera when captured, wander up to 30 ms in the network and wait for the next sweep."""
    rng = random.Random(11)
    tracks = (VIDEO, AUDIO)
    estimates = [ArrivalEstimate(track.clock_rate) for track in tracks]
    alignment = Alignment(tracks)
    speed = (1 + video_ppm / 1e6, 1 + audio_ppm / 1e6)
    apart = []
    for fragment in range(86_400 // FRAGMENT_S):
        shown = []
        for n, track in enumerate(tracks):
            first = None
            for unit in range(6):
                captured = fragment * FRAGMENT_S + unit * FRAGMENT_S / 6 + n * 0.007
                pts = round(captured * speed[n] * track.clock_rate)
                sent_ns = round((captured + rng.random() * 0.03) * NS)
                arrival_ns = -(-sent_ns // SWEEP_NS) * SWEEP_NS
                estimates[n].observe(pts, arrival_ns)
                if first is None:
                    first = pts, min(arrival_ns, estimates[n].arrival_ns(pts)), captured
            assert first is not None
            placed = alignment.place(n, 1, first[0], first[1], None, None)
            shown.append(placed.tick / track.clock_rate - first[2])
        apart.append(abs(shown[0] - shown[1]))
    assert max(apart) < 0.080
    assert sum(apart) / len(apart) < 0.040
