"""RTP packets (RFC 3550) ready to send: built once with zero sequence number, timestamp and SSRC, stamped for each session.

The packets of one access unit lie one after the other, each behind the 4-byte header of RTSP interleaving (RFC 2326, 10.12), so that a
TCP session sends a run of packets as one slice.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INTERLEAVE_BYTES = 4
HEADER_BYTES = 12
PAYLOAD_BYTES = 1400  # of one packet at most, header extension not counted
_HEAD = struct.Struct(">BBHBBHII")  # '$', channel, length; V/P/X/CC, M/PT, sequence number, timestamp, SSRC
_PATCHED = np.array([1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])  # bytes of that header that belong to a session


@dataclass(frozen=True, slots=True)
class Media:
    """One m= section: what the SDP says of a track. `kind` is "video", "audio" or "application"; `fmtp` without the payload type."""

    kind: str
    encoding: str
    payload_type: int
    clock_rate: int
    channels: int = 1
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit (picture, audio frame, document) as RTP packets.

    `ticks` is its media time in the track's clock from the start of the source, `due_s` when it is sent, in seconds from there.
    `framed` holds the packets, `starts` where each begins (at its `$`); both are shared between sessions and never written.
    """

    ticks: int
    due_s: float
    key: bool
    framed: NDArray[np.uint8]
    starts: NDArray[np.intp]
    patched: NDArray[np.intp]  # (packets, 11): where the session's bytes go


@dataclass(frozen=True, slots=True)
class Payload:
    """One RTP payload; `marker` as the payload format asks."""

    data: bytes
    marker: bool = False


def build(
    media: Media, payloads: Sequence[Payload], *, ticks: int, due_s: float, key: bool, extension: bytes = b""
) -> Unit:
    """Frames the payloads of one access unit. `extension` is the body of an RTP header extension (RFC 3550, 5.3.1), whole words."""
    if len(extension) % 4:
        raise ValueError("an RTP header extension is a whole number of 32-bit words")
    extra = struct.pack(">HH", 0xABAC, len(extension) // 4) + extension if extension else b""
    first = 0x90 if extra else 0x80
    parts, starts, at = [], [], 0
    for payload in payloads:
        length = HEADER_BYTES + len(extra) + len(payload.data)
        marker_type = payload.marker << 7 | media.payload_type
        packet = _HEAD.pack(0x24, 0, length, first, marker_type, 0, 0, 0) + extra + payload.data
        parts.append(packet)
        starts.append(at)
        at += len(packet)
    offsets = np.array(starts, dtype=np.intp)
    return Unit(
        ticks=ticks,
        due_s=due_s,
        key=key,
        framed=np.frombuffer(b"".join(parts), dtype=np.uint8),
        starts=offsets,
        patched=offsets[:, None] + _PATCHED[None, :],
    )


def stamp(unit: Unit, *, channel: int, sequence: int, timestamp: int, ssrc: int) -> bytearray:
    """A copy of the unit's packets with the session's values; `sequence` is the first packet's. All values wrap as their fields do."""
    packets = bytearray(unit.framed.data)
    count = len(unit.starts)
    timestamp &= 0xFFFFFFFF
    if count == 1:
        packets[1] = channel
        struct.pack_into(">HII", packets, 6, sequence & 0xFFFF, timestamp, ssrc)
        return packets
    values = np.empty((count, 11), dtype=np.uint8)
    numbers = (np.arange(sequence, sequence + count) & 0xFFFF).astype(np.uint16)
    values[:, 0] = channel
    values[:, 1] = numbers >> 8
    values[:, 2] = numbers & 0xFF
    values[:, 3:] = np.frombuffer(struct.pack(">II", timestamp, ssrc), dtype=np.uint8)
    np.frombuffer(packets, dtype=np.uint8)[unit.patched] = values
    return packets
