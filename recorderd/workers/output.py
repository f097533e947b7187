"""Where a worker's bytes go: a pipe to the daemon, or somebody's file."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import stat
from collections.abc import Sequence

OUTPUT_FD = 1
HAND_OVER_S = 30.0
WRITE_OUT_BYTES = 4 << 20
_IOV_MAX = 512
_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)  # CDLL drops the GIL while a call runs
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


class CannotWrite(Exception):
    """In words."""


def handed_over(by: int) -> int:
    """The descriptor that comes over a socket, with one byte. Raises CannotWrite when none comes that can be written to."""
    with socket.socket(fileno=by) as peer:
        peer.settimeout(HAND_OVER_S)
        try:
            _, fds, _, _ = socket.recv_fds(peer, 1, 1)
        except OSError as error:
            raise CannotWrite(f"no file was handed over: {error}") from error
    if not fds:
        raise CannotWrite("no file was handed over")
    mode = os.fstat(fds[0]).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise CannotWrite("what was handed over is neither a file nor a pipe")
    if fcntl.fcntl(fds[0], fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise CannotWrite("what was handed over is not open for writing")
    return fds[0]


class Output:
    """Of a file, what has come is sent to its disk while more comes, so that little is left to wait for at the end (sync_file_range(2))."""

    def __init__(self, fd: int = OUTPUT_FD) -> None:
        self.bytes = 0
        self._fd = fd
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._start = os.lseek(fd, 0, os.SEEK_CUR) if self._is_file else 0
        self._sent_out = 0

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """All of them, in order. Raises CannotWrite, also when the reader is gone."""
        try:
            self._write(pieces)
        except OSError as error:
            raise CannotWrite(f"cannot write: {error.strerror}") from error
        if self._is_file and self.bytes - self._sent_out >= WRITE_OUT_BYTES:
            # A hint: a file system that cannot take it writes later, and says what is wrong at fsync.
            _libc.sync_file_range(
                self._fd, self._start + self._sent_out, self.bytes - self._sent_out, _SYNC_FILE_RANGE_WRITE
            )
            self._sent_out = self.bytes

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        for start in range(0, len(pieces), _IOV_MAX):
            left = [memoryview(piece) for piece in pieces[start : start + _IOV_MAX] if len(piece)]
            while left:
                try:
                    written = os.writev(self._fd, left)
                except BlockingIOError:  # somebody else made their pipe so
                    _until_writable(self._fd)
                    continue
                self.bytes += written
                while left and written >= len(left[0]):
                    written -= len(left[0])
                    left.pop(0)
                if written:
                    left[0] = left[0][written:]


def _until_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()
