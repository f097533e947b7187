"""Gives memory back after a burst.

What a stalled disk made wait, or a pre-buffer held whose camera has gone, lies between things that live on, and glibc gives back only what
is at the end of its heap: twenty seconds of eight cameras left 65 MiB resident for ever. So once a minute what is resident is compared with
what is in use (mallinfo2), and where the difference has grown by much, malloc_trim(3) returns the pages of the holes.
"""

from __future__ import annotations

import asyncio
import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recorderd.model.ports import Clock

EVERY_S = 60.0
WORTH_BYTES = 16 << 20  # well above what comes and goes with the GOPs of 16 cameras


class MallInfo(ctypes.Structure):
    """struct mallinfo2, mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


@dataclass(frozen=True, slots=True)
class Heap:
    """`idle_bytes`: resident and not handed out by malloc; Python's own arenas count to it. Both take the heap's lock while they last,
    which is milliseconds."""

    idle_bytes: Callable[[], int]
    give_back: Callable[[], object]


def this_heap() -> Heap | None:
    """None where the C library is not glibc 2.33 or newer."""
    libc = ctypes.CDLL(None)  # which drops the GIL while a call runs
    try:
        count, trim = libc.mallinfo2, libc.malloc_trim
    except AttributeError:
        return None
    count.restype = MallInfo

    def idle_bytes() -> int:
        used: MallInfo = count()
        return _resident_bytes() - int(used.uordblks) - int(used.hblkhd)

    return Heap(idle_bytes, lambda: trim(0))


def _resident_bytes() -> int:
    found = re.search(r"^RssAnon:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found is not None else 0


class HeapKeeper:
    def __init__(self, heap: Heap | None, clock: Clock) -> None:
        self._heap = heap
        self._clock = clock
        self._usual: int | None = None  # the least that was idle since pages were given back last

    async def run(self) -> None:
        """Until cancelled."""
        while self._heap is not None:
            await asyncio.to_thread(self.look, self._heap)
            await self._clock.sleep(EVERY_S)

    def look(self, heap: Heap) -> None:
        idle = heap.idle_bytes()
        self._usual = idle if self._usual is None else min(self._usual, idle)
        if idle - self._usual > WORTH_BYTES:
            heap.give_back()
            self._usual = heap.idle_bytes()
