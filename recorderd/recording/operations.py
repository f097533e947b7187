"""Export operations (5.21 to 5.23) as objects: token, progress, files, stop; and deletions that wait for them.

What an export does is not known here (it is in `target_exports.py`): `start` gets a coroutine that does it and reports through an
`Operation`. Operations live in memory: after a restart there are none.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

import msgspec

from recorderd.events.broker import Broker
from recorderd.model.faults import BadConfiguration
from recorderd.model.limits import Limits
from recorderd.recording import topics

MAX_NOTES = 100
MIN_STEP = 0.01  # of progress, between two events


class FileProgress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:FileProgress. 1.0 is a finished file."""

    name: str
    progress: float


@dataclass(slots=True)
class Operation:
    """One export. `progress` is of the whole, from 0 to 1."""

    token: str
    name: str
    recordings: frozenset[uuid.UUID]
    files: list[FileProgress] = field(default_factory=list)
    progress: float = 0.0
    error: str = ""
    detail: str = ""  # what it waits for now
    notes: list[str] = field(default_factory=list)  # what the files lack
    finished: bool = False
    told: float = -1.0
    told_files: dict[str, float] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    after: list[Callable[[], Awaitable[object]]] = field(default_factory=list)

    def note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)


class Operations:
    def __init__(self, *, broker: Broker, limits: Limits) -> None:
        self._broker = broker
        self._limits = limits
        self._held: dict[str, Operation] = {}

    def start(
        self,
        name: str,
        recordings: Sequence[uuid.UUID],
        work: Callable[[Operation], Coroutine[None, None, None]],
        *,
        files: Sequence[FileProgress] = (),
    ) -> Operation:
        """Begins at once; `work` calls `report` as it goes and may raise OSError or ValueError, which ends the operation with an error."""
        operation = Operation(f"export-{uuid.uuid4().hex[:12]}", name, frozenset(recordings), list(files))
        self._held[operation.token] = operation
        self._forget_finished()
        self._tell(operation, "Initialized")
        operation.task = asyncio.get_running_loop().create_task(self._run(operation, work), name=operation.token)
        return operation

    async def _run(self, operation: Operation, work: Callable[[Operation], Coroutine[None, None, None]]) -> None:
        try:
            await work(operation)
            operation.progress = 1.0
        except (OSError, ValueError) as error:
            operation.error = str(error)
        finally:
            operation.finished = True
            self._tell(operation, "Changed")
            self._tell(operation, "Deleted")
            waiting, operation.after = operation.after, []
            for deletion in waiting:
                await self._when_free(operation.recordings, deletion)

    def report(self, operation: Operation, files: Sequence[FileProgress], progress: float) -> None:
        """Progress so far; an event for every hundredth."""
        operation.files = list(files)
        operation.progress = min(1.0, max(operation.progress, progress))
        if operation.progress - operation.told >= MIN_STEP:
            self._tell(operation, "Changed")

    def _tell(self, operation: Operation, change: str) -> None:
        """With the files that have moved since the last event: all of a long export would not fit into one."""
        before, operation.told = operation.told, operation.progress
        changed = [file for file in operation.files if operation.told_files.get(file.name, 0.0) != file.progress]
        if change == "Changed" and not changed and not operation.error and operation.progress == before:
            return
        operation.told_files.update((file.name, file.progress) for file in changed)
        files = msgspec.json.encode(changed).decode() if changed else ""
        self._broker.publish(
            topics.operation_status(operation.token, operation.name, operation.progress, files, operation.error, change)
        )

    def get(self, token: str) -> Operation:
        """Raises `BadConfiguration`: the requested operation does not exist (5.22, 5.23)."""
        operation = self._held.get(token)
        if operation is None:
            raise BadConfiguration("the requested operation does not exist", argument="operation", got=token[:80])
        return operation

    def list(self) -> Sequence[Operation]:
        return list(self._held.values())

    def reading(self, recording: uuid.UUID) -> Operation | None:
        """The export that reads this recording now, if one does."""
        return next((o for o in self._held.values() if not o.finished and recording in o.recordings), None)

    async def stop(self, token: str) -> Operation:
        """Ends it where it is; what its files hold is in the reply."""
        operation = self.get(token)
        if operation.task is not None and not operation.finished:
            operation.task.cancel()
            await asyncio.wait([operation.task])
        return operation

    async def close(self) -> None:
        """Ends all that run, at the recorder's stop; deletions that waited for them happen now."""
        tasks = [operation.task for operation in self._held.values() if operation.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def when_free(self, recording: uuid.UUID, deletion: Callable[[], Awaitable[object]]) -> None:
        """Deletes now, or when the exports that read this recording have ended (5.21)."""
        await self._when_free(frozenset((recording,)), deletion)

    async def _when_free(self, recordings: frozenset[uuid.UUID], deletion: Callable[[], Awaitable[object]]) -> None:
        for operation in self._held.values():
            if not operation.finished and operation.recordings & recordings:
                operation.after.append(deletion)
                return
        await deletion()

    def _forget_finished(self) -> None:
        finished = [token for token, operation in self._held.items() if operation.finished]
        for token in finished[: max(0, len(finished) - self._limits.finished_operations)]:
            del self._held[token]
