"""The sweep: one pass every 40-50 ms that drains all cameras' sockets through one reused buffer.

Reading in bursts costs a fraction of waking up for every packet, and the kernel's socket buffers hold what arrives in between. No camera
can take the others' time: each is read once a pass, what it may send is bounded in bytes and in work (`rtsp.client.MAX_WORK`), and after
`SLICE_NS` of work other tasks run first.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from recorderd.model.ports import Clock

BUFFER_BYTES = 640 * 1024  # the longest unfinished message or frame, and room to read
TICK_NS = 500_000_000
SLICE_NS = 8_000_000


class Drained(Protocol):
    """What the sweep needs of a session."""

    def drain(self, view: memoryview, now_ns: int) -> None: ...

    def tick(self, now_ns: int) -> None: ...


class Sweep:
    """`period_s` may be changed while it runs. `longest_ns` is the longest pass so far, for `status`."""

    def __init__(self, *, clock: Clock, period_s: float = 0.045) -> None:
        self._clock = clock
        self.period_s = period_s
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
        while True:
            await self._clock.sleep(self.period_s)
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
