"""Sets of half-open integer ranges as sorted, disjoint lists of (from, to)."""

from __future__ import annotations

from collections.abc import Iterable

Ranges = list[tuple[int, int]]


def union(ranges: Iterable[tuple[int, int]], touch: int = 0) -> Ranges:
    """The ranges sorted and joined where they overlap or lie at most `touch` apart; empty ones vanish."""
    joined: Ranges = []
    for start, stop in sorted(ranges):
        if stop <= start:
            continue
        if joined and start <= joined[-1][1] + touch:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined


def subtract(ranges: Iterable[tuple[int, int]], holes: Iterable[tuple[int, int]]) -> Ranges:
    """What of `ranges` lies in no hole."""
    left = union(ranges)
    for start, stop in union(holes):
        left = [part for a, b in left for part in ((a, min(b, start)), (max(a, stop), b)) if part[0] < part[1]]
    return left


def intersect(ranges: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]]) -> Ranges:
    """What lies in both."""
    result: Ranges = []
    a, b = union(ranges), union(others)
    i = j = 0
    while i < len(a) and j < len(b):
        start, stop = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if start < stop:
            result.append((start, stop))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return result


def overlaps(ranges: Iterable[tuple[int, int]], start: int, stop: int) -> bool:
    """Whether any of `ranges` shares a point with [start, stop)."""
    return any(a < stop and start < b for a, b in ranges)
