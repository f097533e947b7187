"""`TrackFormat`s from parameter sets: what a depacketiser calls when it learns or re-learns what a stream is."""

from __future__ import annotations

from collections.abc import Sequence

from recorderd.media import aac, av1, h264, h265, opus
from recorderd.media.errors import MediaError
from recorderd.model.stream import Codec, TrackFormat


def h264_format(sps: Sequence[bytes], pps: Sequence[bytes], clock_rate: int = 90_000) -> TrackFormat:
    """Of H.264 parameter sets (NAL units, the SPS in force first). Raises `MediaError`."""
    first = h264.parse_sps(sps[0]) if sps else None
    if first is None:
        raise MediaError("no H.264 sequence parameter set")
    return TrackFormat(
        Codec.H264, clock_rate, h264.avcc(sps, pps), first.codecs_string, first.width, first.height, first.frame_rate,
        first.reorder_depth,
    )  # fmt: skip


def h265_format(
    vps: Sequence[bytes], sps: Sequence[bytes], pps: Sequence[bytes], clock_rate: int = 90_000
) -> TrackFormat:
    """Of H.265 parameter sets (NAL units, those in force first). Raises `MediaError`."""
    first = h265.parse_sps(sps[0]) if sps else None
    if first is None:
        raise MediaError("no H.265 sequence parameter set")
    return TrackFormat(
        Codec.H265, clock_rate, h265.hvcc(vps, sps, pps), first.codecs_string, first.width, first.height, first.frame_rate,
        first.reorder_depth,
    )  # fmt: skip


def h264_from_config(avcc: bytes, clock_rate: int = 90_000) -> TrackFormat:
    """Of an avcC record. Raises `MediaError`."""
    sps, pps = h264.parse_avcc(avcc)
    return h264_format(sps, pps, clock_rate)


def h265_from_config(hvcc: bytes, clock_rate: int = 90_000) -> TrackFormat:
    """Of an hvcC record. Raises `MediaError`."""
    vps, sps, pps = h265.parse_hvcc(hvcc)
    return h265_format(vps, sps, pps, clock_rate)


def av1_format(sequence_header: bytes, clock_rate: int = 90_000) -> TrackFormat:
    """Of an AV1 sequence header OBU with its size field. Raises `MediaError`."""
    s = av1.parse_sequence_header(sequence_header)
    config = av1.av1c(sequence_header)
    return TrackFormat(Codec.AV1, clock_rate, config, s.codecs_string, s.width, s.height, s.frame_rate)


def mjpeg_format(width: int, height: int, clock_rate: int = 90_000) -> TrackFormat:
    """Of the picture size that the RTP/JPEG headers or the first picture state."""
    return TrackFormat(Codec.MJPEG, clock_rate, codecs_string="mp4v.6C", width=width, height=height)


def aac_format(asc: bytes, clock_rate: int = 0) -> TrackFormat:
    """Of an AudioSpecificConfig; `clock_rate` 0: the sample rate. Raises `MediaError`."""
    config = aac.parse_asc(asc)
    return TrackFormat(
        Codec.AAC, clock_rate or config.sample_rate, asc, config.codecs_string, sample_rate=config.sample_rate,
        channels=config.channels, bits_per_sample=16,
    )  # fmt: skip


def opus_format(channels: int = 2) -> TrackFormat:
    """RFC 7587: the clock is 48 kHz whatever the bandwidth. Raises `MediaError`."""
    return opus_from_config(opus.dops(channels))


def opus_from_config(dops: bytes) -> TrackFormat:
    """Of a dOps body. Raises `MediaError`."""
    channels = opus.parse_dops(dops).channels
    return TrackFormat(
        Codec.OPUS, opus.CLOCK_RATE, dops, "opus", sample_rate=opus.CLOCK_RATE, channels=channels, bits_per_sample=16
    )


def g711_format(codec: Codec, sample_rate: int = 8000, channels: int = 1) -> TrackFormat:
    """`Codec.PCMU` or `Codec.PCMA`. The codecs strings are the QuickTime sample entry names."""
    if codec not in (Codec.PCMU, Codec.PCMA):
        raise MediaError(f"{codec} is not G.711")
    name = "ulaw" if codec is Codec.PCMU else "alaw"
    return TrackFormat(
        codec, sample_rate, codecs_string=name, sample_rate=sample_rate, channels=channels, bits_per_sample=16
    )


def g726_format(bits_per_sample: int, sample_rate: int = 8000) -> TrackFormat:
    """RFC 3551 section 4.5.4: 2 to 5 bits a sample."""
    if bits_per_sample not in (2, 3, 4, 5):
        raise MediaError(f"G.726 with {bits_per_sample} bits a sample")
    return TrackFormat(
        Codec.G726,
        sample_rate,
        codecs_string="g726",
        sample_rate=sample_rate,
        channels=1,
        bits_per_sample=bits_per_sample,
    )


def metadata_format(clock_rate: int = 90_000) -> TrackFormat:
    """ONVIF metadata documents, whole and uncompressed."""
    return TrackFormat(Codec.ONVIF_METADATA, clock_rate, codecs_string="metx")
