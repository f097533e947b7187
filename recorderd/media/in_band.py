"""Parameter sets in and out of band: what an export of one track needs in its sample entries (ISO/IEC 14496-15 5.4.2, 8.4.1).

While every key frame repeats the sets of the first one they are taken out of the samples, and the entry is `avc1` or `hvc1`. From the
first key frame on that differs they stay in, behind a second entry, and both entries are `avc3` or `hev1`: a player that seeks back gets
the first sets from the first entry again, and one that knows a single entry still finds all that change where they change.
"""

from __future__ import annotations

from recorderd.media import formats, h264, h265
from recorderd.media.errors import MediaError
from recorderd.media.nal import split_lengths
from recorderd.model.stream import Codec, TrackFormat


class InBandSets:
    """Of one output track. `stored` is the format the track's writer declared: used until a key frame says better."""

    def __init__(self, stored: TrackFormat) -> None:
        self._stored = stored
        self._first: dict[bytes, int] | None = None
        self._entries: list[TrackFormat] = []

    @property
    def entries(self) -> tuple[TrackFormat, ...]:
        """One format per sample entry, at least one."""
        return tuple(self._entries) or (self._stored,)

    @property
    def changed(self) -> bool:
        return len(self._entries) > 1

    def key_frame(self, sample: memoryview, *, strip: bool) -> list[tuple[int, int]] | None:
        """Looks at a key frame. Returns which byte ranges of it to keep, or None for all of it. Raises `MediaError` on broken lengths."""
        if self._stored.codec not in (Codec.H264, Codec.H265) or (self.changed and not strip):
            return None
        sets: dict[bytes, int] = {}
        kept: list[tuple[int, int]] = []
        position = 0
        for nal in split_lengths(sample):
            end = position + 4 + len(nal)
            kind = h264.nal_type(nal) if self._stored.codec is Codec.H264 else h265.nal_type(nal)
            if kind in _SETS[self._stored.codec]:
                sets[bytes(nal)] = kind
            elif kind in _SLICES[self._stored.codec]:
                kept.append((position, len(sample)))
                break
            elif kept and kept[-1][1] == position:
                kept[-1] = (kept[-1][0], end)
            else:
                kept.append((position, end))
            position = end
        if not sets:
            return None
        if self._first is None:
            self._first = sets
            self._entries.append(_format(self._stored, sets))
        if not self.changed and not sets.keys() <= self._first.keys():
            self._entries.append(_format(self._stored, sets))
        return None if self.changed or not strip or not kept else kept


_SETS = {
    Codec.H264: frozenset({h264.NalType.SPS, h264.NalType.PPS}),
    Codec.H265: frozenset({h265.NalType.VPS, h265.NalType.SPS, h265.NalType.PPS}),
}
_SLICES = {Codec.H264: frozenset(range(1, 6)), Codec.H265: frozenset(range(32))}


def _format(stored: TrackFormat, sets: dict[bytes, int]) -> TrackFormat:
    """The sets' own format; the stored one where they cannot be read, or are not all there."""
    by_kind = [[nal for nal, of in sets.items() if of == kind] for kind in sorted(_SETS[stored.codec])]
    try:
        if stored.codec is Codec.H264:
            return formats.h264_format(by_kind[0], by_kind[1], stored.clock_rate)
        return formats.h265_format(by_kind[0], by_kind[1], by_kind[2], stored.clock_rate)
    except MediaError:
        return stored
