"""A disk whose every write and flush is logged, and what a power cut at any of them would leave (root, FUSE).

A loop device on a file system of one file that logs (`write_log_server.py`). A cut's image holds everything before the last flush that had
completed, and a random half of what came after, a quarter of that torn at 512-byte boundaries.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.peers import disk_image
from tests.peers.disk_image import OPTIONS
from tests.peers.write_log_server import FLUSH, LOG_ENTRY

SERVER = Path(__file__).with_name("write_log_server.py")
MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
}
SIZE_MIB = {"ext4": 64, "xfs": 300}


def missing() -> str:
    """Why a disk cannot be logged here; empty if it can."""
    return disk_image.missing() or ("" if Path("/dev/fuse").exists() else "needs FUSE")


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def undo(command: str, at: Path) -> None:
    """Unmounts, if need be what is still in use: a mount left behind would be in everybody's way."""
    if subprocess.run([command, str(at)], check=False, capture_output=True).returncode:
        subprocess.run([command, "--lazy", str(at)], check=False, capture_output=True)


@contextlib.contextmanager
def mounted(file: Path, kind: str, at: Path) -> Iterator[Path]:
    """The file system in an image file, mounted below `at` through a loop device of its own."""
    at.mkdir(exist_ok=True)
    device = run("losetup", "--find", "--show", file)
    try:
        run("mount", "-t", kind, "-o", OPTIONS[kind] + (",nouuid" if kind == "xfs" else ""), device, at)
        try:
            yield at
        finally:
            undo("umount", at)
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def logged_disk(folder: Path, kind: str) -> Iterator[tuple[Path, Path, Path]]:
    """Mount point of a fresh file system, its log, and the image as it is now."""
    below, image, log = folder / "below", folder / "now.img", folder / "writes.log"
    below.mkdir()
    command = [sys.executable, str(SERVER), str(below), str(SIZE_MIB[kind] << 20), str(image), str(log)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        run(*MKFS[kind], below / "disk.img")
        with mounted(below / "disk.img", kind, folder / "disk") as mount_point:
            yield mount_point, log, image
    finally:
        undo("umount", below)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)
        assert server.stdout is not None
        server.stdout.close()


def cut_image(base: Path, start: int, log_file: Path, cut: int, target: Path, rng: random.Random) -> None:
    """The disk after a power cut at position `cut` of the log; `base` is its image when the log was at `start`."""
    shutil.copyfile(base, target)
    since: list[tuple[int, bytes]] = []
    with log_file.open("rb") as log, target.open("r+b") as disk:
        log.seek(start)
        while log.tell() < cut:
            kind, offset, length = LOG_ENTRY.unpack(log.read(LOG_ENTRY.size))
            data = log.read(length)
            if kind == FLUSH:
                for at, written in since:
                    disk.seek(at)
                    disk.write(written)
                since = []
            else:
                since.append((offset, data))
        for at, written in since:
            fate = rng.random()
            if fate < 0.5:
                continue
            torn = fate > 0.875
            for sector in range(0, len(written), 512):
                if not torn or rng.random() < 0.5:
                    disk.seek(at + sector)
                    disk.write(written[sector : sector + 512])


def entry_positions(start: int, log_file: Path) -> list[int]:
    """Where each entry of the log ends, from `start` on."""
    positions = []
    with log_file.open("rb") as log:
        log.seek(start)
        while raw := log.read(LOG_ENTRY.size):
            log.seek(LOG_ENTRY.unpack(raw)[2], os.SEEK_CUR)
            positions.append(log.tell())
    return positions
