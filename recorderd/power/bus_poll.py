"""Polls the controllers of one bus: what is due together is read in one hand-over to the bus's thread.

A hand-over wakes a thread and then the loop again, which costs more than the transfers in it. A controller that fails ends the hand-over,
so that each takes at most one failing controller's tries, far below the limit that declares the bus hung; the others are read in the next.
Drivers whose reading takes a large part of a second have hand-overs of their own, between which switching a port finds its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from hw.poe.bus_thread import BusRunner
from hw.poe.controller import ControllerReading, PoeController
from hw.poe.errors import PoeError
from recorderd.model.ports import Clock
from recorderd.power.watched import WatchedController

_S = 1_000_000_000
_READ_S = 5.0  # one hand-over may take so long before the bus counts as hung
_SLOW_READ_S = 15.0
_SLOW_DRIVERS = (
    "pd692x0",
    "realtek-mcu",
    "exaviz-interceptor",
    "exaviz-cruiser",
)  # tens of exchanges, each with its own tries
_AT_ONCE = (
    8  # controllers in one hand-over, of 4 to 7 ms each at 100 kHz: a port that has to go off does not wait longer
)
_SHORTEST_PAUSE_S = 0.02  # a slow bus is not kept busy without end


class BusPoll:
    """`watched` are the controllers on `runner`; `soon` is set when one of them became due before its time."""

    def __init__(self, *, runner: BusRunner, clock: Clock) -> None:
        self.watched: list[WatchedController] = []
        self.soon = asyncio.Event()
        self._runner = runner
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled. Failures of the bus are states, not exceptions."""
        loop = asyncio.get_running_loop()
        while True:
            self.soon.clear()
            await self._poll()
            next_ns = min(controller.due_ns for controller in self.watched)
            pause_s = max(_SHORTEST_PAUSE_S, (next_ns - self._clock.boottime_ns()) / _S)
            timer = loop.call_later(pause_s, self.soon.set)
            try:
                await self.soon.wait()
            finally:
                timer.cancel()

    async def _poll(self) -> None:
        now_ns = self._clock.boottime_ns()
        quick = []
        for controller in [c for c in self.watched if c.early_ns <= now_ns]:
            if not await controller.ready():
                continue
            if controller.placed.pse.driver in _SLOW_DRIVERS:
                await self._read([controller], _SLOW_READ_S)
            else:
                quick.append(controller)
        await self._read(quick, _READ_S)

    async def _read(self, controllers: Sequence[WatchedController], limit_s: float) -> None:
        while asked := [(c, driver) for c in controllers if (driver := c.driver) is not None]:
            drivers = [driver for _, driver in asked[:_AT_ONCE]]
            began_ns = self._clock.boottime_ns()
            try:
                found = await self._runner.call(partial(_read_each, drivers), limit_s=limit_s)
            except PoeError as error:
                found = [error] * len(drivers)
            for (controller, _), result in zip(asked, found, strict=False):
                if isinstance(result, PoeError):
                    controller.failed(result)
                else:
                    await controller.take(result, began_ns)
            controllers = [controller for controller, _ in asked[len(found) :]]


def _read_each(drivers: Sequence[PoeController]) -> list[ControllerReading | PoeError]:
    """On the bus's thread: in order, up to the first that fails."""
    found: list[ControllerReading | PoeError] = []
    for driver in drivers:
        try:
            found.append(driver.read())
        except PoeError as error:
            found.append(error)
            break
    return found
