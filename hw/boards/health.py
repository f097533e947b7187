"""Health of the board itself: SoC temperature, throttling, under-voltage, fan, disk temperature, RTC. Plain files of sysfs; one look each.

Paths in board files may hold a `*` (hwmon numbers move); the first match counts. A sensor that is named and cannot be read is reported.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.boards.board import Health
from hw.boards.findings import Finding, error, good, warning

_ROOT = Path("/")
_CLEAR_C = 5.0  # hysteresis


class Level(enum.IntEnum):
    GOOD = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class BoardReading:
    """One look. None: no such sensor, or it could not be read; `unreadable` has the latter."""

    soc_c: float | None = None
    under_voltage: bool | None = None
    throttled: bool | None = None
    fan_rpm: int | None = None
    disks_c: tuple[tuple[str, float], ...] = ()
    rtc: bool | None = None
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that is not well. `name` is stable; a change of level is an event."""

    name: str
    level: Level
    text: str


def look(health: Health, *, root: Path = _ROOT) -> BoardReading:
    """Reads every sensor the board file names; blocks for a few file reads, a drivetemp sensor for a disk command."""
    unreadable: list[str] = []

    def number(pattern: str) -> int | None:
        if not pattern:
            return None
        for path in sorted(root.glob(pattern.lstrip("/"))):
            try:
                return int(path.read_text().strip())
            except (OSError, ValueError):
                unreadable.append(f"{pattern}: cannot be read")
                return None
        unreadable.append(f"{pattern}: not there")
        return None

    soc = number(health.soc_temperature)
    flag = number(health.throttled)
    under_voltage, throttled = _throttle_flags(flag, health.throttled)
    return BoardReading(
        soc_c=None if soc is None else soc / 1_000,
        under_voltage=under_voltage,
        throttled=throttled,
        fan_rpm=number(health.fan),
        disks_c=_disks(root),
        rtc=(root / health.rtc.lstrip("/")).exists() if health.rtc else None,
        unreadable=tuple(unreadable),
    )


def _throttle_flags(value: int | None, source: str) -> tuple[bool | None, bool | None]:
    """raspberrypi-hwmon has one alarm bit; the firmware's get_throttled has bit 0 under-voltage, bits 1 to 3 capped or throttled."""
    if value is None:
        return None, None
    if source.endswith("get_throttled"):
        return bool(value & 0x1), bool(value & 0xE)
    return bool(value), None


def _disks(root: Path) -> tuple[tuple[str, float], ...]:
    """Temperatures of the kernel's drivetemp and NVMe sensors, by block device."""
    found = []
    for name in sorted((root / "sys/class/hwmon").glob("hwmon*/name")):
        try:
            if name.read_text().strip() not in ("drivetemp", "nvme"):
                continue
            milli = int((name.parent / "temp1_input").read_text())
        except (OSError, ValueError):
            continue  # a disk that sleeps or left just now
        blocks = sorted((name.parent / "device" / "block").glob("*"))
        found.append((blocks[0].name if blocks else name.parent.name, milli / 1_000))
    return tuple(found)


def symptoms(reading: BoardReading, health: Health, before: Sequence[Symptom] = ()) -> tuple[Symptom, ...]:
    """What is not well. A temperature that was too high stays so until it is 5 degrees below its threshold."""
    levels = {s.name: s.level for s in before}
    found: list[Symptom] = []

    def temperature(name: str, what: str, value: float, warn: float, critical: float) -> None:
        level = Level.GOOD
        for threshold, of in ((warn, Level.WARNING), (critical, Level.CRITICAL)):
            was = levels.get(name, Level.GOOD) >= of
            if threshold and value >= threshold - (_CLEAR_C if was else 0):
                level = of
        if level:
            found.append(
                Symptom(name, level, f"{what} {value:.0f} C, at most {critical if level > 1 else warn:.0f} C is well")
            )

    if reading.soc_c is not None:
        temperature("soc-temperature", "the processor is at", reading.soc_c, health.soc_warn_c, health.soc_critical_c)
    for disk, value in reading.disks_c:
        temperature(
            f"disk-temperature {disk}", f"disk {disk} is at", value, health.disk_warn_c, health.disk_warn_c + 10
        )
    if reading.under_voltage:
        found.append(
            Symptom("under-voltage", Level.CRITICAL, "the processor's supply is under voltage: weak supply or cable")
        )
    if reading.throttled:
        found.append(Symptom("throttled", Level.WARNING, "the processor is throttled by heat or voltage"))
    if reading.fan_rpm is not None and reading.fan_rpm < health.fan_min_rpm:
        text = f"the fan turns at {reading.fan_rpm} a minute, {health.fan_min_rpm} is the least"
        found.append(Symptom("fan", Level.CRITICAL if not reading.fan_rpm else Level.WARNING, text))
    if health.expects_rtc and reading.rtc is False:
        found.append(
            Symptom("rtc", Level.WARNING, "no real-time clock: after a power cut the time is wrong until NTP answers")
        )
    return tuple(found)


def line(reading: BoardReading, found: Sequence[Symptom]) -> str | None:
    """One line for `status`; None when there is nothing to say."""
    parts = []
    if reading.soc_c is not None:
        parts.append(f"SoC {reading.soc_c:.0f} C")
    parts += [f"{disk} {value:.0f} C" for disk, value in reading.disks_c]
    if reading.fan_rpm is not None:
        parts.append(f"fan {reading.fan_rpm}/min")
    parts += [f"{'!!' if s.level is Level.CRITICAL else '!'} {s.text}" for s in found]
    return ", ".join(parts) or None


def findings(reading: BoardReading, health: Health) -> list[Finding]:
    """For `board check`."""
    out = []
    for symptom in symptoms(reading, health):
        made = error if symptom.level is Level.CRITICAL else warning
        out.append(made("health", symptom.text))
    out += [warning("health", text, "correct the path in the board file, or empty it") for text in reading.unreadable]
    return out or [good("health", line(reading, ()) or "no sensors")]
