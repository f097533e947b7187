"""The snapshot worker: one stored key frame in, one JPEG or PNG out. Started as `python -m recorderd.workers.snapshot PARENT DESCRIPTOR`.

The decoder is the riskiest parser there is, so it runs here: one picture, little memory, little time, one descriptor that only reads.
"""

from __future__ import annotations

import sys
import uuid
from fractions import Fraction
from typing import cast

import av

from recorderd.media.errors import MediaError
from recorderd.media.nal import split_lengths
from recorderd.media.sample_table import MAX_TRACKS, parse_fragment
from recorderd.model.stream import Codec, TrackFormat
from recorderd.protocol.work import SnapshotWork, WorkDone
from recorderd.workers.channel import Channel, answer
from recorderd.workers.confinement import confine
from recorderd.workers.output import CannotWrite, Output
from recorderd.workers.sandbox import MEDIA
from recorderd.workers.stored_fragment import Life, read_one

_MEMORY_BYTES = 768 << 20
_CPU_S = 60
_MAX_PIXELS = 1 << 26
_DECODERS = {Codec.H264: "h264", Codec.H265: "hevc", Codec.AV1: "libdav1d", Codec.MJPEG: "mjpeg"}
_START_CODE = b"\x00\x00\x00\x01"
_JPEG_QUALITY = "3"  # of 2 (best) to 31


class NoPicture(Exception):
    """The key frame is not there, or does not decode."""


def stored_picture(work: SnapshotWork, fd: int) -> bytes:
    """The key frame's access unit as stored. Raises NoPicture, MediaError, OSError."""
    found = read_one(Life(fd, uuid.UUID(work.disk), work.generation, work.slot_bytes), work.fragment)
    if found.record is None:
        raise NoPicture(found.fault)
    record, payload = found.record, found.payload
    part = next((part for part in record.parts if part.track == work.track), None)
    table = next((table for table in parse_fragment(payload, MAX_TRACKS) if table.track == work.track), None)
    if part is not None and table is not None:
        starts = table.starts()
        for number, at in enumerate(table.presentation_times()):
            if table.keys[number] and part.anchor.media_time + at == work.pts:
                return bytes(payload[starts[number] : starts[number] + table.sizes[number]])
    raise NoPicture("the key frame is not where the index says")


def decode(form: TrackFormat, unit: bytes) -> av.VideoFrame:
    """Raises NoPicture, MediaError."""
    name = _DECODERS.get(form.codec)
    if name is None or not 0 < form.width * form.height <= _MAX_PIXELS:
        raise NoPicture(f"{form.codec} of {form.width}x{form.height} cannot be shown")
    if form.codec in (Codec.H264, Codec.H265):
        unit = b"".join(_START_CODE + bytes(nal) for nal in split_lengths(unit))
    decoder = cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
    decoder.thread_count = 1
    try:
        frames = [*decoder.decode(av.Packet(unit)), *decoder.decode(None)]
    except av.FFmpegError as error:
        raise NoPicture(f"the key frame does not decode: {error.strerror}") from error
    if not frames:
        raise NoPicture("the key frame does not decode")
    return frames[0]


def encode(frame: av.VideoFrame, *, width: int, image: str) -> bytes:
    """JPEG or PNG, at most `width` pixels wide (0: as it is), in proportion."""
    shown = width if 0 < width < frame.width else frame.width
    height = max(1, round(frame.height * shown / frame.width))
    name, pixels = ("png", "rgb24") if image == "png" else ("mjpeg", "yuvj420p")
    picture = frame.reformat(width=shown, height=height, format=pixels)
    picture.pts = 0
    encoder = cast(av.VideoCodecContext, av.CodecContext.create(name, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = shown, height, pixels
    encoder.time_base = Fraction(1)
    encoder.thread_count = 1
    if name == "mjpeg":
        encoder.options = {"qmin": _JPEG_QUALITY, "qmax": _JPEG_QUALITY}
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def run(channel: Channel) -> WorkDone:
    """Raises NoWork, NoPicture, MediaError, CannotWrite, OSError."""
    work, fds = channel.receive(SnapshotWork)
    output = Output()
    MEDIA.close()
    output.write([encode(decode(work.format, stored_picture(work, fds[0])), width=work.width, image=work.image)])
    return WorkDone(True, bytes=output.bytes)


def main() -> int:
    confine(memory_bytes=_MEMORY_BYTES, cpu_s=_CPU_S, parent=int(sys.argv[1]))
    av.logging.set_level(av.logging.PANIC)
    return answer(Channel(int(sys.argv[2])), run, NoPicture, MediaError, CannotWrite)


if __name__ == "__main__":
    sys.exit(main())
