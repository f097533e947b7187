"""AAC over RTP: AU headers (RFC 3640, modes AAC-hbr and AAC-lbr) and LATM without in-band configuration (RFC 6416 6)."""

from __future__ import annotations

import struct

from recorderd.media import formats
from recorderd.media.aac import parse_asc
from recorderd.media.bits import BitReader
from recorderd.media.errors import BitstreamError, MediaError
from recorderd.model.stream import AccessUnit, TrackFormat
from recorderd.rtsp.output import Output

_ONE_HEADER = struct.Struct(">HH").unpack_from  # AU-headers-length, one header of AAC-hbr
MAX_FRAME_BYTES = 8 * 1024
MAX_HEADER_BITS = 64 * 16  # of the AU headers in a packet: 64 frames are more than a second


class Mpeg4Generic:
    """RFC 3640 3.2: AU header section, then the frames, or a piece of one frame that continues up to the marker bit."""

    def __init__(
        self, output: Output, track: int, track_format: TrackFormat, size_bits: int, index_bits: int, delta_bits: int
    ) -> None:
        self._output = output
        self._track = track
        self._size_bits = size_bits
        self._index_bits = index_bits
        self._delta_bits = delta_bits
        self._hbr = size_bits == 13 and index_bits == 3
        rate = track_format.sample_rate or track_format.clock_rate
        self._step = parse_asc(track_format.config).frame_length * track_format.clock_rate // rate
        self._lost = False
        self._partial: list[bytes] = []
        self._wanted = 0
        self._partial_pts = 0
        self.format: TrackFormat | None = track_format
        self.fragment = b""
        self.pieces: list[bytes | memoryview] = []

    def packet(self, buffer: memoryview, start: int, end: int, pts: int, marker: bool) -> None:
        if self._hbr and end - start > 4 and not self._partial:
            bits, header = _ONE_HEADER(buffer, start)
            if bits == 16 and header == end - start - 4 << 3:  # one whole frame: what nearly all packets are
                self._emit(pts, bytes(buffer[start + 4 : end]))
                return
        headers = self._headers(buffer, start, end)
        if headers is None:
            self._output.remark("AAC packets with broken headers were dropped")
            self._drop()
            return
        sizes, at = headers
        if self._partial and (pts != self._partial_pts or sizes != [self._wanted]):
            self._drop()
        if self._partial or (len(sizes) == 1 and sizes[0] > end - at):
            self._piece(bytes(buffer[at:end]), pts, sizes[0], last=marker)
            return
        for index, size in enumerate(sizes):
            if size == 0:
                continue
            if size > end - at:
                self._drop()
                return
            self._emit(pts + index * self._step, bytes(buffer[at : at + size]))
            at += size

    def _headers(self, buffer: memoryview, start: int, end: int) -> tuple[list[int], int] | None:
        """(frame sizes in bytes, where the frames begin)."""
        if end - start < 2:
            return None
        bits = buffer[start] << 8 | buffer[start + 1]
        at = start + 2
        data_at = at + (bits + 7) // 8
        if bits == 0 or bits > MAX_HEADER_BITS or data_at > end:
            return None
        r = BitReader(bytes(buffer[at:data_at]))
        sizes: list[int] = []
        first = self._size_bits + self._index_bits
        following = self._size_bits + self._delta_bits
        left = bits
        while left >= (following if sizes else first):
            sizes.append(r.u(self._size_bits))
            if r.u(self._delta_bits if len(sizes) > 1 else self._index_bits):
                return None  # interleaved: no camera does it
            left -= following if len(sizes) > 1 else first
        return sizes, data_at

    def _piece(self, data: bytes, pts: int, wanted: int, *, last: bool) -> None:
        """Part of a frame of `wanted` bytes; the marker bit stands on its last packet."""
        self._partial.append(data)
        self._partial_pts, self._wanted = pts, wanted
        held = sum(map(len, self._partial))
        if held == wanted:
            frame, self._partial = b"".join(self._partial), []
            self._emit(pts, frame)
        elif held > wanted or last or wanted > MAX_FRAME_BYTES:
            self._drop()

    def _emit(self, pts: int, data: bytes) -> None:
        self._output.unit(AccessUnit(self._track, pts, data, self._output.now_ns, True, self._lost))
        self._lost = False

    def _drop(self) -> None:
        self._partial = []
        self._lost = True

    def loss(self) -> None:
        self._drop()

    def settle(self) -> None:
        pass

    def flush(self) -> None:
        self._partial = []


class Latm:
    """RFC 6416 6.1: audioMuxElement(0) with the StreamMuxConfig in the SDP; one frame per element, pieces up to the marker bit."""

    def __init__(self, output: Output, track: int, track_format: TrackFormat, subframes: int) -> None:
        self._output = output
        self._track = track
        self._subframes = subframes
        rate = track_format.sample_rate or track_format.clock_rate
        self._step = parse_asc(track_format.config).frame_length * track_format.clock_rate // rate
        self._lost = False
        self._held: list[bytes] = []
        self._held_pts = 0
        self.format: TrackFormat | None = track_format
        self.fragment = b""
        self.pieces: list[bytes | memoryview] = []

    def packet(self, buffer: memoryview, start: int, end: int, pts: int, marker: bool) -> None:
        if self._held and pts != self._held_pts:
            self._drop()
        self._held.append(bytes(buffer[start:end]))
        self._held_pts = pts
        if sum(map(len, self._held)) > 4 * MAX_FRAME_BYTES:
            self._drop()
        elif marker:
            element = b"".join(self._held)
            self._held = []
            self._element(element, pts)

    def _element(self, element: bytes, pts: int) -> None:
        """PayloadLengthInfo and PayloadMux of 14496-3 1.7.3, once per subframe; a packet may hold several elements (RFC 6416 6.1)."""
        at = index = 0
        while at < len(element):
            size = 0
            while at < len(element) and element[at] == 255:
                size += 255
                at += 1
            if at >= len(element):
                break
            size += element[at]
            at += 1
            if size == 0 or size > len(element) - at or size > MAX_FRAME_BYTES:
                # Trailing fill bits are legal; a frame that does not fit is not.
                self._lost |= size != 0
                return
            data = element[at : at + size]
            self._output.unit(
                AccessUnit(self._track, pts + index * self._step, data, self._output.now_ns, True, self._lost)
            )
            self._lost = False
            at += size
            index += 1

    def _drop(self) -> None:
        self._held = []
        self._lost = True

    def loss(self) -> None:
        self._drop()

    def settle(self) -> None:
        pass

    def flush(self) -> None:
        self._held = []


def mpeg4_generic(output: Output, track: int, clock_rate: int, parameters: dict[str, str]) -> Mpeg4Generic:
    """From fmtp parameters. Raises `MediaError` with what is not supported."""
    mode = parameters.get("mode", "").lower()
    if mode not in ("aac-hbr", "aac-lbr"):
        raise MediaError(f"MPEG-4 audio in mode {mode[:20]!r}")
    default = (13, 3, 3) if mode == "aac-hbr" else (6, 2, 2)
    names = ("sizelength", "indexlength", "indexdeltalength")
    bits = tuple(_small(parameters, name, value) for name, value in zip(names, default, strict=True))
    if bits[0] == 0:
        raise MediaError("AAC without frame sizes")
    track_format = formats.aac_format(_hex(parameters.get("config", "")), clock_rate)
    return Mpeg4Generic(output, track, track_format, *bits)


def latm(output: Output, track: int, clock_rate: int, parameters: dict[str, str]) -> Latm:
    """From fmtp parameters. Raises `MediaError` with what is not supported."""
    if parameters.get("cpresent", "1") != "0":
        raise MediaError("AAC-LATM with its configuration in band")
    config, subframes = parse_stream_mux_config(_hex(parameters.get("config", "")))
    return Latm(output, track, formats.aac_format(config, clock_rate), subframes)


def parse_stream_mux_config(data: bytes) -> tuple[bytes, int]:
    """(AudioSpecificConfig, subframes) of a StreamMuxConfig with one program and one layer (14496-3 1.7.3.1). Raises `MediaError`.

    The configuration inside is not byte-aligned and its length is not stated; it is copied bit by bit as far as `parse_asc` reads it.
    """
    r = BitReader(data)
    if r.u(1):
        raise BitstreamError("audioMuxVersion 1")
    r.skip(1)  # allStreamsSameTimeFraming
    subframes = r.u(6) + 1
    if r.u(4) or r.u(3):
        raise BitstreamError("more than one program or layer")
    bits = int.from_bytes(data, "big")
    left = len(data) * 8 - 15
    config = (bits & (1 << left) - 1) << (-left % 8)
    asc = config.to_bytes((left + 7) // 8, "big")
    return _trim(asc), subframes


def _trim(asc: bytes) -> bytes:
    """Cuts what follows a GASpecificConfig: 2 bytes with a listed sample rate, 5 otherwise; explicit SBR signalling keeps its own."""
    object_type = asc[0] >> 3 if asc else 0
    explicit = object_type in (5, 29)
    rate_index = (asc[0] & 7) << 1 | asc[1] >> 7 if len(asc) > 1 else 0
    length = 5 if rate_index == 15 else 2
    if explicit:
        length += 2 if rate_index == 15 else 1
        length += 1
    return asc[:length]


def _small(parameters: dict[str, str], name: str, default: int) -> int:
    text = parameters.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= 32):
        raise MediaError(f"AAC parameter {name} is not a number up to 32")
    return int(text)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text[:256])
    except ValueError:
        raise MediaError("AAC configuration is not hexadecimal") from None
