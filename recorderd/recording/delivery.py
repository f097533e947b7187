"""The daemon's side of a delivery: pieces of a file into the delivery worker's pipe, and what the worker says of them.

A destination that is slow or away fills the pipe, and `write` waits: nothing is held here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable

from recorderd.protocol.delivery import Deliver, Delivered, DeliveryAnswer, DeliveryDone, FileEnds, Problem, Waiting
from recorderd.recording.worker_process import WorkerFailed, WorkerProcess

_PIPE_BYTES = 1 << 20
_SILENT_MARGIN_S = 120.0  # beyond the worker's own patience
_FAREWELL_S = 10.0  # to take back what was begun


class DeliveryFailed(Exception):
    """The file is not with the destination."""

    def __init__(self, problem: Problem, reason: str) -> None:
        super().__init__(reason)
        self.problem = problem
        self.reason = reason


class Delivery:
    """Write, then `finish`; `aclose` in every case."""

    def __init__(
        self, worker: WorkerProcess, pipe: int, work: Deliver, told: Callable[[Delivered | Waiting], None]
    ) -> None:
        self._worker = worker
        self._pipe = pipe
        self._silent_s = work.patience_s + _SILENT_MARGIN_S
        self._told = told
        self._written = 0

    @classmethod
    async def start(cls, work: Deliver, told: Callable[[Delivered | Waiting], None]) -> Delivery:
        """`told` hears of progress and of failed tries. Raises OSError, DeliveryFailed."""
        worker = await WorkerProcess.start("deliver")
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(write_end, False)
        with contextlib.suppress(OSError):  # a process without privilege may be at its limit for pipes: only slower
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        delivery = cls(worker, write_end, work, told)
        try:
            await worker.send(work, [read_end])
        except BaseException as error:
            await delivery.aclose()
            if isinstance(error, WorkerFailed):
                raise DeliveryFailed(Problem.PASSING, str(error)) from error
            raise
        finally:
            os.close(read_end)
        return delivery

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._worker.pid

    async def write(self, piece: bytes) -> None:
        """Returns when the pipe has taken it. Raises DeliveryFailed."""
        rest = memoryview(piece)
        while rest:
            self._listen()
            try:
                count = os.write(self._pipe, rest)
            except BlockingIOError:
                await self._room_or_news()
            except BrokenPipeError:
                await self._last_words()
            else:
                self._written += count
                rest = rest[count:]

    async def finish(self) -> int:
        """The file is complete: waits until the destination has acknowledged it; returns its bytes. Raises DeliveryFailed."""
        try:
            await self._worker.send(FileEnds(self._written))
        except WorkerFailed:
            await self._last_words()
        self._close_pipe()
        while True:
            if (done := self._listen()) is not None:
                return done.bytes
            await self._news()

    def _listen(self) -> DeliveryDone | None:
        """Takes what the worker has said. Raises DeliveryFailed."""
        try:
            while (answer := self._worker.receive_now(DeliveryAnswer)) is not None:  # type: ignore[arg-type]  # a union is a type to msgspec
                if isinstance(answer, DeliveryDone):
                    if answer.problem is not None:
                        raise DeliveryFailed(answer.problem, answer.reason)
                    return answer
                self._told(answer)
        except WorkerFailed as error:
            raise DeliveryFailed(Problem.PASSING, f"the delivery worker failed: {error}") from error
        return None

    async def _last_words(self) -> None:
        """The worker has ended early: it has said why, or it is gone. Raises DeliveryFailed."""
        while self._listen() is None:
            await self._news()
        raise DeliveryFailed(Problem.PASSING, "the delivery worker ended before the file did")

    async def _news(self) -> None:
        try:
            await self._worker.wait_for_news(self._silent_s, messages=True, output=False)
        except TimeoutError as error:
            raise DeliveryFailed(Problem.PASSING, "the delivery worker has hung") from error

    async def _room_or_news(self) -> None:
        try:
            await self._worker.wait_for_room(self._pipe, self._silent_s)
        except TimeoutError as error:
            raise DeliveryFailed(Problem.PASSING, "the delivery worker has hung") from error

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    async def aclose(self) -> None:
        """Gives up what is not finished: the worker takes back what it began, or is ended. Idempotent."""
        self._close_pipe()
        await self._worker.hang_up(_FAREWELL_S)
        await self._worker.end()
