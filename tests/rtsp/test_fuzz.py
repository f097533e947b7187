"""Whatever a camera sends: no crash, no unbounded memory, no burst of work that holds up the others."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest

from recorderd.rtsp.inbound import MAX_WORK
from tests.rtsp.fuzzing import fuzz, hostile_sdp, hostile_streams
from tests.rtsp.packets import Track, playing


@pytest.mark.parametrize("seed", range(4))
def test_mutated_conversations(seed):
    fuzz(seed, 3000)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_million_mutated_conversations():
    for seed in range(1000, 1100):
        fuzz(seed, 10_000)


def test_memory_does_not_grow_with_the_number_of_inputs():
    fuzz(1, 200)
    tracemalloc.start()
    fuzz(2, 600)
    gc.collect()  # what a collection has still to find is no growth
    before = tracemalloc.get_traced_memory()[0]
    fuzz(3, 600)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 200_000


def calls_of(work: Callable[[], None]) -> int:
    """How many functions were called: what work costs, whatever the machine."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", sorted(hostile_streams(0)))
def test_no_stream_keeps_the_others_waiting(name):
    """However many bytes there are, one call of `receive` takes on no more than a bounded amount of them; the next goes on from there."""
    size = 640 * 1024
    subject, _, _ = playing(hostile_sdp())
    data = hostile_streams(size)[name]
    costs, piece = [], data
    while len(costs) < 20 and piece:
        costs.append(calls_of(partial(subject.receive, memoryview(piece), len(piece), 1)))
        subject.events()
        piece = subject.rest if subject.behind else b""
    assert max(costs) < 25 * MAX_WORK, costs
    assert len(subject.rest) < len(data)


def test_good_streams_are_never_left_behind():
    """A second of 16 Mbit/s in one call, and in the smallest packets that cameras send."""
    subject, _, _ = playing(hostile_sdp())
    track = Track()
    payloads = [b"\x7c\x85" + bytes(1398), *[b"\x7c\x05" + bytes(1398)] * 57, b"\x7c\x45" + bytes(900)]
    frames = [packet for number in range(25) for packet in track.frames(number * 3600, payloads)]
    piece = b"".join(frames)
    subject.receive(memoryview(piece), len(piece), 1)
    assert not subject.behind
    assert subject.rest == b""
