"""A mutational fuzzer for everything in `rtsp` that reads bytes from a camera.

One input is a stretch of a real conversation with bytes flipped, cut out, doubled, swapped or made up, fed in random pieces to a client in
some state. What has to hold afterwards is in `check`.
"""

from __future__ import annotations

import functools
import gzip
import random
import zlib

from recorderd.media.h264 import parse_avcc
from recorderd.model.stream import Codec
from recorderd.rtsp.client import Client
from recorderd.rtsp.messages import MAX_BODY_BYTES, MAX_HEAD_BYTES
from recorderd.rtsp.transitions import State
from tests.media import clips
from tests.rtsp.packets import (
    AAC_SECTION,
    METADATA_SECTION,
    Server,
    Track,
    aggregate,
    client,
    frame,
    h264_payloads,
    h265_payloads,
    in_slices,
    nals_of,
    reply,
    rtp,
    sender_report,
    video_section,
)

MAX_REST = MAX_HEAD_BYTES + MAX_BODY_BYTES + 70_000
AUDIO = (
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/16000\r\na=fmtp:97 cpresent=0;config=400028103fc0\r\na=control:2\r\n"
)
GZIP = "m=application 0 RTP/AVP 98\r\na=rtpmap:98 vnd.onvif.metadata.gzip/90000\r\na=control:3\r\n"
JPEG = "m=video 0 RTP/AVP 26\r\na=control:1\r\n"
AV1 = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 AV1/90000\r\na=control:1\r\n"


@functools.cache
def corpora() -> list[tuple[str, bytes, bytes]]:
    """(SDP, handshake answers, media) of sessions that between them use every depacketiser."""
    out = []
    for codec, make, header in (
        (Codec.H264, h264_payloads, b"\x18"), (Codec.H265, h265_payloads, b"\x60\x01")
    ):  # fmt: skip
        clip = in_slices(codec, frames=30, gop=10)
        media = _video(clip, make, header) + _aac() + _xml(b"<tt:MetadataStream/>" * 30)
        out.append((f"v=0\r\n{video_section(clip)}{AAC_SECTION}{METADATA_SECTION}", media))
        out.append(
            (
                f"v=0\r\n{video_section(clip, sets=False)}{AUDIO}{GZIP}",
                _video(clip, make, header) + _latm() + _xml(_gzip()),
            )
        )
    out.append((f"v=0\r\n{JPEG}", _jpeg()))
    out.append((f"v=0\r\n{AV1}", _av1()))
    return [(sdp, _handshake(sdp), media) for sdp, media in out]


def _video(clip: clips.Clip, make, header: bytes) -> bytes:
    track = Track()
    parts = []
    for number, unit in enumerate(clip.units):
        nals = nals_of(unit)
        payloads = list(make(nals, 250)) if number % 2 else [aggregate(nals[:2], header), *make(nals[2:], 400)]
        parts += track.frames(unit.pts, payloads)
        parts.append(frame(sender_report(number << 32, track.start + unit.pts), 1))
    return b"".join(parts)


def _aac() -> bytes:
    track = Track(channel=2, kind=97)
    two = b"\x00\x20" + (20 << 3).to_bytes(2, "big") + (30 << 3).to_bytes(2, "big") + bytes(50)
    piece = b"\x00\x10" + (90 << 3).to_bytes(2, "big") + bytes(45)
    return b"".join([*track.frames(0, [two]), *track.frames(2048, [piece, piece])])


def _latm() -> bytes:
    track = Track(channel=2, kind=97)
    return b"".join(
        [*track.frames(0, [b"\x10" + bytes(16)]), *track.frames(1024, [b"\xff\x03" + bytes(100), bytes(158)])]
    )


def _gzip() -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(b"<tt:MetadataStream/>" * 500) + compressor.flush()


def _xml(document: bytes) -> bytes:
    track = Track(channel=4, kind=98)
    pieces = [document[i : i + 100] for i in range(0, len(document), 100)]
    return b"".join(track.frames(0, pieces))


def _jpeg() -> bytes:
    track = Track(kind=26)
    tables = b"\x00\x00\x00\x80" + bytes(range(128))
    first = b"\x00\x00\x00\x00\x01\xff\x28\x1e" + tables + bytes(300)
    second = b"\x00\x00\x01\x2c\x01\xff\x28\x1e" + bytes(200)
    small = b"\x00\x00\x00\x00\x41\x32\x28\x1e" + b"\x00\x08\xff\xff" + bytes(100)
    return b"".join([*track.frames(0, [first, second]), *track.frames(3000, [small])])


def _av1() -> bytes:
    track = Track()
    sequence = bytes.fromhex("0a0b00000024c4ffdf3f fe f5d108".replace(" ", ""))
    key = b"\x18" + bytes((len(sequence),)) + sequence + b"\x32" + bytes(200)
    return b"".join([*track.frames(0, [key]), *track.frames(3000, [b"\x50\x32" + bytes(80), b"\x90" + bytes(70)])])


def _handshake(sdp: str) -> bytes:
    """What a server says while a session is set up, as one piece."""
    server, subject = Server(sdp), client()
    subject.start(0)
    said = b""
    while data := subject.output():
        answer = server.answer(data)
        said += answer
        subject.feed(answer, 0)
    return said


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few random changes; sometimes none."""
    out = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 4, 8))):
        if not out:
            break
        at = rng.randrange(len(out))
        match rng.randrange(7):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.choice((0, 1, 0x24, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del out[at : at + rng.choice((1, 2, 4, 16, 200))]
            case 3:
                out[at:at] = out[at : at + rng.randrange(1, 100)]
            case 4:
                out[at:at] = rng.randbytes(rng.choice((1, 2, 4, 12, 64)))
            case 5:
                other = rng.randrange(len(out))
                out[at : at + 4] = out[other : other + 4]
            case 6:
                out[at : at + 2] = rng.choice((b"\x00\x00", b"\xff\xff", b"\x00\x01", b"\r\n", b"$\x00"))
    return bytes(out)


def target(sdp: str, rng: random.Random) -> tuple[Client, bytes]:
    """A client somewhere on its way, and what it would be told next."""
    subject = client(user="u", password="p")
    subject.start(0)
    server = Server(sdp, hook=_asks_for_digest if rng.random() < 0.1 else lambda m, h: None)
    answer = b""
    for _ in range(rng.randrange(0, 8)):
        data = subject.output()
        if not data:
            break
        answer = server.answer(data)
        subject.feed(answer, 0)
    subject.events()
    data = subject.output()
    return subject, server.answer(data) if data else b""


def _asks_for_digest(method: str, headers: dict[str, str]) -> bytes | None:
    if "authorization" in headers:
        return None
    return reply(401, headers, 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256\r\n')


def one(rng: random.Random, subject: Client, text: bytes, media: bytes) -> int:
    """Feeds one input; how many bytes it had."""
    start = rng.randrange(max(1, len(media) - 600))
    piece = media[start : start + rng.randrange(20, 600)]
    data = mutate(text + piece if rng.random() < 0.5 else piece, rng)
    at = 0
    while at < len(data):
        step = rng.randrange(1, len(data) + 1)
        subject.feed(data[at : at + step], 1)
        at += step
    if rng.random() < 0.05:
        subject.tick(rng.randrange(10**12))
    return len(data)


def check(subject: Client, fed_bytes: int) -> None:
    """No unbounded memory: what is kept, said and handed on is in proportion to what came in."""
    assert len(subject.rest) <= MAX_REST
    assert len(subject.output()) <= 4096 + 4 * fed_bytes
    events = subject.events()
    assert len(events) <= 64 + fed_bytes
    assert subject.state in State


def fuzz(seed: int, inputs: int) -> None:
    """Raises what the client should never raise. A client gets a few dozen inputs, then a fresh one takes its place."""
    rng = random.Random(seed)
    done = 0
    while done < inputs:
        sdp, handshake, media = rng.choice(corpora())
        if rng.random() < 0.2:
            sdp = mutate(sdp.encode(), rng).decode("utf-8", "replace")
        subject, text = target(sdp, rng)
        if rng.random() < 0.1:
            text = handshake
        fed = 0
        for _ in range(rng.randrange(1, 60)):
            fed += one(rng, subject, text, media)
            done += 1
            if subject.state is State.CLOSED:
                break
            text = b""
        check(subject, fed)


def hostile_streams(size: int) -> dict[str, bytes]:
    """Streams of about `size` bytes made to be slow: every byte may be the start of something, or costs a lot to understand.

    They are for a session of `hostile_sdp`.
    """
    sps, pps = (group[0] for group in parse_avcc(clips.video().form.config))
    changing = [aggregate([sps + number.to_bytes(3, "big"), pps], b"\x18") for number in range(size // 80)]
    small = aggregate([b"\x06\x00"] * 500, b"\x18")
    bomb = gzip.compress(bytes(1_000_000))
    return {
        "dollars": b"$" * size,
        "empty frames": b"$\x00\x00\x00" * (size // 4),
        "frames of one byte": b"$\x00\x00\x01\x80" * (size // 5),
        "smallest packets": b"".join(frame(rtp(i, 0, b"")) for i in range(size // 16)),
        "almost frames": b"$\x00\x00\x10\x80\x60" * (size // 6),
        "almost messages": b"RTSP/" * (size // 5),
        "messages": b"RTSP/1.0 200 OK\r\n\r\n" * (size // 19),
        "requests": b"OPTIONS * RTSP/1.0\r\n\r\n" * (size // 22),
        "line ends": b"\r\n" * (size // 2),
        "line ends apart": b"\r\nx" * (size // 3),
        "header without end": b"RTSP/1.0 200 OK\r\n" + b"a: b\r\n" * (size // 6),
        "zeros": bytes(size),
        "tiny fragments": b"".join(frame(rtp(i, 0, b"\x7c\x05\x00")) for i in range(size // 19)),
        "tiny pictures": b"".join(frame(rtp(i, i, b"\x65\x88", marker=True)) for i in range(size // 18)),
        "tiny aggregates": b"".join(frame(rtp(i, 0, small)) for i in range(size // len(small))),
        "endless aggregates": frame(rtp(0, 0, b"\x18" + b"\x00\x01\x06" * 20000)) * (size // 60_000),
        "new parameter sets": b"".join(frame(rtp(i, i, sets + b"\x00\x02\x65\x88", marker=True)) for i, sets in enumerate(changing)),
        "many headers": b"".join(
            frame(rtp(i, i, b"\xff\xf0" + bytes(8200), kind=97, marker=True), 2) for i in range(size // 8200)
        ),
        "compressed zeros": b"".join(
            frame(rtp(i, i, bomb, kind=98, marker=True), 4) for i in range(size // len(bomb))
        ),
        "goodbyes": frame(b"\x80\xcb\x00\x00" * 16_000, 1) * (size // 64_000),
    }  # fmt: skip


def hostile_sdp() -> str:
    return f"v=0\r\n{video_section(clips.video())}{AAC_SECTION}{GZIP}"
