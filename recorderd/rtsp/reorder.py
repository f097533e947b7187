"""Puts RTP packets that came by UDP back in order: a late packet is waited for, briefly and within bounds."""

from __future__ import annotations

MAX_HELD = 64
MAX_WAIT_NS = 150_000_000
MAX_AHEAD = 1000  # further ahead is no reordering but a sender that began anew


class Reorder:
    """One RTP source. What `push` and `expire` give is in order, with holes where waiting was in vain."""

    __slots__ = ("_expected", "_held", "_since_ns")

    def __init__(self) -> None:
        self._expected: int | None = None
        self._held: dict[int, bytes] = {}
        self._since_ns = 0

    def push(self, packet: memoryview, now_ns: int) -> list[bytes | memoryview]:
        """The packets that are due, this one perhaps among them. What is held back is copied."""
        if len(packet) < 12:
            return []
        number = packet[2] << 8 | packet[3]
        ahead = 0 if self._expected is None else number - self._expected & 0xFFFF
        if ahead == 0:
            self._expected = number + 1 & 0xFFFF
            return [packet, *self._following()] if self._held else [packet]
        if ahead >= 0x8000:
            return []  # its place has been given up, or it is a duplicate
        if ahead > MAX_AHEAD:
            out: list[bytes | memoryview] = [*self._all(), packet]
            self._expected = number + 1 & 0xFFFF
            return out
        if not self._held:
            self._since_ns = now_ns
        self._held.setdefault(number, bytes(packet))
        return self._give_up() if len(self._held) > MAX_HELD else []

    def expire(self, now_ns: int) -> list[bytes | memoryview]:
        """What was held back long enough."""
        return self._give_up() if self._held and now_ns - self._since_ns >= MAX_WAIT_NS else []

    def _give_up(self) -> list[bytes | memoryview]:
        """Goes on behind the first hole."""
        expected = self._expected or 0
        self._expected = min(self._held, key=lambda number: number - expected & 0xFFFF)
        return self._following()

    def _following(self) -> list[bytes | memoryview]:
        out: list[bytes | memoryview] = []
        expected = self._expected or 0
        while (packet := self._held.pop(expected, None)) is not None:
            out.append(packet)
            expected = expected + 1 & 0xFFFF
        self._expected = expected
        return out

    def _all(self) -> list[bytes]:
        expected = self._expected or 0
        numbers = sorted(self._held, key=lambda number: number - expected & 0xFFFF)
        return [self._held.pop(number) for number in numbers]
