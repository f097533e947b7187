"""Where a benchmark runs: one ext4 file system for us and for every peer, and how long it may take."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers import disk_image
from tests.peers.disk_image import DiskImage


@dataclass(frozen=True)
class Place:
    """`folder` is on an ext4 file system of at least `size_mib` MiB; `disk` is its loop device, when root made one."""

    folder: Path
    disk: DiskImage | None
    quick: bool

    def seconds(self, full: float) -> float:
        """How long to measure: a quarter of `full`, at least 4, when quick."""
        return max(4.0, full / 4) if self.quick else full

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def empty(self, name: str) -> Iterator[Path]:
        """A new folder on that disk, gone again afterwards."""
        folder = self.folder / name
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


@contextmanager
def place(*, quick: bool, size_mib: int) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        if disk_image.missing():
            yield Place(Path(scratch), None, quick)
            return
        with disk_image.disk_image(Path(scratch), "ext4", size_mib) as disk:
            yield Place(disk.mount_point, disk, quick)
