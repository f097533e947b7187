"""Connections as the sweep sees them: never blocking, read into a buffer that others use too.

`Wire` is what a session needs of its connection. `TcpWire` is plain TCP or TLS over it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

MAX_UNSENT_BYTES = 256 * 1024


class Wire(Protocol):
    """A byte stream to the camera."""

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port at the other end."""

    @property
    def local_address(self) -> str:
        """Our address of the connection."""

    def receive_into(self, view: memoryview) -> int:
        """Bytes read: as many as there are and fit; 0 when the other end has closed. Raises BlockingIOError when nothing is there, other
        OSErrors when it broke."""

    def send(self, data: bytes) -> None:
        """Sends, or keeps until it can be sent (`flush`). Raises OSError when it broke or too much is waiting."""

    def flush(self) -> None:
        """Tries again to send what is waiting."""

    def watch(self, readable: Callable[[], None]) -> None:
        """Calls `readable` on the loop whenever there may be something to read, until `unwatch`."""

    def unwatch(self) -> None: ...

    def close(self) -> None:
        """Ends the connection; does nothing the second time."""


class TcpWire:
    def __init__(self, sock: socket.socket | ssl.SSLSocket, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = sock
        self._loop = loop
        self._unsent = bytearray()
        self._watching = False
        self._closed = False
        address = sock.getpeername()
        self._peer = (str(address[0]), int(address[1]))

    @property
    def peer(self) -> tuple[str, int]:
        return self._peer

    @property
    def local_address(self) -> str:
        return str(self._socket.getsockname()[0])

    def receive_into(self, view: memoryview) -> int:
        if not isinstance(self._socket, ssl.SSLSocket):
            return self._socket.recv_into(view)
        # One call gives one TLS record, 16 KiB at most; a sweep's worth is many.
        read = 0
        while read < len(view):
            try:
                count = self._socket.recv_into(view[read:])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not read:
                    raise BlockingIOError from None
                break
            except ssl.SSLEOFError:
                break
            if count == 0:
                break
            read += count
        return read

    def send(self, data: bytes) -> None:
        if len(self._unsent) + len(data) > MAX_UNSENT_BYTES:
            raise ConnectionAbortedError("the camera does not read what it is sent")
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            del self._unsent[:sent]

    def watch(self, readable: Callable[[], None]) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket, readable)
            self._watching = True

    def unwatch(self) -> None:
        if self._watching:
            self._loop.remove_reader(self._socket)
            self._watching = False

    def close(self) -> None:
        if not self._closed:
            self.unwatch()
            self._closed = True
            self._socket.close()
