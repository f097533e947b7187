"""Real file systems to write to: an image file behind a loop device, formatted and mounted, gone again at the end. Needs root.

with disk_image(tmp_path, "ext4", 512) as disk:
    ...disk.mount_point...
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MIB = 1024 * 1024
OPTIONS = {"ext4": "noatime,commit=60", "xfs": "noatime", "ext2": "noatime"}
_MKFS = {
    # not lazy: else the kernel writes inode tables in the background, among what is being counted
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "ext2": ["mkfs.ext2", "-q", "-F"],
}


def missing() -> str:
    """Why images cannot be mounted here; empty if they can."""
    if os.geteuid() != 0:
        return "needs root for loop devices"
    if not Path("/dev/loop-control").exists():
        return "needs loop devices"
    for tool in ("losetup", "mkfs.ext4", "mkfs.xfs", "mount"):
        if shutil.which(tool) is None:
            return f"needs the program {tool}"
    return ""


needs_loop_devices = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class DiskImage:
    """One formatted loop device. `mount` and `unmount` may be called at any time; the end of the context undoes what is left."""

    image: Path
    device: Path
    file_system: str
    mount_point: Path
    mounted: bool = False

    def mount(self, *, read_only: bool = False) -> None:
        options = OPTIONS[self.file_system] + (",ro" if read_only else "")
        _run("mount", "-t", self.file_system, "-o", options, self.device, self.mount_point)
        self.mounted = True

    def remount(self, *, read_only: bool) -> None:
        _run("mount", "-o", f"remount,{'ro' if read_only else 'rw'}", self.mount_point)

    def unmount(self) -> None:
        _run("umount", self.mount_point)
        self.mounted = False

    def sectors_written(self) -> int:
        """512-byte sectors written to the device since it was made (/sys/block, Documentation/block/stat.rst)."""
        return int(Path(f"/sys/block/{self.device.name}/stat").read_text().split()[6])

    def flushes(self) -> int:
        """Flush requests completed by the device since it was made."""
        return int(Path(f"/sys/block/{self.device.name}/stat").read_text().split()[15])

    def write_requests(self) -> int:
        return int(Path(f"/sys/block/{self.device.name}/stat").read_text().split()[4])


@contextmanager
def disk_image(
    folder: Path, file_system: str = "ext4", size_mib: int = 512, *, mount: bool = True
) -> Iterator[DiskImage]:
    """A new file system of `size_mib` MiB (xfs: at least 300) in `folder`. Its file is fully allocated, so that no write waits for that."""
    number = len(list(folder.glob("disk*.img")))
    image, mount_point = folder / f"disk{number}.img", folder / f"disk{number}"
    mount_point.mkdir()
    with image.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size_mib * MIB)
    device = Path(_run("losetup", "--find", "--show", "--direct-io=on", image))
    disk = DiskImage(image, device, file_system, mount_point)
    try:
        _run(*_MKFS[file_system], device)
        if mount:
            disk.mount()
        yield disk
    finally:
        if disk.mounted:
            busy = subprocess.run(["umount", str(mount_point)], capture_output=True, text=True, check=False)
            if busy.returncode:
                _run("umount", "--lazy", mount_point)
        _run("losetup", "--detach", device)
        image.unlink()


@contextmanager
def bare_disk(folder: Path, size_mib: int) -> Iterator[str]:
    """A blank loop device with partitions. What was mounted at `folder`/ring and `folder`/objects is unmounted at the end."""
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    device = _run("losetup", "--find", "--show", "--partscan", image)
    try:
        yield device
    finally:
        for place in (folder / "ring", folder / "objects"):
            if place.is_mount():
                _run("umount", place)
        _run("losetup", "--detach", device)
