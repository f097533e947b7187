"""The byte stream of an RTSP connection: messages and interleaved frames one after the other, and how to find them again.

Interleaved frames (RFC 2326 10.12) have no checksum: a camera that writes half a frame when its socket is full and then goes on with
the next one shifts everything behind it. A frame is believed when what follows it looks like the start of something; otherwise the
next place is sought where a `$`, a known channel, a length and an RTP header of that channel's source (version, payload type, SSRC,
sequence number) stand together. Searching is done by one regular expression; candidates per call are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

DOLLAR = 0x24
MAX_CANDIDATES = 64

_MESSAGE_STARTS = (b"RTSP/", b"OPTI", b"GET_", b"SET_", b"ANNO", b"REDI", b"TEAR", b"PLAY", b"PAUS", b"DESC")
_PADDING = re.compile(rb"[\r\n\x00 ]+")


def starts_message(buffer: memoryview, position: int, end: int) -> bool:
    """Whether an RTSP message may begin at `position`, as far as it has arrived."""
    piece = bytes(buffer[position : min(position + 5, end)])
    return any(start[: len(piece)] == piece[: len(start)] for start in _MESSAGE_STARTS)


def padding_end(buffer: memoryview, position: int, end: int) -> int:
    """Where the line ends, spaces and zeros that begin at `position` are over."""
    match = _PADDING.match(buffer, position, end)
    return match.end() if match is not None else position


class FrameFinder:
    """Finds the next frame or message after the framing was lost. `plausible(channel, start, end)` knows the channels' sources."""

    def __init__(self, channels: Iterable[int], plausible: Callable[[int, memoryview, int, int], bool]) -> None:
        known = b"".join(b"\\x%02x" % channel for channel in sorted(channels))
        frame = rb"\$[" + known + rb"]..[\x80-\xbf]" if known else rb"(?!)"
        self._pattern = re.compile(rb"(?s)" + frame + rb"|RTSP/1\.0 [1-5]")
        self._plausible = plausible

    def find(self, buffer: memoryview, position: int, end: int) -> int:
        """Where the next believable frame or message begins; else how far the bytes can be given up: a tail may be the start
        of one, and after `MAX_CANDIDATES` that were none the search is to go on from there.
        """
        for count, match in enumerate(self._pattern.finditer(buffer[position:end])):
            at = position + match.start()
            if buffer[at] != DOLLAR:
                return at
            if at + 16 > end:
                return at
            if self._plausible(buffer[at + 1], buffer, at + 4, at + 4 + (buffer[at + 2] << 8 | buffer[at + 3])):
                return at
            if count >= MAX_CANDIDATES:
                return at + 1
        return max(position, end - 9)
