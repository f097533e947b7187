"""A worker's side of its work socket and of its output."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from recorderd.protocol.work import MAX_MESSAGE_BYTES

T = TypeVar("T")
_IOV_MAX = 512
OUTPUT_FD = 1


class NoWork(Exception):
    """The daemon is gone, or sent what is not a message."""


class Channel:
    """Blocking. `receive` gives the next message of one of the wanted types, and the descriptors that came with it."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)

    def receive(self, wanted: type[T]) -> tuple[T, list[int]]:
        data, fds, flags, _ = socket.recv_fds(self._socket, MAX_MESSAGE_BYTES, 4)
        if not data or flags & socket.MSG_TRUNC:
            raise NoWork("the daemon closed the work socket")
        try:
            return msgspec.json.decode(data, type=wanted), fds
        except msgspec.DecodeError as error:
            raise NoWork(f"malformed work: {error}") from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: msgspec.Struct) -> None:
        self._socket.send(msgspec.json.encode(message))


def write_all(pieces: Sequence[bytes | memoryview], fd: int = OUTPUT_FD) -> int:
    """Writes all of them in order; returns the bytes. Raises BrokenPipeError when the reader is gone."""
    total = 0
    for start in range(0, len(pieces), _IOV_MAX):
        left = [memoryview(piece) for piece in pieces[start : start + _IOV_MAX] if len(piece)]
        while left:
            written = os.writev(fd, left)
            total += written
            while left and written >= len(left[0]):
                written -= len(left[0])
                left.pop(0)
            if written:
                left[0] = left[0][written:]
    return total
