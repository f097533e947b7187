"""RTP headers and sequence numbers (RFC 3550 5.1, 5.3.1 and A.1)."""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

HEADER = struct.Struct(">BBHII")

MAX_DROPOUT = 3000  # A.1: a larger forward jump is a restart of the sender, not a loss
MAX_MISORDER = 100


class Packet(NamedTuple):
    """An RTP packet; `payload_start` and `payload_end` are offsets in the buffer it was parsed from."""

    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload_start: int
    payload_end: int
    extension_profile: int = 0  # "defined by profile" of the header extension
    extension_start: int = 0
    extension_end: int = 0


def parse_packet(buffer: memoryview, start: int, end: int) -> Packet | None:
    """The packet in buffer[start:end], or None when that is no RTP: wrong version, or lengths past its end."""
    if end - start < 12:
        return None
    b0, b1, sequence, timestamp, ssrc = HEADER.unpack_from(buffer, start)
    if b0 >> 6 != 2:
        return None
    at = start + 12 + 4 * (b0 & 15)
    profile = ext_start = ext_end = 0
    if b0 & 0x10:
        if at + 4 > end:
            return None
        profile, words = struct.unpack_from(">HH", buffer, at)
        ext_start = at + 4
        at = ext_end = ext_start + 4 * words
    if b0 & 0x20:
        if at >= end:
            return None
        padding = buffer[end - 1]
        if padding == 0:
            return None
        end -= padding
    if at > end:
        return None
    return Packet(b1 >= 128, b1 & 127, sequence, timestamp, ssrc, at, end, profile, ext_start, ext_end)


class Step(enum.Enum):
    """What a packet's sequence number says."""

    NEXT = "next"
    LOST = "lost"  # packets between this one and its predecessor are missing
    OLD = "old"  # duplicate, or came after its place had been given up
    WAIT = "wait"  # far from what was expected: believed only when the next one follows it
    RESTART = "restart"  # the sender began a new sequence


class Sequence:
    """Follows one source's sequence numbers; counts for receiver reports."""

    __slots__ = ("_bad", "base", "cycles", "expected", "lost", "received", "started")

    def __init__(self) -> None:
        self.started = False
        self.expected = 0  # 16 bit: the number the next packet should have
        self.cycles = 0
        self.base = 0
        self.received = 0
        self.lost = 0
        self._bad = -1

    def step(self, sequence: int) -> tuple[Step, int]:
        """Judges `sequence`; the number is how many packets are missing before it (LOST only)."""
        if not self.started:
            self.started = True
            self._restart(sequence)
            return Step.NEXT, 0
        ahead = sequence - self.expected & 0xFFFF
        if ahead < MAX_DROPOUT:
            self._advance(sequence)
            self._bad = -1
            self.received += 1
            if ahead == 0:
                return Step.NEXT, 0
            self.lost += ahead
            return Step.LOST, ahead
        if ahead >= 0x10000 - MAX_MISORDER:
            return Step.OLD, 0
        if sequence == self._bad:
            self._restart(sequence)
            return Step.RESTART, 0
        self._bad = sequence + 1 & 0xFFFF
        return Step.WAIT, 0

    def run(self, last: int, count: int) -> None:
        """`count` packets in order up to `last` were taken without asking `step`."""
        self.received += count
        following = last + 1 & 0xFFFF
        if following < self.expected:
            self.cycles += 1
        self.expected = following

    def _advance(self, sequence: int) -> None:
        following = sequence + 1
        if (following & 0xFFFF) < self.expected:
            self.cycles += 1
        self.expected = following & 0xFFFF

    def _restart(self, sequence: int) -> None:
        self.base = sequence
        self.cycles = 0
        self.expected = sequence + 1 & 0xFFFF
        if self.expected == 0:
            self.cycles = 1
        self.received = 1
        self.lost = 0
        self._bad = -1

    @property
    def highest(self) -> int:
        """The extended highest sequence number received."""
        return (self.cycles << 16 | self.expected) - 1 & 0xFFFFFFFF


class Unwrapper:
    """32-bit RTP timestamps to media time that does not wrap. The first one stands as it is."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: int | None = None

    def unwrap(self, timestamp: int) -> int:
        last = self._last
        if last is not None:
            timestamp = last + signed(timestamp - last)
        self._last = timestamp
        return timestamp

    def near(self, timestamp: int) -> int | None:
        """`timestamp` unwrapped to the value nearest the newest media time, without moving it; None before any packet."""
        return None if self._last is None else self._last + signed(timestamp - self._last)


def signed(difference: int) -> int:
    """A difference of 32-bit timestamps as a number from -2^31 to 2^31-1."""
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000
