"""How a disk is, from what it says of itself (SMART, NVMe, eMMC registers) and from what the recorder writes to it.

Sources: smartctl's JSON (smartmontools 7), ATA attributes 5, 187, 197, 198 (reallocated, uncorrectable, pending, offline uncorrectable
sectors), 177, 202, 231 and 233 (SSD life left), NVMe log page 2 (percentage_used, media_errors, available_spare), and for eMMC what the
kernel shows of its registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from recorderd.protocol.helper import Disk

Verdict = Literal["good", "worn", "failing", "unknown"]
_BAD_SECTOR_ATTRIBUTES = {5: "reallocated", 187: "uncorrectable", 197: "pending", 198: "offline uncorrectable"}
_LIFE_LEFT_ATTRIBUTES = (231, 233, 202, 177)
_ANSWERS = (
    "smart_status",
    "ata_smart_attributes",
    "nvme_smart_health_information_log",
    "power_on_time",
    "scsi_grown_defect_list",
)
_WORN_PERCENT = 90
_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Health:
    """What is known; None where the disk says nothing. `words` are sentences for a person, worst first."""

    verdict: Verdict
    words: tuple[str, ...]
    temperature_c: int | None = None
    power_on_hours: int | None = None
    bad_sectors: int | None = None
    life_used_percent: int | None = None
    life_left_days: int | None = None  # at the present rate of wear
    power_cut_bound: bool = True  # whether a flush can be believed


def judge(disk: Disk, smart: dict[str, Any] | None, smart_detail: str, worn_since_days: float | None = None) -> Health:
    """`worn_since_days`: for how long the disk has been in use, where the recorder knows better than the disk's power-on hours."""
    said = smart or {}
    smart = said if any(key in said for key in _ANSWERS) else {}
    smart_detail = smart_detail or _complaint(said)
    words: list[str] = []
    verdict: Verdict = "unknown" if not smart and disk.life_used_percent is None else "good"
    bad, sentences = _bad_sectors(smart)
    words += sentences
    life = _life_used(smart, disk)
    hours = _integer(_at(smart, "power_on_time", "hours"))
    if _at(smart, "smart_status", "passed") is False:
        words.insert(0, "the disk itself says that it is failing: replace it now")
        verdict = "failing"
    elif bad or disk.reserve == "used up":
        verdict = "failing"
    if disk.reserve == "used up":
        words.append("its spare blocks are used up: replace it now")
    if life is not None and life >= _WORN_PERCENT and verdict != "failing":
        words.append(f"{life} % of its rated writes are used")
        verdict = "worn"
    if (disk.reserve == "low" or _spare_is_low(smart)) and verdict != "failing":
        words.append("its spare blocks run out")
        verdict = "worn"
    days = worn_since_days if worn_since_days is not None else (hours / 24 if hours else None)
    left = round(days * (100 - life) / life) if days and life and 0 < life < 100 else None
    if left is not None:
        words.append(f"at this rate its rated writes last another {_span(left)}")
    flushes = believes_flushes(disk, smart)
    if not flushes:
        words.append("power-cut bound not guaranteed: the write cache is on and the disk is not known to obey flushes")
    if verdict == "unknown":
        words.append(smart_detail or "the disk says nothing about its health")
    return Health(
        verdict,
        tuple(words),
        _integer(_at(smart, "temperature", "current")),
        hours,
        bad,
        life,
        left,
        flushes,
    )


def believes_flushes(disk: Disk, smart: dict[str, Any]) -> bool:
    """Whether a flush can be believed: no volatile cache, or a kind of disk whose flush command is known to work.

    USB bridges that answer no SMART are the ones that were found to swallow SYNCHRONIZE CACHE.
    """
    if disk.write_cache == "write through":
        return True
    return not (disk.transport == "usb" and not smart)


def _bad_sectors(smart: dict[str, Any]) -> tuple[int | None, list[str]]:
    errors = _integer(_at(smart, "nvme_smart_health_information_log", "media_errors"))
    if errors is not None:
        return errors, [f"{errors} media errors"] if errors else []
    found: int | None = _integer(smart.get("scsi_grown_defect_list"))
    words = [f"{found} grown defects"] if found else []
    for attribute in _attributes(smart):
        name = _BAD_SECTOR_ATTRIBUTES.get(_integer(attribute.get("id")) or 0)
        if name is None:
            continue
        count = _integer(_at(attribute, "raw", "value")) or 0
        found = (found or 0) + count
        if count:
            words.append(f"{count} {name} sectors")
    return found, words


def _life_used(smart: dict[str, Any], disk: Disk) -> int | None:
    used = _integer(_at(smart, "nvme_smart_health_information_log", "percentage_used"))
    if used is None:
        used = _integer(smart.get("scsi_percentage_used_endurance_indicator"))
    if used is not None:
        return used
    for attribute in _attributes(smart):
        if _integer(attribute.get("id")) in _LIFE_LEFT_ATTRIBUTES:
            left = _integer(attribute.get("value"))
            if left is not None and 0 <= left <= 100:
                return 100 - left
    return disk.life_used_percent


def _spare_is_low(smart: dict[str, Any]) -> bool:
    log = "nvme_smart_health_information_log"
    spare, least = _integer(_at(smart, log, "available_spare")), _integer(_at(smart, log, "available_spare_threshold"))
    return spare is not None and least is not None and spare <= least


def _complaint(smart: dict[str, Any]) -> str:
    """Why smartctl says nothing of the disk, in its own words."""
    messages = _at(smart, "smartctl", "messages")
    texts = [_at(message, "string") for message in messages] if isinstance(messages, list) else []
    return next((text for text in texts if isinstance(text, str)), "")[:200]


def _attributes(smart: dict[str, Any]) -> list[dict[str, Any]]:
    table = _at(smart, "ata_smart_attributes", "table")
    return [entry for entry in table if isinstance(entry, dict)] if isinstance(table, list) else []


def _at(value: Any, *path: str) -> Any:  # noqa: ANN401  # a disk's own JSON
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53 else None


def _span(days: int) -> str:
    return f"{days} days" if days < 730 else f"{days / _DAYS_PER_YEAR:.0f} years"
