"""A small pool of threads for blocking disk calls, which survives calls that never return.

A call stuck in the kernel cannot be interrupted. So the threads are daemons of our own (an executor of the standard library would wait for
them at exit), the age of the oldest running call is known, and `abandon` gives the whole pool up: its pending calls fail with
`DiskStuck`, its threads end when, if ever, the kernel returns.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

from recorderd.model.ports import Clock

P = ParamSpec("P")
T = TypeVar("T")


class DiskStuck(OSError):
    """The pool was abandoned while this call was queued or running."""


class DiskClosed(OSError):
    """The pool was closed before this call: its disk has been let go."""


_LET_GO = "the disk was let go"


class DiskCalls(Protocol):
    """Runs blocking calls off the loop."""

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises what the call raises, DiskStuck, DiskClosed."""

    def oldest_s(self) -> float:
        """For how long the oldest unfinished call has been running; 0 when none does."""

    def abandon(self) -> None: ...

    def close(self, last: Callable[[], None] | None = None) -> None:
        """No more calls; threads end when those made before are done. With `last`, which runs behind all of them, nobody waits for them any
        more either: the disk may never answer."""


class _Job:
    __slots__ = ("call", "future")

    def __init__(self, call: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.call = call
        self.future = future


class DiskThreads:
    """`count` daemon threads. Must be made and used on the loop."""

    def __init__(self, *, clock: Clock, count: int = 6, name: str = "disk") -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._running: dict[int, int] = {}  # thread number -> boot time its call began
        self._waiting: set[asyncio.Future[Any]] = set()
        self._abandoned = False
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, args=(i,), name=f"{name}-{i}", daemon=True) for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._abandoned:
            raise DiskStuck("the disk's threads were abandoned")
        if self._closed:  # no thread would ever take it
            raise DiskClosed(_LET_GO)
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.add(future)
        self._jobs.put(_Job(lambda: call(*args, **kwargs), future))
        try:
            return await future
        finally:
            self._waiting.discard(future)

    def oldest_s(self) -> float:
        began = min(self._running.copy().values(), default=None)
        return 0.0 if began is None else (self._clock.boottime_ns() - began) / 1e9

    def abandon(self) -> None:
        self._abandoned = True
        self._end_all(lambda: DiskStuck("a disk call did not return"))
        self.close()

    def _end_all(self, error: Callable[[], OSError]) -> None:
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(error())

    def close(self, last: Callable[[], None] | None = None) -> None:
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        if last is not None:
            self._end_all(lambda: DiskClosed(_LET_GO))
            threading.Thread(target=self._finish, args=(last,), name="disk-last", daemon=True).start()

    def _finish(self, last: Callable[[], None]) -> None:
        for thread in self._threads:
            thread.join()
        last()

    def _serve(self, number: int) -> None:
        while (job := self._jobs.get()) is not None:
            if self._abandoned:
                continue
            self._running[number] = self._clock.boottime_ns()
            result: Any = None
            failure: BaseException | None = None
            try:
                result = job.call()
            except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the call
                failure = error
            del self._running[number]
            try:
                self._loop.call_soon_threadsafe(_settle, job.future, result, failure)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                return
            del job, result, failure


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:  # noqa: ANN401
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)


class InlineCalls:
    """Runs every call at once on the caller's thread: for tools, and for simulated disks."""

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(0)
        return call(*args, **kwargs)

    def oldest_s(self) -> float:
        return 0.0

    def abandon(self) -> None:
        """Nothing runs outside the loop."""

    def close(self, last: Callable[[], None] | None = None) -> None:
        if last is not None:
            last()
