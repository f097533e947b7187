"""The machine's disks as the kernel and the content of their first sectors describe them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

from recorderd.protocol.helper import Disk, Part
from recorderd.workers.helper.programs import run, run_for_code

_COLUMNS = "NAME,PATH,TYPE,SIZE,MODEL,SERIAL,ROTA,RM,TRAN,MOUNTPOINTS"
_SUPPORTED = re.compile(r"sd[a-z]{1,2}|vd[a-z]|nvme[0-9]n[0-9]|mmcblk[0-9]|loop[0-9]{1,3}")
SYSTEM_MOUNTS = ("/", "/boot", "/boot/firmware", "/boot/efi", "/usr", "/var", "/etc", "/home", "[SWAP]")
RING_LABEL = "recorderd"  # xfs allows 12 characters
OBJECTS_LABEL = "recorderdobj"
_SYS = Path("/sys/block")


def disks() -> list[Disk]:
    """Every disk that has a size. Raises ProgramMissing, ProgramFailed."""
    found = json.loads(run("lsblk", "--json", "--bytes", "--output", _COLUMNS))
    return [
        _disk(entry)
        for entry in found["blockdevices"]
        if _SUPPORTED.fullmatch(str(entry["name"]))
        and entry["type"] in ("disk", "loop")
        and int(entry["size"] or 0) > 0
    ]


def _disk(entry: dict[str, Any]) -> Disk:
    children = _below(entry)
    mounts = [str(m) for e in (entry, *children) for m in e.get("mountpoints") or () if m]
    parts = [_part(e) for e in ([e for e in children if e["type"] == "part"] or [entry])]
    name = str(entry["name"])
    return Disk(
        device=str(entry["path"]),
        model=str(entry["model"] or "").strip(),
        serial=str(entry["serial"] or "").strip(),
        size_bytes=int(entry["size"]),
        rotational=bool(entry["rota"]),
        removable=bool(entry["rm"]),
        transport=str(entry["tran"] or ""),
        system=any(mount in SYSTEM_MOUNTS for mount in mounts),
        holds=describe(parts, has_table=parts[0].device != str(entry["path"])),
        parts=parts,
        timeout_s=_number(_SYS / name / "device" / "timeout"),
        write_cache=_write_cache(_SYS / name / "queue" / "write_cache"),
        life_used_percent=emmc_life_used(_text(_SYS / name / "device" / "life_time")),
        reserve=emmc_reserve(_text(_SYS / name / "device" / "pre_eol_info")),
    )


def _below(entry: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for child in entry.get("children") or ():
        found += [child, *_below(child)]
    return found


def _part(entry: dict[str, Any]) -> Part:
    mounts = [str(m) for m in entry.get("mountpoints") or () if m]
    kind, label = _signature(str(entry["path"]))
    return Part(
        device=str(entry["path"]),
        size_bytes=int(entry["size"]),
        fs_kind=kind,
        label=label,
        mounted_at=mounts[0] if mounts else "",
    )


def _signature(device: str) -> tuple[str, str]:
    """(kind of file system, label) from the device's own bytes: udev's memory may be older than the last mkfs."""
    code, out = run_for_code(
        "blkid", "--probe", "--output", "export", "--match-tag", "TYPE", "--match-tag", "LABEL", device
    )
    if code != 0:
        return "", ""
    found = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    return found.get("TYPE", ""), found.get("LABEL", "").replace("\\ ", " ")


def describe(parts: list[Part], *, has_table: bool) -> str:
    """The content in one line: what a person must see before it is erased."""
    words = []
    for part in parts:
        if part.label == RING_LABEL:
            words.append("a ring of recordings")
        elif part.label == OBJECTS_LABEL:
            words.append("exports and uploads")
        elif part.fs_kind:
            words.append(f"{part.fs_kind} {part.label!r}" if part.label else part.fs_kind)
        elif has_table:
            words.append("a partition without a known file system")
    return ", ".join(words) or "nothing known"


def emmc_life_used(text: str) -> int | None:
    """`life_time` of sysfs: two hexadecimal estimates in steps of 10 %, 0x0b past the end (JESD84-B51, 7.4.83); the worse one."""
    try:
        steps = [int(word, 16) for word in text.split()]
    except ValueError:
        return None
    worst = max((step for step in steps if 1 <= step <= 11), default=0)
    return None if worst == 0 else worst * 10


def emmc_reserve(text: str) -> Literal["normal", "low", "used up", "unknown"]:
    """`pre_eol_info` of sysfs: 0x01 normal, 0x02 80 % of the spare blocks are used, 0x03 urgent (JESD84-B51, 7.4.85)."""
    match text.strip().lower():
        case "0x01":
            return "normal"
        case "0x02":
            return "low"
        case "0x03":
            return "used up"
        case _:
            return "unknown"


def _write_cache(path: Path) -> Literal["write back", "write through", "unknown"]:
    text = _text(path)
    if text == "write back":
        return "write back"
    return "write through" if text == "write through" else "unknown"


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
