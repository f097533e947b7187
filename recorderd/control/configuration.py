"""The face of `io.recorderd.Configuration`, and what status says of it."""

from __future__ import annotations

from collections.abc import Callable

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.control.refusals import refusing
from recorderd.model.objects import Objects
from recorderd.protocol import configuration as protocol
from recorderd.protocol.errors import ConfirmationNeeded, Conflict, Unavailable
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import to_rfc3339
from recorderd.recording.service import RecordingService
from recorderd.state.mirror import Mirror
from recorderd.state.mirroring import Mirroring, objects_of
from recorderd.state.store import StateError

_WORDS = {"destination": "storage"}


class ConfigurationFace:
    """`frozen` says why the state file takes no changes."""

    def __init__(self, *, service: RecordingService, mirroring: Mirroring, frozen: Callable[[], str]) -> None:
        self._service = service
        self._mirroring = mirroring
        self._frozen = frozen

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.GET_STATE, refusing(self._get_state))
        table.reply(protocol.RESTORE, refusing(self._restore))

    async def _get_state(self, _call: Nothing, _: Peer) -> protocol.State:
        offered = await self._offered()
        return protocol.State(
            content=_content(self._service.objects),
            problem=printable(self._frozen(), 400),
            mirror_problem=printable(self._mirroring.failure, 400),
            offered=_content(_readable(offered)) if offered is not None else None,
            offered_written=to_rfc3339(offered.written_ns) if offered is not None else None,
        )

    async def _restore(self, call: protocol.RestoreCall, _: Peer) -> protocol.Restored:
        if any(self._service.objects.tables.values()):
            raise Conflict("there is a configuration: only a recorder without one is restored")
        offered = await self._offered()
        if offered is None:
            raise Conflict("the data disk holds no configuration")
        objects = _readable(offered)
        held = _content(objects)
        if not call.confirm:
            raise ConfirmationNeeded(
                f"This restores {held.devices} devices, {held.recordings} recordings and {held.jobs} jobs as they were on "
                f"{to_rfc3339(offered.written_ns)}, without their passwords. Recording begins where none is needed."
            )
        await self._service.restore(objects)
        missing = [f"{_WORDS.get(kind, kind)} {key}: {name}" for kind, key, name in offered.secrets]
        return protocol.Restored(content=held, missing_secrets=[printable(each, 200) for each in missing])

    async def _offered(self) -> Mirror | None:
        try:
            return await self._mirroring.offered()
        except OSError as error:
            raise Unavailable(f"the data disk cannot be read: {error.strerror}") from error


def _readable(mirror: Mirror) -> Objects:
    try:
        return objects_of(mirror)
    except StateError as error:
        raise Unavailable(str(error)) from error


def _content(objects: Objects) -> protocol.Content:
    tables = objects.tables
    return protocol.Content(
        devices=len(tables["device"]),
        receivers=len(tables["receiver"]),
        recordings=len(tables["recording"]),
        jobs=len(tables["job"]),
        schedules=len(tables["schedule"]),
        groups=len(tables["group"]),
        storages=len(tables["destination"]),
    )
