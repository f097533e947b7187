"""From a media description to the depacketiser that understands it, or to the reason why none does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from recorderd.media import formats
from recorderd.media.errors import MediaError
from recorderd.model.stream import Codec, MediaKind
from recorderd.rtsp import aac
from recorderd.rtsp.av1 import Av1
from recorderd.rtsp.depacketiser import Depacketiser, WholeFrames
from recorderd.rtsp.h264 import H264
from recorderd.rtsp.h265 import H265
from recorderd.rtsp.metadata import OnvifMetadata
from recorderd.rtsp.mjpeg import Mjpeg
from recorderd.rtsp.output import Output
from recorderd.rtsp.parameter_sets import H264_SETS, H265_SETS, ParameterSets
from recorderd.rtsp.sdp import MediaDescription

MAX_SPROP_CHARS = 16 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """One media section that can be fetched."""

    media: MediaDescription
    kind: MediaKind
    codec: Codec
    build: Callable[[Output, int], Depacketiser]


class NotSupported(Exception):
    """Why a media section cannot be recorded, in the operator's words."""


def offer(media: MediaDescription) -> Offer:
    """Raises `NotSupported`."""
    kind = {"video": MediaKind.VIDEO, "audio": MediaKind.AUDIO, "application": MediaKind.METADATA}.get(media.kind)
    if kind is None:
        raise NotSupported(f"media of kind {media.kind!r} is not supported")
    if media.protocol.startswith("RTP/SAVP"):
        raise NotSupported(
            f"{media.kind} is encrypted (SRTP), which is not supported: choose RTSP over TLS in the camera"
        )
    if not media.protocol.startswith("RTP/AVP"):
        raise NotSupported(f"{media.kind} over {media.protocol[:20]} is not supported")
    if not media.sends:
        raise NotSupported(f"{media.kind} is a back channel or inactive")
    if not 0 <= media.clock_rate <= 1_000_000:
        raise NotSupported(f"{media.kind} has a clock of {media.clock_rate} Hz")
    make = _BUILDERS.get(media.encoding)
    if make is None or _CODECS[media.encoding].kind is not kind:
        name = media.encoding or f"of payload type {media.payload_type}"
        raise NotSupported(f"{media.kind} codec {name} is not supported")
    try:
        make(Output(), 0, media)
    except MediaError as error:
        raise NotSupported(f"{media.kind} codec {media.encoding}: {error}") from error
    return Offer(media, kind, _CODECS[media.encoding], lambda output, track: make(output, track, media))


def choose(media: Iterable[MediaDescription], wanted: Callable[[MediaKind], bool]) -> tuple[list[Offer], list[str]]:
    """The first section of each wanted kind that can be fetched, and why others cannot."""
    chosen: list[Offer] = []
    refused: list[str] = []
    for section in media:
        try:
            found = offer(section)
        except NotSupported as error:
            refused.append(str(error))
            continue
        if wanted(found.kind) and all(found.kind is not other.kind for other in chosen):
            chosen.append(found)
    return chosen, refused


def _h264(output: Output, track: int, media: MediaDescription) -> Depacketiser:
    if media.parameters.get("packetization-mode", "0") not in ("0", "1"):
        raise MediaError("interleaved packetisation is not supported")
    sets = ParameterSets(H264_SETS, media.clock_rate or 90_000)
    nals = [nal for nal in _sprop(media.parameters.get("sprop-parameter-sets", "")) if nal[0] & 31 in H264_SETS.types]
    _preset(sets, [(nal[0] & 31, nal) for nal in nals])
    return H264(output, track, sets)


def _h265(output: Output, track: int, media: MediaDescription) -> Depacketiser:
    if media.parameters.get("sprop-max-don-diff", "0") != "0":
        raise MediaError("interleaved packetisation is not supported")
    sets = ParameterSets(H265_SETS, media.clock_rate or 90_000)
    nals: list[bytes] = []
    for name in ("sprop-vps", "sprop-sps", "sprop-pps"):
        nals += [nal for nal in _sprop(media.parameters.get(name, "")) if nal[0] >> 1 & 63 in H265_SETS.types]
    _preset(sets, [(nal[0] >> 1 & 63, nal) for nal in nals])
    return H265(output, track, sets)


def _preset(sets: ParameterSets, nals: list[tuple[int, bytes]]) -> None:
    """Parameter sets of the SDP are a convenience: unreadable ones count as absent, the stream has its own."""
    try:
        if nals:
            sets.update(nals)
    except MediaError:
        return


def _sprop(text: str) -> list[bytes]:
    out = []
    for part in text[:MAX_SPROP_CHARS].split(","):
        try:
            nal = base64.b64decode(part + "=" * (-len(part) % 4))
        except (binascii.Error, ValueError):
            continue
        # Some cameras put a start code in front.
        nal = nal.removeprefix(b"\x00\x00\x00\x01").removeprefix(b"\x00\x00\x01").rstrip(b"\x00")
        if len(nal) > 2:
            out.append(nal)
    return out


def _aac(output: Output, track: int, media: MediaDescription) -> Depacketiser:
    return aac.mpeg4_generic(output, track, media.clock_rate, media.parameters)


def _latm(output: Output, track: int, media: MediaDescription) -> Depacketiser:
    return aac.latm(output, track, media.clock_rate, media.parameters)


def _g711(codec: Codec) -> Callable[[Output, int, MediaDescription], Depacketiser]:
    def make(output: Output, track: int, media: MediaDescription) -> Depacketiser:
        return WholeFrames(output, track, formats.g711_format(codec, media.clock_rate or 8000, media.channels or 1))

    return make


def _g726(bits: int) -> Callable[[Output, int, MediaDescription], Depacketiser]:
    def make(output: Output, track: int, media: MediaDescription) -> Depacketiser:
        return WholeFrames(output, track, formats.g726_format(bits, media.clock_rate or 8000))

    return make


def _opus(output: Output, track: int, media: MediaDescription) -> Depacketiser:
    if media.clock_rate not in (0, 48_000):
        raise MediaError("Opus with a clock other than 48 kHz")
    stereo = media.parameters.get("sprop-stereo", "0") == "1"
    return WholeFrames(output, track, formats.opus_format(2 if stereo else 1))


def _mjpeg(output: Output, track: int, media: MediaDescription) -> Depacketiser:
    return Mjpeg(output, track, media.clock_rate or 90_000)


def _av1(output: Output, track: int, media: MediaDescription) -> Depacketiser:
    return Av1(output, track, media.clock_rate or 90_000)


def _metadata(*, compressed: bool) -> Callable[[Output, int, MediaDescription], Depacketiser]:
    def make(output: Output, track: int, media: MediaDescription) -> Depacketiser:
        return OnvifMetadata(output, track, formats.metadata_format(media.clock_rate or 90_000), compressed=compressed)

    return make


def _exi(_: Output, __: int, ___: MediaDescription) -> Depacketiser:
    raise MediaError("EXI compression is not supported, choose none or gzip in the camera")


_BUILDERS: dict[str, Callable[[Output, int, MediaDescription], Depacketiser]] = {
    "H264": _h264,
    "H265": _h265,
    "HEVC": _h265,
    "JPEG": _mjpeg,
    "AV1": _av1,
    "MPEG4-GENERIC": _aac,
    "MP4A-LATM": _latm,
    "PCMU": _g711(Codec.PCMU),
    "PCMA": _g711(Codec.PCMA),
    "G726-16": _g726(2),
    "G726-24": _g726(3),
    "G726-32": _g726(4),
    "G726-40": _g726(5),
    "OPUS": _opus,
    "VND.ONVIF.METADATA": _metadata(compressed=False),
    "VND.ONVIF.METADATA.GZIP": _metadata(compressed=True),
    "VND.ONVIF.METADATA.EXI.ONVIF": _exi,
    "VND.ONVIF.METADATA.EXI.EXT": _exi,
}

_CODECS = {
    "H264": Codec.H264,
    "H265": Codec.H265,
    "HEVC": Codec.H265,
    "JPEG": Codec.MJPEG,
    "AV1": Codec.AV1,
    "MPEG4-GENERIC": Codec.AAC,
    "MP4A-LATM": Codec.AAC,
    "PCMU": Codec.PCMU,
    "PCMA": Codec.PCMA,
    "OPUS": Codec.OPUS,
    **{f"G726-{rate}": Codec.G726 for rate in (16, 24, 32, 40)},
    **{name: Codec.ONVIF_METADATA for name in _BUILDERS if name.startswith("VND.ONVIF.")},
}
