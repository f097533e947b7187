"""Simulated time for asyncio code: a loop whose timers fire at once, in order, with a clock that jumps to each.

`run_simulated(main)` runs `main(clock)`; a simulated day of mostly idle code takes milliseconds. Real sockets still work: time stands
still while a descriptor is readable.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from recorderd.model.timeline import Trust

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer: moves the loop's time just past the next one instead.

    Past it, however times were rounded: a timer that fires early would find its moment still to come and wait for no time, for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self.next_timer: Callable[[], float | None] = lambda: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and (due := self.next_timer()) is not None:
            self.elapsed = max(self.elapsed, math.nextafter(due, math.inf))
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._jumping.next_timer = self._next_timer
        self._clock_resolution = 0.0  # how early a timer may fire

    def time(self) -> float:
        return self._jumping.elapsed

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        """Here and now: a thread that looks a name up would be overtaken by simulated time."""
        return socket.getaddrinfo(host, port, **hints)

    def _next_timer(self) -> float | None:
        """When the next timer is due, if there is nothing to do before; asyncio has no public way to ask."""
        if self._ready or self._stopping or not self._scheduled:  # type: ignore[attr-defined]
            return None
        return float(self._scheduled[0].when())  # type: ignore[attr-defined]


class FakeClock:
    """`model.ports.Clock` on a simulated loop, or moved by hand with `advance` when there is no loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, *, realtime_s: float = 1_760_000_000.0) -> None:
        self._loop = loop
        self._offset_ns = round(realtime_s * 1e9)
        self._by_hand_ns = 1_000_000_000
        self.trusted = Trust.NTP

    def boottime_ns(self) -> int:
        return self._by_hand_ns + (round(self._loop.time() * 1e9) if self._loop is not None else 0)

    def realtime_ns(self) -> int:
        return self._offset_ns + self.boottime_ns()

    def trust(self) -> Trust:
        return self.trusted

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward."""
        self._by_hand_ns += round(seconds * 1e9)

    def step(self, seconds: float) -> None:
        """Steps the wall clock alone."""
        self._offset_ns += round(seconds * 1e9)


def run_simulated(main: Callable[[FakeClock], Coroutine[Any, Any, T]]) -> T:
    loop = SimulatedLoop()
    try:
        return loop.run_until_complete(main(FakeClock(loop)))
    finally:
        loop.close()
