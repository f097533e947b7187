"""Whatever a camera sends: no crash, no unbounded memory, no burst of work that holds up the others."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from tests.media import clips
from tests.rtsp.fuzzing import check, fuzz, hostile_streams
from tests.rtsp.packets import playing, video_section


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
    before = tracemalloc.get_traced_memory()[0]
    fuzz(3, 600)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 200_000


@pytest.mark.parametrize("name", sorted(hostile_streams()))
def test_hostile_streams_cost_little(name):
    """One sweep's chunk of 128 KiB, at most a few times what good packets of 40 bytes cost."""
    subject, _, _ = playing("v=0\r\n" + video_section(clips.video()))
    data = hostile_streams()[name]
    began = time.process_time()
    subject.feed(data, 1)
    spent = time.process_time() - began
    check(subject, len(data))
    assert spent < 0.25, f"{spent:.3f} s"
