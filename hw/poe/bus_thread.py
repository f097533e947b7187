"""One thread per bus: the only place where drivers block. A bus that hangs costs its own ports, never the loop.

An operation that outlives its limit fails its caller with `BusHung`; from then on every call fails at once, until the thread comes back
(a kernel I2C transfer cannot be interrupted). Threads are daemonic, so a stuck one does not hold up the end of the process.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from hw.poe.errors import BusHung

T = TypeVar("T")


class BusRunner(Protocol):
    """Runs driver calls in order, one at a time."""

    @property
    def name(self) -> str: ...

    async def call(self, operation: Callable[[], T], *, limit_s: float = 5.0) -> T: ...

    def oldest_operation_s(self) -> float:
        """Age of the operation under way in seconds, 0 when idle."""

    @property
    def hung(self) -> bool: ...

    def stop(self) -> None: ...


class InlineBus:
    """Runs on the loop itself: for simulated chips in simulated time, which never block."""

    hung = False

    def __init__(self, name: str = "inline") -> None:
        self.name = name

    async def call(self, operation: Callable[[], T], *, limit_s: float = 5.0) -> T:  # noqa: ARG002  # nothing here can hang
        return operation()

    def oldest_operation_s(self) -> float:
        return 0.0

    def stop(self) -> None:
        """Nothing to stop."""


@dataclass(slots=True)
class _Job:
    """One operation and the future of its caller. Only the loop touches the future."""

    operation: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class BusThread:
    """The real one. `call` is for one asyncio loop; the thread starts with the first call.

    A call costs two wake-ups, the thread's and the loop's: what belongs together goes over in one operation.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._began: float | None = None
        self._hung = False
        self._turn = asyncio.Lock()

    @property
    def hung(self) -> bool:
        return self._hung

    def oldest_operation_s(self) -> float:
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    async def call(self, operation: Callable[[], T], *, limit_s: float = 5.0) -> T:
        """Raises `BusHung` when the bus is or gets stuck; otherwise whatever `operation` raises."""
        self._refuse_if_hung()
        async with self._turn:
            self._refuse_if_hung()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"bus {self.name}", daemon=True)
                self._thread.start()
            loop = asyncio.get_running_loop()
            future: asyncio.Future[T] = loop.create_future()
            self._jobs.put(_Job(operation, loop, future))
            limit = loop.call_later(limit_s, self._give_up, future, limit_s)
            try:
                return await future
            finally:
                limit.cancel()

    def _refuse_if_hung(self) -> None:
        if self._hung:
            raise BusHung(f"{self.name}: stuck, left alone until it answers")

    def _give_up(self, future: asyncio.Future[Any], limit_s: float) -> None:
        if not future.done():
            self._hung = True
            future.set_exception(BusHung(f"{self.name}: no answer within {limit_s:g} s"))

    def stop(self) -> None:
        """Ends the thread after the operation under way; returns at once."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._began = time.monotonic()
            result, error = None, None
            try:
                result = job.operation()
            except BaseException as raised:  # noqa: BLE001 -- carried to the caller, not swallowed
                error = raised
            self._began = None
            if not job.loop.is_closed():
                job.loop.call_soon_threadsafe(self._settle, job.future, result, error)
            del job, result, error  # nothing is kept alive while the thread waits

    def _settle(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        self._hung = False
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
