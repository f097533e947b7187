"""Opus: the dOps body (Encapsulation of Opus in ISO BMFF, 4.3.2) and the length of a packet (RFC 6716 section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from recorderd.media.errors import BitstreamError

CLOCK_RATE = 48_000
_FRAME_SAMPLES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4


@dataclass(frozen=True, slots=True)
class OpusConfig:
    channels: int
    pre_skip: int  # samples at 48 kHz to drop at the start
    input_sample_rate: int


def dops(channels: int, *, pre_skip: int = 3840, input_sample_rate: int = CLOCK_RATE) -> bytes:
    """The dOps body for 1 or 2 channels. `pre_skip` is 80 ms: RFC 7845 4.6 asks that much when joining a live stream."""
    if channels not in (1, 2):
        raise BitstreamError(f"Opus with {channels} channels")
    return bytes((0, channels)) + pre_skip.to_bytes(2, "big") + input_sample_rate.to_bytes(4, "big") + bytes(3)


def parse_dops(body: bytes) -> OpusConfig:
    """Reads a dOps body of channel mapping family 0. Raises `BitstreamError`."""
    if len(body) != 11 or body[0] != 0 or body[10] != 0 or body[1] not in (1, 2):
        raise BitstreamError("not a dOps body of one or two channels")
    return OpusConfig(body[1], int.from_bytes(body[2:4], "big"), int.from_bytes(body[4:8], "big"))


def packet_samples(packet: bytes | memoryview) -> int:
    """Samples at 48 kHz in an Opus packet; 0 when its table of contents is not valid."""
    if not packet:
        return 0
    code = packet[0] & 3
    counted = packet[1] & 0x3F if len(packet) > 1 else 0
    frames = (1, 2, 2, counted)[code]
    samples = _FRAME_SAMPLES[packet[0] >> 3] * frames
    return samples if samples <= 5760 else 0
