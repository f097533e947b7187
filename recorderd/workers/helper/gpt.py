"""Writes a GUID partition table (UEFI 2.10, section 5.3) with one or two Linux partitions, aligned to 1 MiB."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
ALIGN_BYTES = 1 << 20
_ENTRIES = 128
_ENTRY = struct.Struct("<16s16sQQQ72s")
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
MIN_DISK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    first_sector: int
    last_sector: int  # inclusive


def plan(disk_bytes: int, sector_bytes: int, objects_bytes: int) -> list[Partition]:
    """Ring first, objects behind it. Raises ValueError when they do not fit."""
    usable_end = disk_bytes // ALIGN_BYTES * ALIGN_BYTES - ALIGN_BYTES
    objects = -(-objects_bytes // ALIGN_BYTES) * ALIGN_BYTES
    ring_end = usable_end - objects
    if disk_bytes < MIN_DISK_BYTES or ring_end - ALIGN_BYTES < disk_bytes // 4:
        raise ValueError(f"{objects_bytes} bytes for objects leave less than a quarter of the disk to the ring")
    parts = [Partition("recorderd ring", ALIGN_BYTES // sector_bytes, ring_end // sector_bytes - 1)]
    if objects:
        parts.append(Partition("recorderd objects", ring_end // sector_bytes, usable_end // sector_bytes - 1))
    return parts


def tables(disk_bytes: int, sector_bytes: int, parts: list[Partition], disk_id: uuid.UUID) -> dict[int, bytes]:
    """Byte offset -> bytes to write: protective MBR, primary header and entries, backup entries and header."""
    sectors = disk_bytes // sector_bytes
    entries = b"".join(
        _ENTRY.pack(
            LINUX_DATA.bytes_le,
            uuid.uuid5(disk_id, part.name).bytes_le,
            part.first_sector,
            part.last_sector,
            0,
            part.name.encode("utf-16-le").ljust(72, b"\0"),
        )
        for part in parts
    ).ljust(_ENTRIES * _ENTRY.size, b"\0")
    entry_sectors = -(-len(entries) // sector_bytes)
    primary = _header(1, sectors - 1, 2, sectors, entry_sectors, entries, disk_id)
    backup = _header(sectors - 1, 1, sectors - 1 - entry_sectors, sectors, entry_sectors, entries, disk_id)
    return {
        0: _protective_mbr(sectors).ljust(sector_bytes, b"\0"),
        sector_bytes: primary.ljust(sector_bytes, b"\0"),
        2 * sector_bytes: entries.ljust(entry_sectors * sector_bytes, b"\0"),
        (sectors - 1 - entry_sectors) * sector_bytes: entries.ljust(entry_sectors * sector_bytes, b"\0"),
        (sectors - 1) * sector_bytes: backup.ljust(sector_bytes, b"\0"),
    }


def _header(
    here: int, other: int, entries_at: int, sectors: int, entry_sectors: int, entries: bytes, disk_id: uuid.UUID
) -> bytes:
    def pack(crc: int) -> bytes:
        return _HEADER.pack(
            b"EFI PART",
            0x00010000,
            _HEADER.size,
            crc,
            0,
            here,
            other,
            2 + entry_sectors,
            sectors - 2 - entry_sectors,
            disk_id.bytes_le,
            entries_at,
            _ENTRIES,
            _ENTRY.size,
            zlib.crc32(entries),
        )

    return pack(zlib.crc32(pack(0)))


def _protective_mbr(sectors: int) -> bytes:
    size = min(sectors - 1, 0xFFFFFFFF)
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, size)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"
