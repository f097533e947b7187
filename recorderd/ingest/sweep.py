"""The sweep: one pass every 50 ms that drains all cameras' sockets through one reused buffer.

Reading in bursts costs a fraction of waking up for every packet, and the kernel's socket buffers hold what arrives in between. No camera
can take the others' time: each is read once a pass, what it may send is bounded in bytes and in work (`rtsp.inbound.MAX_WORK`), and after
`SLICE_NS` of work other tasks run first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from recorderd.model.ports import Clock

BUFFER_BYTES = 640 * 1024  # the longest unfinished message or frame, and room to read
PERIOD_S = 0.05
TICK_NS = 500_000_000
SLICE_NS = 8_000_000


class Drained(Protocol):
    """What the sweep needs of a session."""

    def drain(self, view: memoryview, now_ns: int) -> None: ...

    def tick(self, now_ns: int) -> None: ...


class Sweep:
    """`period_s` is from start to start. `longest_ns` is the longest pass so far, for `status`.

    `on_late(ns)` hears before every pass how late the loop ran this timer: whoever wants to know that needs no timer of his own.
    """

    def __init__(
        self, *, clock: Clock, period_s: float = PERIOD_S, on_late: Callable[[int], None] = lambda _: None
    ) -> None:
        self._clock = clock
        self.period_s = period_s
        self._on_late = on_late
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._sessions: list[Drained] = []
        self._ticked: dict[int, int] = {}
        self.longest_ns = 0
        self.passes = 0

    def add(self, session: Drained) -> None:
        self._sessions.append(session)
        self._ticked[id(session)] = 0

    def remove(self, session: Drained) -> None:
        if session in self._sessions:
            self._sessions.remove(session)
            del self._ticked[id(session)]

    def drain(self, session: Drained) -> None:
        """Outside the rhythm: while a session is being set up, or when a live viewer wants its frames at once."""
        session.drain(self._view, self._clock.boottime_ns())

    async def run(self) -> None:
        """Until cancelled."""
        sleep_s = self.period_s
        while True:
            asleep_ns = self._clock.boottime_ns()
            await self._clock.sleep(sleep_s)
            began_ns = self._clock.boottime_ns()
            self._on_late(max(0, began_ns - asleep_ns - round(sleep_s * 1e9)))
            began = slice_began = time.monotonic_ns()
            for session in tuple(self._sessions):
                if id(session) not in self._ticked:
                    continue  # ended meanwhile
                now_ns = self._clock.boottime_ns()
                session.drain(self._view, now_ns)
                if now_ns - self._ticked.get(id(session), now_ns) >= TICK_NS:
                    self._ticked[id(session)] = now_ns
                    session.tick(now_ns)
                if time.monotonic_ns() - slice_began > SLICE_NS:
                    await asyncio.sleep(0)
                    slice_began = time.monotonic_ns()
            self.passes += 1
            self.longest_ns = max(self.longest_ns, time.monotonic_ns() - began)
            worked_s = (self._clock.boottime_ns() - began_ns) / 1e9
            sleep_s = max(
                self.period_s - worked_s, self.period_s / 4
            )  # others have their turn, however long a pass takes
