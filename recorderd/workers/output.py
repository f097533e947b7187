"""Where a worker's bytes go: a pipe to the daemon, or somebody's file."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

OUTPUT_FD = 1
WRITE_OUT_BYTES = 4 << 20
_IOV_MAX = 512
_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)  # CDLL drops the GIL while a call runs
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


class CannotWrite(Exception):
    """In words."""


class Output:
    """Of a file, what has come is sent to its disk while more comes, so that little is left to wait for at the end (sync_file_range(2))."""

    def __init__(self, fd: int = OUTPUT_FD) -> None:
        self.bytes = 0
        self._fd = fd
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._start = os.lseek(fd, 0, os.SEEK_CUR) if self._is_file else 0
        self._sent_out = 0

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """All of them, in order. Raises BrokenPipeError when the reader is gone, CannotWrite."""
        try:
            self._write(pieces)
        except BrokenPipeError:
            raise
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
                written = os.writev(self._fd, left)
                self.bytes += written
                while left and written >= len(left[0]):
                    written -= len(left[0])
                    left.pop(0)
                if written:
                    left[0] = left[0][written:]
