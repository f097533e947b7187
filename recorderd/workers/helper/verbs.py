"""What each verb does. Refusals are `Refused`; everything else that goes wrong is an OSError or a program's own failure."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from recorderd.protocol import helper
from recorderd.workers.helper import gpt, inventory
from recorderd.workers.helper.programs import ProgramMissing, run, run_for_code

Tell = Callable[[str], None]
_BLKRRPART = 0x125F
_BLKSSZGET = 0x1268
_BLKGETSIZE64 = 0x80081272
_MKFS_S = 600.0
_CHECK_S = 6 * 3600.0
_WIPE_BYTES = 1 << 20
_OWNED_MODE = 0o750
MOUNT_OPTIONS = {"ext4": "noatime,nodev,nosuid,noexec,commit=60", "xfs": "noatime,nodev,nosuid,noexec"}


class Refused(Exception):
    """The request is not allowed; the text says why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What this helper may touch: whole disks by these paths, mounted at these places, owned by this user."""

    devices: tuple[str, ...]
    ring_path: Path
    objects_path: Path
    owner: int
    group: int


def find_disk(rules: Rules, device: str) -> helper.Disk:
    """The disk, if it may be touched. Raises Refused."""
    if rules.devices and not any(Path(device).match(pattern) for pattern in rules.devices):
        raise Refused(f"{device} is not one of the disks of this recorder ({', '.join(rules.devices)})")
    found = next((disk for disk in inventory.disks() if disk.device == device), None)
    if found is None:
        raise Refused(f"there is no disk {device}")
    if found.system:
        raise Refused(f"{device} carries the running system")
    if not stat.S_ISBLK(Path(device).lstat().st_mode):
        raise Refused(f"{device} is not a block device")
    return found


def list_disks(_rules: Rules) -> helper.Disks:
    return helper.Disks(disks=inventory.disks())


def make_file_system(rules: Rules, request: helper.MakeFileSystem, tell: Tell) -> helper.Made:
    disk = find_disk(rules, request.device)
    if disk.holds != request.holds:
        raise Refused(f"{request.device} holds {disk.holds}; what was agreed to erase was {request.holds}")
    for part in disk.parts:
        if part.mounted_at:
            raise Refused(f"{part.device} is mounted at {part.mounted_at}: unmount it first")
    tell("writing the partition table")
    with _exclusive(request.device) as fd:
        sector_bytes = struct.unpack("i", fcntl.ioctl(fd, _BLKSSZGET, bytes(4)))[0]
        size_bytes = struct.unpack("Q", fcntl.ioctl(fd, _BLKGETSIZE64, bytes(8)))[0]
        try:
            parts = gpt.plan(size_bytes, sector_bytes, request.objects_bytes)
        except ValueError as error:
            raise Refused(str(error)) from None
        for offset in (0, size_bytes - _WIPE_BYTES):  # old signatures of file systems, RAID and partition tables
            os.pwrite(fd, bytes(_WIPE_BYTES), offset)
        for offset, data in gpt.tables(size_bytes, sector_bytes, parts, uuid.uuid4()).items():
            os.pwrite(fd, data, offset)
        os.fsync(fd)
    names = [partition_path(request.device, number + 1) for number in range(len(parts))]
    _show_partitions(request.device, names)
    for number, name in enumerate(names):
        label = inventory.OBJECTS_LABEL if number else inventory.RING_LABEL
        kind = "ext4" if number else request.kind
        tell(f"making {kind} on {name}")
        run(*_mkfs(kind, label, name, is_ring=number == 0), timeout_s=_MKFS_S)
    return helper.Made(ring_part=names[0], objects_part=names[1] if len(names) > 1 else "")


def _mkfs(kind: str, label: str, device: str, *, is_ring: bool) -> tuple[str, ...]:
    if kind == "xfs":
        return "mkfs.xfs", "-f", "-q", "-L", label, device
    inodes = ("-T", "largefile4", "-m", "0") if is_ring else ("-m", "1")
    extended = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    return "mkfs.ext4", "-F", "-q", "-L", label, *inodes, "-E", extended, device


def mount(rules: Rules, request: helper.Mount) -> helper.Done:
    disk = find_disk(rules, request.device)
    ring = _ring_part(disk)
    places = [(ring, rules.ring_path)]
    places += [(p, rules.objects_path) for p in disk.parts if p.label == inventory.OBJECTS_LABEL]
    for part, place in places:
        if part.mounted_at == str(place):
            continue
        if part.mounted_at:
            raise Refused(f"{part.device} is mounted at {part.mounted_at} already")
        if os.path.ismount(place):
            raise Refused(f"something else is mounted at {place}")
        place.mkdir(mode=_OWNED_MODE, parents=True, exist_ok=True)
        run("mount", "-t", part.fs_kind, "-o", MOUNT_OPTIONS[part.fs_kind], part.device, str(place))
        os.chown(place, rules.owner, rules.group)
        place.chmod(_OWNED_MODE)
    return helper.Done()


def unmount(rules: Rules, request: helper.Unmount) -> helper.Done:
    disk = find_disk(rules, request.device)
    for part in disk.parts:
        if not part.mounted_at:
            continue
        if part.mounted_at not in (str(rules.ring_path), str(rules.objects_path)):
            raise Refused(f"{part.device} is mounted at {part.mounted_at}, which is not the recorder's")
        run("umount", part.mounted_at)
    return helper.Done()


def _ring_part(disk: helper.Disk) -> helper.Part:
    for part in disk.parts:
        if part.label == inventory.RING_LABEL and part.fs_kind in MOUNT_OPTIONS:
            return part
    raise Refused(f"{disk.device} holds {disk.holds}, not a ring")


def check_file_system(rules: Rules, request: helper.CheckFileSystem, tell: Tell) -> helper.Checked:
    disk = find_disk(rules, request.device)
    part = _ring_part(disk)
    if part.mounted_at:
        raise Refused(f"{part.device} is mounted at {part.mounted_at}: unmount it first")
    tell(f"checking {part.fs_kind} on {part.device}")
    if part.fs_kind == "xfs":
        code, output = run_for_code("xfs_repair", *([] if request.repair else ["-n"]), part.device, timeout_s=_CHECK_S)
        clean = code == 0
    else:
        code, output = run_for_code("e2fsck", "-f", "-p" if request.repair else "-n", part.device, timeout_s=_CHECK_S)
        clean = code in (0, 1)  # 1: errors were corrected (e2fsck(8))
    return helper.Checked(clean=clean, output=output[-16384:])


def read_health(rules: Rules, request: helper.ReadHealth) -> helper.Health:
    find_disk(rules, request.device)
    try:
        _, output = run_for_code("smartctl", "--json", "--all", request.device, timeout_s=60.0)
    except ProgramMissing as missing:
        return helper.Health(detail=str(missing))
    try:
        smart = json.loads(output)
    except ValueError:
        return helper.Health(detail="smartctl gave no JSON")
    text = msgspec.json.encode(smart)
    if len(text) > helper.MAX_LINE // 2:
        return helper.Health(detail="smartctl said too much")
    return helper.Health(smart=msgspec.Raw(text))


def set_timeout(rules: Rules, request: helper.SetTimeout) -> helper.Done:
    disk = find_disk(rules, request.device)
    path = Path("/sys/block") / disk.device.removeprefix("/dev/") / "device" / "timeout"
    if not path.exists():
        raise Refused(f"{disk.device} has no time-out that could be set")
    path.write_text(str(request.seconds), encoding="ascii")
    return helper.Done()


def reboot(_rules: Rules) -> helper.Done:
    run("systemctl", "--no-block", "reboot")
    return helper.Done()


class _exclusive:  # noqa: N801  # reads as a statement
    """The disk opened for writing while nobody else uses it: O_EXCL on a block device fails for what is mounted (open(2))."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._fd = -1

    def __enter__(self) -> int:
        self._fd = os.open(self._device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def partition_path(device: str, number: int) -> str:
    """/dev/sda -> /dev/sda1, /dev/nvme0n1 -> /dev/nvme0n1p1."""
    return f"{device}{'p' if device[-1].isdigit() else ''}{number}"


def _show_partitions(device: str, names: list[str]) -> None:
    """Makes the kernel take the new table; partx does it where the kernel itself does not read this kind of table."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _BLKRRPART)
    finally:
        os.close(fd)
    if not _appear(names, 1.0):
        run("partx", "--update", device)
    if not _appear(names, 10.0):
        raise OSError(f"the kernel shows no partition {names[-1]}")


def _appear(names: list[str], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not all(Path(name).is_block_device() for name in names):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
