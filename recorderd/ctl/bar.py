"""A stretch of timeline drawn as one line of characters, with a ruler of hours."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal, NamedTuple

What = Literal["recorded", "event", "gap"]


class Stretch(NamedTuple):
    """Nanoseconds since 1970, and what is there."""

    start_ns: int
    stop_ns: int
    what: What


class Glyphs(NamedTuple):
    recorded: str
    event: str
    gap: str
    holed: str  # recorded, with a gap too short to draw
    nothing: str


UNICODE = Glyphs("█", "▒", "·", "▏", " ")
ASCII = Glyphs("#", "e", ".", "|", " ")


def draw(stretches: Sequence[Stretch], start_ns: int, stop_ns: int, width: int, glyphs: Glyphs) -> str:
    """`width` characters for [start, stop). A column shows what fills most of it; a gap in a recorded column always shows."""
    span = stop_ns - start_ns
    filled = [dict.fromkeys(("recorded", "event", "gap"), 0) for _ in range(width)]
    for stretch in stretches:
        low, high = max(stretch.start_ns, start_ns), min(stretch.stop_ns, stop_ns)
        if low >= high:
            continue
        first, last = (low - start_ns) * width // span, min(width - 1, (high - 1 - start_ns) * width // span)
        for column in range(first, last + 1):
            left, right = start_ns + column * span // width, start_ns + (column + 1) * span // width
            filled[column][stretch.what] += max(1, min(high, right) - max(low, left))
    return "".join(_glyph(column, glyphs) for column in filled)


def _glyph(filled: dict[str, int], glyphs: Glyphs) -> str:
    media = filled["recorded"] + filled["event"]
    if not media:
        return glyphs.gap if filled["gap"] else glyphs.nothing
    if filled["gap"] > media:
        return glyphs.gap
    if filled["gap"]:
        return glyphs.holed
    return glyphs.event if filled["event"] > filled["recorded"] else glyphs.recorded


def ruler(start: datetime.datetime, stop: datetime.datetime, width: int) -> str:
    """Local times above the bar, at the first whole step that leaves room for `HH:MM `."""
    span_s = (stop - start).total_seconds()
    step_s = next(
        (s for s in (60, 300, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200) if s * width / span_s >= 8), 86_400
    )
    line = [" "] * width
    moment = start.astimezone(datetime.UTC)
    end = stop.astimezone(datetime.UTC)
    local = start.replace(minute=0, second=0, microsecond=0).astimezone(datetime.UTC)
    while local < end:
        if local >= moment:
            column = int((local - moment).total_seconds() * width / span_s)
            text = local.astimezone(start.tzinfo).strftime("%H:%M")
            if column + len(text) <= width:
                line[column : column + len(text)] = text
        local += datetime.timedelta(seconds=step_s)
    return "".join(line).rstrip()
