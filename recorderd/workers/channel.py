"""A worker's side of its work socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

import msgspec

from recorderd.protocol.work import MAX_MESSAGE_BYTES, WorkDone

T = TypeVar("T")


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


def answer(channel: Channel, work: Callable[[Channel], WorkDone], *faults: type[Exception]) -> int:
    """Does the work and says how it ended, in words for `faults` and errors of the disk. Returns the exit code."""
    try:
        done = work(channel)
    except NoWork:
        return 1
    except faults as fault:
        done = WorkDone(False, str(fault))
    except OSError as error:
        done = WorkDone(False, f"the disk cannot be read: {error.strerror}")
    try:
        channel.send(done)
    except OSError:  # the daemon has given up
        return 1
    return 0 if done.complete else 1
