"""Reads the bit strings of parameter sets: fixed-length and Exp-Golomb fields (ITU-T H.264 clause 9.1, H.265 clause 9.2)."""

from __future__ import annotations

from recorderd.media.errors import BitstreamError

_MAX_BYTES = 1 << 16  # parameter sets are a few hundred bytes; more is not one


class BitReader:
    """A cursor over `data`, most significant bit first. Every read past the end raises `BitstreamError`."""

    __slots__ = ("_bits", "_left", "_total")

    def __init__(self, data: bytes) -> None:
        if len(data) > _MAX_BYTES:
            raise BitstreamError(f"bit string of {len(data)} bytes")
        self._bits = int.from_bytes(data, "big")
        self._total = self._left = len(data) * 8

    @property
    def left(self) -> int:
        """Bits not yet read."""
        return self._left

    @property
    def position(self) -> int:
        """Bits read."""
        return self._total - self._left

    def u(self, count: int) -> int:
        """u(n): `count` bits as an unsigned number; 0 bits are 0."""
        if count > self._left:
            raise BitstreamError("bit string ends early")
        self._left -= count
        return (self._bits >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        return self.u(1) == 1

    def skip(self, count: int) -> None:
        if count > self._left:
            raise BitstreamError("bit string ends early")
        self._left -= count

    def ue(self, limit: int = 0xFFFFFFFE) -> int:
        """ue(v), at most `limit`."""
        rest = self._bits & ((1 << self._left) - 1)
        zeros = self._left - rest.bit_length()
        if rest == 0 or zeros > 32:
            raise BitstreamError("Exp-Golomb code is too long or ends early")
        value = self.u(2 * zeros + 1) - 1
        if value > limit:
            raise BitstreamError(f"Exp-Golomb value {value} above {limit}")
        return value

    def se(self) -> int:
        """se(v)."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)
