"""H.265 over RTP without interleaving: single NAL units, aggregation packets, fragmentation units (RFC 7798 4.4)."""

from __future__ import annotations

from recorderd.media.h265 import NalType
from recorderd.rtsp.pictures import MAX_AGGREGATED, Pictures

_AP, _FU = 48, 49
_SETS = (NalType.VPS, NalType.SPS, NalType.PPS)


class H265(Pictures):
    def _payload(self, buffer: memoryview, start: int, end: int) -> None:
        if end - start < 3:
            return
        kind = buffer[start] >> 1 & 63
        if kind == _FU:
            self._fragment(buffer, start, end)
        elif kind == _AP:
            self._aggregate(buffer, start + 2, end)
        elif kind < 48:
            self._nal(kind, buffer[start:end])
        else:
            self._output.remark(f"H.265 packets of type {kind} are not supported and were dropped")
            self._damaged = True

    def _aggregate(self, buffer: memoryview, at: int, end: int) -> None:
        for _ in range(MAX_AGGREGATED):
            if at + 2 > end:
                return
            self._output.work += 1
            size = buffer[at] << 8 | buffer[at + 1]
            at += 2
            if size < 3 or size > end - at:
                self._damaged |= bytes(buffer[at - 2 : end]).strip(b"\x00") != b""
                return
            self._nal(buffer[at] >> 1 & 63, buffer[at : at + size])
            at += size
        self._damaged = True

    def _fragment(self, buffer: memoryview, start: int, end: int) -> None:
        if end - start < 4:
            return
        b0, b1, header = buffer[start], buffer[start + 1], buffer[start + 2]
        kind = header & 63
        first, last = header & 0x80, header & 0x40
        if first:
            if kind < 32:
                self._slice(kind)
            self._begin(bytes((b0 & 0x81 | kind << 1, b1)), buffer[start + 3 : end], bytes((b0, b1, kind)))
            if last:
                self._end(buffer[end:end], is_slice=kind < 32)
        elif not self.fragment or self.fragment[2] != kind:
            if self.fragment:
                self._drop_fragment()
            self._damaged = True
        elif last:
            self._end(buffer[start + 3 : end], is_slice=kind < 32)
        else:
            self.pieces.append(buffer[start + 3 : end])

    def _finished_fragment(self, nal: bytes) -> None:
        self._nal(nal[0] >> 1 & 63, memoryview(nal))

    def _nal(self, kind: int, nal: memoryview) -> None:
        if self.fragment:
            self._drop_fragment()
        if kind < 32:
            self._slice(kind)
            self._whole(nal, is_slice=True)
        elif kind in _SETS:
            self._parameter_set(kind, bytes(nal))
        elif kind == NalType.AUD and not self._parts:
            self._delimiter = len(nal).to_bytes(4, "big") + bytes(nal)
        else:
            self._whole(nal, is_slice=False)

    def _slice(self, kind: int) -> None:
        self._slices = True
        if NalType.BLA_W_LP <= kind <= NalType.IRAP_LAST:
            self._key = True
