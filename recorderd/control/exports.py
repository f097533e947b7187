"""The face of `io.recorderd.Exports`."""

from __future__ import annotations

import uuid

from recorderd.control.dispatch import Dispatch
from recorderd.control.names import RecordingNames
from recorderd.control.peer import Peer
from recorderd.control.refusals import refusing, wall_ns
from recorderd.protocol import exports as protocol
from recorderd.protocol.errors import Conflict, Unavailable
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.recording.export_files import Source
from recorderd.recording.export_plan import NothingRecorded, WantedTrack
from recorderd.recording.operations import Operation
from recorderd.recording.service import RecordingService
from recorderd.recording.target_exports import TargetExports
from recorderd.ring.ledger.queries import Queries


def operation_info(operation: Operation, *, whole: bool = True) -> protocol.OperationInfo:
    """With the words of other people's machines made printable; without files and notes if not `whole`."""
    return protocol.OperationInfo(
        token=operation.token,
        progress=operation.progress,
        files_done=sum(file.progress == 1 for file in operation.files),
        files_total=len(operation.files),
        files=[protocol.FileProgressInfo(name=f.name, progress=f.progress) for f in operation.files if whole],
        finished=operation.finished,
        error=printable(operation.error, 400),
        detail=printable(operation.detail, 400),
        notes=[printable(note, 400) for note in operation.notes if whole],
    )


class ExportsFace:
    def __init__(
        self, *, exports: TargetExports, service: RecordingService, names: RecordingNames, queries: Queries
    ) -> None:
        self._exports = exports
        self._service = service
        self._names = names
        self._queries = queries

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.START, refusing(self._start))
        table.reply(protocol.LIST, refusing(self._list))
        table.reply(protocol.GET, refusing(self._get))
        table.reply(protocol.STOP, refusing(self._stop))
        table.reply(protocol.TRY, refusing(self._try))

    async def _start(self, call: protocol.StartCall, _: Peer) -> protocol.OperationReply:
        start, stop = wall_ns(call.start, "start"), wall_ns(call.stop, "stop")
        destination = self._service.get_destination(call.storage)
        wanted = call.recordings or tuple(r.token for r in self._service.list_recordings())
        sources = {(source := self._source(text)).recording: source for text in wanted}
        try:
            operation = await self._exports.start(
                list(sources.values()), destination,
                start_ns=start, stop_ns=stop, folder=call.path, file_format=call.format,
            )  # fmt: skip
        except NothingRecorded as nothing:
            raise Conflict("nothing is recorded there") from nothing
        return protocol.OperationReply(operation=operation_info(operation))

    def _source(self, text: str) -> Source:
        recording = self._names.get(text)
        tracks = tuple(WantedTrack(entry.id, entry.name, entry.kind) for entry in self._queries.tracks(recording))
        return Source(recording, self._label(recording, text), tracks)

    def _label(self, recording: uuid.UUID, text: str) -> str:
        """What files are named after: what people call it, else its token."""
        held = next((r for r in self._service.list_recordings() if r.id == recording), None)
        return (held.configuration.source.name or held.token) if held is not None else text

    async def _list(self, _call: Nothing, _: Peer) -> protocol.ListReply:
        held = self._service.operations.list()
        return protocol.ListReply(operations=[operation_info(o, whole=False) for o in held])

    async def _get(self, call: protocol.OperationCall, _: Peer) -> protocol.OperationReply:
        return protocol.OperationReply(operation=operation_info(self._service.operations.get(call.operation)))

    async def _stop(self, call: protocol.OperationCall, _: Peer) -> protocol.OperationReply:
        return protocol.OperationReply(operation=operation_info(await self._service.operations.stop(call.operation)))

    async def _try(self, call: protocol.TryCall, _: Peer) -> protocol.TryReply:
        try:
            reason = await self._exports.trial(self._service.get_destination(call.storage))
        except OSError as error:
            raise Unavailable(f"the delivery worker cannot be started: {error.strerror}") from error
        return protocol.TryReply(works=not reason, reason=printable(reason, 400))
