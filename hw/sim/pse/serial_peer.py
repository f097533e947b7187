"""A simulated controller at the other end of a serial line: in process, or behind a pseudo-terminal for pyserial."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable


class InProcessLine:
    """`hw.poe.line.Line` onto a peer that takes requests of `request_bytes` and gives answers at once.

    `sleep` is told how long a driver waits for bytes that do not come, so that simulated time goes on.
    """

    def __init__(self, peer: Callable[[bytes], bytes], *, request_bytes: int, sleep: Callable[[float], None]) -> None:
        self._peer = peer
        self._request_bytes = request_bytes
        self._sleep = sleep
        self._in = b""
        self._out = b""

    def write(self, data: bytes) -> None:
        self._in += data
        while len(self._in) >= self._request_bytes:
            request, self._in = self._in[: self._request_bytes], self._in[self._request_bytes :]
            self._out += self._peer(request)

    def push(self, data: bytes) -> None:
        """Bytes nobody asked for."""
        self._out += data

    def read(self, limit: int, timeout_s: float) -> bytes:
        if not self._out:
            self._sleep(timeout_s)
            return b""
        self._sleep(0.03)
        data, self._out = self._out[:limit], self._out[limit:]
        return data

    def discard(self) -> None:
        self._out = b""

    def close(self) -> None:
        """Nothing is open."""


class PtyPeer:
    """The same peer behind a pseudo-terminal, served by a thread until `close`. `path` is what the driver opens."""

    def __init__(self, peer: Callable[[bytes], bytes], *, request_bytes: int) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave  # kept open, so that the driver may come and go
        self._peer = peer
        self._request_bytes = request_bytes
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="pty peer", daemon=True)
        self._thread.start()

    def push(self, data: bytes) -> None:
        os.write(self._master, data)

    def _serve(self) -> None:
        pending = b""
        while True:
            ready, _, _ = select.select([self._master, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            with contextlib.suppress(OSError):  # EIO while nobody has the other end open
                pending += os.read(self._master, 4_096)
            while len(pending) >= self._request_bytes:
                request, pending = pending[: self._request_bytes], pending[self._request_bytes :]
                os.write(self._master, self._peer(request))

    def close(self) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join()
        for descriptor in (self._master, self._slave, self._stop_read, self._stop_write):
            os.close(descriptor)
