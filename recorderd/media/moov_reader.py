"""Reads a slot's `moov` back: the formats of its tracks, so that a disk alone tells how to play what it holds."""

from __future__ import annotations

from recorderd.media import formats
from recorderd.media.box_reader import Box, boxes, children, need
from recorderd.media.errors import BoxError
from recorderd.model.stream import Codec, TrackFormat

MAX_MOOV_BYTES = 1 << 20
_AUDIO_ENTRY = 28
_VISUAL_ENTRY = 78


def parse_moov(moov: bytes | memoryview) -> tuple[TrackFormat, ...]:
    """The formats of tracks 1..n of a `moov` as `init_segment.moov` writes it. Raises `MediaError`."""
    view = memoryview(moov)
    if len(view) > MAX_MOOV_BYTES:
        raise BoxError(f"moov of {len(view)} bytes")
    top = list(boxes(view, 0, len(view)))
    if [box.kind for box in top] != [b"moov"]:
        raise BoxError("not a moov")
    tracks = [_trak(view, box) for box in boxes(view, top[0].body, top[0].end) if box.kind == b"trak"]
    if [number for number, _ in tracks] != list(range(1, len(tracks) + 1)):
        raise BoxError("track ids are not 1 to n")
    return tuple(form for _, form in tracks)


def _trak(view: memoryview, trak: Box) -> tuple[int, TrackFormat]:
    inner = children(view, trak)
    tkhd = need(inner, b"tkhd", 96)
    mdia = children(view, need(inner, b"mdia"))
    mdhd = need(mdia, b"mdhd", 36)
    if view[tkhd.body] != 1 or view[mdhd.body] != 1:
        raise BoxError("track headers are not of version 1")
    track_id = int.from_bytes(view[tkhd.body + 20 : tkhd.body + 24], "big")
    clock_rate = int.from_bytes(view[mdhd.body + 20 : mdhd.body + 24], "big")
    if not 1 <= clock_rate <= 1_000_000_000:
        raise BoxError(f"timescale {clock_rate}")
    stbl = children(view, need(children(view, need(mdia, b"minf")), b"stbl"))
    stsd = need(stbl, b"stsd", 8)
    entries = list(boxes(view, stsd.body + 8, stsd.end))
    if len(entries) != 1:
        raise BoxError(f"{len(entries)} sample entries")
    return track_id, _entry(view, entries[0], clock_rate)


def _entry(view: memoryview, entry: Box, clock_rate: int) -> TrackFormat:
    match entry.kind:
        case b"avc1" | b"avc3":
            return formats.h264_from_config(_configuration(view, entry, _VISUAL_ENTRY, b"avcC"), clock_rate)
        case b"hvc1" | b"hev1":
            return formats.h265_from_config(_configuration(view, entry, _VISUAL_ENTRY, b"hvcC"), clock_rate)
        case b"av01":
            return formats.av1_format(_configuration(view, entry, _VISUAL_ENTRY, b"av1C")[4:], clock_rate)
        case b"mp4v":
            _room(entry, _VISUAL_ENTRY)
            return formats.mjpeg_format(_u16(view, entry.body + 24), _u16(view, entry.body + 26), clock_rate)
        case b"mp4a":
            return formats.aac_format(_decoder_specific(_configuration(view, entry, _AUDIO_ENTRY, b"esds")), clock_rate)
        case b"Opus":
            return formats.opus_from_config(_configuration(view, entry, _AUDIO_ENTRY, b"dOps"))
        case b"ulaw" | b"alaw":
            _room(entry, _AUDIO_ENTRY)
            codec = Codec.PCMU if entry.kind == b"ulaw" else Codec.PCMA
            return formats.g711_format(codec, clock_rate, _u16(view, entry.body + 16))
        case b"g726":
            _room(entry, _AUDIO_ENTRY)
            return formats.g726_format(_u16(view, entry.body + 18), clock_rate)
        case b"metx":
            return formats.metadata_format(clock_rate)
    raise BoxError(f"sample entry {entry.kind!r}")


def _room(entry: Box, size: int) -> None:
    if entry.end - entry.body < size:
        raise BoxError("sample entry is cut short")


def _configuration(view: memoryview, entry: Box, fixed: int, kind: bytes) -> bytes:
    _room(entry, fixed)
    found = children(view, Box(entry.kind, entry.start, entry.body + fixed, entry.end))
    box = need(found, kind)
    return bytes(view[box.body : box.end])


def _decoder_specific(esds: bytes) -> bytes:
    """The AudioSpecificConfig inside an `esds` body: descriptors 3, 4 and 5 with one-byte lengths, as `sample_entry` writes them."""
    position = 4
    for tag, skip in ((3, 3), (4, 13), (5, 0)):
        if position + 2 > len(esds) or esds[position] != tag or esds[position + 1] > len(esds) - position - 2:
            raise BoxError("ES descriptor")
        size = esds[position + 1]
        position += 2 + skip
    return esds[position : position + size]


def _u16(view: memoryview, at: int) -> int:
    return int.from_bytes(view[at : at + 2], "big")
