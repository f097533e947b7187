"""ONVIF metadata streams: XML documents in RTP, plain or gzip (ONVIF Streaming 5.1.2.1.1).

A document ends at the marker bit; when the timestamp changes before a marker came, what is held ends there, if it looks complete.
"""

from __future__ import annotations

import re
import zlib

from recorderd.model.stream import AccessUnit, TrackFormat
from recorderd.rtsp.output import Output

MAX_DOCUMENT_BYTES = 1024 * 1024  # also after decompression
INFLATE_BYTES = 256  # inflated in the time of a packet (`Output.work`)
_BEGINNING = re.compile(rb"\x1f\x8b|\s*(?:\xef\xbb\xbf)?(?:<\?xml|<(?:\w+:)?MetadataStream\s)")


class OnvifMetadata:
    def __init__(self, output: Output, track: int, track_format: TrackFormat, *, compressed: bool) -> None:
        self._output = output
        self._track = track
        self._compressed = compressed
        self._parts: list[bytes] = []
        self._size = 0
        self._pts: int | None = None
        self._gap = False  # packets before the next one are missing
        self._broken = False  # the document in progress lacks something
        self._lost = False
        self.format: TrackFormat | None = track_format
        self.fragment = b""
        self.pieces: list[bytes | memoryview] = []

    def packet(self, buffer: memoryview, start: int, end: int, pts: int, marker: bool) -> None:
        if pts != self._pts:
            if self._parts or self._broken:
                self._broken |= self._gap  # its end is missing
                self._end()
            # After a loss only what looks like a beginning can be trusted to be one.
            self._broken = self._gap and _BEGINNING.match(buffer[start:end]) is None
        elif self._gap:
            self._broken = True
        self._gap = False
        self._pts = pts
        self._size += end - start
        if self._size > MAX_DOCUMENT_BYTES:
            self._broken = True
            self._parts = []
            self._output.remark(f"a metadata document of more than {MAX_DOCUMENT_BYTES} bytes was dropped")
        elif not self._broken:
            self._parts.append(bytes(buffer[start:end]))
        if marker:
            self._end()

    def _end(self) -> None:
        parts, broken = self._parts, self._broken
        self._parts, self._size, self._broken = [], 0, False
        data = b"" if broken else b"".join(parts)
        if data and self._compressed:
            data = self._inflate(data)
        if not data or self._pts is None:
            self._lost |= broken
            return
        self._output.unit(AccessUnit(self._track, self._pts, data, self._output.now_ns, True, self._lost))
        self._lost = False

    def _inflate(self, data: bytes) -> bytes:
        decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            out = decompressor.decompress(data, MAX_DOCUMENT_BYTES)
        except zlib.error:
            self._output.remark("metadata that is no gzip was dropped")
            return b""
        self._output.work += len(out) // INFLATE_BYTES
        if not decompressor.eof:
            self._output.remark("compressed metadata that is cut short or too long was dropped")
            return b""
        return out

    def loss(self) -> None:
        self._lost = self._gap = True

    def settle(self) -> None:
        pass

    def flush(self) -> None:
        self._parts = []
