"""The parameter sets in force of a video stream: kept by id, replaced as they come in band.

A sequence parameter set that differs from those in force begins a new configuration: all sets of its level and above that are not
repeated with it are forgotten, so that a stream's configuration never collects what a camera used before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recorderd.media import formats, h264, h265
from recorderd.media.bits import BitReader
from recorderd.media.errors import MediaError
from recorderd.media.nal import unescape
from recorderd.model.stream import TrackFormat

MAX_SET_BYTES = 4096
MAX_SETS = 64


@dataclass(frozen=True, slots=True)
class SetLevels:
    """How a codec's parameter sets nest: NAL unit types from the outermost in, and where a set's id stands."""

    types: tuple[int, ...]
    identify: Callable[[int, bytes], int]
    build: Callable[[tuple[tuple[bytes, ...], ...], int], TrackFormat]
    sequence: int  # index in `types` of the sequence parameter set


def _identify_h264(kind: int, nal: bytes) -> int:
    if kind == h264.NalType.SPS:
        return h264.parse_sps(nal).id
    return h264.parse_pps_ids(nal)[0]


def _identify_h265(kind: int, nal: bytes) -> int:
    if kind == h265.NalType.VPS:
        return nal[2] >> 4 if len(nal) > 2 else 0
    if kind == h265.NalType.SPS:
        return h265.parse_sps(nal).id
    return BitReader(unescape(nal[2:18])).ue(63)


H264_SETS = SetLevels(
    (h264.NalType.SPS, h264.NalType.PPS),
    _identify_h264,
    lambda sets, clock: formats.h264_format(sets[0], sets[1], clock),
    0,
)
H265_SETS = SetLevels(
    (h265.NalType.VPS, h265.NalType.SPS, h265.NalType.PPS),
    _identify_h265,
    lambda sets, clock: formats.h265_format(sets[0], sets[1], sets[2], clock),
    1,
)


class ParameterSets:
    """`update` with what came in band; `format` is what they mean, None until they are complete and readable."""

    def __init__(self, levels: SetLevels, clock_rate: int) -> None:
        self._levels = levels
        self._clock_rate = clock_rate
        self._held: tuple[dict[int, bytes], ...] = tuple({} for _ in levels.types)
        self._prefix = b""
        self.format: TrackFormat | None = None

    @property
    def prefix(self) -> bytes:
        """All sets in force, length-prefixed, outermost first: what a key frame is stored with."""
        return self._prefix

    def update(self, nals: Sequence[tuple[int, bytes]]) -> bool:
        """Takes (type, NAL unit) pairs in stream order; whether anything differs now.

        Raises `MediaError` when the sets as a whole cannot be read; those in force stay as they were then.
        """
        if all(nal in self._held[self._levels.types.index(kind)].values() for kind, nal in nals):
            return False
        fresh: tuple[dict[int, bytes], ...] = tuple({} for _ in self._levels.types)
        for kind, nal in nals:
            if len(nal) > MAX_SET_BYTES:
                raise MediaError(f"parameter set of {len(nal)} bytes")
            fresh[self._levels.types.index(kind)][self._levels.identify(kind, nal)] = nal
        sps = self._levels.sequence
        replaces = any(self._held[sps].get(number) != nal for number, nal in fresh[sps].items())
        held = tuple(
            dict(new) if replaces and new else {**old, **new} for old, new in zip(self._held, fresh, strict=True)
        )
        if any(len(level) > MAX_SETS for level in held):
            raise MediaError("too many parameter sets")
        if all(held):
            self.format = self._levels.build(tuple(tuple(level.values()) for level in held), self._clock_rate)
            self._prefix = b"".join(len(nal).to_bytes(4, "big") + nal for level in held for nal in level.values())
        self._held = held
        return True
