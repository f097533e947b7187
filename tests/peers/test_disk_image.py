"""The loop-device fixture: a file system that is really there, takes O_DIRECT, counts what reaches the device, and goes away."""

import mmap
import os
from pathlib import Path

import pytest

from tests.peers.disk_image import MIB, disk_image, needs_loop_devices


@pytest.mark.root
@needs_loop_devices
@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_direct_writes_reach_the_device(tmp_path, file_system):
    with disk_image(tmp_path, file_system, 320) as disk:
        page = mmap.mmap(-1, MIB)
        page[:] = b"x" * MIB
        before, flushed = disk.sectors_written(), disk.flushes()
        file = os.open(disk.mount_point / "file", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        assert os.pwrite(file, page, 0) == MIB
        os.fdatasync(file)
        os.close(file)
        assert disk.sectors_written() - before >= MIB // 512
        assert disk.flushes() > flushed
        disk.remount(read_only=True)
        with pytest.raises(OSError, match="Read-only"):
            (disk.mount_point / "other").touch()
        disk.unmount()
        assert not (disk.mount_point / "file").exists()
        disk.mount(read_only=True)
        assert (disk.mount_point / "file").stat().st_size == MIB
    assert str(disk.device) not in Path("/proc/mounts").read_text()
    assert not disk.image.exists()
