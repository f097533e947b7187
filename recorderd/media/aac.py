"""AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1): sample rate, channels, frame length."""

from __future__ import annotations

from dataclasses import dataclass

from recorderd.media.bits import BitReader
from recorderd.media.errors import BitstreamError

_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)
_SBR, _ESCAPE, _PS = 5, 31, 29
_GENERAL_AUDIO = frozenset({1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23})


@dataclass(frozen=True, slots=True)
class AacConfig:
    """`sample_rate` and `frame_length` (samples per access unit) are of the core coder: what the RTP clock and MP4 times count.

    `channels` is 0 where a program_config_element defines them.
    """

    object_type: int
    sample_rate: int
    channels: int
    frame_length: int

    @property
    def codecs_string(self) -> str:
        return f"mp4a.40.{self.object_type}"


def parse_asc(asc: bytes) -> AacConfig:
    """Reads an AudioSpecificConfig of at most 64 bytes. Raises `BitstreamError`."""
    if not 2 <= len(asc) <= 64:
        raise BitstreamError(f"AudioSpecificConfig of {len(asc)} bytes")
    r = BitReader(asc)
    object_type = stated = _object_type(r)
    rate = _rate(r)
    channels = r.u(4)
    if object_type in (_SBR, _PS):
        _rate(r)  # of the extension
        object_type = _object_type(r)
        if object_type == 22:
            r.skip(4)
    if object_type not in _GENERAL_AUDIO:
        raise BitstreamError(f"audio object type {object_type}")
    frame_length = 960 if r.flag() else 1024
    if object_type == 23:
        frame_length //= 2
    if channels >= len(_CHANNELS):
        raise BitstreamError(f"channel configuration {channels}")
    return AacConfig(stated, rate, _CHANNELS[channels], frame_length)


def asc(object_type: int, sample_rate: int, channels: int) -> bytes:
    """The shortest AudioSpecificConfig of a plain AAC stream, as for LATM or ADTS headers. Raises `BitstreamError`."""
    if not 1 <= object_type <= 30 or channels not in _CHANNELS[1:]:
        raise BitstreamError(f"AAC object type {object_type} with {channels} channels")
    configuration = _CHANNELS.index(channels, 1)
    if sample_rate in _RATES:
        bits = object_type << 11 | _RATES.index(sample_rate) << 7 | configuration << 3
        return bits.to_bytes(2, "big")
    bits = (object_type << 35 | 15 << 31 | (sample_rate & 0xFFFFFF) << 7 | configuration << 3) << 0
    return bits.to_bytes(5, "big")


def _object_type(r: BitReader) -> int:
    value = r.u(5)
    return 32 + r.u(6) if value == _ESCAPE else value


def _rate(r: BitReader) -> int:
    index = r.u(4)
    rate = r.u(24) if index == 15 else _RATES[index] if index < len(_RATES) else 0
    if not 1 <= rate <= 192_000:
        raise BitstreamError("AAC sample rate")
    return rate
