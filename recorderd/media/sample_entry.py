"""Sample entries: what `stsd` says of one track (ISO/IEC 14496-12 12.1 to 12.3, 14496-14, 14496-15; QuickTime File Format for G.711).

In the ring, parameter sets travel in band (`avc3`, `hev1`); what leaves it may keep them in the entry alone (`avc1`, `hvc1`).
"""

from __future__ import annotations

from recorderd.media.boxes import box, full_box, u8, u16, u32
from recorderd.media.errors import MediaError
from recorderd.model.stream import Codec, MediaKind, TrackFormat

METADATA_NAMESPACE = "http://www.onvif.org/ver10/schema"
_DEPTH_24 = 0x18
_NO_COLOR_TABLE = 0xFFFF


def sample_entry(track: TrackFormat, *, in_band: bool = True) -> bytes:
    """The one entry of the track's `stsd`. Raises `MediaError` when MP4 has no representation for it."""
    match track.codec:
        case Codec.H264:
            return _visual(b"avc3" if in_band else b"avc1", track, box(b"avcC", track.config))
        case Codec.H265:
            return _visual(b"hev1" if in_band else b"hvc1", track, box(b"hvcC", track.config))
        case Codec.AV1:
            return _visual(b"av01", track, box(b"av1C", track.config))
        case Codec.MJPEG:
            return _visual(b"mp4v", track, _esds(0x6C, 0x04, b""))
        case Codec.AAC:
            return _audio(b"mp4a", track, _esds(0x40, 0x05, track.config))
        case Codec.OPUS:
            return _audio(b"Opus", track, box(b"dOps", track.config))
        case Codec.PCMU:
            return _audio(b"ulaw", track, _chan(track.channels))
        case Codec.PCMA:
            return _audio(b"alaw", track, _chan(track.channels))
        case Codec.G726:
            return _audio(b"g726", track)
        case Codec.ONVIF_METADATA:
            return box(b"metx", bytes(6), u16(1), b"\x00", METADATA_NAMESPACE.encode() + b"\x00", b"\x00")
    raise MediaError(f"no sample entry for {track.codec}")


def handler(kind: MediaKind) -> bytes:
    return {MediaKind.VIDEO: b"vide", MediaKind.AUDIO: b"soun", MediaKind.METADATA: b"meta"}[kind]


def media_header(kind: MediaKind) -> bytes:
    if kind is MediaKind.VIDEO:
        return full_box(b"vmhd", 0, 1, bytes(8))
    if kind is MediaKind.AUDIO:
        return full_box(b"smhd", 0, 0, bytes(4))
    return full_box(b"nmhd", 0, 0)


def _visual(name: bytes, track: TrackFormat, configuration: bytes) -> bytes:
    if not (0 < track.width <= 0xFFFF and 0 < track.height <= 0xFFFF):
        raise MediaError(f"picture of {track.width}x{track.height}")
    return box(
        name, bytes(6), u16(1), bytes(16), u16(track.width), u16(track.height), u32(0x480000), u32(0x480000), bytes(4), u16(1),
        bytes(32), u16(_DEPTH_24), u16(_NO_COLOR_TABLE), configuration,
    )  # fmt: skip


def _audio(name: bytes, track: TrackFormat, *configuration: bytes) -> bytes:
    # 16.16 cannot hold rates from 65,536 Hz up: 0 then, and the codec's configuration says it.
    rate = track.sample_rate << 16 if track.sample_rate < 1 << 16 else 0
    return box(
        name, bytes(6), u16(1), bytes(8), u16(track.channels or 2), u16(track.bits_per_sample or 16), bytes(4), u32(rate),
        *configuration,
    )  # fmt: skip


def _chan(channels: int) -> bytes:
    """QuickTime's channel layout: mono or stereo, else unknown. Without it FFmpeg warns that it guesses."""
    tag = {1: 100 << 16 | 1, 2: 101 << 16 | 2}.get(channels, 0xFFFF << 16 | channels)
    return full_box(b"chan", 0, 0, u32(tag), u32(0), u32(0))


def _esds(object_type: int, stream_type: int, specific: bytes) -> bytes:
    """An ES descriptor (ISO/IEC 14496-1 7.2.6.5): object type 0x40 is AAC, 0x6C JPEG; stream type 4 is visual, 5 audio."""
    decoder_specific = _descriptor(5, specific) if specific else b""
    decoder = _descriptor(4, u8(object_type), u8(stream_type << 2 | 1), bytes(11), decoder_specific)
    return full_box(b"esds", 0, 0, _descriptor(3, u16(0), u8(0), decoder, _descriptor(6, b"\x02")))


def _descriptor(tag: int, *payload: bytes) -> bytes:
    size = sum(map(len, payload))
    if size > 127:
        raise MediaError(f"descriptor of {size} bytes")
    return b"".join((u8(tag), u8(size), *payload))
