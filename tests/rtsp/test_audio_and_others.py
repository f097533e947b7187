"""AAC, G.711, metadata, AV1 and JPEG depacketisers, and the reordering of UDP: against hand-made packets and FFmpeg's packetisers."""

from __future__ import annotations

import gzip
import random
import shutil
import socket
import subprocess
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorderd.media import av1 as av1_media
from recorderd.media.nal import join_lengths, split_annex_b
from recorderd.model.stream import Codec
from recorderd.rtsp.events import FormatKnown, Remark
from recorderd.rtsp.metadata import MAX_DOCUMENT_BYTES
from recorderd.rtsp.reorder import MAX_HELD, MAX_WAIT_NS, Reorder
from tests.rtsp.packets import AAC_SECTION, METADATA_SECTION, Track, playing, rtp, units

GZIP_SECTION = METADATA_SECTION.replace("metadata/", "metadata.gzip/")


def fed(sdp: str, frames) -> list:
    subject, _, _ = playing(f"v=0\r\n{sdp}")
    subject.feed(b"".join(frames), 1)
    return subject.events()


def headers(*sizes: int) -> bytes:
    return (16 * len(sizes)).to_bytes(2, "big") + b"".join((size << 3).to_bytes(2, "big") for size in sizes)


# --- AAC ------------------------------------------------------------------------------------------------------


def test_several_aac_frames_in_a_packet_have_their_own_times():
    track = Track(kind=97, start=0)
    frames = track.frames(5000, [headers(3, 5, 2) + b"aaabbbbbcc"])
    found = units(fed(AAC_SECTION, frames))
    assert [(unit.pts, unit.data) for unit in found] == [(5000, b"aaa"), (6024, b"bbbbb"), (7048, b"cc")]


def test_an_aac_frame_in_pieces():
    track = Track(kind=97, start=0)
    piece = headers(10)
    frames = track.frames(0, [piece + b"abcd", piece + b"efg", piece + b"hij"]) + track.frames(
        1024, [headers(1) + b"x"]
    )
    assert [unit.data for unit in units(fed(AAC_SECTION, frames))] == [b"abcdefghij", b"x"]


@pytest.mark.parametrize("lost", range(3))
def test_an_aac_frame_that_lacks_a_piece_is_dropped_and_the_next_says_so(lost):
    track = Track(kind=97, start=0)
    piece = headers(10)
    frames = track.frames(0, [headers(1) + b"a"])
    broken = track.frames(1024, [piece + b"abcd", piece + b"efg", piece + b"hij"])
    del broken[lost]
    frames += broken + track.frames(2048, [headers(1) + b"b"]) + track.frames(3072, [headers(1) + b"c"])
    found = units(fed(AAC_SECTION, frames))
    assert [(unit.data, unit.damaged) for unit in found] == [(b"a", False), (b"b", True), (b"c", False)]


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\x00\x00abc", b"\xff\xffabc", headers(8191) + b"x", b"\x00\x10\x00\x19a"]
)
def test_broken_aac_packets_do_no_harm(payload):
    track = Track(kind=97, start=0)
    frames = track.frames(0, [payload]) + track.frames(1024, [headers(2) + b"ok"])
    assert [unit.data for unit in units(fed(AAC_SECTION, frames))][-1:] == [b"ok"]


# --- metadata -------------------------------------------------------------------------------------------------


def document(number: int) -> bytes:
    return f'<tt:MetadataStream xmlns:tt="x">{"<tt:Event/>" * 140}{number}</tt:MetadataStream>'.encode()


def pieces(data: bytes) -> list[bytes]:
    return [data[i : i + 500] for i in range(0, len(data), 500)]


@pytest.mark.parametrize("marker", [True, False])
def test_metadata_documents_end_at_the_marker_or_with_their_time(marker):
    track = Track(kind=98)
    frames = [f for n in range(5) for f in track.frames(n * 9000, pieces(document(n)), marker=marker)]
    found = [unit.data for unit in units(fed(METADATA_SECTION, frames))]
    assert found == [document(n) for n in range(5 if marker else 4)]


@pytest.mark.parametrize("lost", range(4))
def test_a_metadata_document_that_lacks_a_packet_is_dropped_and_no_other(lost):
    track = Track(kind=98)
    groups = [track.frames(n * 9000, pieces(document(n))) for n in range(5)]
    del groups[2][lost]
    found = units(fed(METADATA_SECTION, [f for group in groups for f in group]))
    kept = [0, 1, 3, 4]
    assert [unit.data for unit in found] == [document(n) for n in kept]
    assert [unit.damaged for unit in found] == [False, False, True, False]


def test_compressed_metadata():
    track = Track(kind=98)
    frames = [f for n in range(3) for f in track.frames(n * 9000, pieces(gzip.compress(document(n))))]
    assert [unit.data for unit in units(fed(GZIP_SECTION, frames))] == [document(n) for n in range(3)]


def test_a_document_that_never_ends_and_a_compressed_bomb_are_dropped():
    track = Track(kind=98)
    endless = [track.frames(0, [bytes(1400)], marker=False)[0] for _ in range(MAX_DOCUMENT_BYTES // 1400 + 10)]
    events = fed(METADATA_SECTION, endless + track.frames(0, [b"x"]) + track.frames(9000, [b"<good/>"]))
    assert [unit.data for unit in units(events)] == [b"<good/>"]
    assert any(isinstance(event, Remark) for event in events)
    compressor = zlib.compressobj(9, wbits=31)
    bomb = compressor.compress(bytes(64 * 1024 * 1024)) + compressor.flush()
    track = Track(kind=98)
    frames = track.frames(0, [bomb[i : i + 1400] for i in range(0, len(bomb), 1400)])
    events = fed(GZIP_SECTION, frames + track.frames(9000, [gzip.compress(b"<good/>")]))
    assert [unit.data for unit in units(events)] == [b"<good/>"]


# --- against FFmpeg's packetisers -----------------------------------------------------------------------------


def caught(send) -> list[bytes]:
    """The RTP packets that FFmpeg's rtp muxer sends by UDP while `send(url)` runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(0.5)
        send(f"rtp://127.0.0.1:{sock.getsockname()[1]}?rtcpport=9")
        out: list[bytes] = []
        try:
            while True:
                packet = sock.recv(65536)
                if not 200 <= packet[1] <= 204:
                    out.append(packet)
        except TimeoutError:
            return out


def packetised(encoder: str, options: dict[str, str], frames: int) -> tuple[list[bytes], list[bytes]]:
    """(coded packets, RTP packets) of a moving picture."""
    coded: list[bytes] = []

    def send(url: str) -> None:
        with av.open(url, "w", format="rtp") as container:
            stream = container.add_stream(encoder, rate=25, options=options)
            stream.width, stream.height = 320, 240
            stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
            stream.time_base = Fraction(1, 25)
            if encoder == "mjpeg":
                stream.codec_context.thread_count = (
                    1  # with more it has restart intervals, which FFmpeg's packetiser drops
                )
            for number in range(frames):
                luma = (np.add.outer(np.arange(240), np.arange(320)) + 9 * number) % 256
                planes = np.vstack([luma, np.full((120, 320), 128)]).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(planes, format=stream.pix_fmt)
                frame.pts = number
                _mux(container, stream.encode(frame), coded)
            _mux(container, stream.encode(None), coded)

    return coded, caught(send)


@pytest.fixture(scope="module")
def av1_packets(tmp_path_factory) -> tuple[list[bytes], list[bytes]]:
    """(temporal units, RTP packets) of a clip that the ffmpeg program encodes."""
    clip = tmp_path_factory.mktemp("av1") / "clip.mkv"
    source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-frames:v", "25"]
    coder = ["-c:v", "libaom-av1", "-cpu-used", "8", "-threads", "1", "-lag-in-frames", "0", "-g", "10", "-b:v", "300k"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *coder, str(clip)], check=True, stdin=subprocess.DEVNULL)
    coded: list[bytes] = []

    def send(url: str) -> None:
        with av.open(str(clip)) as given_, av.open(url, "w", format="rtp", options={"strict": "-2"}) as container:
            stream = container.add_stream_from_template(given_.streams.video[0], opaque=True)
            for packet in given_.demux(video=0):
                if packet.size:
                    coded.append(bytes(packet))
                    packet.stream = stream
                    container.mux(packet)

    return coded, caught(send)


def _mux(container, packets, coded: list[bytes]) -> None:
    for packet in packets:
        if packet.size:
            coded.append(bytes(packet))
            container.mux(packet)


def framed(packets: list[bytes]) -> list[bytes]:
    return [b"$\x00" + len(packet).to_bytes(2, "big") + packet for packet in packets]


needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is absent")


@pytest.mark.host
@needs_ffmpeg
def test_av1_as_ffmpeg_packetises_it(av1_packets):
    coded, packets = av1_packets
    kind = packets[0][1] & 127
    events = fed(f"m=video 0 RTP/AVP {kind}\r\na=rtpmap:{kind} AV1/90000\r\n", framed(packets))
    known = next(event for event in events if isinstance(event, FormatKnown))
    assert (known.format.codec, known.format.width, known.format.height) == (Codec.AV1, 320, 240)
    found = units(events)
    assert len(found) >= len(coded) - 1
    for unit, given_ in zip(found, coded, strict=False):
        assert obus(unit.data) == obus(given_)
    assert [unit.key for unit in found][:11] == [True, *[False] * 9, True]
    # FFmpeg's program is the judge: dav1d in this process deadlocks with PyAV's log handler now and then.
    stream_ = b"".join(b"\x12\x00" + unit.data for unit in found)
    judge = ["ffmpeg", "-v", "error", "-f", "obu", "-i", "-", "-f", "framecrc", "-"]
    judged = subprocess.run(judge, input=stream_, capture_output=True, check=True)
    assert judged.stderr == b""
    assert len([line for line in judged.stdout.splitlines() if not line.startswith(b"#")]) == len(found)


def obus(unit: bytes) -> list[bytes]:
    """A temporal unit's OBUs with their sizes, without delimiters and padding."""
    return [bytes(obu) for kind, obu in av1_media.split_obus(unit) if kind not in (2, 15)]


@pytest.mark.host
@needs_ffmpeg
def test_av1_loss_marks_and_never_corrupts(av1_packets):
    coded, packets = av1_packets
    kind = packets[0][1] & 127
    sdp = f"m=video 0 RTP/AVP {kind}\r\na=rtpmap:{kind} AV1/90000\r\n"
    source = [obus(unit) for unit in coded]
    for lost in range(2, len(packets)):
        found = units(fed(sdp, framed(packets[:lost] + packets[lost + 1 :])))
        for unit in found:
            assert unit.damaged or obus(unit.data) in source


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_pictures_as_ffmpeg_packetises_them(codec):
    encoder = {"h264": "libx264", "h265": "libx265"}[codec]
    options = {
        "preset": "ultrafast",
        f"x26{codec[3]}-params": "keyint=10:scenecut=0:bframes=0:repeat-headers=1:log-level=0",
    }
    if codec == "h265":
        options["x265-params"] += ":pools=none:frame-threads=1"
    coded, packets = packetised(encoder, options, 25)
    kind = packets[0][1] & 127
    events = fed(f"m=video 0 RTP/AVP {kind}\r\na=rtpmap:{kind} {codec.upper()}/90000\r\n", framed(packets))
    found = units(events)
    assert len(found) >= len(coded) - 1
    for unit, given_ in zip(found, coded, strict=False):
        assert unit.data == join_lengths(split_annex_b(given_))


def test_jpeg_as_ffmpeg_packetises_it():
    coded, packets = packetised("mjpeg", {"huffman": "default", "qscale": "5"}, 8)
    found = units(fed("m=video 0 RTP/AVP 26\r\n", framed(packets)))
    assert len(found) == len(coded)
    for unit, given_ in zip(found, coded, strict=True):
        assert np.array_equal(shown(unit.data), shown(given_))


def shown(image: bytes) -> np.ndarray:
    (frame,) = av.CodecContext.create("mjpeg", "r").decode(av.Packet(image))
    return frame.to_ndarray()


def test_a_jpeg_with_a_hole_is_dropped_and_the_next_says_so():
    coded, packets = packetised("mjpeg", {"huffman": "default", "qscale": "5"}, 4)
    del packets[3]
    found = units(fed("m=video 0 RTP/AVP 26\r\n", framed(packets)))
    assert len(found) == len(coded) - 1
    assert [unit.damaged for unit in found].count(True) == 1


# --- UDP ------------------------------------------------------------------------------------------------------


def numbers(packets) -> list[int]:
    return [int.from_bytes(packet[2:4], "big") for packet in packets]


def push(order: Reorder, number: int, now_ns: int = 0) -> list[int]:
    return numbers(order.push(memoryview(rtp(number, 0, b"")), now_ns))


def test_packets_that_overtake_each_other_are_put_back_in_order():
    order = Reorder()
    arrived = [65533, 65535, 65534, 1, 0, 2, 2, 5, 4, 3, 6]
    assert [n for number in arrived for n in push(order, number)] == [65533, 65534, 65535, 0, 1, 2, 3, 4, 5, 6]


def test_what_does_not_come_is_waited_for_a_short_time():
    order = Reorder()
    assert push(order, 10) == [10]
    assert push(order, 12, 0) == []
    assert order.expire(MAX_WAIT_NS - 1) == []
    assert numbers(order.expire(MAX_WAIT_NS)) == [12]
    assert push(order, 11) == []
    assert push(order, 13) == [13]


def test_what_is_held_is_bounded_and_a_new_sequence_is_followed():
    order = Reorder()
    push(order, 0)
    out = [n for number in range(2, MAX_HELD + 10) for n in push(order, number)]
    assert out == list(range(2, MAX_HELD + 10))
    assert push(order, 30_000) == [30_000]


@given(st.integers(0, 65535), st.randoms())
def test_any_reordering_within_reach_is_undone(first: int, rng: random.Random):
    sent = [(first + n) & 0xFFFF for n in range(200)]
    arrived = [sent[0], *sorted(sent[1:], key=lambda n: ((n - first) & 0xFFFF) + rng.random() * 20)]
    order = Reorder()
    assert [n for number in arrived for n in push(order, number)] == sent
