"""What was measured of each disk, kept over restarts: capabilities do not change while the recorder runs (5.25).

So what a client reads is what the run before has measured.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from recorderd.durable import replace_file

log = logging.getLogger(__name__)

MAX_DISKS = 16
_MAX_BYTES = 16 << 10


class Measured(msgspec.Struct, frozen=True):
    """Bytes per second by disk id, the disk measured last at the end."""

    disks: dict[str, int] = {}

    def newest(self) -> int:
        """Of the disk measured last, which is the one in use; 0 where none was."""
        return next(reversed(self.disks.values()), 0)

    def with_disk(self, disk: str, bytes_s: int) -> Measured:
        others = [(key, value) for key, value in self.disks.items() if key != disk]
        return Measured(dict([*others, (disk, bytes_s)][-MAX_DISKS:]))


def load(path: Path) -> Measured:
    """Nothing where the file is absent, unreadable or none of ours: it will be measured again."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=Measured)
    except FileNotFoundError:
        return Measured()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s is not used: %s", path, error)
        return Measured()


def save(path: Path, measured: Measured) -> None:
    """Whole or not at all. Blocks. Raises OSError."""
    replace_file(path, msgspec.json.encode(measured))
