"""Days of anchors in seconds: what drifts stays in time, what does not keeps the camera's timing to the tick."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from recorderd.media import formats
from recorderd.media.alignment import Alignment
from recorderd.model.stream import Codec, SenderReport, TrackFormat

VIDEO = TrackFormat(Codec.H264, 90_000)
AUDIO = formats.g711_format(Codec.PCMU)
NS = 1_000_000_000
DAY_S = 86_400


def anchors(
    seconds: int, step_s: float, *, video_ppm: float = 0, audio_ppm: float = 0, jitter_ms: float = 0
) -> Iterator[tuple[float, int, int, int, int]]:
    """(true time, video pts, its arrival, audio pts, its arrival) every `step_s`; a clock of +ppm counts too fast."""
    rng = random.Random(5)
    for n in range(round(seconds / step_s)):
        at = n * step_s
        late = [rng.random() * jitter_ms / 1e3 for _ in range(2)]
        yield (
            at,
            7_000 + round(at * 90_000 * (1 + video_ppm / 1e6)), round((at + late[0]) * NS),
            123 + round(at * 8000 * (1 + audio_ppm / 1e6)), round((at + late[1]) * NS),
        )  # fmt: skip


@pytest.mark.parametrize(("video_ppm", "audio_ppm"), [(0, 500), (0, -500), (300, -200), (-500, 0), (50, 50)])
def test_a_day_of_drift_stays_in_time(video_ppm: float, audio_ppm: float) -> None:
    """Sound and picture captured together are shown within 80 ms of each other, and within 200 ms of when they were captured."""
    alignment = Alignment([VIDEO, AUDIO])
    worst = off = 0.0
    last = [-1, -1]
    for at, video, seen, audio, heard in anchors(DAY_S, 4, video_ppm=video_ppm, audio_ppm=audio_ppm, jitter_ms=10):
        picture = alignment.place(0, 1, video, seen, None, None).tick
        sound = alignment.place(1, 1, audio, heard, None, None).tick
        worst = max(worst, abs(picture / 90_000 - sound / 8000))
        off = max(off, abs(picture / 90_000 - at))
        assert picture > last[0]
        assert sound > last[1]
        last = [picture, sound]
    assert worst < 0.080
    assert off < 0.200


def test_without_drift_every_tick_is_the_cameras() -> None:
    alignment = Alignment([VIDEO, AUDIO])
    offsets = set()
    for _, video, seen, audio, heard in anchors(7200, 1, jitter_ms=10):
        offsets.add(("v", alignment.place(0, 1, video, seen, None, None).tick - video))
        offsets.add(("a", alignment.place(1, 1, audio, heard, None, None).tick - audio))
    assert len(offsets) == 2


def ntp(seconds: float) -> int:
    return round((3_900_000_000 + seconds) * 2**32)


def test_sender_reports_align_a_session_that_arrives_skewed() -> None:
    """The camera sends its sound 300 ms late; its reports say when it really was."""
    alignment = Alignment([VIDEO, AUDIO])
    picture = alignment.place(0, 1, 1000, 0, SenderReport(ntp(0), 1000, 0), None)
    sound = alignment.place(1, 1, 500, 300_000_000, SenderReport(ntp(0), 500, 300_000_000), None)
    assert (picture.tick, sound.tick) == (0, 0)


@pytest.mark.parametrize(
    "report", [SenderReport(ntp(-90), 500, 0), SenderReport(0, 500, 0), SenderReport(1 << 31, 500, 0), None]
)
def test_nonsense_reports_leave_it_to_arrival(report: SenderReport | None) -> None:
    alignment = Alignment([VIDEO, AUDIO])
    alignment.place(0, 1, 1000, 0, SenderReport(ntp(0), 1000, 0), None)
    assert alignment.place(1, 1, 500, 300_000_000, report, None).tick == 2400


def test_reports_that_come_late_are_followed_slowly() -> None:
    alignment = Alignment([VIDEO, AUDIO])
    steps = []
    sound = 0
    for n in range(400):
        reports = (
            (SenderReport(ntp(n), n * 90_000, n * NS), SenderReport(ntp(n), n * 8000, n * NS))
            if n > 5
            else (None, None)
        )
        alignment.place(0, 1, n * 90_000, n * NS, reports[0], None)
        before, sound = sound, alignment.place(1, 1, n * 8000, n * NS + 200_000_000, reports[1], None).tick
        steps.append(sound - before)
    assert all(abs(step - 8000) <= 16 for step in steps[1:])
    assert abs(sound - 399 * 8000) <= 40


def test_a_new_session_falls_where_it_arrived_but_not_into_what_is_there() -> None:
    alignment = Alignment([VIDEO])
    assert alignment.place(0, "a", 5, 0, None, None).tick == 0
    later = alignment.place(0, "b", 1 << 33, 60 * NS, None, 90_000)
    assert (later.tick, later.moved) == (60 * 90_000, True)
    early = alignment.place(0, "c", 77, 61 * NS, None, 62 * 90_000)
    assert (early.tick, early.moved) == (62 * 90_000, True)


def test_a_media_clock_that_jumps_is_placed_anew() -> None:
    alignment = Alignment([VIDEO])
    alignment.place(0, 1, 0, 0, None, None)
    jumped = alignment.place(0, 1, 90_000 * 3600, 2 * NS, None, 90_000)
    assert (jumped.tick, jumped.moved) == (180_000, True)


def test_sound_alone_leads_itself() -> None:
    alignment = Alignment([AUDIO])
    assert alignment.place(0, 1, 44, 1_000_000_000, None, None).tick == 8000
    assert alignment.place(0, 1, 44 + 8000, 2_000_000_000, None, None).tick == 16_000
