"""Streams as everything above the depacketisers sees them: tracks, formats and access units."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec


class MediaKind(enum.StrEnum):
    VIDEO = "video"
    AUDIO = "audio"
    METADATA = "metadata"


class Codec(enum.StrEnum):
    H264 = "h264"
    H265 = "h265"
    AV1 = "av1"
    MJPEG = "mjpeg"
    AAC = "aac"
    PCMU = "pcmu"
    PCMA = "pcma"
    G726 = "g726"
    OPUS = "opus"
    ONVIF_METADATA = "onvif-metadata"

    @property
    def kind(self) -> MediaKind:
        return _KINDS.get(self, MediaKind.AUDIO)


ENCODINGS = {
    Codec.H264: "H264",
    Codec.H265: "H265",
    Codec.MJPEG: "JPEG",
    Codec.AV1: "AV1",
    Codec.AAC: "AAC",
    Codec.PCMU: "G711",
    Codec.PCMA: "G711",
    Codec.G726: "G726",
    Codec.OPUS: "opus",
}
"""tt:VideoEncoding and tt:AudioEncoding where they have a name, IANA's elsewhere (5.25)."""

_KINDS = {
    **dict.fromkeys((Codec.H264, Codec.H265, Codec.AV1, Codec.MJPEG), MediaKind.VIDEO),
    Codec.ONVIF_METADATA: MediaKind.METADATA,
}


@dataclass(frozen=True, slots=True)
class TrackFormat:
    """What must be known to store and play one track.

    `config` is the codec's configuration as ISO BMFF stores it: the avcC or hvcC record for H.264 and H.265 (ISO/IEC 14496-15),
    the AudioSpecificConfig for AAC (14496-3), the dOps body for Opus, the av1C body for AV1; empty where the codec has none.
    `clock_rate` is the RTP clock in Hz and the timescale of every media time of the track. Fields that do not apply are 0.
    """

    codec: Codec
    clock_rate: int
    config: bytes = b""
    codecs_string: str = ""  # RFC 6381
    width: int = 0  # pixels, after cropping
    height: int = 0
    frame_rate: float = 0.0  # frames per second as the parameter sets state it; 0 when they do not
    reorder_depth: int = 0  # access units that may precede another in decoding order but follow it in output order
    sample_rate: int = 0  # Hz
    channels: int = 0
    bits_per_sample: int = 0

    @property
    def kind(self) -> MediaKind:
        return self.codec.kind


class AccessUnit(msgspec.Struct, frozen=True, gc=False):
    """One coded picture, audio frame or metadata document, complete. A copy with other values: `msgspec.structs.replace`.

    There are 1200 of them a second: a struct takes a tenth of the time that a frozen dataclass takes to make, and the garbage collector
    need not look at those that a pre-buffer holds (there is nothing in them that could refer back).

    `data` is as ISO BMFF stores it: NAL units with 4-byte length prefixes for H.264 and H.265 (a key frame carries the parameter sets
    in force before its slices), raw frames otherwise. It owns its bytes: no slice of a receive buffer outlives the sweep.
    `pts` is the unwrapped RTP timestamp in the track's clock; media time comes from RTP alone. Units of one track arrive in decoding
    order. `arrival_ns` is CLOCK_BOOTTIME of the sweep that completed the unit.
    """

    track: int  # index in the session's tuple of formats
    pts: int
    data: bytes
    arrival_ns: int
    key: bool = True  # a decoder may start here; always true for audio and metadata
    damaged: bool = False  # packets of this unit, or units just before it, were lost
    parameter_sets_changed: bool = False  # the track's format in force differs from the previous unit's


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The newest RTCP sender report of a track (RFC 3550, 6.4.1): evidence about wall time, never a reason to change media time."""

    ntp: int  # 64-bit NTP timestamp, 32.32 seconds since 1900
    rtp: int  # unwrapped to the track's media time
    arrival_ns: int  # CLOCK_BOOTTIME
