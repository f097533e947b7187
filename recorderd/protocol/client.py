"""A blocking client of the control socket, for the command line and scripts. Works over any pair of descriptors (a socket, ssh)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from recorderd.protocol.errors import ControlError
from recorderd.protocol.framing import Framer, MessageTooLong, frame
from recorderd.protocol.interface import Method
from recorderd.protocol.message import Reply, encode_call
from recorderd.protocol.upgrade import MalformedStream, Trailer, Unchunker

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)
DEFAULT_SOCKET = "/run/recorderd/control"
_TIMEVAL = struct.Struct("@ll")


class ConnectionLost(Exception):
    """The recorder did not answer or its answer was cut off or is not Varlink."""


class Client:
    """One connection; one call at a time. Raises the `ControlError` that the recorder answered with, or `ConnectionLost`."""

    def __init__(
        self, read_fd: int, write_fd: int, *, close: Callable[[], None], peer: socket.socket | None = None
    ) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._close = close
        self._peer = peer
        self._framer = Framer(16 << 20)
        self._messages: list[bytes] = []

    @classmethod
    def connect(cls, path: str = DEFAULT_SOCKET, timeout_s: float = 30.0) -> Client:
        """Raises OSError when nobody listens there. `timeout_s` bounds each wait for the recorder's next bytes."""
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            peer.connect(path)
            peer.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(int(timeout_s), int(timeout_s % 1 * 1e6))
            )
        except OSError:
            peer.close()
            raise
        return cls(peer.fileno(), peer.fileno(), close=peer.close, peer=peer)

    @property
    def local(self) -> bool:
        """Whether descriptors can be handed over: the recorder is on this machine."""
        return self._peer is not None

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, method: Method[P, R], parameters: P) -> R:
        self._send(encode_call(method.full_name, parameters))
        return self._decode(method, self._reply())

    def stream(self, method: Method[P, R], parameters: P) -> Iterator[R]:
        """Every reply to a call with `more`, as it comes, however long that takes."""
        self._send(encode_call(method.full_name, parameters, more=True))
        while True:
            reply = self._reply(patient=True)
            yield self._decode(method, reply)
            if not reply.continues:
                return

    def upgrade(self, method: Method[P, R], parameters: P) -> tuple[R, Download]:
        """The reply, and the raw bytes that follow it. The connection serves nothing else afterwards."""
        self._send(encode_call(method.full_name, parameters, upgrade=True))
        reply = self._decode(method, self._reply())
        return reply, Download(self._read_fd, self._rest())

    def hand_over(self, method: Method[P, R], parameters: P, fd: int) -> tuple[R, Download]:
        """Like `upgrade` of a method whose worker then writes to `fd` itself, when the recorder is `local`; the download has no pieces."""
        assert self._peer is not None
        self._send(encode_call(method.full_name, parameters, upgrade=True))
        by: list[int] = []
        while not self._messages:
            try:
                data, fds, _, _ = socket.recv_fds(self._peer, 1 << 16, 1)
            except OSError as error:
                raise ConnectionLost(f"connection lost: {error.strerror}") from error
            by += fds
            self._take(data)
        try:
            reply = self._decode(method, self._reply())
            if not by:
                raise ConnectionLost("the recorder takes no file")
            with socket.socket(fileno=by.pop()) as worker:
                socket.send_fds(worker, [b"\0"], [fd])
        except OSError as error:
            raise ConnectionLost(f"the file could not be handed over: {error.strerror}") from error
        finally:
            for unused in by:
                os.close(unused)
        return reply, Download(self._read_fd, self._rest())

    def _send(self, message: bytes) -> None:
        try:
            view = memoryview(frame(message))
            while view:
                view = view[os.write(self._write_fd, view) :]
        except OSError as error:
            raise ConnectionLost(f"the recorder closed the connection: {error.strerror}") from error

    def _reply(self, *, patient: bool = False) -> Reply:
        while not self._messages:
            self._take(_read(self._read_fd, patient=patient))
        try:
            reply = msgspec.json.decode(self._messages.pop(0), type=Reply)
        except msgspec.DecodeError as error:
            raise ConnectionLost(f"the recorder's answer is not Varlink: {error}") from error
        if reply.error is not None:
            parameters: Any = msgspec.json.decode(bytes(reply.parameters))
            raise ControlError.from_reply(reply.error, parameters if isinstance(parameters, dict) else {})
        return reply

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionLost("the recorder closed the connection")
        try:
            self._messages.extend(self._framer.feed(data))
        except MessageTooLong as error:
            raise ConnectionLost("the recorder's answer is too long") from error

    def _rest(self) -> bytes:
        """What has come behind the reply."""
        return b"".join(message + b"\0" for message in self._messages) + self._framer.take_rest()

    @staticmethod
    def _decode(method: Method[P, R], reply: Reply) -> R:
        try:
            return msgspec.json.decode(bytes(reply.parameters), type=method.reply)
        except msgspec.DecodeError as error:
            raise ConnectionLost(f"{method.full_name}: unexpected answer: {error}") from error


class Download:
    """Iterates over the raw bytes of an upgraded call; `trailer` is set at the end. Raises `ConnectionLost` when cut off."""

    def __init__(self, fd: int, first: bytes) -> None:
        self.fd = fd
        self._first = first
        self.trailer: Trailer | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing came with the reply: what there is can be waited for on `fd`."""
        return not self._first

    def __iter__(self) -> Iterator[memoryview]:
        unchunker = Unchunker()
        data = self._first
        try:
            while True:
                yield from unchunker.feed(data)
                if unchunker.trailer is not None:
                    self.trailer = unchunker.trailer
                    return
                data = _read(self.fd)
        except MalformedStream as error:
            raise ConnectionLost(f"the recorder's data is malformed: {error}") from error


def _read(fd: int, *, patient: bool = False) -> bytes:
    """The next bytes. `patient` waits beyond the socket's time-out. Raises `ConnectionLost`."""
    while True:
        try:
            data = os.read(fd, 1 << 18)
        except BlockingIOError as error:
            if patient:
                continue
            raise ConnectionLost("the recorder does not answer") from error
        except OSError as error:
            raise ConnectionLost(f"connection lost: {error.strerror}") from error
        if not data:
            raise ConnectionLost("the recorder closed the connection")
        return data
