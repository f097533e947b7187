"""A simulated I2C adapter: chips by address, the kernel's two request kinds, and the faults a bus has.

`smbus` and `rdwr` take and give what a `/dev/i2c-N` server gets from the kernel (I2C_SMBUS and I2C_RDWR), so the object can stand behind a
CUSE device; `InProcessI2c` calls it directly, as the driver's bus.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence
from typing import Protocol

READ = 1  # i2c_msg flag, and the SMBus direction

SMBUS_QUICK, SMBUS_BYTE, SMBUS_BYTE_DATA, SMBUS_WORD_DATA, SMBUS_BLOCK_BROKEN, SMBUS_BLOCK = 0, 1, 2, 3, 6, 8


class RegisterChip(Protocol):
    """A chip with a register pointer that moves by itself."""

    def read_register(self, register: int) -> int: ...

    def write_register(self, register: int, value: int) -> None: ...


class MessageChip(Protocol):
    """A chip that takes and gives plain messages, without registers."""

    def message_in(self, data: bytes) -> None: ...

    def message_out(self, length: int) -> bytes: ...


class SimulatedI2c:
    """Results are (0 or negative errno, bytes), as the kernel wants them."""

    def __init__(self) -> None:
        self.registers: dict[int, RegisterChip] = {}
        self.messages: dict[int, MessageChip] = {}
        self.owned: set[int] = set()  # addresses a kernel driver has: EBUSY
        self.nak_next = 0  # so many transfers from now on are not acknowledged
        self.nak_every = 0  # every n-th transfer is not acknowledged
        self.stuck = False  # SDA held low: the adapter times out
        self.released = threading.Event()  # cleared: transfers block for ever, like a kernel driver gone wrong
        self.released.set()
        self.transfers = 0
        self._pointers: dict[int, int] = {}

    def smbus(self, address: int, direction: int, command: int, size: int, data: bytes) -> tuple[int, bytes]:
        error = self._fault(address)
        if error:
            return error, b""
        chip = self.registers.get(address)
        if chip is None:
            return -errno.EOPNOTSUPP, b""
        match size:
            case 0:
                return 0, b""
            case 1:
                if direction == READ:
                    return 0, bytes([chip.read_register(self._pointers.get(address, 0))])
                self._pointers[address] = command
                return 0, b""
            case 2 | 3:
                return self._block(chip, direction, command, data[: size - 1], size - 1)
            case 6 | 8:
                count = data[0] if data else 0
                if not 1 <= count <= 32:
                    return -errno.EINVAL, b""
                error, out = self._block(chip, direction, command, data[1 : 1 + count], count)
                return error, bytes([count]) + out if direction == READ else b""
        return -errno.EOPNOTSUPP, b""

    def rdwr(self, messages: Sequence[tuple[int, int, bytes]]) -> tuple[int, list[bytes]]:
        """One transaction of (address, flags, data); of a read's data only the length counts."""
        out: list[bytes] = []
        for address, flags, data in messages:
            error = self._fault(address)
            if error:
                return error, []
            if (plain := self.messages.get(address)) is not None:
                if flags & READ:
                    out.append(plain.message_out(len(data)))
                else:
                    plain.message_in(data)
                continue
            chip = self.registers[address]
            pointer = self._pointers.get(address, 0)
            if flags & READ:
                out.append(bytes(chip.read_register(pointer + i & 0xFF) for i in range(len(data))))
            elif data:
                self._pointers[address] = data[0]
                for i, value in enumerate(data[1:]):
                    chip.write_register(data[0] + i & 0xFF, value)
        return 0, out

    def _block(self, chip: RegisterChip, direction: int, command: int, data: bytes, count: int) -> tuple[int, bytes]:
        if direction == READ:
            return 0, bytes(chip.read_register(command + i & 0xFF) for i in range(count))
        for i, value in enumerate(data):
            chip.write_register(command + i & 0xFF, value)
        return 0, b""

    def _fault(self, address: int) -> int:
        self.released.wait()
        self.transfers += 1
        if self.stuck:
            return -errno.ETIMEDOUT
        if address in self.owned:
            return -errno.EBUSY
        if address not in self.registers and address not in self.messages:
            return -errno.ENXIO
        if self.nak_next > 0:
            self.nak_next -= 1
            return -errno.EREMOTEIO
        if self.nak_every and self.transfers % self.nak_every == 0:
            return -errno.EREMOTEIO
        return 0


class InProcessI2c:
    """The adapter without a device node between: what a driver is given in simulations and tests."""

    def __init__(self, adapter: SimulatedI2c) -> None:
        self._adapter = adapter

    def read_byte(self, address: int, register: int) -> int:
        return self._smbus(address, READ, register, SMBUS_BYTE_DATA, b"")[0]

    def write_byte(self, address: int, register: int, value: int) -> None:
        self._smbus(address, 0, register, SMBUS_BYTE_DATA, bytes([value]))

    def read_block(self, address: int, register: int, length: int) -> bytes:
        return self._smbus(address, READ, register, SMBUS_BLOCK, bytes([length]))[1:]

    def write(self, address: int, data: bytes) -> None:
        self._rdwr(address, 0, data)

    def read(self, address: int, length: int) -> bytes:
        return self._rdwr(address, READ, bytes(length))[0]

    def close(self) -> None:
        """Nothing is open."""

    def _smbus(self, address: int, direction: int, command: int, size: int, data: bytes) -> bytes:
        error, out = self._adapter.smbus(address, direction, command, size, data)
        if error:
            raise OSError(-error, "simulated I2C")
        return out

    def _rdwr(self, address: int, flags: int, data: bytes) -> list[bytes]:
        error, out = self._adapter.rdwr([(address, flags, data)])
        if error:
            raise OSError(-error, "simulated I2C")
        return out
