"""Telephone codecs to AAC-LC, for players that know none, and for G.726, which has no place in MP4.

Only workers import this: PyAV never enters the daemon.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator
from typing import Any, cast

import av
import numpy as np

from recorderd.media import formats
from recorderd.media.remux import Take
from recorderd.media.sample_table import TrackTable
from recorderd.model.stream import Codec, TrackFormat

_FRAME = 1024
_APART_S = 0.05  # sound that is this far from where it should follow begins a new stretch
_DECODERS = {Codec.PCMU: "pcm_mulaw", Codec.PCMA: "pcm_alaw", Codec.G726: "g726le"}


class AacTrack:
    """One track. Stretches of sound that follow each other are encoded as one; its clock stays the sample rate."""

    def __init__(self, stored: TrackFormat) -> None:
        self._stored = stored
        self._rate = stored.sample_rate
        self._layout = "stereo" if stored.channels == 2 else "mono"
        self._encoder: av.AudioCodecContext | None = None
        self._samples = np.zeros((1, 0), np.int16)
        self._start = 0  # tick of the stretch's first sample
        self._fed = 0  # samples given to the encoder or waiting, since `_start`
        self._encoded = 0  # samples given to the encoder
        self._output = 0
        # PyAV knows what kind of context this is only at run time.
        self._opened: Any = None
        self._decoder = self._open_decoder()
        probe = self._open()
        self.format = formats.aac_format(bytes(probe.extradata or b""))

    def _open_decoder(self) -> av.AudioCodecContext:
        name = _DECODERS[self._stored.codec]
        if self._stored.codec is Codec.G726:
            # The bits of a sample can only be said to FFmpeg's demuxer; its decoder then keeps its state from packet to packet.
            options = {"code_size": str(self._stored.bits_per_sample)}
            self._opened = av.open(io.BytesIO(bytes(64)), format=name, options=options)
            return cast(av.AudioCodecContext, self._opened.streams.audio[0].codec_context)
        decoder = cast(av.AudioCodecContext, av.CodecContext.create(name, "r"))
        decoder.sample_rate, decoder.layout = self._rate, self._layout
        return decoder

    @staticmethod
    def takes(stored: TrackFormat) -> bool:
        return stored.codec in _DECODERS

    def feed(self, payload: memoryview, take: Take) -> Iterator[tuple[bytes, Take]]:
        """Sound of one stored fragment in, encoded fragments out: (payload, take) as `Remux.add` wants them."""
        self._output = take.output
        table = take.table
        pts = [take.first_pts + at for at in table.presentation_times()]
        chosen = [
            n
            for n, at in enumerate(pts)
            if (take.from_pts is None or at >= take.from_pts) and (take.to_pts is None or at < take.to_pts)
        ]
        if not chosen:
            return
        starts = table.starts()
        raw = b"".join(payload[starts[n] : starts[n] + table.sizes[n]] for n in chosen)
        tick = take.tick + pts[chosen[0]] - take.first_pts
        if self._encoder is None or abs(tick - (self._start + self._fed)) > _APART_S * self._rate:
            yield from self.finish()
            self._start, self._fed, self._encoded = tick, 0, 0
            self._encoder = self._open()
        decoded = self._decode(raw)
        self._fed += decoded.shape[1] // self._stored.channels
        self._samples = np.concatenate((self._samples, decoded), axis=1)
        yield from self._packets(self._encode(last=False))

    def finish(self) -> Iterator[tuple[bytes, Take]]:
        """Ends the stretch."""
        if self._encoder is not None:
            yield from self._packets(self._encode(last=True))
            self._encoder = None

    def _open(self) -> av.AudioCodecContext:
        encoder = av.CodecContext.create("aac", "w")
        encoder.sample_rate, encoder.layout, encoder.format = self._rate, self._layout, "fltp"
        encoder.flags |= av.codec.context.Flags.global_header
        encoder.open()
        return encoder

    def _decode(self, raw: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
        """Interleaved 16-bit samples, shape (1, samples * channels)."""
        frames = [frame.to_ndarray() for frame in self._decoder.decode(av.Packet(raw))]
        return np.concatenate(frames, axis=1) if frames else np.zeros((1, 0), np.int16)

    def _encode(self, *, last: bool) -> list[tuple[int, bytes]]:
        """(samples since the stretch's start, packet)."""
        assert self._encoder is not None
        channels = self._stored.channels
        packets: list[Any] = []
        while self._samples.shape[1] >= _FRAME * channels or (last and self._samples.shape[1]):
            block, self._samples = self._samples[:, : _FRAME * channels], self._samples[:, _FRAME * channels :]
            planes = (block.reshape(-1, channels).T / 32768).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format="fltp", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate, self._encoded
            self._encoded += planes.shape[1]
            packets += self._encoder.encode(frame)
        if last:
            packets += self._encoder.encode(None)
        # The encoder's first packet is before its first sample: it only warms the decoder up.
        return [(packet.pts, bytes(packet)) for packet in packets if packet.pts is not None and packet.pts >= 0]

    def _packets(self, packets: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, Take]]:
        if not packets:
            return
        sizes = [len(data) for _, data in packets]
        table = TrackTable(
            0, 0, 0, sizes, array("I", [_FRAME]) * len(sizes), array("i", bytes(4 * len(sizes))), [True] * len(sizes)
        )
        tick = self._start + packets[0][0]
        yield b"".join(data for _, data in packets), Take(self._output, table, tick, tick)
