"""The sandboxed worker that reads cameras' event documents (`recorderd.workers.camera_events`): documents out, answers back, in order."""

from __future__ import annotations

import asyncio
import logging
import struct
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from recorderd.events.notification import MAX_DOCUMENT_BYTES, Answer, Kind
from recorderd.model.ports import Clock

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 4 << 20
MAX_OWNER_BYTES = 1 << 20  # of one camera, so that one that talks too much does not silence the others
MAX_ANSWER_BYTES = 2 << 20
ANSWER_TIMEOUT_S = 10.0
RESTART_S = 2.0
HEAD = struct.Struct(">cI")  # to the worker: kind, length
LENGTH = struct.Struct(">I")  # from it

_ANSWERS = msgspec.json.Decoder(Answer)
Taken = Callable[[Answer | None], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    owner: str
    kind: Kind
    data: bytes
    taken: Taken


class Reader:
    """`submit` hands a document on, `run` keeps the worker alive; it is started when there is something for it."""

    def __init__(self, *, clock: Clock, command: tuple[str, ...] = ()) -> None:
        self._clock = clock
        self._command = command or (sys.executable, "-m", "recorderd.workers.camera_events")
        self._waiting: deque[_Waiting] = deque()
        self._owned: dict[str, int] = {}  # owner -> bytes that wait
        self._bytes = 0
        self._wake = asyncio.Event()
        self.documents = 0
        self.dropped = 0
        self.restarts = 0

    def submit(self, owner: str, kind: Kind, data: bytes, taken: Taken) -> bool:
        """Whether the document is taken; `taken` then gets the answer, or None when the worker ended over it. False: too much waits."""
        owned = self._owned.get(owner, 0) + len(data)
        if len(data) > MAX_DOCUMENT_BYTES or owned > MAX_OWNER_BYTES or self._bytes + len(data) > MAX_WAITING_BYTES:
            self.dropped += 1
            return False
        self._owned[owner] = owned
        self._bytes += len(data)
        self._waiting.append(_Waiting(owner, kind, data, taken))
        self._wake.set()
        return True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._something_waits()
            worker = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MAX_ANSWER_BYTES
            )
            try:
                await self._serve(worker)
            except (OSError, EOFError, TimeoutError, msgspec.DecodeError) as error:
                self.restarts += 1
                log.error("the worker for camera events ended (%s); another one starts", error or type(error).__name__)
            finally:
                if worker.returncode is None:
                    worker.kill()
                await worker.wait()
            await self._clock.sleep(RESTART_S)

    async def _something_waits(self) -> None:
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()

    async def _serve(self, worker: asyncio.subprocess.Process) -> None:
        while True:
            await self._something_waits()
            document = self._next()
            answer = None
            try:
                answer = await _exchange(worker, document)
            finally:
                document.taken(answer)
            self.documents += 1

    def _next(self) -> _Waiting:
        document = self._waiting.popleft()
        self._bytes -= len(document.data)
        left = self._owned[document.owner] - len(document.data)
        if left:
            self._owned[document.owner] = left
        else:
            del self._owned[document.owner]
        return document


async def _exchange(worker: asyncio.subprocess.Process, document: _Waiting) -> Answer:
    assert worker.stdin is not None
    assert worker.stdout is not None
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        worker.stdin.write(HEAD.pack(document.kind.value.encode(), len(document.data)) + document.data)
        await worker.stdin.drain()
        (length,) = LENGTH.unpack(await worker.stdout.readexactly(LENGTH.size))
        if length > MAX_ANSWER_BYTES:
            raise EOFError(f"an answer of {length} bytes")
        return _ANSWERS.decode(await worker.stdout.readexactly(length))
