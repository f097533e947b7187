"""The last configuration on the data disk, without secrets: what a recorder goes on with, or is restored from, when its system flash fails.

Two files below the ring's folder are written in turn, each with a sequence and a checksum, so a power cut costs the one being written and
never both. A configuration without objects is never written: a recorder that has just lost everything must not take the copy too.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Collection
from pathlib import Path

import msgspec

from recorderd.model.objects import Objects

FOLDER = "configuration"
MARKER = "recorderd.id"  # what a ring's folder has: never the system disk in place of a missing one
MAX_BYTES = 8 << 20
_NAMES = ("0", "1")
_MAGIC = b"recorderd-configuration"


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """All objects by kind in the order of their creation, the last numbers given out, and which secrets there were."""

    version: int  # of the state file's schema
    written_ns: int  # wall time
    tables: dict[str, list[msgspec.Raw]]
    numbers: dict[str, int]
    secrets: list[tuple[str, str, str]]  # kind, key, name


def mirror_of(objects: Objects, secrets: Collection[tuple[str, str, str]], *, version: int, written_ns: int) -> Mirror:
    return Mirror(
        version=version,
        written_ns=written_ns,
        tables={
            kind: [msgspec.Raw(msgspec.json.encode(each)) for each in table.values()]
            for kind, table in objects.tables.items()
            if table
        },
        numbers=dict(objects.numbers),
        secrets=sorted(secrets),
    )


def write(ring: Path, mirror: Mirror) -> bool:
    """Durable when it returns True; False where no ring is. Blocks. Raises OSError."""
    if not mirror.tables or not (ring / MARKER).is_file():
        return False
    folder = ring / FOLDER
    folder.mkdir(mode=0o750, exist_ok=True)
    held = [_read(folder / name) for name in _NAMES]
    newest = max((found[0] for found in held if found is not None), default=0)
    target = next((n for n, found in enumerate(held) if found is None or found[0] < newest), 0)
    body = msgspec.json.encode(mirror)
    if len(body) > MAX_BYTES:
        raise OSError(f"a configuration of {len(body)} bytes is not mirrored")
    head = b"%b %d %08x %d\n" % (_MAGIC, newest + 1, zlib.crc32(body), len(body))
    path = folder / _NAMES[target]
    new = not path.exists()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        rest = memoryview(head + body)
        os.truncate(file, 0)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)
    if new:
        _sync(folder)
        _sync(ring)
    return True


def read(ring: Path) -> Mirror | None:
    """The newest whole mirror; None where there is none. Blocks. Raises OSError."""
    if not (ring / MARKER).is_file():
        return None
    found = [held for name in _NAMES if (held := _read(ring / FOLDER / name)) is not None]
    for _, body in sorted(found, reverse=True):
        try:
            return msgspec.json.decode(body, type=Mirror)
        except msgspec.DecodeError:
            continue
    return None


def _read(path: Path) -> tuple[int, bytes] | None:
    """(sequence, document); None for what is absent, torn, or not a file of ours."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES + 256:
            return None
        with os.fdopen(file, "rb", closefd=False) as reader:
            head, _, body = reader.read().partition(b"\n")
    finally:
        os.close(file)
    words = head.split(b" ")
    if len(words) != 4 or words[0] != _MAGIC or not all(word.isdigit() for word in (words[1], words[3])):
        return None
    if words[2] != b"%08x" % zlib.crc32(body) or int(words[3]) != len(body) or len(words[1]) > 18:
        return None
    return int(words[1]), body


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
