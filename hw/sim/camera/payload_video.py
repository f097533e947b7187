"""RTP payload formats of H.264 (RFC 6184, packetization mode 1), H.265 (RFC 7798) and JPEG (RFC 2435)."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence

from hw.sim.camera.nal import VideoCodec
from hw.sim.camera.rtp import PAYLOAD_BYTES, Media, Payload

VIDEO_CLOCK = 90_000


def video_media(codec: VideoCodec, key_units: Sequence[bytes], payload_type: int, *, in_sdp: bool = True) -> Media:
    """The m= section of a stream whose key picture has the units `key_units`; `in_sdp`: with the parameter sets."""
    sets = [unit for unit in key_units if codec.is_parameter_set(unit)]
    if codec is VideoCodec.H264:
        sps = next(unit for unit in sets if codec.nal_type(unit) == 7)
        fmtp = f"packetization-mode=1;profile-level-id={sps[1:4].hex().upper()}"
        if in_sdp:
            fmtp += ";sprop-parameter-sets=" + ",".join(b64encode(unit).decode() for unit in sets)
    else:
        names = {32: "vps", 33: "sps", 34: "pps"}
        parts = [f"sprop-{names[codec.nal_type(unit)]}={b64encode(unit).decode()}" for unit in sets] if in_sdp else []
        fmtp = ";".join(parts)
    return Media("video", codec.value, payload_type, VIDEO_CLOCK, fmtp=fmtp)


def packetise(
    codec: VideoCodec, units: Sequence[bytes], *, aggregate: bool = True, sei_apart: bool = False
) -> list[Payload]:
    """The payloads of one picture; the last carries the marker.

    `aggregate`: parameter sets travel together in one aggregation packet. `sei_apart`: each SEI unit is a packet of its own with a
    marker of its own and the picture's timestamp, as some cameras send them.
    """
    payloads: list[Payload] = []
    sets = [unit for unit in units if codec.is_parameter_set(unit)]
    together = aggregate and len(sets) > 1 and sum(len(unit) + 2 for unit in sets) + 2 <= PAYLOAD_BYTES
    if together:
        payloads.append(Payload(_aggregate(codec, sets)))
    for unit in units:
        if together and codec.is_parameter_set(unit):
            continue
        if len(unit) <= PAYLOAD_BYTES:
            payloads.append(Payload(unit, marker=sei_apart and codec.is_sei(unit)))
        else:
            payloads.extend(Payload(data) for data in _fragment(codec, unit))
    payloads[-1] = Payload(payloads[-1].data, marker=True)
    return payloads


def _aggregate(codec: VideoCodec, units: Sequence[bytes]) -> bytes:
    """STAP-A (RFC 6184, 5.7.1) or AP (RFC 7798, 4.4.2)."""
    stap, ap = bytes([max(unit[0] & 0x60 for unit in units) | 24]), bytes([48 << 1, units[0][1]])
    return (stap if codec is VideoCodec.H264 else ap) + b"".join(struct.pack(">H", len(unit)) + unit for unit in units)


def _fragment(codec: VideoCodec, unit: bytes) -> list[bytes]:
    """FU-A (RFC 6184, 5.8) or FU (RFC 7798, 4.4.3)."""
    if codec is VideoCodec.H264:
        indicator, kind, body = bytes([unit[0] & 0xE0 | 28]), unit[0] & 0x1F, unit[1:]
    else:
        indicator, kind, body = bytes([unit[0] & 0x81 | 49 << 1, unit[1]]), unit[0] >> 1 & 0x3F, unit[2:]
    room = PAYLOAD_BYTES - len(indicator) - 1
    pieces = [body[at : at + room] for at in range(0, len(body), room)]
    last = len(pieces) - 1
    return [
        indicator + bytes([(index == 0) << 7 | (index == last) << 6 | kind]) + piece
        for index, piece in enumerate(pieces)
    ]


def packetise_jpeg(image: bytes, width: int, height: int) -> list[Payload]:
    """A baseline JPEG image with 4:2:0 or 4:2:2 sampling, its quantisation tables in band (Q = 255). Raises ValueError for others."""
    if width > 2040 or height > 2040:
        raise ValueError("RFC 2435 carries at most 2040x2040")
    tables, sampling, scan = _parse_jpeg(image)
    kind = {0x21: 0, 0x22: 1}[sampling]
    quantisation = struct.pack(">BBH", 0, 0, len(tables)) + tables
    payloads, at = [], 0
    while at < len(scan):
        head = struct.pack(">BBHBBBB", 0, at >> 16, at & 0xFFFF, kind, 255, width // 8, height // 8)
        head += quantisation if at == 0 else b""
        piece = scan[at : at + PAYLOAD_BYTES - len(head)]
        at += len(piece)
        payloads.append(Payload(head + piece, marker=at == len(scan)))
    return payloads


def _parse_jpeg(image: bytes) -> tuple[bytes, int, bytes]:
    """(the two 8-bit quantisation tables, luma sampling factors, entropy-coded scan) of a baseline JPEG (ITU-T T.81, Annex B)."""
    tables: dict[int, bytes] = {}
    sampling, at = 0, 2
    while True:
        marker, length = struct.unpack_from(">HH", image, at)
        body = image[at + 4 : at + 2 + length]
        if marker == 0xFFDB:
            while body:
                if body[0] >> 4:
                    raise ValueError("16-bit quantisation table")
                tables[body[0] & 0x0F] = body[1:65]
                body = body[65:]
        elif marker == 0xFFC0:
            sampling = body[7]
        elif marker == 0xFFDD:
            raise ValueError("restart intervals are not supported")
        elif marker == 0xFFDA:
            scan = image[at + 2 + length :]
            break
        elif marker in (0xFFC1, 0xFFC2):
            raise ValueError("not a baseline JPEG")
        at += 2 + length
    luma = tables[0]
    return luma + tables.get(1, luma), sampling, scan.removesuffix(b"\xff\xd9")
