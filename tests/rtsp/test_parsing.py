"""URLs, messages, session descriptions, Transport headers, RTP and RTCP: what is accepted, what is refused."""

from __future__ import annotations

import struct

import pytest

from recorderd.rtsp import rtcp, rtp
from recorderd.rtsp.messages import MessageError, Request, Response, encode_request, head_end, parse_head
from recorderd.rtsp.offers import NotSupported, offer
from recorderd.rtsp.sdp import SdpError, parse_sdp
from recorderd.rtsp.transport import parse_transport
from recorderd.rtsp.url import RtspUrl, UrlError, UserInfo, parse_url, resolve_control, split_userinfo, with_options


def test_userinfo_is_split_off():
    url, user = split_userinfo("rtsp://root:p%40ss:w@rd@10.0.0.9/axis-media/media.amp?a=b")
    assert user == UserInfo("root", "p@ss:w@rd")
    assert url == RtspUrl("rtsp", "10.0.0.9", 554, "/axis-media/media.amp?a=b")
    assert str(url) == "rtsp://10.0.0.9/axis-media/media.amp?a=b"


@pytest.mark.parametrize(
    ("text", "address", "printed"),
    [
        ("RTSP://Cam.local:8554/x", ("Cam.local", 8554), "rtsp://Cam.local:8554/x"),
        ("rtsps://cam", ("cam", 322), "rtsps://cam/"),
        ("rtsp://[fe80::1%25eth0]:554/x", ("fe80::1%eth0", 554), "rtsp://[fe80::1%25eth0]/x"),
        ("rtsp://cam?x=1", ("cam", 554), "rtsp://cam?x=1"),
    ],
)
def test_urls(text, address, printed):
    assert parse_url(text).address == address
    assert str(parse_url(text)) == printed


@pytest.mark.parametrize(
    "text",
    ["", "cam/x", "ftp://cam/", "rtsp:///x", "rtsp://cam:0/", "rtsp://cam:99999/", "rtsp://c am/", "rtsp://cam/\r\nX: y",
     "rtsp://cam/\u00e4", "rtsp://" + "x" * 3000, "rtsp://a_b$c/"],
)  # fmt: skip
def test_urls_that_cannot_be_used(text):
    with pytest.raises(UrlError):
        parse_url(text)


def test_options_are_appended_verbatim_and_in_order():
    url = parse_url("rtsp://cam/axis-media/media.amp?camera=1")
    options = [("resolution", "1920x1080"), ("overlays", "all,time"), ("text", "a&b c#d"), ("x", "50%")]
    assert with_options(url, options).path == (
        "/axis-media/media.amp?camera=1&resolution=1920x1080&overlays=all,time&text=a%26b%20c%23d&x=50%25"
    )


@pytest.mark.parametrize(
    ("base", "control", "result"),
    [
        ("rtsp://c/s/", "trackID=1", "rtsp://c/s/trackID=1"),
        ("rtsp://c/s", "trackID=1", "rtsp://c/s/trackID=1"),
        ("rtsp://c/s?x=1", "trackID=1", "rtsp://c/s?x=1/trackID=1"),
        ("rtsp://c/s/", "*", "rtsp://c/s/"),
        ("rtsp://c/s/", "", "rtsp://c/s/"),
        ("rtsp://c/s/", "rtsp://d/t", "rtsp://d/t"),
    ],
)
def test_control_urls(base, control, result):
    assert resolve_control(base, control) == result


def test_a_response_is_read_as_cameras_write_it():
    head = b"RTSP/1.0 200\nCSEQ:  7\nX: a\n b\nnonsense\nSession : 12;timeout=5\nContent-length:3\n\n"
    assert head_end(head) == len(head)
    message, length = parse_head(head)
    assert isinstance(message, Response)
    assert (message.status, message.cseq, length) == (200, 7, 3)
    assert message.headers.get("x") == "a b"
    assert message.headers.get("session") == "12;timeout=5"


def test_a_request_of_the_server():
    message, length = parse_head(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    assert message == Request("OPTIONS", "*", message.headers)
    assert length == 0


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"RTSP/1.0 20 OK\r\n\r\n", b"RTSP/1.0 200 OK\r\nContent-Length: 999999999\r\n\r\n",
     b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", b"RTSP/1.0 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     b"RTSP/1.0 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"get / RTSP/1.0\r\n\r\n", b"RTSP/1.0 200 OK\r\n" + b"x" * 20000],
)  # fmt: skip
def test_messages_that_are_none(head):
    with pytest.raises(MessageError):
        parse_head(head)


@pytest.mark.parametrize("bad", ["a\r\nb", "a\x00b", "a\x1bb"])
def test_requests_cannot_be_broken_by_values(bad):
    with pytest.raises(MessageError):
        encode_request("PLAY", "rtsp://x/", {"Session": bad})


SDP = b"""v=0
o=- 0 0 IN IP4 0.0.0.0
s=-
i=text with m=video inside
a=control:rtsp://cam/all
a=range:npt=now-
m=video 0 RTP/AVP 96 97
b=AS:5000
a=framerate:29.97
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z00AKZpkA8ARPy4C3AQEBQAAAwPoAADqYOhgBGMAAF9eu8aFAAxGAAC+vXeXCg==,aO48gA==
a=control:trackID=1
m=audio 0 RTP/AVP 0
a=control:trackID=2
a=recvonly
m=audio 0 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=sendonly
a=control:talk
"""


def test_metadata_marked_the_other_way_round_hides_no_picture():
    """Cameras write a=sendonly for picture and sound and a=recvonly for metadata in one description."""
    text = b"v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=sendonly\nm=audio 0 RTP/AVP 0\na=sendonly\n"
    text += b"m=application 0 RTP/AVP 98\na=rtpmap:98 vnd.onvif.metadata/90000\na=recvonly\n"
    assert [media.sends for media in parse_sdp(text).media] == [True, True, True]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_a_session_description(ending):
    description = parse_sdp(SDP.replace(b"\n", ending))
    video, audio, talk = description.media
    assert description.control == "rtsp://cam/all"
    assert (video.encoding, video.clock_rate, video.payload_type, video.control) == ("H264", 90000, 96, "trackID=1")
    assert video.parameters["sprop-parameter-sets"].endswith("aO48gA==")
    assert video.frame_rate == 29.97
    assert (audio.encoding, audio.clock_rate, audio.sends) == ("PCMU", 8000, True)
    assert not talk.sends
    with pytest.raises(NotSupported, match="back channel"):
        offer(talk)


def test_a_description_without_media():
    with pytest.raises(SdpError):
        parse_sdp(b"v=0\r\no=- 0 0 IN IP4 1.1.1.1\r\n")


def test_too_many_media_sections():
    with pytest.raises(SdpError):
        parse_sdp(b"m=video 0 RTP/AVP 96\n" * 40)


def test_a_parameter_set_that_cannot_be_read_counts_as_absent():
    media = parse_sdp(SDP.replace(b"Z00AKZ", b"!!!!!!")).media[0]
    assert offer(media).codec == "h264"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m=audio 0 RTP/AVP 96\na=rtpmap:96 mpeg4-generic/16000\na=fmtp:96 mode=generic", "mode"),
        ("m=audio 0 RTP/AVP 96\na=rtpmap:96 mpeg4-generic/16000\na=fmtp:96 mode=AAC-hbr;config=zz", "hexadecimal"),
        ("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2", "interleaved"),
        ("m=video 0 RTP/SAVP 96\na=rtpmap:96 H264/90000", "SRTP.*RTSP over TLS"),
        ("m=video 0 RTP/SAVPF 96\na=rtpmap:96 H264/90000", "SRTP"),
        ("m=video 0 UDP 96\na=rtpmap:96 H264/90000", "over UDP"),
        ("m=application 0 RTP/AVP 96\na=rtpmap:96 vnd.onvif.metadata.exi.onvif/90000", "EXI"),
        ("m=text 0 RTP/AVP 96\na=rtpmap:96 t140/1000", "kind 'text'"),
        ("m=video 0 RTP/AVP 127", "payload type 127"),
        ("m=audio 0 RTP/AVP 96\na=rtpmap:96 H264/90000", "H264 is not supported"),
    ],
)
def test_offers_that_are_refused_say_why(line, reason):
    with pytest.raises(NotSupported, match=reason):
        offer(parse_sdp(line.encode()).media[0])


def test_transport_headers():
    found = parse_transport('RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=00ABcdEF;mode="PLAY"')
    assert (found.interleaved, found.ssrc) == ((4, 5), 0xABCDEF)
    found = parse_transport("RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;source=1.2.3.4")
    assert (found.client_port, found.server_port, found.source) == ((5000, 5001), (6000, 6001), "1.2.3.4")
    assert parse_transport("RTP/AVP/TCP;interleaved=7").interleaved == (7, 8)
    assert not found.multicast
    assert parse_transport("RTP/AVP;multicast;destination=239.1.2.3;port=5000-5001;ttl=2").multicast
    assert parse_transport("RTP/AVP/TCP;interleaved=999-1000;ssrc=zz").interleaved is None


@pytest.mark.parametrize(
    "packet",
    [b"", b"\x80" * 11, b"\x40" + bytes(11), b"\x81" + bytes(12), b"\x90" + bytes(13), b"\x90" + bytes(13) + b"\xff\xff",
     b"\xa0" + bytes(11) + b"\x00", b"\xa0" + bytes(11) + b"\x09"],
)  # fmt: skip
def test_packets_that_are_no_rtp(packet):
    assert rtp.parse_packet(memoryview(packet), 0, len(packet)) is None


def test_sequences_as_rfc_3550_a1_judges_them():
    s = rtp.Sequence()
    steps = [s.step(n)[0].value for n in (65534, 65535, 0, 3, 2, 3, 40000, 40001, 40002)]
    assert steps == ["next", "next", "next", "lost", "old", "old", "wait", "restart", "next"]
    s = rtp.Sequence()
    for n in range(65530, 65536 + 10):
        s.step(n & 0xFFFF)
    assert s.highest == 65545
    assert s.received == 16


def test_receiver_reports_are_what_rfc_3550_6_4_2_says():
    block = rtcp.ReportBlock(0xDEADBEEF, 3, -5, 70000, 12, 0x11223344, 65536)
    packet = rtcp.encode_receiver_report(1, [block], b"abc")
    assert len(packet) % 4 == 0
    assert struct.unpack(">BBHI", packet[:8]) == (0x81, 201, 7, 1)
    assert struct.unpack(">IIIIII", packet[8:32]) == (0xDEADBEEF, 3 << 24 | 0xFFFFFB, 70000, 12, 0x11223344, 65536)
    assert packet[32:36] == struct.pack(">BBH", 0x81, 202, 3)
    assert packet[40:45] == b"\x01\x03abc"


def test_sender_reports_and_bye_in_a_compound():
    sr = struct.pack(">BBHIQIII", 0x80, 200, 6, 9, 1 << 40, 77, 1, 2)
    bye = struct.pack(">BBHI", 0x81, 203, 1, 9)
    found = rtcp.parse_compound(sr + struct.pack(">BBHI", 0x80, 202, 1, 9) + bye + b"rest")
    assert found == [rtcp.SenderInfo(9, 1 << 40, 77), rtcp.Bye((9,))]
    assert rtcp.parse_compound(b"\x80\xc8\xff\xff") == []
