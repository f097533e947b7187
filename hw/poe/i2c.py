"""I2C as the drivers see it: an `I2cBus`, the one over smbus2, and the bounded retries in front of either."""

from __future__ import annotations

import contextlib
import errno
import fcntl
from collections.abc import Callable
from typing import Protocol, TypeVar

from smbus2 import SMBus, i2c_msg

from hw.poe.controller import LinkCounters
from hw.poe.errors import BusFailed, BusForbidden, BusMissing, BusOwned, NoAnswer, PoeError
from hw.poe.pace import Pace

T = TypeVar("T")

_I2C_RETRIES = 0x0701  # linux/i2c-dev.h
_I2C_TIMEOUT = 0x0702  # in units of 10 ms

_TRANSIENT = (errno.ENXIO, errno.EREMOTEIO, errno.ETIMEDOUT, errno.EIO, errno.EAGAIN, errno.EPROTO, errno.EBADMSG)
_ABSENT = (errno.ENXIO, errno.EREMOTEIO, errno.ENODEV)


class I2cBus(Protocol):
    """Raises OSError with the adapter's errno. Each call is one transaction with STOP at its end."""

    def read_byte(self, address: int, register: int) -> int: ...

    def write_byte(self, address: int, register: int, value: int) -> None: ...

    def read_block(self, address: int, register: int, length: int) -> bytes:
        """`length` (1..32) bytes from `register` on."""

    def write(self, address: int, data: bytes) -> None:
        """Plain bytes without a register."""

    def read(self, address: int, length: int) -> bytes: ...

    def close(self) -> None: ...


class SmbusBus:
    """`/dev/i2c-N` through smbus2, never with force: what a kernel driver owns stays the kernel driver's."""

    def __init__(self, path: str, *, timeout_ms: int = 200) -> None:
        try:
            self._bus = SMBus(path)
        except OSError as error:
            raise explain(error, path) from error
        descriptor = self._bus.fd
        assert descriptor is not None
        # Not every adapter knows these requests, and the defaults (1 s, 3 tries) are bearable where it does not.
        with contextlib.suppress(OSError):
            fcntl.ioctl(descriptor, _I2C_TIMEOUT, max(1, timeout_ms // 10))
            fcntl.ioctl(descriptor, _I2C_RETRIES, 0)

    def read_byte(self, address: int, register: int) -> int:
        return int(self._bus.read_byte_data(address, register))

    def write_byte(self, address: int, register: int, value: int) -> None:
        self._bus.write_byte_data(address, register, value)

    def read_block(self, address: int, register: int, length: int) -> bytes:
        data = bytes(self._bus.read_i2c_block_data(address, register, length))
        if len(data) != length:
            raise OSError(errno.EIO, f"{len(data)} of {length} bytes")
        return data

    def write(self, address: int, data: bytes) -> None:
        self._bus.i2c_rdwr(i2c_msg.write(address, data))

    def read(self, address: int, length: int) -> bytes:
        message = i2c_msg.read(address, length)
        self._bus.i2c_rdwr(message)
        return bytes(message)

    def close(self) -> None:
        self._bus.close()


def explain(error: OSError, where: str) -> PoeError:
    """The typed, readable error for one of the kernel's about bus or line `where`."""
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENOTDIR:
            return BusMissing(f"{where}: not on this machine (is its bus enabled in config.txt or the device tree?)")
        case errno.EACCES | errno.EPERM:
            return BusForbidden(f"{where}: no permission (add the daemon's user to the group that owns it)")
        case errno.EBUSY:
            return BusOwned(
                f"{where}: a kernel driver or another process owns it; use the board's kernel back end, or remove its "
                "device-tree node"
            )
    return BusFailed(f"{where}: {error.strerror or error}")


class Retrying:
    """One chip on a bus: at most `attempts` tries per transfer, then a typed error. Counts what happened."""

    def __init__(self, bus: I2cBus, address: int, *, pace: Pace, name: str, attempts: int = 3) -> None:
        self._bus = bus
        self._address = address
        self._pace = pace
        self._name = f"{name} address {address:#04x}"
        self._attempts = attempts
        self._transfers = self._retries = self._failures = 0
        self._last_error = ""

    @property
    def name(self) -> str:
        return self._name

    @property
    def counters(self) -> LinkCounters:
        return LinkCounters(self._transfers, self._retries, self._failures, last_error=self._last_error)

    def read_byte(self, register: int) -> int:
        return self._transfer(lambda: self._bus.read_byte(self._address, register))

    def write_byte(self, register: int, value: int) -> None:
        self._transfer(lambda: self._bus.write_byte(self._address, register, value))

    def read_block(self, register: int, length: int) -> bytes:
        return self._transfer(lambda: self._bus.read_block(self._address, register, length))

    def write(self, data: bytes) -> None:
        self._transfer(lambda: self._bus.write(self._address, data))

    def read(self, length: int) -> bytes:
        return self._transfer(lambda: self._bus.read(self._address, length))

    def _transfer(self, operation: Callable[[], T]) -> T:
        self._transfers += 1
        tries = 0
        while True:
            tries += 1
            try:
                return operation()
            except OSError as error:
                self._last_error = text = error.strerror or str(error)
                if error.errno in _TRANSIENT and tries < self._attempts:
                    self._retries += 1
                    self._pace.sleep(0.005 * tries)
                    continue
                self._failures += 1
                if error.errno in _ABSENT:
                    raise NoAnswer(f"{self._name}: nothing answers ({text})") from error
                raise explain(error, self._name) from error
