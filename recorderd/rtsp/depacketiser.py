"""What every depacketiser does, and the two forms that need nothing more: one frame per packet, and fragments up to the marker."""

from __future__ import annotations

from typing import Protocol

from recorderd.model.stream import AccessUnit, TrackFormat
from recorderd.rtsp.output import Output


class Depacketiser(Protocol):
    """Payloads in, access units out (through an `Output`). Buffers passed in are borrowed: `settle` copies what is still needed.

    `fragment` is empty, or the payload header that a packet must have to be nothing but the next piece of the NAL unit in progress; the
    caller may then append such pieces to `pieces` by itself.
    """

    fragment: bytes
    pieces: list[bytes | memoryview]
    format: TrackFormat | None

    def packet(self, buffer: memoryview, start: int, end: int, pts: int, marker: bool) -> None:
        """One payload, buffer[start:end]; packets come in sequence."""

    def loss(self) -> None:
        """Packets before the next one are missing."""

    def settle(self) -> None:
        """The buffer is about to be reused."""

    def flush(self) -> None:
        """The session ends: hand on what is complete."""


class WholeFrames:
    """One packet is one access unit: G.711, G.726, Opus (RFC 3551 4.5, RFC 7587). Longer packets than `max_bytes` are dropped."""

    __slots__ = ("_lost", "_max", "_output", "_track", "format", "fragment", "pieces")

    def __init__(self, output: Output, track: int, track_format: TrackFormat, *, max_bytes: int = 65_535) -> None:
        self._output = output
        self._track = track
        self._max = max_bytes
        self._lost = False
        self.format: TrackFormat | None = track_format
        self.fragment = b""
        self.pieces: list[bytes | memoryview] = []

    def packet(self, buffer: memoryview, start: int, end: int, pts: int, marker: bool) -> None:  # noqa: ARG002
        if start < end <= start + self._max:
            data = bytes(buffer[start:end])
            self._output.unit(AccessUnit(self._track, pts, data, self._output.now_ns, True, self._lost))
            self._lost = False

    def loss(self) -> None:
        self._lost = True

    def settle(self) -> None:
        pass

    def flush(self) -> None:
        pass
