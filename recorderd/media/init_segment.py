"""The `ftyp` and `moov` of a fragmented file: what a player must know before the first fragment (ISO/IEC 14496-12 8.2, 8.8)."""

from __future__ import annotations

from collections.abc import Sequence

from recorderd.media.boxes import box, dinf, ftyp, full_box, hdlr, mdhd, mvhd, tkhd, u32
from recorderd.media.sample_entry import handler, media_header, sample_entry
from recorderd.model.ports import WriterSpec
from recorderd.model.stream import MediaKind, TrackFormat

FTYP = ftyp(b"iso6", b"iso6", b"isom", b"mp41")
_MOVIE_TIMESCALE = 1000


def moov(spec: WriterSpec) -> bytes:
    """The `moov` of a slot: track ids 1..n in the order of `spec.tracks`, timescales the tracks' RTP clocks, names as handlers.

    Raises `MediaError` when a track cannot be stored.
    """
    return fragmented_moov([track.format for track in spec.tracks], [track.name for track in spec.tracks])


def init_segment(spec: WriterSpec) -> bytes:
    """`FTYP` and `moov(spec)` together."""
    return FTYP + moov(spec)


def fragmented_moov(formats: Sequence[TrackFormat], names: Sequence[str] = (), *, in_band: bool = True) -> bytes:
    """A `moov` without samples for tracks 1..n of these formats. Raises `MediaError`."""
    traks = [
        _trak(index + 1, track, names[index] if index < len(names) else "", in_band)
        for index, track in enumerate(formats)
    ]
    trex = [full_box(b"trex", 0, 0, u32(index + 1), u32(1), bytes(12)) for index in range(len(formats))]
    return box(b"moov", mvhd(_MOVIE_TIMESCALE, 0, len(formats) + 1), *traks, box(b"mvex", *trex))


def _trak(track_id: int, track: TrackFormat, name: str, in_band: bool) -> bytes:
    empty = (
        full_box(b"stts", 0, 0, u32(0)),
        full_box(b"stsc", 0, 0, u32(0)),
        full_box(b"stsz", 0, 0, u32(0), u32(0)),
        full_box(b"stco", 0, 0, u32(0)),
    )
    stbl = box(b"stbl", full_box(b"stsd", 0, 0, u32(1), sample_entry(track, in_band=in_band)), *empty)
    minf = box(b"minf", media_header(track.kind), dinf(), stbl)
    mdia = box(b"mdia", mdhd(track.clock_rate, 0), hdlr(handler(track.kind), name), minf)
    return box(b"trak", tkhd(track_id, 0, track.width, track.height, audio=track.kind is MediaKind.AUDIO), mdia)
