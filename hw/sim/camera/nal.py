"""NAL units of Annex B byte streams (ITU-T H.264 and H.265, Annex B): splitting, and what a unit is."""

from __future__ import annotations

import re
from enum import Enum

_START_CODE = re.compile(rb"\x00\x00\x01")


class VideoCodec(Enum):
    H264 = "H264"
    H265 = "H265"

    def nal_type(self, unit: bytes) -> int:
        return unit[0] & 0x1F if self is VideoCodec.H264 else unit[0] >> 1 & 0x3F

    def is_parameter_set(self, unit: bytes) -> bool:
        return self.nal_type(unit) in ((7, 8) if self is VideoCodec.H264 else (32, 33, 34))

    def is_sei(self, unit: bytes) -> bool:
        return self.nal_type(unit) in ((6,) if self is VideoCodec.H264 else (39, 40))

    def is_slice(self, unit: bytes) -> bool:
        kind = self.nal_type(unit)
        return 1 <= kind <= 5 if self is VideoCodec.H264 else kind <= 31


def split(stream: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream without start codes and trailing zero bytes."""
    ends = [match.start() for match in _START_CODE.finditer(stream)]
    units = [stream[a + 3 : b] for a, b in zip(ends, [*ends[1:], len(stream)], strict=True)]
    return [unit for unit in (unit.rstrip(b"\x00") for unit in units) if unit]
