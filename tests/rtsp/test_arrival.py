"""The minimum-delay estimate against simulated clocks and networks, and what sender reports are worth."""

from __future__ import annotations

import random

import pytest

from recorderd.ingest.sweep import PERIOD_S
from recorderd.model.stream import SenderReport
from recorderd.rtsp.arrival import NTP_UNIX_S, ArrivalEstimate, ntp_ns, reports_align

RATE = 90_000
MS = 1_000_000
SECOND = 1_000_000_000
SWEEP = round(PERIOD_S * SECOND)


def camera(ppm: float, seconds: int, *, fps: float = 25, seed: int = 1, jitter_ms: float = 8, start_ns: int = 10**12):
    """(media time, arrival at the sweep, when it was really sent) of each frame of a camera whose clock is `ppm` fast."""
    rng = random.Random(seed)
    for n in range(int(seconds * fps)):
        sent = start_ns + round(n / fps * SECOND)
        media = 4_000_000_000 + round((sent - start_ns) * (1 + ppm * 1e-6) * RATE / SECOND)
        delay = 2 * MS + rng.expovariate(1 / (jitter_ms * MS))
        if rng.random() < 0.01:
            delay += rng.random() * 300 * MS
        arrival = sent + delay
        yield media, int(-(-arrival // SWEEP) * SWEEP), sent


@pytest.mark.parametrize("ppm", [0, 500, -500, 50])
def test_within_40_ms_at_the_99th_percentile_over_hours(ppm):
    """Two hours at 5 frames a second hold as many windows as a day's ends; the slow run does the day."""
    errors = errors_of(ppm, 7200, fps=5)
    assert percentile(errors, 0.99) < 40 * MS
    assert percentile(errors, 0.5) < 15 * MS


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [500, -500])
def test_within_40_ms_over_a_day(ppm):
    assert percentile(errors_of(ppm, 86_400, fps=25), 0.99) < 40 * MS


def errors_of(ppm: float, seconds: int, fps: float) -> list[int]:
    estimate = ArrivalEstimate(RATE)
    errors = []
    for media, arrival, sent in camera(ppm, seconds, fps=fps):
        estimate.observe(media, arrival)
        errors.append(abs(estimate.arrival_ns(media) - sent))
    return errors


def percentile(values: list[int], part: float) -> int:
    return sorted(values)[int(len(values) * part)]


def test_the_drift_is_known_after_a_while():
    estimate = ArrivalEstimate(RATE)
    for media, arrival, _ in camera(-300, 120):
        estimate.observe(media, arrival)
    assert 250 < estimate.drift_ppm < 350


def test_a_delay_that_shrinks_counts_at_once_and_one_that_grows_does_not():
    estimate = ArrivalEstimate(RATE)
    for n in range(100):
        estimate.observe(n * 3600, n * 40 * MS + 100 * MS)
    assert estimate.arrival_ns(99 * 3600) == 99 * 40 * MS + 100 * MS
    estimate.observe(100 * 3600, 100 * 40 * MS + 500 * MS)
    assert estimate.arrival_ns(100 * 3600) == 100 * 40 * MS + 100 * MS
    estimate.observe(101 * 3600, 101 * 40 * MS + 20 * MS)
    assert estimate.arrival_ns(101 * 3600) == 101 * 40 * MS + 20 * MS


def test_media_time_that_jumps_ahead_is_early():
    estimate = ArrivalEstimate(RATE)
    assert estimate.early_ns(0, 0) == 0
    for n in range(100):
        estimate.observe(n * 3600, n * 40 * MS)
    assert abs(estimate.early_ns(100 * 3600, 100 * 40 * MS)) < MS
    assert estimate.early_ns(100 * 3600 + 10 * RATE, 100 * 40 * MS) > 9 * SECOND
    assert estimate.early_ns(100 * 3600, 100 * 40 * MS + 5 * SECOND) < 0


def report(media: int, camera_s: float) -> SenderReport:
    seconds = int(camera_s)
    return SenderReport((seconds + NTP_UNIX_S) << 32 | int((camera_s - seconds) * 2**32), media, 0)


def test_reports_align_tracks_even_when_the_cameras_clock_is_wrong_by_years():
    video, audio = ArrivalEstimate(RATE), ArrivalEstimate(16_000)
    for n in range(50):
        video.observe(n * 3600, n * 40 * MS + 30 * MS)
        audio.observe(n * 640, n * 40 * MS + 10 * MS)
    # The camera says both began at the same instant of its clock (in 1971), though audio arrived 20 ms sooner.
    wrong = 365 * 86400.0
    found = reports_align(report(0, wrong), video, report(0, wrong), audio)
    assert found is not None
    assert abs(found + 20 * MS) < MS


def test_nonsense_reports_align_nothing():
    video, audio = ArrivalEstimate(RATE), ArrivalEstimate(16_000)
    video.observe(0, 0)
    audio.observe(0, 0)
    assert reports_align(report(0, 1000.0), video, report(0, 2000.0), audio) is None
    assert reports_align(SenderReport(0, 0, 0), video, report(0, 1000.0), audio) is None
    assert ntp_ns((NTP_UNIX_S + 5) << 32 | 1 << 31) == 5_500_000_000
