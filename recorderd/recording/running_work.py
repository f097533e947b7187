"""A worker's output as it is made: bytes for a client, work for the worker, and in the end the truth about both."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from recorderd.model.ports import StoreUnavailable
from recorderd.protocol.upgrade import Trailer
from recorderd.protocol.work import IN_FLIGHT, SlotDone, WorkDone, Written
from recorderd.recording.worker_process import WorkerFailed, WorkerProcess

_SILENT_S = 60.0  # a worker that neither answers nor writes for so long is ended
_MAX_NOTES = 100
_ANSWERS: type[SlotDone | WorkDone | Written] = SlotDone | WorkDone | Written  # type: ignore[assignment]  # a union is a type to msgspec


class RunningWork:
    """Iterate, then ask for the trailer, and close in every case (`control.dispatch.Body`).

    Nothing runs by itself: the worker gets its next message and its output is taken only while somebody iterates. So a client that does
    not read stops the worker, which costs a process and nothing else. When the worker writes somebody's file itself, the pieces are empty:
    each says that `bytes` has grown.
    """

    def __init__(
        self,
        worker: WorkerProcess,
        messages: AsyncGenerator[int],
        *,
        progress: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        """`messages` sends one message to the worker each time it is asked for the next. `progress` is called when the client took
        something, `release` once, at the end."""
        self._progress = progress
        self._worker = worker
        self._messages = messages
        self._release = release
        self._in_flight = 0
        self._sent_all = False
        self._output_ended = False
        self._done: WorkDone | None = None
        self._failure = ""
        self._closed = False
        self.bytes = 0
        self.notes: list[str] = []

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._worker.pid

    def note(self, text: str) -> None:
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(text)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        try:
            while True:
                piece = self._worker.read_now() if not self._output_ended else None
                if piece:
                    self.bytes += len(piece)
                    yield piece
                    self._progress()
                    continue
                self._output_ended = self._output_ended or piece == b""
                if self._done is not None and self._output_ended:
                    return
                written = self.bytes
                if await self._step():
                    if self.bytes > written:
                        yield b""
                        self._progress()
                else:
                    await self._worker.wait_for_news(
                        _SILENT_S, messages=self._done is None, output=not self._output_ended
                    )
        except WorkerFailed as error:
            self._done = self._done or self._last_word()
            self._failure = "" if self._done is not None and not self._done.complete else str(error)
        except TimeoutError:
            self._failure = f"the worker made no progress for {_SILENT_S:.0f} s"
        except StoreUnavailable as error:
            self._failure = f"the disk is gone: {error.detail}"
        except OSError as error:
            self._failure = f"the disk cannot be read: {error.strerror}"

    async def _step(self) -> bool:
        """Takes an answer or sends the next message; whether there was something to do."""
        if self._done is None:
            answer = self._worker.receive_now(_ANSWERS)
            if answer is not None:
                if not self._worker.piped:
                    self.bytes = answer.bytes
                if isinstance(answer, WorkDone):
                    self._done = answer
                elif isinstance(answer, SlotDone):
                    self._in_flight -= 1
                return True
        if self._sent_all or self._in_flight >= IN_FLIGHT or self._done is not None:
            return False
        if await anext(self._messages, None) is None:
            self._sent_all = True
        else:
            self._in_flight += 1
        return True

    def _last_word(self) -> WorkDone | None:
        """Why a worker ended early, if it said so: its socket gives an error for what it did not read before it gives what it wrote."""
        for _ in range(2 + IN_FLIGHT):
            with contextlib.suppress(WorkerFailed):
                answer = self._worker.receive_now(_ANSWERS)
                if isinstance(answer, WorkDone):
                    return answer
        return None

    def trailer(self) -> Trailer:
        done = self._done
        if done is not None and not self._failure:
            notes = [*self.notes, *done.notes]
            return Trailer(complete=done.complete, reason=done.reason, notes=notes, bytes=self.bytes)
        reason = self._failure or "it was given up before its end"
        return Trailer(complete=False, reason=reason, notes=self.notes, bytes=self.bytes)

    async def aclose(self) -> None:
        """Ends the worker and gives back what was held. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._messages.aclose()
            await self._worker.end()
        finally:
            self._release()
