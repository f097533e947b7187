"""RTCP compound packets: sender reports and BYE in, receiver reports with a CNAME out (RFC 3550 6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_PACKETS = 64  # in one compound packet
_SR, _RR, _SDES, _BYE = 200, 201, 202, 203


@dataclass(frozen=True, slots=True)
class SenderInfo:
    """The sender part of an SR: 64-bit NTP timestamp (32.32), RTP timestamp (32 bit)."""

    ssrc: int
    ntp: int
    rtp: int


@dataclass(frozen=True, slots=True)
class Bye:
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What one receiver report says of one source (6.4.1)."""

    ssrc: int
    fraction_lost: int  # of 256
    total_lost: int
    highest_sequence: int
    jitter: int  # timestamp units
    last_sr: int  # middle 32 bits of its NTP time
    delay_since_sr: int  # 1/65536 s


def parse_compound(data: bytes | memoryview) -> list[SenderInfo | Bye]:
    """What matters in a compound packet.

    Stops quietly at the first thing that is not RTCP, and after `MAX_PACKETS`: reports are evidence, never needed.
    """
    out: list[SenderInfo | Bye] = []
    position, end = 0, len(data)
    for _ in range(MAX_PACKETS):
        if position + 4 > end:
            break
        first, kind, words = struct.unpack_from(">BBH", data, position)
        stop = position + 4 + 4 * words
        if first >> 6 != 2 or stop > end:
            break
        if kind == _SR and words >= 6:
            ssrc, ntp, rtp = struct.unpack_from(">IQI", data, position + 4)
            out.append(SenderInfo(ssrc, ntp, rtp))
        elif kind == _BYE:
            count = min(first & 31, words)
            out.append(Bye(struct.unpack_from(f">{count}I", data, position + 4)))
        position = stop
    return out


def encode_receiver_report(own_ssrc: int, blocks: list[ReportBlock], cname: bytes) -> bytes:
    """RR + SDES(CNAME), at most 31 blocks."""
    blocks = blocks[:31]
    out = struct.pack(">BBHI", 0x80 | len(blocks), _RR, 1 + 6 * len(blocks), own_ssrc)
    for b in blocks:
        lost = min(max(b.total_lost, -0x800000), 0x7FFFFF) & 0xFFFFFF
        out += struct.pack(
            ">IIIIII",
            b.ssrc,
            (b.fraction_lost & 0xFF) << 24 | lost,
            b.highest_sequence,
            b.jitter & 0xFFFFFFFF,
            b.last_sr,
            b.delay_since_sr,
        )
    item = bytes((1, len(cname[:255]))) + cname[:255]
    chunk = struct.pack(">I", own_ssrc) + item + b"\x00" * (4 - len(item) % 4)
    return out + struct.pack(">BBH", 0x81, _SDES, len(chunk) // 4) + chunk
