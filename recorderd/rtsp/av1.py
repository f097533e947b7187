"""AV1 over RTP (AOM's "RTP Payload Format For AV1", v1.0, section 4): temporal units of OBUs that carry their sizes.

Temporal delimiters, tile lists and padding are left out, as the ISO binding asks (2.4). A unit ends at the marker bit, or when the
timestamp changes. One with a sequence header is a key frame; what comes before the first is only counted.
"""

from __future__ import annotations

from recorderd.media import av1, formats
from recorderd.media.errors import MediaError
from recorderd.model.stream import AccessUnit, TrackFormat
from recorderd.rtsp.output import Output

MAX_UNIT_BYTES = 16 * 1024 * 1024
_LEFT_OUT = frozenset({av1.OBU_TEMPORAL_DELIMITER, 8, 15})


class Av1:
    def __init__(self, output: Output, track: int, clock_rate: int) -> None:
        self._output = output
        self._track = track
        self._clock_rate = clock_rate
        self._pts: int | None = None
        self._obus: list[bytes] = []
        self._partial: list[bytes] | None = None  # an OBU that goes on in the next packet
        self._size = 0
        self._broken = False
        self._lost = False
        self._gap = False  # packets before the next one are missing
        self._key = False
        self._started = False
        self._header = b""
        self.skipped = 0
        self.format: TrackFormat | None = None
        self.fragment = b""
        self.pieces: list[bytes | memoryview] = []

    def packet(self, buffer: memoryview, start: int, end: int, pts: int, marker: bool) -> None:
        if self._pts is not None and pts != self._pts:
            self._broken |= self._gap  # its end is missing
            self._finish()
        if self._gap:
            self._broken |= self._pts is not None
            self._gap = False
        self._pts = pts
        if end - start < 2:
            self._broken = True
            return
        self._size += end - start
        if self._size > MAX_UNIT_BYTES:
            self._obus, self._partial, self._broken = [], None, True
        elif not self._broken or not buffer[start] & 0x80:
            self._elements(buffer, start, end)
        if marker:
            self._finish()

    def _elements(self, buffer: memoryview, at: int, end: int) -> None:
        """4.4: the aggregation header Z Y WW N, then the OBU elements."""
        flags = buffer[at]
        continues, goes_on, count = flags & 0x80, flags & 0x40, flags >> 4 & 3
        at += 1
        number = 0
        while at < end:
            number += 1
            if count and number == count:
                size = end - at
            else:
                try:
                    size, used = av1.leb128(buffer[at : at + 8])
                except MediaError:
                    self._broken = True
                    return
                at += used
            if size > end - at:
                self._broken = True
                return
            self._output.work += 1
            element = bytes(buffer[at : at + size])
            at += size
            self._element(element, first=number == 1 and bool(continues), last=at >= end and bool(goes_on))
        if count and number != count:
            self._broken = True

    def _element(self, element: bytes, *, first: bool, last: bool) -> None:
        if first:
            if self._partial is None:
                self._broken = True  # its beginning is missing
                return
            self._partial.append(element)
        elif self._partial is not None:
            self._broken, self._partial = True, None
            return
        else:
            self._partial = [element]
        if not last:
            obu, self._partial = b"".join(self._partial), None
            self._obu(obu)

    def _obu(self, obu: bytes) -> None:
        """Adds an OBU with its size stated, whether the sender did so or not."""
        if not obu or obu[0] & 0x80:
            self._broken |= bool(obu)
            return
        kind = obu[0] >> 3 & 15
        if kind in _LEFT_OUT:
            return
        head = 2 if obu[0] & 4 else 1
        if not obu[0] & 2:
            body = obu[head:]
            obu = bytes((obu[0] | 2,)) + obu[1:head] + _leb128(len(body)) + body
        if kind == av1.OBU_SEQUENCE_HEADER:
            self._key = True
            self._header = obu
        self._obus.append(obu)

    def _finish(self) -> None:
        pts, obus, key = self._pts, self._obus, self._key
        broken = self._broken or self._partial is not None
        self._pts, self._obus, self._key, self._size = None, [], False, 0
        self._broken, self._partial = False, None
        if key:
            self._take_header()
        if pts is None or broken or not obus:
            self._lost |= broken
            return
        if not self._started:
            if not key or self.format is None:
                self.skipped += 1
                return
            self._started = True
        self._output.unit(AccessUnit(self._track, pts, b"".join(obus), self._output.now_ns, key, self._lost))
        self._lost = False

    def _take_header(self) -> None:
        try:
            form = formats.av1_format(self._header, self._clock_rate)
        except MediaError as error:
            self._output.remark(f"the AV1 sequence header cannot be read: {error}")
            return
        if form != self.format:
            self.format = form
            self._output.format(self._track, form)

    def loss(self) -> None:
        self._lost = True
        self._gap = True

    def settle(self) -> None:
        pass

    def flush(self) -> None:
        if self._pts is not None and self._partial is None:
            self._finish()


def _leb128(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)
