"""Raw bytes of an upgraded call into a file or standard output: whole or not at all, with progress."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from recorderd.ctl.session import Failure
from recorderd.ctl.table import size
from recorderd.protocol.client import Download
from recorderd.protocol.printable import printable
from recorderd.protocol.upgrade import Trailer

_LOOK_S = 0.2


class Target:
    """Where the bytes go; made by `target`. `fd` is open for writing."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @property
    def may_be_handed_over(self) -> bool:
        """Whether the recorder's worker takes the descriptor, so that the bytes need not come through here."""
        mode = os.fstat(self.fd).st_mode
        return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)

    def take(self, download: Download, *, estimated_bytes: int = 0) -> Trailer:
        """Everything that comes. Raises `Failure` when writing fails, or when the recorder says that the data is incomplete."""
        progress = _Progress(estimated_bytes)
        try:
            for piece in download:
                view = piece
                while view:
                    written = os.write(self.fd, view)
                    progress.add(written)
                    view = view[written:]
        except OSError as error:
            raise Failure(f"cannot write: {error.strerror}") from error
        finally:
            progress.end()
        return _whole(download)

    def watch(self, download: Download, *, estimated_bytes: int = 0) -> Trailer:
        """Waits while the recorder's worker writes to `fd`. Raises as `take`."""
        progress = _Progress(estimated_bytes)
        is_file = stat.S_ISREG(os.fstat(self.fd).st_mode)
        poll = select.poll()
        poll.register(download.fd, select.POLLIN)
        try:
            while download.empty and not poll.poll(_LOOK_S * 1000):
                if is_file:
                    progress.at(os.fstat(self.fd).st_size)
            for _ in download:
                pass
        finally:
            progress.end()
        return _whole(download)


@contextlib.contextmanager
def target(name: str, *, force: bool) -> Iterator[Target]:
    """`-` is standard output. A file gets its name at the end of the context, when it is complete and on the disk.

    Raises `Failure` when it exists (without `force`), or cannot be written.
    """
    if name == "-":
        if sys.stdout.isatty():
            raise Failure("not writing media to a terminal")
        yield Target(sys.stdout.fileno())
        return
    path = Path(name)
    check_target(name, force=force)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Failure(f"cannot write {part}: {error.strerror}") from error
    try:
        try:
            yield Target(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        if force:
            part.replace(path)
        else:
            os.link(part, path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def check_target(name: str, *, force: bool) -> None:
    """Refuses before the recorder is asked for anything."""
    if name != "-" and not force and Path(name).exists():
        raise Failure(f"{name} exists; --force replaces it")


def _whole(download: Download) -> Trailer:
    trailer = download.trailer
    assert trailer is not None  # iteration ends with the trailer or raises
    if not trailer.complete:
        raise Failure(f"incomplete: {printable(trailer.reason, 200)}")
    return trailer


class _Progress:
    """One line on standard error, five times a second, where that is a terminal."""

    def __init__(self, estimated_bytes: int) -> None:
        self._estimated = estimated_bytes
        self._done = 0
        self._shown = time.monotonic()
        self._on = sys.stderr.isatty()

    def add(self, count: int) -> None:
        self.at(self._done + count)

    def at(self, done: int) -> None:
        self._done = done
        if self._on and time.monotonic() - self._shown > _LOOK_S:
            self._shown = time.monotonic()
            part = (
                f" of about {size(self._estimated)}, {min(99, self._done * 100 // self._estimated)}%"
                if self._estimated
                else ""
            )
            print(f"\r{size(self._done)}{part}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._on:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
