"""The sweep: one pass every 139 ms that drains all cameras' sockets through one reused buffer.

Reading in bursts costs a fraction of waking up for every packet, and the kernel's socket buffers hold what arrives in between. A pass costs
1 to 2 ms with 16 cameras before it has read anything, for by then the processor's caches hold something else; so there are no more of them
than what waits for media needs, which reaches the disk a second later (measured, 16 cameras of 4 Mbit/s: 66 ms of processor time a second
with a pass every 50 ms, 50 with 97, 44 with 145, 42 with 194). The period divides no frame interval and no frame interval divides it:
frames that always wait equally long for their pass would be dated too late, for a wait that never varies cannot be told from none
(`rtsp.arrival` goes by the least delay).

No camera can take the others' time: each is read once a pass, what it may send is bounded in bytes and in work (`rtsp.inbound.MAX_WORK`),
and after `SLICE_NS` of work other tasks run first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from recorderd.model.ports import Clock
from recorderd.settings import SWEEP_MS

BUFFER_BYTES = 640 * 1024  # the longest unfinished message or frame, and room to read
PERIOD_S = SWEEP_MS / 1000
TICK_NS = 400_000_000  # reached by every third pass
SLICE_NS = 8_000_000


class Drained(Protocol):
    """What the sweep needs of a session."""

    def drain(self, view: memoryview, now_ns: int) -> None: ...

    def tick(self, now_ns: int) -> None: ...


class Sweep:
    """`period_s` is from start to start. `longest_ns` is the longest pass so far, for `status`.

    `on_late(ns)` hears after every pass how late the loop ran its timer, or for how long it then kept the loop itself: who wants to know
    that needs no timer of his own.
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
        boottime_ns = self._clock.boottime_ns
        while True:
            asleep_ns = boottime_ns()
            await self._clock.sleep(sleep_s)
            began_ns = slice_began_ns = boottime_ns()
            held_up_ns = began_ns - asleep_ns - round(sleep_s * 1e9)
            for session in tuple(self._sessions):
                now_ns = boottime_ns()
                if now_ns - slice_began_ns > SLICE_NS:
                    held_up_ns = max(held_up_ns, now_ns - slice_began_ns)
                    await asyncio.sleep(0)
                    now_ns = slice_began_ns = boottime_ns()
                if id(session) not in self._ticked:
                    continue  # ended meanwhile
                session.drain(self._view, now_ns)
                if now_ns - self._ticked.get(id(session), now_ns) >= TICK_NS:
                    self._ticked[id(session)] = now_ns
                    session.tick(now_ns)
            ended_ns = boottime_ns()
            self._on_late(max(0, held_up_ns, ended_ns - slice_began_ns))
            self.passes += 1
            self.longest_ns = max(self.longest_ns, ended_ns - began_ns)
            # The others have their turn, however long a pass takes.
            sleep_s = max(self.period_s - (ended_ns - began_ns) / 1e9, self.period_s / 4)
