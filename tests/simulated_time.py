"""Simulated time for asyncio code: a loop whose timers fire at once, in order, with a clock that jumps to each.

`run_simulated(main)` runs `main(clock)`; a simulated day of mostly idle code takes milliseconds. Real sockets still work: time stands
still while a descriptor is readable.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from recorderd.model.timeline import Trust

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer: tells the loop how far it would have slept instead."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.elapsed += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.elapsed


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
