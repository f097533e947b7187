"""`io.recorderd.Storage`: disks, their health, and the check of the ring."""

from __future__ import annotations

from typing import Literal

from recorderd.protocol.interface import Access, Interface, Kind
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Storage")

FileSystem = Literal["ext4", "xfs"]
SeverityWord = Literal["notice", "warning", "error"]
MAX_FINDINGS = 1000


class Part(Message, frozen=True):
    device: str
    size_bytes: int
    fs_kind: str
    label: str
    mounted_at: str


class Disk(Message, frozen=True):
    device: str
    model: str
    serial: str
    size_bytes: int
    rotational: bool
    removable: bool
    transport: str
    system: bool
    ring: bool
    holds: str
    parts: list[Part]
    timeout_s: int | None
    write_cache: str


class DiskList(Message, frozen=True):
    disks: list[Disk]


class Progress(Message, frozen=True):
    text: str
    done: int = 0
    total: int = 0
    finished: bool = False
    ok: bool = False
    result: str = ""


class FormatCall(Message, frozen=True):
    device: str
    holds: str
    file_system: FileSystem
    objects_bytes: int
    confirm: bool


class DeviceCall(Message, frozen=True):
    device: str


class UnmountCall(Message, frozen=True):
    device: str
    confirm: bool


class CheckCall(Message, frozen=True):
    device: str
    repair: bool


class LongReply(Message, frozen=True):
    progress: Progress


class Health(Message, frozen=True):
    verdict: Literal["good", "worn", "failing", "unknown"]
    words: list[str]
    temperature_c: int | None
    power_on_hours: int | None
    bad_sectors: int | None
    life_used_percent: int | None
    life_left_days: int | None
    power_cut_bound: bool
    bytes_per_day: int | None


class Finding(Message, frozen=True):
    severity: SeverityWord
    invariant: str
    subject: str
    text: str
    repaired: str


class FsckCall(Message, frozen=True):
    deep: bool
    repair: bool


class FsckReply(Message, frozen=True):
    progress: Progress
    findings: list[Finding]


LIST_DISKS = INTERFACE.method("ListDisks", Nothing, DiskList, access=Access.VIEW)
FORMAT_DISK = INTERFACE.method("FormatDisk", FormatCall, LongReply, kind=Kind.STREAM)
MOUNT_DISK = INTERFACE.method("MountDisk", DeviceCall, Nothing)
UNMOUNT_DISK = INTERFACE.method("UnmountDisk", UnmountCall, Nothing)
CHECK_DISK = INTERFACE.method("CheckDisk", CheckCall, LongReply, kind=Kind.STREAM)
GET_HEALTH = INTERFACE.method("GetHealth", DeviceCall, Health, access=Access.VIEW)
FSCK = INTERFACE.method("Fsck", FsckCall, FsckReply, kind=Kind.STREAM)
