"""JPEG over RTP (RFC 2435): the headers that senders leave out are put back, so that each access unit is a JPEG file.

Pictures wider or higher than 2040 pixels state their size in a header extension (ONVIF Streaming 5.1.3.1: profile FFD8h, JPEG marker
segments inside); its frame header and quantisation tables replace those of the RFC.
"""

from __future__ import annotations

import struct

from recorderd.media import formats
from recorderd.model.stream import AccessUnit, TrackFormat
from recorderd.rtsp.jpeg_tables import HUFFMAN_SEGMENTS, quantisation_tables
from recorderd.rtsp.output import Output

MAX_PICTURE_BYTES = 16 * 1024 * 1024
ONVIF_EXTENSION = 0xFFD8


class Mjpeg:
    def __init__(self, output: Output, track: int, clock_rate: int) -> None:
        self._output = output
        self._track = track
        self._clock_rate = clock_rate
        self._pts: int | None = None
        self._head = b""
        self._scan: list[bytes] = []
        self._length = 0
        self._broken = False
        self._lost = False
        self._tables: dict[int, bytes] = {}  # by Q, for senders that send them once
        self._extension: tuple[int, int, dict[int, bytes]] | None = None
        self.format: TrackFormat | None = None
        self.fragment = b""
        self.pieces: list[bytes | memoryview] = []

    def extension(self, data: bytes) -> None:
        """The JPEG segments of an ONVIF header extension, for the picture that begins with this packet."""
        self._extension = _parse_extension(data)

    def packet(self, buffer: memoryview, start: int, end: int, pts: int, marker: bool) -> None:
        if self._pts is not None and pts != self._pts:
            self._drop()  # its marker never came
        if end - start < 8:
            self._broken = True
            return
        offset = int.from_bytes(buffer[start + 1 : start + 4], "big")
        kind, quality, width, height = (
            buffer[start + 4],
            buffer[start + 5],
            buffer[start + 6] * 8,
            buffer[start + 7] * 8,
        )
        at = start + 8
        restart = 0
        if 64 <= kind <= 127:
            if end - at < 4:
                self._broken = True
                return
            restart = buffer[at] << 8 | buffer[at + 1]
            at += 4
        if offset == 0:
            self._drop_silently()
            at = self._begin(buffer, at, end, kind & 63, quality, width, height, restart)
        self._pts = pts
        if offset != self._length or end < at:
            self._broken = True
        elif not self._broken:
            self._scan.append(bytes(buffer[at:end]))
            self._length += end - at
            if self._length > MAX_PICTURE_BYTES:
                self._broken = True
        if marker:
            self._finish()

    def _begin(
        self, buffer: memoryview, at: int, end: int, kind: int, quality: int, width: int, height: int, restart: int
    ) -> int:
        """Makes the picture's headers; returns where its scan begins."""
        tables = b""
        if quality >= 128:
            if end - at < 4:
                self._broken = True
                return at
            precision, length = buffer[at + 1], buffer[at + 2] << 8 | buffer[at + 3]
            at += 4
            if precision or length > end - at or length % 64 or length > 256:
                self._broken = True
                return at
            tables = bytes(buffer[at : at + length])
            at += length
            if tables and quality != 255:
                self._tables[quality] = tables
            tables = tables or self._tables.get(quality, b"")
        elif quality:
            tables = quantisation_tables(quality)
        extension, self._extension = self._extension, None
        by_number = {n // 64: tables[n : n + 64] for n in range(0, len(tables), 64)}
        if extension is not None:
            width, height = extension[0] or width, extension[1] or height
            by_number |= extension[2]
        if kind > 1 or not by_number or not width or not height:
            self._output.remark(
                f"JPEG pictures of type {kind}, {width}x{height}, cannot be put together and were dropped"
            )
            self._broken = True
            return at
        by_number.setdefault(1, by_number[0])
        self._head = _headers(kind, width, height, by_number, restart)
        if self.format is None or (self.format.width, self.format.height) != (width, height):
            self.format = formats.mjpeg_format(width, height, self._clock_rate)
            self._output.format(self._track, self.format)
        return at

    def _finish(self) -> None:
        pts, head, scan, broken = self._pts, self._head, self._scan, self._broken
        self._drop_silently()
        if pts is None or broken or not head or not scan:
            self._lost = True
            return
        last = scan[-1]
        end = b"" if last.endswith(b"\xff\xd9") else b"\xff\xd9"
        data = b"".join((head, *scan, end))
        self._output.unit(AccessUnit(self._track, pts, data, self._output.now_ns, True, self._lost))
        self._lost = False

    def _drop_silently(self) -> None:
        self._pts, self._head, self._scan, self._length, self._broken = None, b"", [], 0, False

    def _drop(self) -> None:
        self._drop_silently()
        self._lost = True

    def loss(self) -> None:
        self._lost = True
        self._broken = True

    def settle(self) -> None:
        pass

    def flush(self) -> None:
        self._drop_silently()


def _headers(kind: int, width: int, height: int, tables: dict[int, bytes], restart: int) -> bytes:
    """SOI to SOS (ITU-T T.81 annex B): baseline, YCbCr with chroma halved across (type 0) or both ways (type 1)."""
    out = [b"\xff\xd8", *(_segment(0xDB, bytes((number,)) + tables[number]) for number in (0, 1))]
    sampling = 0x21 if kind == 0 else 0x22
    frame = struct.pack(">BHHB", 8, height, width, 3)
    out.append(_segment(0xC0, frame + bytes((1, sampling, 0, 2, 0x11, 1, 3, 0x11, 1))))
    out.append(HUFFMAN_SEGMENTS)
    if restart:
        out.append(_segment(0xDD, struct.pack(">H", restart)))
    out.append(_segment(0xDA, bytes((3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0))))
    return b"".join(out)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _parse_extension(data: bytes) -> tuple[int, int, dict[int, bytes]]:
    """(width, height, quantisation tables) of marker segments, as far as they make sense; 0 and empty where absent."""
    width = height = 0
    tables: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        body = data[at + 4 : at + 2 + length]
        if length < 2 or at + 2 + length > len(data):
            break
        if marker in (0xC0, 0xC1) and len(body) >= 6:
            height, width = struct.unpack_from(">HH", body, 1)
        elif marker == 0xDB:
            while len(body) >= 65 and body[0] < 4:
                tables[body[0]] = body[1:65]
                body = body[65:]
        at += 2 + length
    return width, height, tables
