"""Interval arithmetic against brute force over single points."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.ring.ledger import ranges
from recorderd.ring.ledger.intervals import covering, flatten, join, split_at, subtract

LIMIT = 60
spans = st.lists(st.tuples(st.integers(0, LIMIT), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1])), max_size=12)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    kept = [(a, b) for a, b in pairs if a < b]
    return np.array([a for a, _ in kept], np.int64), np.array([b for _, b in kept], np.int64)


def points(pairs: list[tuple[int, int]]) -> set[int]:
    return {p for a, b in pairs for p in range(a, b)}


@settings(deadline=None, derandomize=True)
@given(spans, st.randoms(use_true_random=False))
def test_flatten_gives_every_point_to_the_highest_rank(pairs, random) -> None:
    start, stop = columns(pairs)
    rank = np.array(random.sample(range(len(start)), len(start)), np.int64)
    won = flatten(start, stop, rank)
    owner = {}
    for a, b, row in zip(won.start.tolist(), won.stop.tolist(), won.row.tolist(), strict=True):
        assert a < b
        for p in range(a, b):
            assert p not in owner
            owner[p] = row
    expected = {}
    for row in np.argsort(rank).tolist():
        for p in range(start[row], stop[row]):
            expected[p] = row
    assert owner == expected
    assert (np.diff(won.start) > 0).all()


@settings(deadline=None, derandomize=True)
@given(spans)
def test_join_is_the_union(pairs) -> None:
    start, stop = join(*columns(pairs))
    joined = list(zip(start.tolist(), stop.tolist(), strict=True))
    assert points(joined) == points(pairs)
    assert all(b[0] > a[1] for a, b in itertools.pairwise(joined))
    assert ranges.union(pairs) == joined


@settings(deadline=None, derandomize=True)
@given(spans, spans)
def test_subtract_and_intersect(pairs, holes) -> None:
    start, stop = subtract(*join(*columns(pairs)), *join(*columns(holes)))
    left = list(zip(start.tolist(), stop.tolist(), strict=True))
    assert points(left) == points(pairs) - points(holes)
    assert points(ranges.subtract(pairs, holes)) == points(pairs) - points(holes)
    assert points(ranges.intersect(pairs, holes)) == points(pairs) & points(holes)


@settings(deadline=None, derandomize=True)
@given(spans, st.sets(st.integers(0, LIMIT + 12), max_size=10))
def test_split_cuts_at_every_jump_inside(pairs, jumps) -> None:
    start, stop = columns(pairs)
    parts = split_at(start, stop, np.array(sorted(jumps), np.int64))
    for row in range(len(start)):
        mine = [
            (a, b)
            for a, b, r in zip(parts.start.tolist(), parts.stop.tolist(), parts.row.tolist(), strict=True)
            if r == row
        ]
        inner = sorted(j for j in jumps if start[row] < j < stop[row])
        edges = [int(start[row]), *inner, int(stop[row])]
        assert mine == list(itertools.pairwise(edges))


@settings(deadline=None, derandomize=True)
@given(spans, st.lists(st.integers(-5, LIMIT + 20), min_size=1))
def test_covering_finds_the_interval(pairs, moments) -> None:
    start, stop = join(*columns(pairs))
    found = covering(np.array(moments, np.int64), start, stop)
    for moment, index in zip(moments, found.tolist(), strict=True):
        held = [i for i in range(len(start)) if start[i] <= moment < stop[i]]
        assert held == ([index] if index >= 0 else [])
