"""AV1: what a sequence header says, and the av1C body (AV1 Bitstream 5.3, 5.5; AV1 Codec ISO Media File Format Binding 2.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from recorderd.media.bits import BitReader
from recorderd.media.errors import BitstreamError

OBU_SEQUENCE_HEADER = 1
OBU_TEMPORAL_DELIMITER = 2


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """`width` and `height` are the largest of the sequence; `frame_rate` is 0 unless pictures come at equal intervals."""

    profile: int
    level: int
    tier: int
    high_bitdepth: bool
    twelve_bit: bool
    monochrome: bool
    subsampling_x: int
    subsampling_y: int
    chroma_sample_position: int
    width: int
    height: int
    frame_rate: float

    @property
    def bit_depth(self) -> int:
        return 12 if self.twelve_bit else 10 if self.high_bitdepth else 8

    @property
    def codecs_string(self) -> str:
        return f"av01.{self.profile}.{self.level:02d}{'H' if self.tier else 'M'}.{self.bit_depth:02d}"


def split_obus(unit: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, whole OBU) of a temporal unit whose OBUs carry sizes; the last may do without. Raises `BitstreamError`."""
    view = memoryview(unit)
    position = 0
    while position < len(view):
        start = position
        header = view[position]
        position += 2 if header & 4 else 1
        if header & 0x80 or position > len(view):
            raise BitstreamError("OBU header")
        if header & 2:
            size, used = leb128(view[position : position + 8])
            position += used + size
        else:
            position = len(view)
        if position > len(view):
            raise BitstreamError("OBU is cut short")
        yield header >> 3 & 15, view[start:position]


def leb128(data: bytes | memoryview) -> tuple[int, int]:
    """(value, bytes used). Raises `BitstreamError` when it does not end within 8 bytes or exceeds 32 bits."""
    value = 0
    for index, byte in enumerate(data[:8]):
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            if value > 0xFFFFFFFF:
                break
            return value, index + 1
    raise BitstreamError("leb128")


def parse_sequence_header(obu: bytes) -> SequenceHeader:
    """Reads a sequence header OBU, with or without its size field. Raises `BitstreamError`."""
    if len(obu) < 3 or obu[0] >> 3 & 15 != OBU_SEQUENCE_HEADER:
        raise BitstreamError("not an AV1 sequence header")
    position = 2 if obu[0] & 4 else 1
    if obu[0] & 2:
        position += leb128(obu[position:])[1]
    r = BitReader(obu[position:])
    profile = r.u(3)
    if profile > 2:
        raise BitstreamError(f"AV1 profile {profile}")
    r.skip(1)  # still_picture
    reduced = r.flag()
    rate, level, tier = (0.0, r.u(5), 0) if reduced else _operating_points(r)
    width_bits, height_bits = r.u(4) + 1, r.u(4) + 1
    width, height = r.u(width_bits) + 1, r.u(height_bits) + 1
    if not reduced and r.flag():
        r.skip(7)  # lengths of frame ids
    r.skip(3)  # superblock size, intra filters
    if not reduced:
        _skip_tools(r)
    r.skip(3)  # superres, cdef, restoration
    high, twelve, monochrome, x, y, position = _color_config(r, profile)
    return SequenceHeader(profile, level, tier, high, twelve, monochrome, x, y, position, width, height, rate)


def _operating_points(r: BitReader) -> tuple[float, int, int]:
    """Timing, decoder model and operating points: (frame rate, level and tier of the first)."""
    rate, model, delay_bits = 0.0, False, 0
    if r.flag():
        ticks, scale = r.u(32), r.u(32)
        if r.flag():
            per_picture = r.ue() + 1
            rate = scale / (ticks * per_picture) if ticks else 0.0
        model = r.flag()
        if model:
            delay_bits = r.u(5) + 1
            r.skip(42)
    display = r.flag()
    level = tier = 0
    for index in range(r.u(5) + 1):
        r.skip(12)
        point_level = r.u(5)
        point_tier = r.u(1) if point_level > 7 else 0
        if index == 0:
            level, tier = point_level, point_tier
        if model and r.flag():
            r.skip(2 * delay_bits + 1)
        if display and r.flag():
            r.skip(4)
    return (rate if rate <= 1000 else 0.0), level, tier


def _skip_tools(r: BitReader) -> None:
    r.skip(4)  # interintra, masked compound, warped motion, dual filter
    order_hint = r.flag()
    if order_hint:
        r.skip(2)
    screen_content = 2 if r.flag() else r.u(1)
    if screen_content and not r.flag():
        r.skip(1)
    if order_hint:
        r.skip(3)


def _color_config(r: BitReader, profile: int) -> tuple[bool, bool, bool, int, int, int]:
    """(high bit depth, twelve bits, monochrome, subsampling x and y, chroma sample position). 5.5.2"""
    high = r.flag()
    twelve = profile == 2 and high and r.flag()
    monochrome = profile != 1 and r.flag()
    description = (r.u(8), r.u(8), r.u(8)) if r.flag() else (2, 2, 2)
    if monochrome:
        return high, twelve, True, 1, 1, 0
    if description == (1, 13, 0):
        return high, twelve, False, 0, 0, 0
    r.skip(1)  # color_range
    if profile == 0:
        x = y = 1
    elif profile == 1:
        x = y = 0
    elif twelve:
        x = r.u(1)
        y = r.u(1) if x else 0
    else:
        x, y = 1, 0
    return high, twelve, False, x, y, r.u(2) if x and y else 0


def av1c(sequence_header: bytes) -> bytes:
    """The av1C body around one sequence header OBU, which must carry its size field. Raises `BitstreamError`."""
    if not sequence_header or not sequence_header[0] & 2:
        raise BitstreamError("AV1 sequence header without its size")
    s = parse_sequence_header(sequence_header)
    flags = (
        s.tier << 7 | s.high_bitdepth << 6 | s.twelve_bit << 5 | s.monochrome << 4
        | s.subsampling_x << 3 | s.subsampling_y << 2 | s.chroma_sample_position
    )  # fmt: skip
    return bytes((0x81, s.profile << 5 | s.level, flags, 0)) + sequence_header


def random_access(unit: bytes | memoryview) -> bool:
    """Whether a temporal unit carries a sequence header: senders put one before every key frame and nowhere else (7.5)."""
    return any(kind == OBU_SEQUENCE_HEADER for kind, _ in split_obus(unit))
