"""A camera's side of RTP, written for the tests from the RFCs: packets, interleaved frames, fragmentation; and a scripted RTSP server."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from msgspec import structs

from recorderd.media import h264, h265
from recorderd.model.stream import AccessUnit, Codec
from recorderd.rtsp.auth import Authenticator
from recorderd.rtsp.client import Client, Wanted
from recorderd.rtsp.events import Event, Units
from recorderd.rtsp.url import parse_url
from tests.media import clips

SSRC = 0x1234ABCD


def rtp(
    sequence: int, timestamp: int, payload: bytes, *, marker: bool = False, kind: int = 96, ssrc: int = SSRC
) -> bytes:
    second = (0x80 if marker else 0) | kind
    return struct.pack(">BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def frame(packet: bytes, channel: int = 0) -> bytes:
    return struct.pack(">cBH", b"$", channel, len(packet)) + packet


def sender_report(ntp: int, timestamp: int, ssrc: int = SSRC) -> bytes:
    return struct.pack(">BBHIQIII", 0x80, 200, 6, ssrc, ntp, timestamp & 0xFFFFFFFF, 0, 0)


def h264_payloads(nals: Iterable[bytes], size: int = 1400) -> Iterator[bytes]:
    for nal in nals:
        if len(nal) <= size:
            yield nal
            continue
        pieces = [nal[i : i + size] for i in range(1, len(nal), size)]
        for index, piece in enumerate(pieces):
            flags = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
            yield bytes((nal[0] & 0xE0 | 28, flags | nal[0] & 31)) + piece


def h265_payloads(nals: Iterable[bytes], size: int = 1400) -> Iterator[bytes]:
    for nal in nals:
        if len(nal) <= size:
            yield nal
            continue
        kind = nal[0] >> 1 & 63
        pieces = [nal[i : i + size] for i in range(2, len(nal), size)]
        for index, piece in enumerate(pieces):
            flags = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
            yield bytes((nal[0] & 0x81 | 49 << 1, nal[1], flags | kind)) + piece


def aggregate(nals: Sequence[bytes], header: bytes) -> bytes:
    """STAP-A with header b"\\x18", AP with b"\\x60\\x01"."""
    return header + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


@dataclass
class Track:
    """One RTP source that numbers its packets."""

    channel: int = 0
    kind: int = 96
    ssrc: int = SSRC
    sequence: int = 65530
    start: int = 0xFFFFFF00

    def packets(self, pts: int, payloads: Iterable[bytes], *, marker: bool = True) -> list[bytes]:
        payloads = list(payloads)
        out = []
        for index, payload in enumerate(payloads):
            last = marker and index == len(payloads) - 1
            out.append(rtp(self.sequence, self.start + pts, payload, marker=last, kind=self.kind, ssrc=self.ssrc))
            self.sequence += 1
        return out

    def frames(self, pts: int, payloads: Iterable[bytes], *, marker: bool = True) -> list[bytes]:
        return [frame(packet, self.channel) for packet in self.packets(pts, payloads, marker=marker)]


def nals_of(unit: AccessUnit) -> list[bytes]:
    return [bytes(nal) for nal in clips.split_lengths(unit.data)]


def in_slices(codec: Codec, **shape: int) -> clips.Clip:
    """A clip whose pictures have several slices. For H.265 they are made up of the one there is (x265 crashes now and then when it is
    asked for slices); nothing here decodes them."""
    if codec is Codec.H264:
        return clips.video(codec, slices=4, **shape)
    clip = clips.video(codec, **shape)
    units = []
    for unit in clip.units:
        *others, picture = nals_of(unit)
        more = picture[:2] + bytes((picture[2] & 0x7F,)) + picture[3:]
        units.append(structs.replace(unit, data=clips.join_lengths([*others, picture, more, more[:80]])))
    return replace(clip, units=tuple(units))


def video_section(clip: clips.Clip, *, sets: bool = True) -> str:
    """The m= section of a clip."""
    if clip.form.codec is Codec.H264:
        groups = h264.parse_avcc(clip.form.config)
        sprop = ",".join(base64.b64encode(nal).decode() for group in groups for nal in group)
        fmtp = f"packetization-mode=1;sprop-parameter-sets={sprop}" if sets else "packetization-mode=1"
        name = "H264"
    else:
        vps, sps, pps = (base64.b64encode(group[0]).decode() for group in h265.parse_hvcc(clip.form.config))
        fmtp = f"sprop-vps={vps}; sprop-sps={sps}; sprop-pps={pps}" if sets else "tx-mode=SRST"
        name = "H265"
    return f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 {name}/90000\r\na=fmtp:96 {fmtp}\r\na=control:track1\r\n"


AAC_SECTION = (
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/16000/1\r\n"
    "a=fmtp:97 streamtype=5;mode=AAC-hbr;config=1408;sizelength=13;indexlength=3;indexdeltalength=3\r\na=control:track2\r\n"
)
METADATA_SECTION = "m=application 0 RTP/AVP 98\r\na=rtpmap:98 vnd.onvif.metadata/90000\r\na=control:track3\r\n"


@dataclass
class Server:
    """Answers requests as bytes; `hook(method, headers)` may answer instead. Every request is kept in `seen`."""

    sdp: str
    hook: Callable[[str, dict[str, str]], bytes | None] = lambda method, headers: None
    public: str = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    _rest: bytes = b""

    def answer(self, data: bytes) -> bytes:
        """What the server says to these bytes; interleaved frames (receiver reports) are left out."""
        self._rest += data
        out = b""
        while self._rest:
            if self._rest[:1] == b"$":
                size = 4 + int.from_bytes(self._rest[2:4], "big")
                if len(self._rest) < max(size, 4):
                    break
                self._rest = self._rest[size:]
                continue
            head, blank, rest = self._rest.partition(b"\r\n\r\n")
            if not blank:
                break
            lines = head.decode().split("\r\n")
            method, url, _ = lines[0].split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", "0"))
            self._rest = rest[length:]
            self.seen.append((method, url, headers))
            said = self.hook(method, headers)
            out += said if said is not None else self.usual(method, url, headers)
        return out

    def usual(self, method: str, url: str, headers: dict[str, str]) -> bytes:
        extra, body = "", b""
        if method == "OPTIONS":
            extra = f"Public: {self.public}\r\n"
        elif method == "DESCRIBE":
            body = self.sdp.encode()
            extra = f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n"
        elif method == "SETUP":
            extra = f'Transport: {headers["transport"]};mode="PLAY"\r\nSession: 4711;timeout=60\r\n'
        return reply(200, headers, extra, body)


def reply(status: int, headers: dict[str, str], extra: str = "", body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"RTSP/1.0 {status} Whatever\r\nCSeq: {headers['cseq']}\r\n{extra}{length}\r\n".encode() + body


def client(wanted: Wanted | None = None, *, user: str = "", password: str = "", basic: bool = False) -> Client:
    return Client(
        url=parse_url("rtsp://cam/stream"),
        authenticator=Authenticator(user, password, basic, lambda: "c0ffee"),
        wanted=wanted or Wanted(),
        ssrc=7,
    )


def converse(subject: Client, server: Server, now_ns: int = 0, *, turns: int = 30) -> list[Event]:
    """Lets the two talk until the client has nothing more to say; returns the client's events."""
    events: list[Event] = []
    for _ in range(turns):
        data = subject.output()
        if not data:
            break
        subject.feed(server.answer(data), now_ns)
        events += subject.events()
    return events


def playing(sdp: str, wanted: Wanted | None = None) -> tuple[Client, Server, list[Event]]:
    """A client that has come as far as PLAYING."""
    subject, server = client(wanted), Server(sdp)
    subject.start(0)
    events = converse(subject, server)
    return subject, server, events


def units(events: Iterable[Event]) -> list[AccessUnit]:
    return [unit for event in events if isinstance(event, Units) for unit in event.units]


def find_status(text: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"RTSP/1\.0 ([0-9]{3})", text)]
