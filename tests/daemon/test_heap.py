"""Memory that a burst took goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recorderd.daemon.heap import WORTH_BYTES, Heap, HeapKeeper, this_heap
from tests.simulated_time import FakeClock

MIB = 1 << 20
needs_glibc = pytest.mark.skipif(this_heap() is None, reason="needs glibc 2.33 or newer")


class SimulatedHeap:
    """`stuck` is what no giving back gets: Python's arenas."""

    def __init__(self) -> None:
        self.idle = 0
        self.stuck = 0
        self.given_back = 0

    def heap(self) -> Heap:
        def give_back() -> None:
            self.given_back += 1
            self.idle = self.stuck

        return Heap(lambda: self.idle, give_back)


def looks(simulated: SimulatedHeap, *idle_mib: int) -> list[int]:
    keeper, heap = HeapKeeper(simulated.heap(), FakeClock()), simulated.heap()
    told = []
    for mib in idle_mib:
        simulated.idle = mib * MIB
        keeper.look(heap)
        told.append(simulated.given_back)
    return told


def test_only_what_grew_by_much_is_given_back() -> None:
    simulated = SimulatedHeap()
    simulated.stuck = 25 * MIB
    assert looks(simulated, 30, 35, 28, 44, 45, 10, 26, 27) == [0, 0, 0, 0, 1, 1, 1, 2]
    assert WORTH_BYTES == 16 * MIB


def test_what_cannot_be_given_back_is_not_tried_every_minute() -> None:
    simulated = SimulatedHeap()
    simulated.stuck = 60 * MIB
    assert looks(simulated, 30, 61, 61, 61, 70) == [0, 1, 1, 1, 1]


BURST = """
import os
from recorderd.daemon.heap import HeapKeeper, this_heap
from tests.simulated_time import FakeClock

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

heap = this_heap()
keeper = HeapKeeper(heap, FakeClock())
keeper.look(heap)
burst = [bytes(16_000) for _ in range(4_000)]
lives_on = bytearray(16_000)
del burst
before = resident()
keeper.look(heap)
print(before - resident())
"""


@needs_glibc
def test_the_pages_of_a_burst_below_something_that_lives_on_are_given_back() -> None:
    command = [sys.executable, "-c", BURST]
    out = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert int(out.stdout) > 32 * MIB
