"""H.265 parameter sets: what a sequence parameter set says about the stream, and the hvcC record made of them.

Sources: ITU-T H.265 (08/2021) clauses 7.3.1.2, 7.3.2.2, 7.3.3, 7.3.4, 7.3.7, E.2.1; ISO/IEC 14496-15 clause 8.3.3 and annex E.3.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recorderd.media.bits import BitReader
from recorderd.media.errors import BitstreamError
from recorderd.media.nal import unescape


class NalType(enum.IntEnum):
    """nal_unit_type, table 7-1; only those that something here asks for. 0-31 are slices, 16-23 random access pictures."""

    RADL_N = 6
    RADL_R = 7
    RASL_N = 8
    RASL_R = 9
    BLA_W_LP = 16
    IDR_W_RADL = 19
    IDR_N_LP = 20
    CRA = 21
    IRAP_LAST = 23
    VPS = 32
    SPS = 33
    PPS = 34
    AUD = 35
    END_OF_SEQUENCE = 36
    END_OF_BITSTREAM = 37
    FILLER = 38
    PREFIX_SEI = 39
    SUFFIX_SEI = 40


@dataclass(frozen=True, slots=True)
class Sps:
    """One sequence parameter set. `width` and `height` are pixels inside the conformance window; `frame_rate` 0 when not stated.

    `profile_tier_level` are the 12 bytes from general_profile_space to general_level_idc, as hvcC stores them.
    """

    id: int
    profile_tier_level: bytes
    max_sub_layers: int
    temporal_id_nesting: bool
    chroma_format_idc: int
    bit_depth_luma: int
    bit_depth_chroma: int
    width: int
    height: int
    frame_rate: float
    reorder_depth: int  # sps_max_num_reorder_pics of the highest sub-layer

    @property
    def codecs_string(self) -> str:
        """ISO/IEC 14496-15 annex E.3, by RFC 6381."""
        ptl = self.profile_tier_level
        space = ("", "A", "B", "C")[ptl[0] >> 6]
        compatibility = int(f"{int.from_bytes(ptl[1:5], 'big'):032b}"[::-1], 2)
        tier = "H" if ptl[0] & 0x20 else "L"
        parts = [f"hvc1.{space}{ptl[0] & 0x1F}", f"{compatibility:X}", f"{tier}{ptl[11]}"]
        parts += [f"{byte:X}" for byte in ptl[5:11].rstrip(b"\x00")]
        return ".".join(parts)


def nal_type(nal: bytes | memoryview) -> int:
    return (nal[0] >> 1) & 0x3F


def parse_sps(nal: bytes) -> Sps:
    """Reads an SPS NAL unit of the base layer. What follows the picture size and cannot be read counts as absent.

    Raises `BitstreamError` for anything that makes the picture size or the profile unknown.
    """
    if len(nal) < 15 or nal_type(nal) != NalType.SPS:
        raise BitstreamError("not an H.265 sequence parameter set")
    if ((nal[0] & 1) << 5 | nal[1] >> 3) != 0:
        raise BitstreamError("parameter set of an enhancement layer")
    r = BitReader(unescape(nal[2:]))
    r.skip(4)  # sps_video_parameter_set_id
    sub_layers = r.u(3) + 1
    if sub_layers > 7:
        raise BitstreamError("sps_max_sub_layers_minus1 is 7")
    nesting = r.flag()
    ptl = _profile_tier_level(r, sub_layers)
    sps_id = r.ue(15)
    chroma = r.ue(3)
    if chroma == 3:
        r.skip(1)
    width, height = r.ue(1 << 16), r.ue(1 << 16)
    if r.flag():
        left, right, top, bottom = (r.ue(1 << 16) for _ in range(4))
        width -= (2 if chroma in (1, 2) else 1) * (left + right)
        height -= (2 if chroma == 1 else 1) * (top + bottom)
    if width <= 0 or height <= 0:
        raise BitstreamError("conformance window leaves no picture")
    luma, chroma_depth = r.ue(8) + 8, r.ue(8) + 8
    log2_poc = r.ue(12) + 4
    reorder = 0
    all_layers = r.flag()
    for _ in range(sub_layers if all_layers else 1):
        r.ue(16)
        reorder = r.ue(16)
        r.ue()
    frame_rate = 0.0
    try:
        frame_rate = _rate_behind_ordering(r, log2_poc)
    except BitstreamError:
        frame_rate = 0.0
    return Sps(sps_id, ptl, sub_layers, nesting, chroma, luma, chroma_depth, width, height, frame_rate, reorder)


def _profile_tier_level(r: BitReader, sub_layers: int) -> bytes:
    general = bytes(r.u(8) for _ in range(12))
    present = []
    if sub_layers > 1:
        present = [(r.flag(), r.flag()) for _ in range(sub_layers - 1)]
        r.skip(2 * (8 - (sub_layers - 1)))
    for profile, level in present:
        r.skip(88 if profile else 0)
        r.skip(8 if level else 0)
    return general


def _rate_behind_ordering(r: BitReader, log2_poc: int) -> float:
    """Walks from log2_min_luma_coding_block_size to the VUI timing: frames per second, or 0."""
    for _ in range(6):
        r.ue(64)
    if r.flag() and r.flag():  # scaling_list_enabled_flag, sps_scaling_list_data_present_flag
        _skip_scaling_lists(r)
    r.skip(2)  # amp, sample adaptive offset
    if r.flag():
        r.skip(8)  # pcm bit depths
        r.ue(3)
        r.ue(3)
        r.skip(1)
    _skip_short_term_sets(r, r.ue(64))
    if r.flag():
        for _ in range(r.ue(32)):
            r.skip(log2_poc + 1)
    r.skip(2)  # temporal mvp, strong intra smoothing
    return _vui_rate(r) if r.flag() else 0.0


def _skip_scaling_lists(r: BitReader) -> None:
    for size_id in range(4):
        for _ in range(0, 6, 3 if size_id == 3 else 1):
            if not r.flag():
                r.ue(5)
            else:
                if size_id > 1:
                    r.se()
                for _ in range(min(64, 1 << (4 + (size_id << 1)))):
                    r.se()


def _skip_short_term_sets(r: BitReader, count: int) -> None:
    """st_ref_pic_set(), 7.3.7: a set may be predicted from the one before it, so the number of pictures of each is kept."""
    pictures: list[int] = []
    for index in range(count):
        if index and r.flag():
            r.skip(1)
            r.ue()
            kept = 0
            for _ in range(pictures[index - 1] + 1):
                used = r.flag()
                kept += used or r.flag()
            pictures.append(kept)
        else:
            negative, positive = r.ue(16), r.ue(16)
            for _ in range(negative + positive):
                r.ue()
                r.skip(1)
            pictures.append(negative + positive)


def _vui_rate(r: BitReader) -> float:
    if r.flag() and r.u(8) == 255:
        r.skip(32)
    if r.flag():
        r.skip(1)
    if r.flag():
        r.skip(4)
        if r.flag():
            r.skip(24)
    if r.flag():
        r.ue(5)
        r.ue(5)
    r.skip(3)  # neutral chroma, field_seq, frame_field_info
    if r.flag():
        for _ in range(4):
            r.ue()
    if not r.flag():
        return 0.0
    ticks, scale = r.u(32), r.u(32)
    rate = scale / ticks if ticks else 0.0
    return rate if rate <= 1000 else 0.0


def random_access(nals: Iterable[bytes | memoryview]) -> bool:
    """Whether decoding may start at the access unit of these NAL units: an IDR, CRA or BLA picture."""
    return any(NalType.BLA_W_LP <= nal_type(nal) <= NalType.IRAP_LAST for nal in nals)


def hvcc(vps: Sequence[bytes], sps: Sequence[bytes], pps: Sequence[bytes], *, complete: bool = False) -> bytes:
    """The HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 8.3.3.1) with 4-byte lengths.

    `complete` says that no parameter set is in band (`hvc1`). min_spatial_segmentation_idc and parallelismType are 0: not known.
    Raises `BitstreamError`.
    """
    if not all(1 <= len(group) <= 64 for group in (vps, sps, pps)):
        raise BitstreamError(f"{len(vps)} video, {len(sps)} sequence and {len(pps)} picture parameter sets")
    first = parse_sps(sps[0])
    out = bytearray(b"\x01" + first.profile_tier_level)
    out += b"\xf0\x00\xfc"
    out += bytes((0xFC | first.chroma_format_idc, 0xF8 | first.bit_depth_luma - 8, 0xF8 | first.bit_depth_chroma - 8))
    out += b"\x00\x00"  # avgFrameRate: not stated
    out.append(first.max_sub_layers << 3 | first.temporal_id_nesting << 2 | 3)
    out.append(3)
    for kind, group in ((NalType.VPS, vps), (NalType.SPS, sps), (NalType.PPS, pps)):
        out.append((0x80 if complete else 0) | kind)
        out += len(group).to_bytes(2, "big")
        for nal in group:
            if len(nal) < 3 or len(nal) > 0xFFFF or nal_type(nal) != kind:
                raise BitstreamError(f"not an H.265 parameter set of type {kind}")
            out += len(nal).to_bytes(2, "big") + nal
    return bytes(out)


def parse_hvcc(record: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]:
    """(video, sequence, picture) parameter sets of an hvcC record with 4-byte lengths. Raises `BitstreamError`."""
    if len(record) < 23 or record[0] != 1:
        raise BitstreamError("not an hvcC record")
    if record[21] & 3 != 3:
        raise BitstreamError("hvcC with lengths of other than 4 bytes")
    found: dict[int, list[bytes]] = {NalType.VPS: [], NalType.SPS: [], NalType.PPS: []}
    position = 23
    for _ in range(record[22]):
        if position + 3 > len(record):
            raise BitstreamError("hvcC is cut short")
        kind = record[position] & 0x3F
        count = int.from_bytes(record[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            length = int.from_bytes(record[position : position + 2], "big")
            position += 2
            if length < 2 or position + length > len(record):
                raise BitstreamError("hvcC is cut short")
            found.setdefault(kind, []).append(record[position : position + length])
            position += length
    return tuple(found[NalType.VPS]), tuple(found[NalType.SPS]), tuple(found[NalType.PPS])
