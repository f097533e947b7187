"""What a time zone says beyond its name."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from pathlib import Path

FILE_MAX_BYTES = 64 * 1024


def posix_rule(name: str, folder: Path = Path("/usr/share/zoneinfo")) -> str:
    """The POSIX TZ string that holds from the last transition on: the footer of the TZif file (RFC 8536, section 3.3). Empty if none."""
    if name not in zoneinfo.available_timezones():
        return ""
    try:
        with (folder / name).open("rb") as file:
            data = file.read(FILE_MAX_BYTES)
    except OSError:
        return ""
    lines = data.rsplit(b"\n", 2)
    return lines[1].decode("ascii", "replace") if data[:4] == b"TZif" and data[4:5] >= b"2" and len(lines) == 3 else ""


def observes_dst(zone: zoneinfo.ZoneInfo, year: int) -> bool:
    """Whether clocks change in that year."""
    offsets = {datetime(year, month, 1, tzinfo=UTC).astimezone(zone).utcoffset() for month in range(1, 13)}
    return len(offsets) > 1
