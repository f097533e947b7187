"""H.264 over RTP, packetisation modes 0 and 1: single NAL units, STAP-A, FU-A (RFC 6184 5.6, 5.7.1, 5.8)."""

from __future__ import annotations

from recorderd.media.h264 import NalType, recovery_frame_count
from recorderd.rtsp.output import Output
from recorderd.rtsp.parameter_sets import ParameterSets
from recorderd.rtsp.pictures import MAX_AGGREGATED, Pictures

_STAP_A, _FU_A = 24, 28
_IDR, _SEI, _SPS, _PPS, _AUD = map(int, (NalType.IDR, NalType.SEI, NalType.SPS, NalType.PPS, NalType.AUD))
_SLICES = frozenset({1, 2, 3, 4, _IDR})
_INTRA = frozenset({2, 4, 7, 9})
_BYTES = tuple(bytes((n,)) for n in range(256))


class H264(Pictures):
    def __init__(self, output: Output, track: int, sets: ParameterSets) -> None:
        super().__init__(output, track, sets)
        self._recovery: int | None = None  # recovery_frame_cnt of the picture that comes
        self._since_key = 0  # pictures

    def _payload(self, buffer: memoryview, start: int, end: int) -> None:
        if end - start < 2:
            return
        kind = buffer[start] & 31
        if kind == _FU_A:
            self._fragment(buffer, start, end)
        elif kind == _STAP_A:
            self._aggregate(buffer, start + 1, end)
        elif 1 <= kind <= 23:
            self._nal(kind, buffer[start:end])
        else:
            self._output.remark(f"H.264 packets of type {kind} are not supported and were dropped")
            self._damaged = True

    def _aggregate(self, buffer: memoryview, at: int, end: int) -> None:
        for _ in range(MAX_AGGREGATED):
            if at + 2 > end:
                return
            self._output.work += 1
            size = buffer[at] << 8 | buffer[at + 1]
            at += 2
            if size == 0 or size > end - at:
                self._damaged |= (
                    bytes(buffer[at - 2 : end]).strip(b"\x00") != b""
                )  # zero padding to the end is harmless
                return
            self._nal(buffer[at] & 31, buffer[at : at + size])
            at += size
        self._damaged = True

    def _fragment(self, buffer: memoryview, start: int, end: int) -> None:
        if end - start < 3:
            return
        indicator, header = buffer[start], buffer[start + 1]
        kind = header & 31
        first, last = header & 0x80, header & 0x40
        if first:
            if kind in _SLICES:
                self._slice(kind, buffer[start + 2])
            self._begin(_BYTES[indicator & 0xE0 | kind], buffer[start + 2 : end], _BYTES[indicator] + _BYTES[kind])
            if last:  # not allowed, but seen: the whole NAL unit in one fragment
                self._end(buffer[end:end], is_slice=kind in _SLICES)
        elif not self.fragment or self.fragment[1] != kind:
            if self.fragment:
                self._drop_fragment()
            self._damaged = True  # a piece without its beginning
        elif last:
            self._end(buffer[start + 2 : end], is_slice=kind in _SLICES)
        else:
            self.pieces.append(buffer[start + 2 : end])

    def _finished_fragment(self, nal: bytes) -> None:
        self._nal(nal[0] & 31, memoryview(nal))

    def _nal(self, kind: int, nal: memoryview) -> None:
        if self.fragment:
            self._drop_fragment()
        if kind in _SLICES:
            if len(nal) < 2:
                return
            self._slice(kind, nal[1])
            self._whole(nal, is_slice=True)
        elif kind in (_SPS, _PPS):
            self._parameter_set(kind, bytes(nal))
        elif kind == _AUD and not self._parts:
            self._delimiter = len(nal).to_bytes(4, "big") + bytes(nal)
        else:
            if kind == _SEI and (count := recovery_frame_count(nal)) is not None:
                self._recovery = count
            self._whole(nal, is_slice=False)

    def _slice(self, kind: int, first_byte: int) -> None:
        """`first_byte` is the slice header's: first_mb_in_slice and slice_type are its leading Exp-Golomb codes."""
        if not self._slices:
            self._slices = True
            self._key = kind == _IDR or self._recovers(first_byte)
            self._recovery = None
            self._since_key = 0 if self._key else self._since_key + 1
        elif kind == _IDR:
            self._key = True

    def _recovers(self, first_byte: int) -> bool:
        """Whether a recovery point SEI makes this picture an entry: an intra picture (open GOP), or the start of a gradual refresh no
        sooner than the one before it was over. Some encoders put the message on every picture."""
        if self._recovery is None:
            return False
        if self._recovery == 0:
            return _slice_type(first_byte) in _INTRA
        return not self._started or self._since_key >= self._recovery


def _slice_type(first_byte: int) -> int:
    """slice_type of a picture's first slice (7.3.3): the Exp-Golomb code behind the single bit of first_mb_in_slice 0; -1: not there."""
    bits = first_byte & 0x7F
    if first_byte < 0x80 or bits < 8:
        return -1
    zeros = 7 - bits.bit_length()
    return (bits >> (6 - 2 * zeros)) - 1
