"""One long piece of work on the disks at a time, which goes on when whoever asked for it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable


class Busy(Exception):
    """Something else is under way; the text says what."""


class Job:
    """How far the work is; `changed` is replaced with every change."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.text = what
        self.done = 0
        self.total = 0
        self.finished = False
        self.failure: str | None = None
        self._changed = asyncio.Event()

    def tell(self, text: str) -> None:
        self.text, self.done, self.total = text, 0, 0
        self._wake()

    def count(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self._wake()

    def end(self, failure: str | None) -> None:
        self.finished, self.failure = True, failure
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def steps(self) -> AsyncIterator[None]:
        """Once at each change that is seen, the last time when the work is done."""
        while not self.finished:
            changed = self._changed
            yield
            if not self.finished:
                await changed.wait()
        yield


class JobRunner:
    """Runs jobs one after the other; `expected` are the exceptions that are a job's failure and not a bug."""

    def __init__(self, expected: tuple[type[Exception], ...]) -> None:
        self._expected = expected
        self._queue: asyncio.Queue[tuple[Job, Callable[[Job], Awaitable[None]]]] = asyncio.Queue()
        self._current: Job | None = None

    def start(self, what: str, work: Callable[[Job], Awaitable[None]]) -> Job:
        """Raises Busy."""
        if self._current is not None:
            raise Busy(f"{self._current.what} is under way")
        job = self._current = Job(what)
        self._queue.put_nowait((job, work))
        return job

    async def run(self) -> None:
        while True:
            job, work = await self._queue.get()
            failure: str | None = "the recorder is being stopped"
            try:
                await work(job)
                failure = None
            except self._expected as error:
                failure = str(error) or type(error).__name__
            finally:
                self._current = None
                job.end(failure)
