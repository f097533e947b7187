"""Delivery into a folder on a disk of its own: durable and whole under its name, or not there.

Nothing outside the folder can be reached: every step of the way is opened below the one before it, without following links.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator

from recorderd.protocol.delivery import Deliver, Problem
from recorderd.workers.delivery.failure import Failure, from_os_error
from recorderd.workers.delivery.incoming import Incoming

_FLUSH_BYTES = 8 << 20  # written back and dropped from the page cache, which belongs to what is recorded
_PART = re.compile(r"\..+_\d{8}T\d{6}Z_[0-9a-f]{8}\.mp4\.part")  # as `recorderd.recording.export_files` names files
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def deliver(work: Deliver, incoming: Incoming) -> int:
    """Returns the bytes written. Raises Failure, and then leaves no file."""
    try:
        with _folder_of(work) as (folder, name):
            return _write(work, incoming, folder, name)
    except OSError as error:
        raise from_os_error(error) from error


@contextlib.contextmanager
def _folder_of(work: Deliver) -> Iterator[tuple[int, str]]:
    *folders, name = work.name.split("/")
    try:
        here = os.open(work.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Failure(Problem.ABSENT, f"the folder for exports, {work.root}, does not exist") from error
    try:
        if work.own_file_system and os.fstat(here).st_dev == os.stat("..", dir_fd=here).st_dev:
            raise Failure(Problem.ABSENT, f"no disk for exports is mounted at {work.root}")
        for step in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(step, 0o750, dir_fd=here)
                os.fsync(here)
            below = os.open(step, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here, name
    finally:
        os.close(here)


def _write(work: Deliver, incoming: Incoming, folder: int, name: str) -> int:
    _sweep(folder)
    part = f".{name}.part"
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=folder)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink == 0:
            raise Failure(Problem.PASSING, "another export has tidied up in this very moment")
        written = flushed = 0
        for piece in incoming.pieces():
            incoming.watch()
            rest = memoryview(piece)
            while rest:
                count = os.write(file, rest)
                written += count
                rest = rest[count:]
            if written - flushed >= _FLUSH_BYTES:
                flushed = _flush(file, written, incoming)
        _flush(file, written, incoming)
        if not work.trial:
            # A link and not a rename: what has this name already stays.
            os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        return written
    finally:
        os.close(file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=folder)
        os.fsync(folder)


def _sweep(folder: int) -> None:
    """Removes what recorders that were cut off have left half written: who still writes holds a lock."""
    for entry in os.listdir(folder):
        if _PART.fullmatch(entry) is None:
            continue
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            left = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry, dir_fd=folder)
            finally:
                os.close(left)


def _flush(file: int, written: int, incoming: Incoming) -> int:
    os.fdatasync(file)
    os.posix_fadvise(file, 0, written, os.POSIX_FADV_DONTNEED)
    incoming.report(written)
    return written
