"""The last configuration on the data disk, without secrets: what a recorder goes on with, or is restored from, when its system flash fails.

Two files that the ring made with itself (I6) are written in turn and in place, each with a sequence and a checksum, so a power cut costs
the one being written and never both. A configuration without objects is never written: a recorder that has just lost everything must
not take the copy too.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Collection
from pathlib import Path

import msgspec

from recorderd.model.disk_files import CONFIGURATION_BYTES, CONFIGURATIONS
from recorderd.model.objects import Objects

MARKER = "recorderd.id"  # what a ring's folder has: never the system disk in place of a missing one
MAX_DOCUMENT_BYTES = 16 << 20
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
    held = [_read(ring / name) for name in CONFIGURATIONS]
    newest = max((found[0] for found in held if found is not None), default=0)
    target = next((n for n, found in enumerate(held) if found is None or found[0] < newest), 0)
    body = zlib.compress(msgspec.json.encode(mirror))
    data = b"%b %d %08x %d\n%b" % (_MAGIC, newest + 1, zlib.crc32(body), len(body), body)
    if len(data) > CONFIGURATION_BYTES:
        raise OSError(errno.EFBIG, f"a configuration of {len(data)} bytes has no room there")
    file = _open(ring / CONFIGURATIONS[target], os.O_WRONLY)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.pwrite(file, rest, len(data) - len(rest)) :]
        os.fdatasync(file)
    finally:
        os.close(file)
    return True


def read(ring: Path) -> Mirror | None:
    """The newest whole mirror; None where there is none. Blocks. Raises OSError."""
    if not (ring / MARKER).is_file():
        return None
    found = [held for name in CONFIGURATIONS if (held := _read(ring / name)) is not None]
    for _, body in sorted(found, reverse=True):
        try:
            document = zlib.decompressobj().decompress(body, MAX_DOCUMENT_BYTES)
            return msgspec.json.decode(document, type=Mirror)
        except (zlib.error, msgspec.DecodeError):
            continue
    return None


def _open(path: Path, flags: int) -> int:
    """A file that the ring made, and no other. Raises OSError."""
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size != CONFIGURATION_BYTES:
        os.close(file)
        raise OSError(errno.EINVAL, f"{path.name} is not a file of the ring's")
    return file


def _read(path: Path) -> tuple[int, bytes] | None:
    """(sequence, compressed document); None for what was never written or is torn."""
    file = _open(path, os.O_RDONLY)
    try:
        data = os.pread(file, CONFIGURATION_BYTES, 0)
    finally:
        os.close(file)
    head = data[:256].partition(b"\n")[0]
    words = head.split(b" ")
    if (
        len(words) != 4
        or words[0] != _MAGIC
        or not all(word.isdigit() and len(word) < 19 for word in (words[1], words[3]))
    ):
        return None
    body = data[len(head) + 1 : len(head) + 1 + int(words[3])]
    if len(body) != int(words[3]) or words[2] != b"%08x" % zlib.crc32(body):
        return None
    return int(words[1]), body
