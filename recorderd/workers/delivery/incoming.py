"""The worker's side of a delivery: the file as it comes through the pipe, and a daemon that may give it up at any moment."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

from recorderd.protocol.delivery import Delivered, FileEnds, Problem, Waiting
from recorderd.workers.channel import Channel, NoWork
from recorderd.workers.delivery.failure import Failure

PIECE_BYTES = 1 << 20
_FAREWELL_MS = 10_000


class Incoming:
    """`bytes` counts what has been read."""

    def __init__(self, channel: Channel, pipe: int) -> None:
        self._channel = channel
        self._pipe = pipe
        self._hang_up = select.poll()
        self._hang_up.register(channel.fileno(), select.POLLRDHUP)
        self.bytes = 0

    def pieces(self) -> Iterator[bytes]:
        """The file, to its true end. Raises Failure when it is given up: a pipe that ends is not yet a file that does."""
        while piece := os.read(self._pipe, PIECE_BYTES):
            self.bytes += len(piece)
            yield piece
        try:
            ends, _ = self._channel.receive(FileEnds)
        except NoWork as error:
            raise Failure(Problem.GIVEN_UP, "it was given up") from error
        if ends.bytes != self.bytes:
            raise Failure(Problem.GIVEN_UP, f"{self.bytes} of {ends.bytes} bytes have come")

    def watch(self) -> None:
        """Raises Failure when the daemon has hung up."""
        self._look(0)

    def pause(self, reason: str, seconds: float) -> None:
        self._send(Waiting(reason, seconds))
        self._look(round(seconds * 1000))

    def report(self, delivered_bytes: int) -> None:
        self._send(Delivered(delivered_bytes))

    def await_hang_up(self) -> None:
        """After the last message: to end with messages unread would take ours from the daemon (unix(7), ECONNRESET)."""
        self._hang_up.poll(_FAREWELL_MS)

    def _send(self, message: Waiting | Delivered) -> None:
        try:
            self._channel.send(message)
        except OSError as error:
            raise Failure(Problem.GIVEN_UP, "it was given up") from error

    def _look(self, timeout_ms: int) -> None:
        if self._hang_up.poll(timeout_ms):
            raise Failure(Problem.GIVEN_UP, "it was given up")
