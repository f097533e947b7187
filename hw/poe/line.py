"""A serial line as the drivers see it, and the one over pyserial."""

from __future__ import annotations

import contextlib
from typing import Protocol

import serial

from hw.poe.errors import BusFailed, BusMissing
from hw.poe.i2c import explain


class Line(Protocol):
    """Bytes both ways. Errors are `PoeError`."""

    def write(self, data: bytes) -> None: ...

    def read(self, limit: int, timeout_s: float) -> bytes:
        """Up to `limit` bytes: returns with what is there once something is, or empty after `timeout_s`."""

    def discard(self) -> None:
        """Forgets what was received and not read."""

    def close(self) -> None: ...


class SerialLine:
    """8N1 without flow control, opened exclusively: a second opener gets a clear error instead of half the answers."""

    def __init__(self, path: str, *, baud: int) -> None:
        self._path = path
        try:
            self._port = serial.Serial(path, baud, timeout=0, write_timeout=1.0, exclusive=True)
        except serial.SerialException as error:
            if error.errno is not None:
                raise explain(OSError(error.errno, str(error)), path) from error
            raise BusFailed(f"{path}: {error}") from error

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except serial.SerialTimeoutException as error:
            raise BusFailed(f"{self._path}: the line takes no bytes") from error
        except (serial.SerialException, OSError) as error:
            raise BusMissing(f"{self._path}: lost ({error})") from error

    def read(self, limit: int, timeout_s: float) -> bytes:
        try:
            self._port.timeout = timeout_s
            first: bytes = self._port.read(1)
            if not first or limit == 1:
                return first
            self._port.timeout = 0
            rest: bytes = self._port.read(limit - 1)
        except (serial.SerialException, OSError) as error:
            raise BusMissing(f"{self._path}: lost ({error})") from error
        return first + rest

    def discard(self) -> None:
        try:
            self._port.reset_input_buffer()
        except (serial.SerialException, OSError) as error:
            raise BusMissing(f"{self._path}: lost ({error})") from error

    def close(self) -> None:
        with contextlib.suppress(serial.SerialException, OSError):  # of a line that is gone already
            self._port.close()
