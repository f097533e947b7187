"""Raw bytes of an upgraded call into a file or standard output: whole or not at all, with progress."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from recorderd.ctl.session import Failure
from recorderd.ctl.table import size
from recorderd.protocol.client import Download
from recorderd.protocol.printable import printable
from recorderd.protocol.upgrade import Trailer


def save(download: Download, target: str, *, force: bool, estimated_bytes: int = 0) -> Trailer:
    """Writes to `target`, `-` for standard output. A file appears under its name only when it is complete and on the disk.

    Raises `Failure` when it exists (without `force`), when writing fails, or when the recorder says that the data is incomplete.
    """
    if target == "-":
        if sys.stdout.isatty():
            raise Failure("not writing media to a terminal")
        trailer = _copy(download, sys.stdout.fileno(), _Progress(estimated_bytes))
    else:
        trailer = _to_file(download, Path(target), force, estimated_bytes)
    if not trailer.complete:
        raise Failure(f"incomplete: {printable(trailer.reason, 200)}")
    return trailer


def check_target(target: str, *, force: bool) -> None:
    """Refuses before the recorder is asked for anything."""
    if target != "-" and not force and Path(target).exists():
        raise Failure(f"{target} exists; --force replaces it")


def _to_file(download: Download, path: Path, force: bool, estimated_bytes: int) -> Trailer:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Failure(f"cannot write {part}: {error.strerror}") from error
    try:
        try:
            trailer = _copy(download, fd, _Progress(estimated_bytes))
            os.fsync(fd)
        finally:
            os.close(fd)
        if trailer.complete:
            if force:
                part.replace(path)
            else:
                os.link(part, path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return trailer


def _copy(download: Download, fd: int, progress: _Progress) -> Trailer:
    for piece in download:
        view = piece
        while view:
            written = os.write(fd, view)
            progress.add(written)
            view = view[written:]
    progress.end()
    assert download.trailer is not None  # iteration ends with the trailer or raises
    return download.trailer


class _Progress:
    """One line on standard error, five times a second, where that is a terminal."""

    def __init__(self, estimated_bytes: int) -> None:
        self._estimated = estimated_bytes
        self._done = 0
        self._shown = time.monotonic()
        self._on = sys.stderr.isatty()

    def add(self, count: int) -> None:
        self._done += count
        if self._on and time.monotonic() - self._shown > 0.2:
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
