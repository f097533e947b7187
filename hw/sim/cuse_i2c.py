"""A `/dev/i2c-N` of its own for a simulated adapter, through CUSE: programs open it and see what they would see of a real bus.

`Protocol` takes the kernel's messages and gives the replies, without I/O (linux/fuse.h; all fields in host order). `serve` joins it to
`/dev/cuse`. An ioctl on such a device comes without its data: the reply to the first attempt names the memory that is needed, and the
kernel asks again with it, up to three times for I2C_RDWR, whose messages point to buffers that must be fetched in turn.
"""

from __future__ import annotations

import enum
import errno
import os
import select
import struct

from hw.sim.i2c_adapter import READ, SimulatedI2c

_IN = struct.Struct("=IIQQIIIHH")  # length, opcode, unique, node, uid, gid, pid, extension, padding
_OUT = struct.Struct("=IiQ")  # length, -errno, unique
_INIT_OUT = struct.Struct("=8I")  # major, minor, -, flags, max_read, max_write, dev_major, dev_minor
_OPEN_OUT = struct.Struct("=QII")
_IOCTL_IN = struct.Struct("=QIIQII")  # handle, flags, command, argument, in_size, out_size
_IOCTL_OUT = struct.Struct("=iIII")  # result, flags, in_vectors, out_vectors
_VECTOR = struct.Struct("=QQ")  # address, length
_SMBUS_REQUEST = struct.Struct("=BBxxIQ")  # direction, command, size, pointer to the data union
_RDWR_REQUEST = struct.Struct("=QI4x")  # pointer to the messages, their count
_MESSAGE = struct.Struct("=HHHxxQ")  # address, flags, length, pointer


class Op(enum.IntEnum):
    """linux/fuse.h, as far as a character device meets it."""

    OPEN = 14
    RELEASE = 18
    INTERRUPT = 36
    IOCTL = 39
    INIT = 4096


class I2c(enum.IntEnum):
    """linux/i2c-dev.h."""

    RETRIES = 0x701
    TIMEOUT = 0x702
    SLAVE = 0x703
    FUNCS = 0x705
    SLAVE_FORCE = 0x706
    RDWR = 0x707
    PEC = 0x708
    SMBUS = 0x720


_UNRESTRICTED_IOCTL = 1
_RETRY = 1 << 2
_UNION_BYTES = 34
_FUNCTIONS = 0x0EFF0001  # I2C, and every SMBus request without PEC
_MOST_MESSAGES = 42  # I2C_RDWR_IOCTL_MAX_MSGS
_LARGEST = 1 << 17


class Protocol:
    """One device named `name`. `reply` never raises for what a client does."""

    def __init__(self, adapter: SimulatedI2c, name: str) -> None:
        self._adapter = adapter
        self._name = name
        self._slaves: dict[int, int] = {}  # by file handle
        self._handles = 0

    def reply(self, message: bytes) -> bytes | None:
        """The bytes to write back, None when there is nothing to say."""
        length, opcode, unique, *_ = _IN.unpack_from(message)
        body = message[_IN.size : length]
        match opcode:
            case Op.INIT:
                return _answer(unique, self._init(body))
            case Op.OPEN:
                self._handles += 1
                self._slaves[self._handles] = 0
                return _answer(unique, _OPEN_OUT.pack(self._handles, 0, 0))
            case Op.RELEASE:
                self._slaves.pop(struct.unpack_from("=Q", body)[0], None)
                return _answer(unique)
            case Op.INTERRUPT:
                return None
            case Op.IOCTL:
                return self._ioctl(unique, body)
        return _answer(unique, error=errno.ENOSYS)

    def _init(self, body: bytes) -> bytes:
        major, minor = struct.unpack_from("=II", body)
        head = _INIT_OUT.pack(major, minor, 0, _UNRESTRICTED_IOCTL, 1 << 16, 1 << 16, 0, 0)
        return head + bytes(40) + f"DEVNAME={self._name}".encode() + b"\0"

    def _ioctl(self, unique: int, body: bytes) -> bytes:
        handle, _, command, argument, _, out_size = _IOCTL_IN.unpack_from(body)
        data = body[_IOCTL_IN.size :]
        match command:
            case I2c.SLAVE | I2c.SLAVE_FORCE:
                if not 0 <= argument <= 0x7F:
                    return _answer(unique, error=errno.EINVAL)
                self._slaves[handle] = argument
                return _done(unique)
            case I2c.RETRIES | I2c.TIMEOUT | I2c.PEC:
                return _done(unique)
            case I2c.FUNCS:
                if out_size < 8:
                    return _again(unique, [], [(argument, 8)])
                return _done(unique, data=struct.pack("=Q", _FUNCTIONS))
            case I2c.SMBUS:
                return self._smbus(unique, handle, argument, data)
            case I2c.RDWR:
                return self._rdwr(unique, argument, data)
        return _answer(unique, error=errno.ENOTTY)

    def _smbus(self, unique: int, handle: int, argument: int, data: bytes) -> bytes:
        if len(data) < _SMBUS_REQUEST.size:
            return _again(unique, [(argument, _SMBUS_REQUEST.size)], [])
        direction, command, size, pointer = _SMBUS_REQUEST.unpack_from(data)
        union = data[_SMBUS_REQUEST.size :]
        if pointer and size and len(union) < _UNION_BYTES:
            wanted = [(argument, _SMBUS_REQUEST.size), (pointer, _UNION_BYTES)]
            return _again(unique, wanted, [(pointer, _UNION_BYTES)] if direction == READ else [])
        error, out = self._adapter.smbus(self._slaves.get(handle, 0), direction, command, size, union)
        if error:
            return _answer(unique, error=-error)
        return _done(unique, data=out.ljust(_UNION_BYTES, b"\0") if direction == READ and pointer and size else b"")

    def _rdwr(self, unique: int, argument: int, data: bytes) -> bytes:
        request = (argument, _RDWR_REQUEST.size)
        if len(data) < _RDWR_REQUEST.size:
            return _again(unique, [request], [])
        pointer, count = _RDWR_REQUEST.unpack_from(data)
        if not 1 <= count <= _MOST_MESSAGES:
            return _answer(unique, error=errno.EINVAL)
        heads = (pointer, count * _MESSAGE.size)
        at = _RDWR_REQUEST.size + heads[1]
        if len(data) < at:
            return _again(unique, [request, heads], [])
        messages = [_MESSAGE.unpack_from(data, _RDWR_REQUEST.size + i * _MESSAGE.size) for i in range(count)]
        if len(data) < at + sum(length for _, _, length, _ in messages):
            buffers = [(where, length) for _, _, length, where in messages]
            reads = [(where, length) for _, flags, length, where in messages if flags & READ]
            return _again(unique, [request, heads, *buffers], reads)
        parts = []
        for address, flags, length, _ in messages:
            parts.append((address, flags, data[at : at + length]))
            at += length
        error, out = self._adapter.rdwr(parts)
        if error:
            return _answer(unique, error=-error)
        return _done(unique, result=count, data=b"".join(out))


def _answer(unique: int, body: bytes = b"", *, error: int = 0) -> bytes:
    return _OUT.pack(_OUT.size + len(body), -error, unique) + body


def _done(unique: int, *, result: int = 0, data: bytes = b"") -> bytes:
    return _answer(unique, _IOCTL_OUT.pack(result, 0, 0, 0) + data)


def _again(unique: int, reads: list[tuple[int, int]], writes: list[tuple[int, int]]) -> bytes:
    """Asks for the memory in `reads`, and for room in `writes`."""
    vectors = b"".join(_VECTOR.pack(*v) for v in (*reads, *writes))
    return _answer(unique, _IOCTL_OUT.pack(0, _RETRY, len(reads), len(writes)) + vectors)


def serve(adapter: SimulatedI2c, name: str, stop: int) -> None:
    """Serves `/dev/NAME` until the descriptor `stop` is readable. Raises OSError where the kernel has no CUSE."""
    protocol = Protocol(adapter, name)
    device = os.open("/dev/cuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            ready, _, _ = select.select([device, stop], [], [])
            if stop in ready:
                return
            answer = protocol.reply(os.read(device, _LARGEST))
            if answer is not None:
                os.write(device, answer)
    finally:
        os.close(device)
