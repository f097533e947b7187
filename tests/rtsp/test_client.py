"""The client as a state machine: sessions that go well and answers that do not."""

from __future__ import annotations

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.stream import Codec
from recorderd.rtsp.client import Wanted
from recorderd.rtsp.events import Answered, Ended, Opened, Redirected, Remark
from recorderd.rtsp.transitions import DEFAULTS, TRANSITIONS, Answer, State, Step, classify, step
from tests.media import clips
from tests.rtsp.packets import (
    AAC_SECTION,
    METADATA_SECTION,
    Server,
    Track,
    client,
    converse,
    frame,
    h264_payloads,
    nals_of,
    playing,
    reply,
    sender_report,
    units,
    video_section,
)

SECOND = 1_000_000_000
VIDEO = video_section(clips.video())
SDP = f"v=0\r\ns=x\r\na=control:*\r\n{VIDEO}{AAC_SECTION}{METADATA_SECTION}"


def ended(events) -> Ended:
    found = [event for event in events if isinstance(event, Ended)]
    assert len(found) == 1
    return found[0]


def test_a_session_opens_with_all_tracks():
    subject, server, events = playing(SDP)
    opened = next(event for event in events if isinstance(event, Opened))
    assert [form.codec for form in opened.formats] == [Codec.H264, Codec.AAC, Codec.ONVIF_METADATA]
    assert opened.formats[0] == clips.video().form
    assert opened.remarks == ()
    assert subject.state is State.PLAYING
    assert [method for method, _, _ in server.seen] == ["OPTIONS", "DESCRIBE", *["SETUP"] * 3, "PLAY"]
    assert [url for _, url, _ in server.seen][2:] == [
        "rtsp://cam/stream/track1", "rtsp://cam/stream/track2", "rtsp://cam/stream/track3", "rtsp://cam/stream/"
    ]  # fmt: skip
    assert [h["transport"] for m, _, h in server.seen if m == "SETUP"] == [
        f"RTP/AVP/TCP;unicast;interleaved={2 * i}-{2 * i + 1}" for i in range(3)
    ]
    assert all(h["session"] == "4711" for _, _, h in server.seen[3:])


def test_a_report_on_metadata_alone_is_no_goodbye():
    subject, _, _ = playing(SDP, Wanted(video=False, audio=False))
    report = frame(sender_report(1 << 32, 5), 1)
    subject.receive(memoryview(bytearray(report)), len(report), SECOND)
    subject.tick(5 * SECOND)
    assert subject.state is State.PLAYING


def test_only_what_is_wanted_is_set_up():
    subject, server, _ = playing(SDP, Wanted(audio=False, metadata=False))
    assert [m for m, _, _ in server.seen].count("SETUP") == 1
    assert subject.state is State.PLAYING


def test_a_codec_that_cannot_be_stored_is_said_and_video_goes_on():
    sdp = f"v=0\r\n{VIDEO}m=audio 0 RTP/AVP 100\r\na=rtpmap:100 SPEEX/16000\r\na=control:a\r\n"
    _, _, events = playing(sdp)
    opened = next(event for event in events if isinstance(event, Opened))
    assert opened.remarks == ("audio codec SPEEX is not supported, recording video only",)


def test_video_that_cannot_be_stored_is_no_session():
    sdp = f"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP9/90000\r\n{AAC_SECTION}"
    _, _, events = playing(sdp)
    assert ended(events).cause is GapCause.INCOMPATIBLE_STREAM
    assert "VP9" in ended(events).detail


@pytest.mark.parametrize(
    ("method", "status", "cause"),
    [
        ("DESCRIBE", 404, GapCause.NOT_FOUND),
        ("DESCRIBE", 403, GapCause.UNAUTHORIZED),
        ("DESCRIBE", 503, GapCause.CAMERA_ERROR),
        ("SETUP", 500, GapCause.CAMERA_ERROR),
        ("PLAY", 454, GapCause.CAMERA_CLOSED),
        ("PLAY", 453, GapCause.CAMERA_ERROR),
    ],
)
def test_a_refusal_names_its_cause(method, status, cause):
    server = Server(SDP, hook=lambda m, h: reply(status, h) if m == method else None)
    subject = client()
    subject.start(0)
    end = ended(converse(subject, server))
    assert end.cause is cause
    assert str(status) in end.detail
    assert not end.opened


@pytest.mark.parametrize("status", [405, 404, 500, 551])
def test_a_camera_need_not_know_options(status):
    server = Server(SDP, hook=lambda m, h: reply(status, h) if m == "OPTIONS" else None)
    subject = client()
    subject.start(0)
    converse(subject, server)
    assert subject.state is State.PLAYING


def test_audio_that_cannot_be_set_up_is_left_out():
    server = Server(
        SDP, hook=lambda m, h: reply(461, h) if m == "SETUP" and "2-3" in h["transport"] and not tried else None
    )
    tried: list[str] = []
    original = server.hook

    def once(method, headers):
        said = original(method, headers)
        if said is not None:
            tried.append(method)
        return said

    server.hook = once
    subject = client()
    subject.start(0)
    events = converse(subject, server)
    opened = next(event for event in events if isinstance(event, Opened))
    assert [form.codec for form in opened.formats] == [Codec.H264, Codec.ONVIF_METADATA]
    assert "audio was refused: 461" in opened.remarks[0]


def test_a_camera_that_grants_multicast_only_is_told_from_one_that_sends_nothing():
    def multicast(method, headers):
        if method != "SETUP":
            return None
        return reply(
            200, headers, "Transport: RTP/AVP;multicast;destination=239.1.2.3;port=5000-5001\r\nSession: 1\r\n"
        )

    subject, server = client(), Server("v=0\r\n" + video_section(clips.video()), hook=multicast)
    subject.start(0)
    (ended,) = [event for event in converse(subject, server) if isinstance(event, Ended)]
    assert ended.cause is GapCause.INCOMPATIBLE_STREAM
    assert "multicast, which is not supported" in ended.detail


def test_play_is_sent_per_track_where_the_camera_insists():
    server = Server(SDP, hook=lambda m, h: None)

    def hook(method, headers):
        return reply(459, headers) if method == "PLAY" and server.seen[-1][1].endswith("stream/") else None

    server.hook = hook
    subject = client()
    subject.start(0)
    converse(subject, server)
    assert subject.state is State.PLAYING
    assert [u for m, u, _ in server.seen if m == "PLAY"][1:] == [f"rtsp://cam/stream/track{i}" for i in (1, 2, 3)]


def test_media_before_the_answer_to_play_opens_the_session():
    clip = clips.video()
    track = Track()
    early = b"".join(b"".join(track.frames(u.pts, h264_payloads(nals_of(u)))) for u in clip.units[:6])
    server = Server(SDP, hook=lambda m, h: early + reply(200, h) if m == "PLAY" else None)
    subject = client()
    subject.start(0)
    events = converse(subject, server)
    assert isinstance(events[0], Opened)
    assert len([e for e in events if isinstance(e, Opened)]) == 1
    assert [unit.data for unit in units(events)] == [unit.data for unit in clip.units[:6]]


def test_redirects_end_the_connection_and_carry_no_userinfo():
    location = "Location: rtsp://u:secret@other:8554/x\r\n"
    server = Server(SDP, hook=lambda m, h: reply(302, h, location) if m == "DESCRIBE" else None)
    subject = client()
    subject.start(0)
    events = converse(subject, server)
    assert events == [Redirected("rtsp://other:8554/x")]
    assert subject.state is State.CLOSED


def test_keep_alives_go_out_and_change_when_they_are_refused():
    subject, server, _ = playing(SDP)
    server.hook = lambda m, h: reply(501, h) if m in ("GET_PARAMETER", "SET_PARAMETER") else None
    events = []
    for second in range(1, 100):
        subject.tick(second * SECOND)
        events += converse(subject, server, second * SECOND)
    assert [m for m, _, _ in server.seen[6:]][:5] == [
        "GET_PARAMETER", "SET_PARAMETER", "OPTIONS", "OPTIONS", "OPTIONS"
    ]  # fmt: skip
    assert not [event for event in events if isinstance(event, Ended)]


def test_a_keep_alive_that_is_ignored_is_replaced_too():
    subject, server, _ = playing(SDP)
    for second in range(1, 60):
        subject.tick(second * SECOND)
        data = subject.output()
        if b"GET_PARAMETER" not in data:
            subject.feed(server.answer(data), second * SECOND)
    assert server.seen[-1][0] == "SET_PARAMETER"
    assert any(isinstance(event, Answered) for event in subject.events())


def test_keep_alives_use_what_the_camera_says_it_knows():
    subject, server = client(), Server(SDP, public="OPTIONS, DESCRIBE, SETUP, PLAY")
    subject.start(0)
    converse(subject, server)
    subject.probe(SECOND)
    converse(subject, server)
    assert server.seen[-1][0] == "OPTIONS"


def test_a_silent_camera_ends_the_attempt():
    subject = client()
    subject.start(0)
    subject.output()
    subject.tick(9 * SECOND)
    assert not subject.events()
    subject.tick(10 * SECOND)
    end = ended(subject.events())
    assert (end.cause, end.detail) == (GapCause.CAMERA_SILENT, "no answer to OPTIONS")


def test_stop_says_teardown_and_ends():
    subject, server, _ = playing(SDP)
    subject.stop(SECOND)
    events = converse(subject, server, SECOND)
    assert server.seen[-1][0] == "TEARDOWN"
    assert ended(events).stopped


@pytest.mark.parametrize("method", ["OPTIONS", "SET_PARAMETER", "ANNOUNCE"])
def test_the_cameras_own_requests_are_answered(method):
    subject, _, _ = playing(SDP)
    subject.feed(f"{method} rtsp://cam/ RTSP/1.0\r\nCSeq: 9\r\n\r\n".encode(), 1)
    out = subject.output()
    assert out.startswith(b"RTSP/1.0 200 OK\r\nCSeq: 9\r\n")


def test_the_camera_may_end_the_session():
    subject, _, _ = playing(SDP)
    subject.feed(b"TEARDOWN rtsp://cam/ RTSP/1.0\r\nCSeq: 9\r\n\r\n", 1)
    end = ended(subject.events())
    assert end.cause is GapCause.CAMERA_CLOSED
    assert end.opened


@pytest.mark.parametrize("change", [-40, 40, None])
def test_a_wrong_content_length_of_the_description_does_no_harm(change):
    def hook(method, headers):
        if method != "DESCRIBE":
            return None
        body = SDP.encode()
        length = "" if change is None else f"Content-Length: {len(body) + change}\r\n"
        head = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nContent-Type: application/sdp\r\n{length}\r\n"
        return head.encode() + body

    subject, server = client(), Server(SDP, hook=hook)
    subject.start(0)
    converse(subject, server)
    subject.tick(2 * SECOND)
    subject.events()
    converse(subject, server, 2 * SECOND)
    assert subject.state is State.PLAYING
    assert len([m for m, _, _ in server.seen if m == "SETUP"]) == 3


def test_header_injection_from_a_control_url_is_refused():
    sdp = SDP.replace("a=control:track1", "a=control:track1 RTSP/1.0")
    subject, _, events = playing(sdp)
    assert ended(events).cause is GapCause.CAMERA_ERROR
    assert subject.state is State.CLOSED


def test_remarks_are_made_once():
    subject, _, _ = playing(SDP)
    garbage = b"\x00\x01garbage\xff" * 50
    for number in range(5):
        subject.feed(garbage, number)
    assert len([event for event in subject.events() if isinstance(event, Remark)]) == 1


def test_the_table_is_total():
    for state in State:
        for answer in Answer:
            assert step(state, answer) in Step
    assert set(DEFAULTS) == set(Answer)
    assert {classify(status) for status in range(100, 600)} == set(Answer)
    assert set(TRANSITIONS.values()) | set(DEFAULTS.values()) == set(Step)
