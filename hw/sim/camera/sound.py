"""The sound of simulated cameras: a tone that beeps once a second, coded as AAC, Opus, G.711 or G.726."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

ENCODERS = {
    "aac": ("aac", "fltp"),
    "opus": ("libopus", "s16"),
    "pcmu": ("pcm_mulaw", "s16"),
    "pcma": ("pcm_alaw", "s16"),
    "g726": ("g726le", "s16"),  # RFC 3551 G726-xx packs the least significant bits first
}


@dataclass(frozen=True, slots=True)
class SoundSettings:
    """`codec`: a key of `ENCODERS`. Opus runs at 48 kHz always, G.711 and G.726 have one channel.

    `packet_ms` is for G.711 and G.726.
    """

    codec: str = "aac"
    rate: int = 16_000  # Hz
    channels: int = 1
    bitrate_bps: int = 32_000  # for G.726 one of 16, 24, 32, 40 kbit/s
    packet_ms: int = 40


class SoundEncoder:
    """Gives coded frames of `frame_samples` samples each, without end; the tone depends on the sample's number alone."""

    def __init__(self, settings: SoundSettings) -> None:
        name, sample_format = ENCODERS[settings.codec]
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate = settings.rate
        context.layout = "mono" if settings.channels == 1 else "stereo"
        context.format = sample_format
        if settings.codec == "g726":
            context.options = {"code_size": str(settings.bitrate_bps // settings.rate)}
        if settings.codec not in ("pcmu", "pcma"):
            context.bit_rate = settings.bitrate_bps
        context.open()
        self.settings = settings
        self._context = context
        self._next = 0  # sample
        if settings.codec in ("aac", "opus"):
            self.frame_samples = context.frame_size
        else:
            self.frame_samples = settings.rate * settings.packet_ms // 1000
        self._coded = b""
        self._frame_bytes = 0  # of G.726, which is a bit stream that may be cut anywhere at a byte
        if settings.codec == "g726":
            self._frame_bytes = self.frame_samples * (settings.bitrate_bps // settings.rate) // 8
        self.config = bytes(context.extradata or b"")  # AudioSpecificConfig for AAC

    def frame(self) -> bytes:
        """The next coded frame."""
        while True:
            if self._frame_bytes and len(self._coded) >= self._frame_bytes:
                coded, self._coded = self._coded[: self._frame_bytes], self._coded[self._frame_bytes :]
                return coded
            frame = av.AudioFrame.from_ndarray(
                self._samples(), format=self._context.format.name, layout=self._context.layout.name
            )
            frame.sample_rate = self.settings.rate
            frame.pts = self._next
            self._next += self.frame_samples
            coded = b"".join(bytes(packet) for packet in self._context.encode(frame))
            if self._frame_bytes:
                self._coded += coded
            elif coded:
                return coded

    def _samples(self) -> NDArray[np.float32] | NDArray[np.int16]:
        at = (np.arange(self._next, self._next + self.frame_samples)) / self.settings.rate
        wave = 0.2 * np.sin(2 * np.pi * 440 * at) * (at % 1.0 < 0.1) + 0.02 * np.sin(2 * np.pi * 220 * at)
        if self._context.format.is_planar:
            return np.tile(wave.astype(np.float32), (self.settings.channels, 1))
        return np.repeat((wave * 32767).astype(np.int16), self.settings.channels)[None, :]
