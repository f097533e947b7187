"""Where Exaviz lines come from: a file that streams for ever, or a serial line. Reading is bounded in lines, bytes and time."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import Protocol

from hw.poe.i2c import explain
from hw.poe.line import Line
from hw.poe.pace import Pace

_MAX_PENDING = 8_192


class TextSource(Protocol):
    def lines(self, limit: int, timeout_s: float) -> Iterator[str]:
        """Whole lines as they come; ends after `limit` of them or `timeout_s`."""

    def send(self, command: str) -> None: ...

    def close(self) -> None: ...


class ProcFile:
    """`/proc/pse`: reading it blocks and repeats, so it is opened for each look and never read to an end."""

    def __init__(self, path: str, *, pace: Pace) -> None:
        self._path = path
        self._pace = pace

    def lines(self, limit: int, timeout_s: float) -> Iterator[str]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise explain(error, self._path) from error
        try:
            yield from _lines(_DescriptorReader(descriptor, self._path), self._pace, limit, timeout_s)
        finally:
            os.close(descriptor)

    def send(self, command: str) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, command.encode("ascii") + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise explain(error, self._path) from error

    def close(self) -> None:
        """Nothing stays open."""


class LineText:
    """The Cruiser's serial line: a set of lines about once a second, unasked."""

    def __init__(self, line: Line, *, pace: Pace) -> None:
        self._line = line
        self._pace = pace

    def lines(self, limit: int, timeout_s: float) -> Iterator[str]:
        """What comes from now on; the first line is left out, it may have begun before."""
        self._line.discard()
        whole = _lines(self._line, self._pace, limit, timeout_s)
        next(whole, None)
        return whole

    def send(self, command: str) -> None:
        self._line.write(command.encode("ascii") + b"\n")

    def close(self) -> None:
        self._line.close()


class _Reader(Protocol):
    def read(self, limit: int, timeout_s: float) -> bytes: ...


class _DescriptorReader:
    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path

    def read(self, limit: int, timeout_s: float) -> bytes:
        try:
            ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
            return os.read(self._descriptor, limit) if ready else b""
        except BlockingIOError:
            return b""
        except OSError as error:
            raise explain(error, self._path) from error


def _lines(reader: _Reader, pace: Pace, limit: int, timeout_s: float) -> Iterator[str]:
    pending = b""
    deadline = pace.monotonic() + timeout_s
    while limit > 0 and (left := deadline - pace.monotonic()) > 0:
        data = reader.read(4_096, left)
        if not data:
            pace.sleep(0.02)  # a file may have nothing yet; a line has used up its time
            continue
        pending += data
        *whole, pending = pending.split(b"\n")
        pending = pending[-_MAX_PENDING:]
        for raw in whole[:limit]:
            limit -= 1
            yield raw.decode("ascii", "replace")
