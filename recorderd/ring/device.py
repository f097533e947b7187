"""Blocking I/O on the folder of one ring: the only code of the room that touches a medium.

`Device` is what the rest of the room sees; `FileDevice` is the real one. Calls block and raise OSError, so they run in disk threads
(`disk_threads.py`), on buffers that are block-aligned in memory, offset and length. Every path is relative to the ring's folder and is
walked one component at a time without following links.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from recorderd.ring.layout import BLOCK

_libc = ctypes.CDLL(None, use_errno=True)  # CDLL drops the GIL while a call runs
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class UnsafeFile(OSError):
    """A file of the ring is not what format made: a link, of another size, with holes or shared extents. Never written, never read.

    An OSError without a number: whoever survives a disk error survives this.
    """


@dataclass(frozen=True, slots=True)
class Space:
    """The file system below a folder."""

    kind: str  # ext4, xfs, ... or hexadecimal magic
    free_bytes: int
    total_bytes: int
    block_bytes: int


class Device(Protocol):
    """Blocking calls; each may raise OSError."""

    def open(self, path: str, *, writable: bool, size: int) -> int:
        """Opens an existing file of exactly `size` bytes. Raises UnsafeFile when it is not a plain file of the ring's own."""

    def close(self, handle: int) -> None: ...

    def read(self, handle: int, buffer: memoryview, offset: int) -> None:
        """Fills `buffer`; a short read is OSError(EIO)."""

    def write(self, handle: int, buffer: memoryview, offset: int) -> None:
        """Writes all of `buffer`; a short write is OSError(EIO)."""

    def datasync(self, handle: int) -> None:
        """fdatasync: with all slots written before, makes every completed write durable."""

    def syncfs(self) -> None:
        """Also commits the file system's own journal: needed for extents never written before."""

    def release(self) -> None:
        """Closes what the device itself holds open."""


class FormatDevice(Device, Protocol):
    """What only format needs."""

    def space(self) -> Space: ...

    def names(self, folder: str) -> list[str]: ...

    def make_folder(self, path: str) -> None: ...

    def create(self, path: str, size: int) -> None:
        """A new file of `size` allocated bytes. Raises OSError(EOPNOTSUPP) where the file system cannot promise the space."""

    def sync_folder(self, path: str) -> None: ...


_KINDS: Final = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x794C7630: "overlayfs",
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0xF2F52010: "f2fs",
    0x2FC12FC1: "zfs",
    0xCA451A4E: "bcachefs",
    0x65735546: "fuse",
}
ALLOCATING_KINDS: Final = ("ext4", "xfs")

_FS_IOC_FIEMAP: Final = 0xC020660B
_FIEMAP_HEAD: Final = struct.Struct("=QQIIII")
_FIEMAP_EXTENT: Final = struct.Struct("=QQQQQIIII")
_FIEMAP_BATCH: Final = 64
_EXTENT_LAST: Final = 0x1
_EXTENT_UNWRITTEN: Final = 0x800
_EXTENT_SHARED: Final = 0x2000


@dataclass(frozen=True, slots=True)
class Extent:
    logical: int
    physical: int
    length: int
    unwritten: bool
    shared: bool


def extents(fd: int) -> Iterator[Extent]:
    """The file's extents (FIEMAP, linux/fiemap.h). Raises OSError where the file system has no such call."""
    start = 0
    while True:
        request = bytearray(_FIEMAP_HEAD.pack(start, (1 << 63) - 1 - start, 0, 0, _FIEMAP_BATCH, 0))
        request += bytes(_FIEMAP_EXTENT.size * _FIEMAP_BATCH)
        fcntl.ioctl(fd, _FS_IOC_FIEMAP, request)
        mapped = _FIEMAP_HEAD.unpack_from(request)[3]
        if mapped == 0:
            return
        flags = 0
        for i in range(min(mapped, _FIEMAP_BATCH)):
            logical, physical, length, _, _, flags, *_ = _FIEMAP_EXTENT.unpack_from(
                request, _FIEMAP_HEAD.size + i * _FIEMAP_EXTENT.size
            )
            yield Extent(logical, physical, length, bool(flags & _EXTENT_UNWRITTEN), bool(flags & _EXTENT_SHARED))
            start = logical + length
        if flags & _EXTENT_LAST:
            return


class FileDevice:
    """The ring below `folder`.

    `durability="direct"` writes with O_DIRECT and checks the extents of what it opens. `durability="none"` is for file systems that
    refuse O_DIRECT or cannot allocate: buffered writes, and no promise about power cuts.
    """

    def __init__(self, folder: Path, *, durability: str = "direct") -> None:
        if durability not in ("direct", "none"):
            raise ValueError(f"durability {durability!r}: expected 'direct' or 'none'")
        self._direct = durability == "direct"
        self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._device = os.fstat(self._root).st_dev
        try:
            fcntl.flock(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._root)
            raise OSError(errno.EBUSY, f"{folder} is in use by another process") from None

    def release(self) -> None:
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    @contextlib.contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        """A descriptor of the folder `path` (empty: the ring's own)."""
        fd = os.dup(self._root)
        try:
            for name in filter(None, path.split("/")):
                if name in (".", ".."):
                    raise UnsafeFile(f"{path}: not below the ring")
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def open(self, path: str, *, writable: bool, size: int) -> int:
        folder, _, name = path.rpartition("/")
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        if self._direct:
            flags |= os.O_DIRECT
        try:
            with self._folder(folder) as below:
                fd = os.open(name, flags, dir_fd=below)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise UnsafeFile(f"{path}: a link or not a folder on the way") from error
            raise
        try:
            self._check(fd, path, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _check(self, fd: int, path: str, size: int) -> None:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise UnsafeFile(f"{path}: not a regular file")
        if info.st_dev != self._device:
            raise UnsafeFile(f"{path}: on another file system")
        if info.st_nlink != 1:
            raise UnsafeFile(f"{path}: {info.st_nlink} links instead of 1")
        if info.st_size != size:
            raise UnsafeFile(f"{path}: {info.st_size} bytes instead of {size}")
        if self._direct:
            unit = direct_alignment(fd)
            if unit > BLOCK:
                raise UnsafeFile(
                    f"{path}: its device wants direct writes of {unit} bytes, the ring writes blocks of {BLOCK}"
                )
            covered = 0
            for extent in extents(fd):
                if extent.shared:
                    raise UnsafeFile(f"{path}: shares extents with another file")
                covered += extent.length
            if covered < size:
                raise UnsafeFile(f"{path}: has holes ({covered} of {size} bytes allocated)")

    def close(self, handle: int) -> None:
        os.close(handle)

    def read(self, handle: int, buffer: memoryview, offset: int) -> None:
        if os.preadv(handle, [buffer], offset) != len(buffer):
            raise OSError(errno.EIO, "short read")

    def write(self, handle: int, buffer: memoryview, offset: int) -> None:
        if os.pwrite(handle, buffer, offset) != len(buffer):
            raise OSError(errno.EIO, "short write")

    def datasync(self, handle: int) -> None:
        os.fdatasync(handle)

    def syncfs(self) -> None:
        if _libc.syncfs(self._root) != 0:
            raise _last_error("syncfs")

    # --- format ---

    def space(self) -> Space:
        info = os.fstatvfs(self._root)
        return Space(
            filesystem_kind(self._root), info.f_bavail * info.f_frsize, info.f_blocks * info.f_frsize, info.f_bsize
        )

    def names(self, folder: str) -> list[str]:
        with self._folder(folder) as fd:
            return sorted(entry.name for entry in os.scandir(fd))

    def make_folder(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        with self._folder(parent) as fd:
            os.mkdir(name, 0o750, dir_fd=fd)

    def create(self, path: str, size: int) -> None:
        parent, _, name = path.rpartition("/")
        with self._folder(parent) as below:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o640, dir_fd=below)
        try:
            if self._direct:
                if _libc.fallocate(fd, 0, 0, size) != 0:
                    raise _last_error(path)
            else:
                os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def sync_folder(self, path: str) -> None:
        with self._folder(path) as fd:
            os.fsync(fd)


_STATX_DIOALIGN: Final = 0x2000
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BYTES: Final = 256


def direct_alignment(fd: int) -> int:
    """What offsets and lengths of direct I/O must be multiples of (statx(2), Linux 6.1); 0 where the kernel does not say."""
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(fd, b"", _AT_EMPTY_PATH, _STATX_DIOALIGN, answer) != 0:
        raise _last_error("statx")
    mask = struct.unpack_from("=I", answer, 0)[0]
    return int(struct.unpack_from("=I", answer, 0x9C)[0]) if mask & _STATX_DIOALIGN else 0


def filesystem_kind(fd: int) -> str:
    """Name of the file system behind an open descriptor, from statfs(2)'s magic."""
    raw = (ctypes.c_ulong * 32)()  # struct statfs begins with f_type, a word
    if _libc.fstatfs(fd, ctypes.byref(raw)) != 0:
        raise _last_error("fstatfs")
    magic = raw[0] & 0xFFFFFFFF
    return _KINDS.get(magic, hex(magic))


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
