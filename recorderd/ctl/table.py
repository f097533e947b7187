"""Text for terminals: tables, ages, sizes and rates, in widths that fit 80 columns; everything from outside is made printable."""

from __future__ import annotations

from collections.abc import Sequence

from recorderd.protocol.printable import printable


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, right: str = "") -> str:
    """Columns as wide as their widest cell. `right` holds one character a column: `r` aligns to the right."""
    cells = [[printable(str(cell), 60) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(head), *cells]) for i in range(len(head))]
    lines = []
    for line in [list(head), *cells]:
        parts = [
            cell.rjust(width) if right[i : i + 1] == "r" else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines) + "\n"


def age(ms: int | None) -> str:
    """A duration as a person says it: 0.4 s, 12 s, 5 min, 3 h, 2 d; a dash for none."""
    if ms is None:
        return "-"
    seconds = ms / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, unit, divisor in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def size(count: int) -> str:
    """Bytes in binary units: 512 B, 1.5 MiB, 2.0 TiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def rate(bits_per_second: float) -> str:
    """Bit rates in decimal units, as cameras state them: 64 kbit/s, 4.1 Mbit/s."""
    if bits_per_second < 1e6:
        return f"{bits_per_second / 1e3:.0f} kbit/s"
    return f"{bits_per_second / 1e6:.1f} Mbit/s"
