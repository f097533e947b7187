"""Pre-buffers: what is held, what is let go, and what is said when memory does not suffice."""

from __future__ import annotations

import uuid

from recorderd.ingest.media_time import MediaTime
from recorderd.ingest.prebuffer import PreBuffer, estimate_bytes
from recorderd.ingest.service import Ingest
from recorderd.ingest.silence import MediaWatch
from recorderd.model.causes import GapCause
from recorderd.model.media_ram import MediaRam
from recorderd.model.ports import StreamRequest, StreamSession
from recorderd.model.stream import AccessUnit, Codec, SenderReport, TrackFormat
from tests.ingest.gather import Gather
from tests.simulated_time import FakeClock

SECOND = 1_000_000_000
VIDEO = TrackFormat(Codec.H264, 90000)
AUDIO = TrackFormat(Codec.AAC, 16000)
REPORT = SenderReport(1 << 32, 9000, 5)


def opened(buffer: PreBuffer, *formats: TrackFormat, serial: int = 1) -> None:
    times = MediaTime([form.clock_rate for form in formats], -1, MediaWatch(0))
    buffer.session_opened(StreamSession(uuid.uuid4(), serial, formats, 0, times))


def gops(
    count: int, *, first: int = 0, frames: int = 10, size: int = 1000, step_ns: int = SECOND // 10
) -> list[AccessUnit]:
    """`count` GOPs of a second each."""
    return [
        AccessUnit(0, n * 9000, bytes(size), n * step_ns, key=n % frames == 0)
        for n in range(first * frames, (first + count) * frames)
    ]


def test_two_closed_gops_and_the_open_one_are_held():
    buffer = PreBuffer(seconds=0.1, reserve=lambda wanted: wanted, first_bytes=1 << 20)
    opened(buffer, VIDEO)
    buffer.add(gops(10))
    held = list(buffer.since(0))
    assert held[0].pts == 7 * 90000
    assert len(held) == 30
    assert not buffer.short


def test_as_many_gops_as_the_seconds_take():
    buffer = PreBuffer(seconds=5, reserve=lambda wanted: wanted, first_bytes=1 << 20)
    opened(buffer, VIDEO)
    for unit in gops(60):
        buffer.add([unit])
    assert 5 <= buffer.held_s() < 6.1
    assert buffer.size_bytes < 80_000 * 1.3


def test_since_begins_at_the_key_frame_before_the_instant():
    buffer = PreBuffer(seconds=5, reserve=lambda wanted: wanted, first_bytes=1 << 20)
    opened(buffer, VIDEO)
    buffer.add(gops(20))
    at_ns = 17 * SECOND + 350_000_000
    held = list(buffer.since(at_ns))
    assert held[0].key
    assert held[0].arrival_ns == 17 * SECOND
    assert held[-1].pts == 199 * 9000
    exact = list(buffer.since(17 * SECOND))
    assert exact == held


def test_units_of_all_tracks_stay_in_order_of_arrival():
    buffer = PreBuffer(seconds=1, reserve=lambda wanted: wanted, first_bytes=1 << 20)
    opened(buffer, VIDEO, AUDIO)
    video = gops(5)
    audio = [AccessUnit(1, n * 1024, b"a", n * 64_000_000) for n in range(78)]
    buffer.add(sorted(video + audio, key=lambda unit: unit.arrival_ns))
    held = list(buffer.since(0))
    assert [unit.arrival_ns for unit in held] == sorted(unit.arrival_ns for unit in held)
    assert {unit.track for unit in held} == {0, 1}


def test_streams_without_video_are_cut_into_seconds():
    buffer = PreBuffer(seconds=3, reserve=lambda wanted: wanted, first_bytes=1 << 20)
    opened(buffer, AUDIO)
    buffer.add([AccessUnit(0, n * 1024, b"a" * 100, n * 64_000_000) for n in range(500)])
    assert 3 <= buffer.held_s() < 4.5


def test_what_led_up_to_the_end_of_a_session_is_still_there_after_the_next_has_begun():
    buffer = PreBuffer(seconds=5, reserve=lambda wanted: wanted, first_bytes=1 << 20)
    opened(buffer, VIDEO)
    buffer.sender_report(0, REPORT)
    buffer.add(gops(10))
    assert buffer.earlier(0) == []
    buffer.session_closed(GapCause.CAMERA_RESET)
    assert not list(buffer.since(0))
    opened(buffer, VIDEO, AUDIO, serial=2)
    assert not list(buffer.since(0))
    buffer.add(gops(2, first=12))
    (held,) = buffer.earlier(8 * SECOND + 1)
    assert (held.session.serial, held.formats, held.reports) == (1, (VIDEO,), (REPORT,))
    assert held.ended is GapCause.CAMERA_RESET
    assert [unit.arrival_ns for unit in held.units] == [n * SECOND // 10 for n in range(80, 100)]
    assert [unit.arrival_ns for unit in buffer.since(0)] == [n * SECOND // 10 for n in range(120, 140)]
    assert buffer.earlier(10 * SECOND) == [], "nothing of it arrived after that"


def test_a_session_is_let_go_when_those_after_it_cover_the_seconds():
    buffer = PreBuffer(seconds=5, reserve=lambda wanted: wanted, first_bytes=1 << 20)
    opened(buffer, VIDEO)
    buffer.add(gops(10))
    opened(buffer, VIDEO, serial=2)
    buffer.add(gops(2, first=11))
    opened(buffer, VIDEO, serial=3)
    buffer.add(gops(3, first=14))
    assert [held.session.serial for held in buffer.earlier(0)] == [1, 2]
    assert [held.ended for held in buffer.earlier(0)] == [GapCause.UNKNOWN] * 2
    buffer.add(gops(20, first=17))
    assert buffer.earlier(0) == []
    assert buffer.size_bytes < 90_000


def test_sessions_that_bring_nothing_leave_nothing():
    buffer = PreBuffer(seconds=5, reserve=lambda wanted: wanted, first_bytes=1 << 20)
    for serial in range(1, 50):
        opened(buffer, VIDEO, serial=serial)
        buffer.session_closed(GapCause.NO_MEDIA)
    assert buffer.earlier(0) == []
    assert buffer.size_bytes == 0
    assert buffer.held_s() == 0


def test_a_stream_that_outgrows_its_share_says_so_and_recovers():
    ram = MediaRam(1 << 20)
    owner = uuid.uuid4()
    buffer = PreBuffer(seconds=4, reserve=lambda wanted: ram.reserve(owner, wanted), first_bytes=100_000)
    opened(buffer, VIDEO)
    buffer.add(gops(8))
    assert not buffer.short
    for number in range(20):
        buffer.add(gops(1, first=8 + number, size=30_000))
    assert buffer.short
    assert "limits.media_ram" in buffer.short_detail
    assert buffer.size_bytes <= ram.limit_bytes * 3 // 4
    buffer.add(gops(12, first=28))
    assert not buffer.short
    assert ram.reserved_bytes <= ram.limit_bytes * 3 // 4


def test_an_open_gop_that_alone_is_too_large_holds_nothing():
    buffer = PreBuffer(seconds=1, reserve=lambda wanted: min(wanted, 50_000), first_bytes=50_000)
    opened(buffer, VIDEO)
    for unit in gops(1, frames=1000):
        buffer.add([unit])
        assert buffer.size_bytes <= 50_000
    assert buffer.short
    assert not list(buffer.since(0))
    buffer.add(gops(5, first=100))
    assert list(buffer.since(0))


def test_reservations_are_hard_and_leave_the_queue_its_part():
    ram = MediaRam(1000)
    one, two = uuid.uuid4(), uuid.uuid4()
    assert ram.reserve(one, 600) == 600
    assert ram.reserve(two, 600) == 150
    assert ram.reserve(one, 700) == 600
    assert ram.queue_bytes == 250
    ram.release(one)
    assert ram.reserve(two, 600) == 600


def test_what_cannot_be_held_is_said_when_it_is_configured():
    ingest = Ingest(clock=FakeClock(), media_ram=MediaRam(4 << 20))
    receiver = uuid.uuid4()
    small = StreamRequest(receiver, "a", "rtsp://cam/", options=(("videomaxbitrate", "500"),), prebuffer_s=5)
    large = StreamRequest(uuid.uuid4(), "b", "rtsp://cam/", options=(("videomaxbitrate", "8000"),), prebuffer_s=30)
    assert ingest.prebuffer_fits(small) == ""
    assert "30 s needs about" in ingest.prebuffer_fits(large)
    ingest.start(small, Gather())
    assert ingest.alarms(receiver) == []
    assert ingest.prebuffer(receiver).held_s() == 0
    ingest.start(large, Gather())
    ((alarm, _),) = ingest.alarms(large.receiver)
    assert alarm == "prebuffer-short"
    ingest.stop(large.receiver)
    assert ingest.alarms(large.receiver) == []
    assert ingest.prebuffer(large.receiver) is None


def test_the_estimate_follows_the_stream_options():
    def estimate(seconds: float, **options: str) -> int:
        return estimate_bytes(
            StreamRequest(uuid.uuid4(), "x", "rtsp://c/", options=tuple(options.items()), prebuffer_s=seconds)
        )

    slow = estimate(5, videomaxbitrate="4000", fps="25", videokeyframeinterval="50")
    assert 4_000_000 / 8 * 9 <= slow <= 4_000_000 / 8 * 13
    assert estimate(5, videomaxbitrate="4000", fps="25", videokeyframeinterval="1000") > 10 * slow
    assert estimate(5, resolution="640x360") < estimate(5)
