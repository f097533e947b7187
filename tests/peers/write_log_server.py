"""A FUSE file system of one file that logs every write and flush: the disk below a loop device in the power-cut test.

Run as `python write_log_server.py MOUNT_POINT IMAGE_BYTES IMAGE LOG`. Speaks the kernel's protocol (linux/fuse.h, 7.31) on /dev/fuse; needs
root. The log holds entries of (kind, offset, length) and data; an entry is in the log before the kernel gets its answer.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys

LOG_ENTRY = struct.Struct("<BQI")
WRITE, FLUSH = 1, 2
_IN = struct.Struct("<IIQQIIII")
_OUT = struct.Struct("<IiQ")
_MAX_WRITE = 1 << 20
_LOOKUP, _FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC = (
    1,
    2,
    3,
    4,
    14,
    15,
    16,
    17,
    18,
    20,
)
_FLUSH, _INIT, _OPENDIR, _RELEASEDIR, _INTERRUPT, _DESTROY, _BATCH_FORGET = 25, 26, 27, 29, 36, 38, 42
_FILE = 2
NAME = b"disk.img"


def attributes(node: int, size: int) -> bytes:
    mode, length, links = (stat.S_IFREG | 0o600, size, 1) if node == _FILE else (stat.S_IFDIR | 0o700, 0, 2)
    return struct.pack("<6Q10I", node, length, length // 512, 0, 0, 0, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)


def answer(opcode: int, node: int, body: memoryview, size: int, image: int, log: int) -> bytes | int:
    """The reply's body, or an errno."""
    if opcode == _INIT:
        readahead = struct.unpack_from("<I", body, 8)[0]
        return struct.pack("<4I2H2I2H8I", 7, 31, readahead, 1 << 22, 16, 12, _MAX_WRITE, 1, 256, 0, *([0] * 8))
    if opcode == _LOOKUP:
        if bytes(body).rstrip(b"\0") != NAME:
            return errno.ENOENT
        return struct.pack("<4Q2I", _FILE, 0, 3600, 3600, 0, 0) + attributes(_FILE, size)
    if opcode in (_GETATTR, _SETATTR):
        return struct.pack("<QII", 3600, 0, 0) + attributes(node, size)
    if opcode in (_OPEN, _OPENDIR):
        return struct.pack(
            "<QIi", 1, 1 if opcode == _OPEN else 0, 0
        )  # FOPEN_DIRECT_IO: nothing stays in the page cache
    if opcode == _READ:
        offset, count = struct.unpack_from("<QI", body, 8)
        return os.pread(image, min(count, size - offset), offset)
    if opcode == _WRITE:
        offset, count = struct.unpack_from("<QI", body, 8)
        data = body[40 : 40 + count]
        os.write(log, LOG_ENTRY.pack(WRITE, offset, count) + bytes(data))
        os.pwrite(image, data, offset)
        return struct.pack("<II", count, 0)
    if opcode == _FSYNC:
        os.write(log, LOG_ENTRY.pack(FLUSH, 0, 0))
        return b""
    if opcode == _STATFS:
        return struct.pack("<5Q4I6I", 1 << 20, 1 << 20, 1 << 20, 1, 1, 4096, 255, 4096, 0, *([0] * 6))
    if opcode in (_RELEASE, _RELEASEDIR, _FLUSH):
        return b""
    return errno.ENOSYS


def main(mount_point: str, size: int, image_path: str, log_path: str) -> None:
    image = os.open(image_path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(image, size)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"write-log", mount_point.encode(), b"fuse", 6, options) != 0:  # MS_NOSUID | MS_NODEV
        raise OSError(ctypes.get_errno(), "mount")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    buffer = bytearray(_MAX_WRITE + 65536)
    view = memoryview(buffer)
    while True:
        try:
            count = os.readv(fuse, [buffer])
        except OSError as error:
            if error.errno == errno.ENODEV:  # unmounted
                return
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                continue
            raise
        _, opcode, unique, node, *_ = _IN.unpack_from(view)
        if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            continue
        reply = answer(opcode, node, view[_IN.size : count], size, image, log)
        body, code = (b"", -reply) if isinstance(reply, int) else (reply, 0)
        os.write(fuse, _OUT.pack(_OUT.size + len(body), code, unique) + body)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
