"""The daemon and its disk: none, blank, read-only, taken away. It answers throughout, says why, and goes on by itself."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.daemon.test_secrets import simulated_camera
from tests.peers.disk_image import DiskImage, disk_image, needs_loop_devices
from tests.recorder import Recorder, until


def _on(disk: Path, folder: Path, *, slots: int) -> Recorder:
    """A recorder whose ring lies on a mounted disk."""
    recorder = Recorder(folder, durable=True)
    recorder.ring.symlink_to(disk)
    recorder.config.write_text(recorder.config.read_text().replace(str(recorder.ring), str(disk)))
    recorder.ring.unlink()
    recorder.ring = disk
    if slots:
        recorder.format(slots)
    return recorder


def test_a_blank_folder_is_said_and_not_formatted_unasked(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.ring.mkdir()
        until(lambda: recorder.status().disk.state == "missing")
        assert "disks format" in recorder.status().disk.detail
        assert list(recorder.ring.iterdir()) == []


@pytest.mark.host
@pytest.mark.root
@needs_loop_devices
def test_read_only_away_and_back(tmp_path: Path) -> None:
    with disk_image(tmp_path, "ext4", 192) as disk, simulated_camera() as (url, _):
        recorder = _on(disk.mount_point, tmp_path, slots=12)
        shutil.rmtree(disk.mount_point / "lost+found", ignore_errors=True)
        disk.remount(read_only=True)
        with recorder:
            assert recorder.ctl("devices", "add", url, "--id", "door", "--record").returncode == 0
            until(lambda: recorder.status().verdict.startswith("NOT RECORDING"))
            until(lambda: recorder.status().disk.state == "degraded")
            assert "read-only" in recorder.status().disk.detail.lower()
            assert recorder.ctl("status").returncode == 1
            disk.remount(read_only=False)
            until(lambda: recorder.camera("door").state == "recording")
            pid = recorder.process.pid if recorder.process is not None else 0
            _pull(disk.mount_point)
            until(lambda: recorder.status().disk.state != "recording")
            assert recorder.ctl("why", "door").returncode == 1
            until(lambda: _unmounted(disk))
            disk.mount()
            until(lambda: recorder.camera("door").state == "recording")
            os.kill(pid, 0)  # the same process all the time


def _pull(mount_point: Path) -> None:
    """From here on every access to the file system fails, as when its disk is gone (EXT4_IOC_SHUTDOWN without a last log flush)."""
    folder = os.open(mount_point, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))
    finally:
        os.close(folder)


def _unmounted(disk: DiskImage) -> bool:
    """Whether the daemon has let the disk go, so that it can be unmounted."""
    try:
        disk.unmount()
    except AssertionError:
        return False
    return True


@pytest.mark.host
@pytest.mark.root
@needs_loop_devices
def test_killed_and_both_checkpoints_lost_it_records_on_and_finds_its_footage_again(tmp_path: Path) -> None:
    with disk_image(tmp_path, "ext4", 192) as disk, simulated_camera() as (url, _):
        recorder = _on(disk.mount_point, tmp_path, slots=12)
        with recorder:
            assert recorder.ctl("devices", "add", url, "--id", "door", "--record").returncode == 0
            until(lambda: recorder.camera("door").state == "recording")
            until(lambda: len(_recorded(recorder)) == 1)
            until((tmp_path / "state" / "disks.json").exists)
            before = _recorded(recorder)[0]["start"]
            recorder.kill()
            for name in ("ckpt.a", "ckpt.b"):
                path = disk.mount_point / name
                path.write_bytes(bytes(path.stat().st_size))
            recorder.start()
            until(lambda: recorder.camera("door").state == "recording")
            until(lambda: len(_recorded(recorder)) >= 2)
            assert str(_recorded(recorder)[0]["start"])[:19] == str(before)[:19]
            assert any("neither checkpoint" in problem.text for problem in recorder.status().problems)


def _recorded(recorder: Recorder) -> list[dict[str, object]]:
    """The recorded stretches of the timeline."""
    answer = recorder.ctl("timeline", "door", "--json")
    bars = json.loads(answer.stdout)["bars"] if answer.returncode == 0 else []
    return [bar for bar in bars if not bar.get("cause")]
