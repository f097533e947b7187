"""H.264 parameter sets: what a sequence parameter set says about the stream, and the avcC record made of them.

Sources: ITU-T H.264 (08/2021) clauses 7.3.2.1, 7.4.2.1, D.1, E.1 and table A-1; ISO/IEC 14496-15 clause 5.3.3.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recorderd.media.bits import BitReader
from recorderd.media.errors import BitstreamError
from recorderd.media.nal import unescape


class NalType(enum.IntEnum):
    """nal_unit_type, table 7-1; only those that something here asks for."""

    SLICE = 1
    PARTITION_A = 2
    IDR = 5
    SEI = 6
    SPS = 7
    PPS = 8
    AUD = 9
    END_OF_SEQUENCE = 10
    END_OF_STREAM = 11
    FILLER = 12


_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})

# Table A-1: MaxDpbMbs by level_idc. 9 is level 1b; 11 with constraint_set3 in the lower profiles too, and its bound is the lower.
_MAX_DPB_MBS = {
    9: 396, 10: 396, 11: 900, 12: 2376, 13: 2376, 20: 2376, 21: 4752, 22: 8100, 30: 8100, 31: 18000, 32: 20480, 40: 32768,
    41: 32768, 42: 34816, 50: 110400, 51: 184320, 52: 184320, 60: 696320, 61: 696320, 62: 696320,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sps:
    """One sequence parameter set. `width` and `height` are pixels after cropping; `frame_rate` is 0 where it is not stated.

    `reorder_depth` is max_num_reorder_frames where the VUI states it, otherwise the bound that profile and level give.
    """

    id: int
    profile_idc: int
    constraints: int  # the byte with constraint_set flags
    level_idc: int
    chroma_format_idc: int
    bit_depth_luma: int
    bit_depth_chroma: int
    width: int
    height: int
    frame_rate: float
    reorder_depth: int
    frame_mbs_only: bool
    pic_order_cnt_type: int

    @property
    def codecs_string(self) -> str:
        """RFC 6381 section 3.3."""
        return f"avc1.{self.profile_idc:02X}{self.constraints:02X}{self.level_idc:02X}"


def nal_type(nal: bytes | memoryview) -> int:
    return nal[0] & 0x1F


def parse_sps(nal: bytes) -> Sps:
    """Reads an SPS NAL unit. A VUI that breaks off or makes no sense counts as absent: cameras that write one still have good video.

    Raises `BitstreamError` for anything that makes the picture size or the profile unknown.
    """
    if len(nal) < 4 or nal_type(nal) != NalType.SPS:
        raise BitstreamError("not an H.264 sequence parameter set")
    r = BitReader(unescape(nal[1:]))
    profile_idc, constraints, level_idc = r.u(8), r.u(8), r.u(8)
    sps_id = r.ue(31)
    chroma_format_idc, luma, chroma, separate = 1, 8, 8, False
    if profile_idc in _HIGH_PROFILES:
        chroma_format_idc = r.ue(3)
        separate = chroma_format_idc == 3 and r.flag()
        luma, chroma = r.ue(6) + 8, r.ue(6) + 8
        r.skip(1)  # qpprime_y_zero_transform_bypass_flag
        if r.flag():
            for index in range(12 if chroma_format_idc == 3 else 8):
                if r.flag():
                    _skip_scaling_list(r, 16 if index < 6 else 64)
    r.ue(12)  # log2_max_frame_num_minus4
    pic_order_cnt_type = r.ue(2)
    if pic_order_cnt_type == 0:
        r.ue(12)
    elif pic_order_cnt_type == 1:
        r.skip(1)
        r.se()
        r.se()
        for _ in range(r.ue(255)):
            r.se()
    r.ue(16)  # max_num_ref_frames
    r.skip(1)
    mbs_wide, map_units_high = r.ue(1 << 12) + 1, r.ue(1 << 12) + 1
    frame_mbs_only = r.flag()
    if not frame_mbs_only:
        r.skip(1)
    r.skip(1)  # direct_8x8_inference_flag
    mbs_high = map_units_high * (1 if frame_mbs_only else 2)
    width, height = mbs_wide * 16, mbs_high * 16
    if r.flag():
        left, right, top, bottom = (r.ue(1 << 16) for _ in range(4))
        array_type = 0 if separate else chroma_format_idc
        unit_x = 2 if array_type in (1, 2) else 1
        unit_y = (2 if array_type == 1 else 1) * (1 if frame_mbs_only else 2)
        width -= unit_x * (left + right)
        height -= unit_y * (top + bottom)
        if width <= 0 or height <= 0:
            raise BitstreamError("cropping leaves no picture")
    bound = _reorder_bound(profile_idc, constraints, level_idc, pic_order_cnt_type, mbs_wide * mbs_high)
    frame_rate, reorder = 0.0, None
    try:
        if r.flag():
            frame_rate, reorder = _vui(r)
    except BitstreamError:
        frame_rate, reorder = 0.0, None
    depth = bound if reorder is None else min(reorder, 16)
    return Sps(
        sps_id, profile_idc, constraints, level_idc, chroma_format_idc, luma, chroma, width, height, frame_rate, depth,
        frame_mbs_only, pic_order_cnt_type,
    )  # fmt: skip


def _skip_scaling_list(r: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + r.se()) % 256
        last = following or last


def _reorder_bound(profile_idc: int, constraints: int, level_idc: int, poc_type: int, frame_mbs: int) -> int:
    """max_num_reorder_frames as E.2.1 infers it, and 0 where the output order cannot differ from the decoding order."""
    intra_only = profile_idc in (44, 86, 100, 110, 122, 244) and constraints & 0x10
    if poc_type == 2 or profile_idc == 66 or intra_only:
        return 0
    return max(0, min(_MAX_DPB_MBS.get(level_idc, 696320) // max(frame_mbs, 1), 16))


def _vui(r: BitReader) -> tuple[float, int | None]:
    """(frame rate or 0, max_num_reorder_frames or None). E.1.1"""
    if r.flag() and r.u(8) == 255:  # aspect_ratio_idc Extended_SAR
        r.skip(32)
    if r.flag():
        r.skip(1)  # overscan_appropriate_flag
    if r.flag():
        r.skip(4)  # video_format, full range
        if r.flag():
            r.skip(24)
    if r.flag():
        r.ue(5)
        r.ue(5)
    frame_rate = 0.0
    if r.flag():
        ticks, scale = r.u(32), r.u(32)
        r.skip(1)
        if ticks:
            rate = scale / (2 * ticks)
            frame_rate = rate if rate <= 1000 else 0.0
    hrd = False
    for _ in range(2):
        if r.flag():
            hrd = True
            _skip_hrd(r)
    if hrd:
        r.skip(1)
    r.skip(1)  # pic_struct_present_flag
    if not r.flag():
        return frame_rate, None
    r.skip(1)
    for limit in (16, 16, 32, 32):
        r.ue(limit)
    return frame_rate, r.ue(16)


def _skip_hrd(r: BitReader) -> None:
    count = r.ue(31) + 1
    r.skip(8)
    for _ in range(count):
        r.ue()
        r.ue()
        r.skip(1)
    r.skip(20)


def parse_pps_ids(nal: bytes) -> tuple[int, int]:
    """(pic_parameter_set_id, seq_parameter_set_id) of a PPS NAL unit."""
    if len(nal) < 2 or nal_type(nal) != NalType.PPS:
        raise BitstreamError("not an H.264 picture parameter set")
    r = BitReader(unescape(nal[1:17]))
    return r.ue(255), r.ue(31)


def recovery_frame_count(nal: bytes | memoryview) -> int | None:
    """recovery_frame_cnt when this SEI NAL unit carries a recovery point message (D.1.8), else None. Never raises."""
    if len(nal) < 3 or nal_type(nal) != NalType.SEI:
        return None
    payload = unescape(bytes(nal[1:1025]))
    position = 0
    while position + 2 < len(payload):
        kind = size = 0
        while position < len(payload) and payload[position] == 0xFF:
            kind += 255
            position += 1
        if position >= len(payload):
            return None
        kind += payload[position]
        position += 1
        while position < len(payload) and payload[position] == 0xFF:
            size += 255
            position += 1
        if position >= len(payload):
            return None
        size += payload[position]
        position += 1
        if kind == 6:
            try:
                return BitReader(payload[position : position + size]).ue(1 << 16)
            except BitstreamError:
                return None
        position += size
    return None


def random_access(nals: Iterable[bytes | memoryview]) -> bool:
    """Whether decoding may start at the access unit of these NAL units: an IDR picture, or a recovery point.

    A recovery point with recovery_frame_cnt above 0 (gradual intra refresh) counts too: it is the only entry such a stream has, and
    the pictures up to the recovery point are as the encoder left them.
    """
    found = False
    for nal in nals:
        kind = nal_type(nal)
        if kind == NalType.IDR:
            return True
        if kind == NalType.SEI and recovery_frame_count(nal) is not None:
            found = True
    return found


def avcc(sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """The AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1) with 4-byte lengths. Raises `BitstreamError`."""
    if not 1 <= len(sps) <= 31 or not 1 <= len(pps) <= 255:
        raise BitstreamError(f"{len(sps)} sequence and {len(pps)} picture parameter sets")
    if any(not 4 <= len(nal) <= 0xFFFF for nal in sps) or any(not 2 <= len(nal) <= 0xFFFF for nal in pps):
        raise BitstreamError("length of a parameter set")
    first = parse_sps(sps[0])
    out = bytearray((1, first.profile_idc, first.constraints, first.level_idc, 0xFF, 0xE0 | len(sps)))
    for nal in sps:
        out += len(nal).to_bytes(2, "big") + nal
    out.append(len(pps))
    for nal in pps:
        out += len(nal).to_bytes(2, "big") + nal
    if first.profile_idc not in (66, 77, 88):
        out += bytes(
            (0xFC | first.chroma_format_idc, 0xF8 | first.bit_depth_luma - 8, 0xF8 | first.bit_depth_chroma - 8, 0)
        )
    return bytes(out)


def parse_avcc(record: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """(sequence, picture) parameter sets of an avcC record with 4-byte lengths. Raises `BitstreamError`."""
    if len(record) < 7 or record[0] != 1:
        raise BitstreamError("not an avcC record")
    if record[4] & 3 != 3:
        raise BitstreamError("avcC with lengths of other than 4 bytes")
    position = 5
    groups: list[tuple[bytes, ...]] = []
    for mask in (0x1F, 0xFF):
        if position >= len(record):
            raise BitstreamError("avcC is cut short")
        count = record[position] & mask
        position += 1
        nals = []
        for _ in range(count):
            length = int.from_bytes(record[position : position + 2], "big")
            position += 2
            if length == 0 or position + length > len(record):
                raise BitstreamError("avcC is cut short")
            nals.append(record[position : position + length])
            position += length
        groups.append(tuple(nals))
    return groups[0], groups[1]
