"""The face of `io.recorderd.Groups`: recording groups and storage destinations."""

from __future__ import annotations

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.control.refusals import refusing
from recorderd.model.destination import Destination
from recorderd.model.group import RecordingGroup
from recorderd.model.job import EventFilter
from recorderd.protocol import groups as protocol
from recorderd.protocol.errors import ConfirmationNeeded
from recorderd.protocol.message import Nothing
from recorderd.recording.rules.destinations import SECRETS
from recorderd.recording.service import RecordingService


class GroupsFace:
    def __init__(self, *, service: RecordingService) -> None:
        self._service = service

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.LIST, refusing(self._list))
        table.reply(protocol.GET, refusing(self._get))
        table.reply(protocol.CREATE, refusing(self._create))
        table.reply(protocol.UPDATE, refusing(self._update))
        table.reply(protocol.START, refusing(self._start))
        table.reply(protocol.STOP, refusing(self._stop))
        table.reply(protocol.DELETE, refusing(self._delete))
        table.reply(protocol.LIST_DESTINATIONS, refusing(self._list_destinations))
        table.reply(protocol.GET_DESTINATION, refusing(self._get_destination))
        table.reply(protocol.CREATE_DESTINATION, refusing(self._create_destination))
        table.reply(protocol.SET_DESTINATION, refusing(self._set_destination))
        table.reply(protocol.DELETE_DESTINATION, refusing(self._delete_destination))

    async def _list(self, _call: Nothing, _: Peer) -> protocol.ListReply:
        return protocol.ListReply(groups=self._service.groups.list_groups())

    async def _get(self, call: protocol.GroupCall, _: Peer) -> protocol.GroupReply:
        return protocol.GroupReply(group=self._service.groups.get_group(call.group))

    async def _create(self, call: protocol.SettingsCall, _: Peer) -> protocol.PutReply:
        return self._put(await self._service.groups.create_group(call.group, call.settings))

    async def _update(self, call: protocol.SettingsCall, _: Peer) -> protocol.PutReply:
        return self._put(await self._service.groups.update_group(call.group, call.settings))

    def _put(self, group: RecordingGroup) -> protocol.PutReply:
        return protocol.PutReply(group=group, warnings=self._service.groups.warnings(group))

    async def _start(self, call: protocol.StartCall, _: Peer) -> protocol.StartReply:
        event_filter = EventFilter(conditions=call.conditions) if call.conditions else None
        job = await self._service.groups.set_group_active(call.group, True, event_filter)
        return protocol.StartReply(job=job.token, warnings=self._service.prebuffer_warnings(job.token))

    async def _stop(self, call: protocol.GroupCall, _: Peer) -> Nothing:
        await self._service.groups.set_group_active(call.group, False)
        return Nothing()

    async def _delete(self, call: protocol.DeleteCall, _: Peer) -> Nothing:
        self._service.groups.get_group(call.group)
        if not call.confirm:
            raise ConfirmationNeeded(f"This deletes recording group {call.group} with all its recordings.")
        await self._service.groups.delete_group(call.group)
        return Nothing()

    # --- destinations --------------------------------------------------------------------------------------

    def _destination(self, destination: Destination) -> protocol.DestinationInfo:
        names = [name for name in SECRETS if self._service.has_secret("destination", destination.token, name)]
        return protocol.DestinationInfo(
            token=destination.token,
            type=destination.type,
            storage_uri=destination.storage_uri,
            local_path=destination.local_path,
            region=destination.region,
            username=destination.username,
            certificate_policy=destination.certificate_policy,
            secrets_set=names,
        )

    async def _list_destinations(self, _call: Nothing, _: Peer) -> protocol.ListDestinationsReply:
        return protocol.ListDestinationsReply(
            destinations=[self._destination(d) for d in self._service.list_destinations()]
        )

    async def _get_destination(self, call: protocol.DestinationCall, _: Peer) -> protocol.DestinationReply:
        return protocol.DestinationReply(destination=self._destination(self._service.get_destination(call.destination)))

    async def _create_destination(self, call: protocol.CreateDestinationCall, _: Peer) -> protocol.TokenReply:
        created = await self._service.create_destination(_as_destination(call, ""), call.secrets)
        return protocol.TokenReply(token=created.token)

    async def _set_destination(self, call: protocol.SetDestinationCall, _: Peer) -> Nothing:
        await self._service.set_destination(_as_destination(call, call.destination), call.secrets)
        return Nothing()

    async def _delete_destination(self, call: protocol.DestinationCall, _: Peer) -> Nothing:
        await self._service.delete_destination(call.destination)
        return Nothing()


def _as_destination(call: protocol.CreateDestinationCall | protocol.SetDestinationCall, token: str) -> Destination:
    return Destination(
        token=token,
        type=call.type,
        storage_uri=call.storage_uri,
        local_path=call.local_path,
        region=call.region,
        username=call.username,
        certificate_policy=call.certificate_policy,
    )
