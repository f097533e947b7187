"""Vectorised work on many half-open intervals: split at jumps, resolve overlaps, subtract, join."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Intervals:
    """Columns: start and stop of each interval; `row` says which input it came from."""

    start: Times
    stop: Times
    row: Indices

    def __len__(self) -> int:
        return self.start.size


def split_at(start: Times, stop: Times, jumps: Times) -> Intervals:
    """Cuts every [start, stop) at the `jumps` (ascending) inside it."""
    first = np.searchsorted(jumps, start, "right")
    last = np.searchsorted(jumps, stop, "left")
    parts = np.maximum(last - first, 0) + 1
    row = np.repeat(np.arange(start.size), parts)
    if row.size == start.size:
        return Intervals(start, stop, row)
    number = np.arange(row.size) - np.repeat(np.cumsum(parts) - parts, parts)
    begins, ends = start[row].copy(), stop[row].copy()
    later = number > 0
    begins[later] = jumps[first[row[later]] + number[later] - 1]
    earlier = number < parts[row] - 1
    ends[earlier] = jumps[first[row[earlier]] + number[earlier]]
    return Intervals(begins, ends, row)


def flatten(start: Times, stop: Times, rank: Times) -> Intervals:
    """Disjoint intervals, ascending, that cover the same; where several overlap the one of highest rank (unique numbers) wins."""
    order = np.argsort(start, kind="stable")
    start, stop, rank = start[order], stop[order], rank[order]
    if start.size < 2:
        return Intervals(start, stop, order)
    reach = np.maximum.accumulate(stop)
    alone = start[1:] >= reach[:-1]  # nothing before reaches into it
    if alone.all():
        return Intervals(start, stop, order)
    first = np.flatnonzero(np.append(True, alone))
    size = np.diff(np.append(first, start.size))
    single = first[size == 1]
    starts, stops, rows = [start[single]], [stop[single]], [order[single]]
    for at, count in zip(first[size > 1].tolist(), size[size > 1].tolist(), strict=True):
        cluster = slice(at, at + count)
        won = _sweep(start[cluster].tolist(), stop[cluster].tolist(), rank[cluster].tolist())
        starts.append(np.array([w[0] for w in won], np.int64))
        stops.append(np.array([w[1] for w in won], np.int64))
        rows.append(order[at + np.array([w[2] for w in won], np.intp)])
    begins = np.concatenate(starts)
    again = np.argsort(begins, kind="stable")
    return Intervals(begins[again], np.concatenate(stops)[again], np.concatenate(rows)[again])


def _sweep(start: list[int], stop: list[int], rank: list[int]) -> list[tuple[int, int, int]]:
    """(from, to, index) of who wins, for intervals ascending by start."""
    won: list[tuple[int, int, int]] = []
    active: list[tuple[int, int]] = []  # (-rank, index)
    now, upcoming = start[0], 0
    while active or upcoming < len(start):
        while upcoming < len(start) and start[upcoming] <= now:
            heapq.heappush(active, (-rank[upcoming], upcoming))
            upcoming += 1
        while active and stop[active[0][1]] <= now:
            heapq.heappop(active)
        if not active:
            if upcoming == len(start):
                break
            now = start[upcoming]
            continue
        best = active[0][1]
        until = stop[best]
        if upcoming < len(start):
            until = min(until, start[upcoming])
        if won and won[-1][2] == best and won[-1][1] == now:
            won[-1] = (won[-1][0], until, best)
        else:
            won.append((now, until, best))
        now = until
    return won


def join(start: Times, stop: Times) -> tuple[Times, Times]:
    """The union as disjoint intervals, ascending; touching ones become one."""
    if not start.size:
        return start, stop
    order = np.argsort(start, kind="stable")
    start, stop = start[order], stop[order]
    reach = np.maximum.accumulate(stop)
    first = np.flatnonzero(np.append(True, start[1:] > reach[:-1]))
    last = np.append(first[1:] - 1, start.size - 1)
    return start[first], reach[last]


def subtract(start: Times, stop: Times, hole_start: Times, hole_stop: Times) -> tuple[Times, Times]:
    """What of the intervals lies in no hole. Both must be disjoint and ascending, as `join` gives them."""
    if not start.size or not hole_start.size:
        return start, stop
    edges = np.unique(np.concatenate((start, stop, hole_start, hole_stop)))
    low, high = edges[:-1], edges[1:]
    left = _inside(low, start, stop) & ~_inside(low, hole_start, hole_stop)
    return join(low[left], high[left])


def _inside(at: Times, start: Times, stop: Times) -> npt.NDArray[np.bool_]:
    return covering(at, start, stop) >= 0


def covering(at: Times, start: Times, stop: Times) -> Indices:
    """Index of the interval (disjoint, ascending) that holds each moment; -1 where none does."""
    if not start.size:
        return np.full(at.size, -1, np.intp)
    index = np.searchsorted(start, at, "right") - 1
    held = (index >= 0) & (at < stop[np.maximum(index, 0)])
    return np.where(held, index, -1)
