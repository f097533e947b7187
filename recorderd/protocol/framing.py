"""Varlink framing: JSON objects, each ended by one NUL byte; sans-IO."""

from __future__ import annotations

from collections.abc import Iterator

MAX_MESSAGE_BYTES = 1 << 20


class MessageTooLong(Exception):
    """The peer sent more than `MAX_MESSAGE_BYTES` without ending a message; the connection cannot be used any more."""


class Framer:
    """Cuts a byte stream into messages. Holds at most one unfinished message."""

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pending = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yields the messages that `data` completes, without their NUL. Raises `MessageTooLong`."""
        self._pending += data
        searched = max(0, len(self._pending) - len(data))
        begin = 0
        while (end := self._pending.find(0, searched)) >= 0:
            if end - begin > self._max_bytes:
                raise MessageTooLong
            yield bytes(self._pending[begin:end])
            begin = searched = end + 1
        del self._pending[:begin]
        if len(self._pending) > self._max_bytes:
            raise MessageTooLong

    def take_rest(self) -> bytes:
        """What followed the last whole message: raw bytes after a call with `upgrade`."""
        rest = bytes(self._pending)
        self._pending.clear()
        return rest


def frame(message: bytes) -> bytes:
    """One message as it goes on the wire. Raises `MessageTooLong`."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise MessageTooLong
    return message + b"\0"
