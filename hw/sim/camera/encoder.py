"""Video encoding with PyAV (libx264, libx265, MJPEG): coded pictures as NAL units in decoding order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from hw.sim.camera import nal
from hw.sim.camera.nal import VideoCodec


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """How a picture stream is encoded. `codec` is "h264", "h265" or "mjpeg".

    `reorder` is the number of B-frames between anchors; with `pyramid` they refer to each other, so that the reorder depth is 2 from
    two B-frames on. `open_gop` and `intra_refresh` are as the encoders mean them: with `intra_refresh` only the very first picture
    is an IDR picture. `slices` applies to H.264 and H.265.
    """

    codec: str = "h264"
    width: int = 640
    height: int = 360
    fps: Fraction = Fraction(15)
    gop: int = 30  # pictures
    bitrate_bps: int = 600_000
    reorder: int = 0
    pyramid: bool = False
    open_gop: bool = False
    intra_refresh: bool = False
    slices: int = 1
    texture: float = 0.0


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """One access unit. `units` are NAL units without start codes (one JPEG image for MJPEG); `index` is its place in output order."""

    units: tuple[bytes, ...]
    index: int
    key: bool


class VideoEncoder:
    """Takes pictures in output order, gives coded pictures in decoding order. Not thread-safe; lets go of the GIL while it encodes."""

    def __init__(self, settings: VideoSettings, *, low_delay: bool) -> None:
        self.settings = settings
        self._codec = {"h264": VideoCodec.H264, "h265": VideoCodec.H265}.get(settings.codec)
        name = {"h264": "libx264", "h265": "libx265", "mjpeg": "mjpeg"}[settings.codec]
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height = settings.width, settings.height
        context.pix_fmt = "yuv420p" if self._codec else "yuvj420p"
        context.framerate, context.time_base = settings.fps, 1 / Fraction(settings.fps)
        context.bit_rate = settings.bitrate_bps
        context.gop_size = settings.gop
        context.max_b_frames = settings.reorder
        context.thread_count = 1
        context.options = _options(settings, low_delay=low_delay)
        self._context = context
        self._count = 0

    def encode(self, picture: NDArray[np.uint8], *, force_key: bool = False) -> list[CodedPicture]:
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        if not self._codec:
            frame = frame.reformat(format="yuvj420p")
        frame.pts, frame.time_base = self._count, 1 / Fraction(self.settings.fps)
        if force_key:
            frame.pict_type = av.video.frame.PictureType.I
        self._count += 1
        return [self._coded(packet) for packet in self._context.encode(frame)]

    def flush(self) -> list[CodedPicture]:
        return [self._coded(packet) for packet in self._context.encode(None)]

    def _coded(self, packet: av.Packet[av.VideoStream]) -> CodedPicture:
        if packet.pts is None:
            raise RuntimeError("the encoder gave a packet without a time")
        data = bytes(packet)
        units = tuple(nal.split(data)) if self._codec else (data,)
        return CodedPicture(units, packet.pts, packet.is_keyframe)


def _options(settings: VideoSettings, *, low_delay: bool) -> dict[str, str]:
    cap_kbps = settings.bitrate_bps // 1000
    if settings.codec == "h264":
        params = [
            f"keyint={settings.gop}:min-keyint={settings.gop}:scenecut=0:bframes={settings.reorder}:b-adapt=0",
            f"b-pyramid={'normal' if settings.pyramid else 'none'}:open-gop={int(settings.open_gop)}",
            f"intra-refresh={int(settings.intra_refresh)}:slices={settings.slices}:repeat-headers=1:ref=2",
            f"vbv-maxrate={cap_kbps}:vbv-bufsize={cap_kbps}:threads=1:aud=0",
        ]
        tune = {"tune": "zerolatency"} if low_delay and not settings.reorder else {}
        return {"preset": "ultrafast", "forced-idr": "1", "x264-params": ":".join(params)} | tune
    if settings.codec == "h265":
        params = [
            f"keyint={settings.gop}:min-keyint={settings.gop}:scenecut=0:bframes={settings.reorder}:b-adapt=0",
            f"b-pyramid={int(settings.pyramid)}:open-gop={int(settings.open_gop)}:slices={settings.slices}",
            f"intra-refresh={int(settings.intra_refresh)}:repeat-headers=1:log-level=none:pools=1:frame-threads=1",
            f"vbv-maxrate={cap_kbps}:vbv-bufsize={cap_kbps}:info=0",
        ]
        if not low_delay:
            params.append(f"rc-lookahead={5 + settings.reorder}")
        tune = {"tune": "zerolatency"} if low_delay and not settings.reorder else {}
        return {"preset": "ultrafast", "forced-idr": "1", "x265-params": ":".join(params)} | tune
    return {"huffman": "default"}  # RFC 2435 sends no Huffman tables


def encode_all(settings: VideoSettings, pictures: Iterator[NDArray[np.uint8]]) -> list[CodedPicture]:
    """Encodes a whole clip."""
    encoder = VideoEncoder(settings, low_delay=False)
    coded = [coded for picture in pictures for coded in encoder.encode(picture)]
    return coded + encoder.flush()
