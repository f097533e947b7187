"""The face of `io.recorderd.Receivers`."""

from __future__ import annotations

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.control.refusals import page, refusing
from recorderd.model.receiver import Receiver
from recorderd.protocol import receivers as protocol
from recorderd.protocol.message import Nothing
from recorderd.recording.service import RecordingService

PAGE = 64


class ReceiversFace:
    def __init__(self, *, service: RecordingService) -> None:
        self._service = service

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.LIST, refusing(self._list))
        table.reply(protocol.GET, refusing(self._get))
        table.reply(protocol.CREATE, refusing(self._create))
        table.reply(protocol.CONFIGURE, refusing(self._configure))
        table.reply(protocol.SET_MODE, refusing(self._set_mode))
        table.reply(protocol.DELETE, refusing(self._delete))
        table.reply(protocol.GET_CAPABILITIES, refusing(self._get_capabilities))

    def _info(self, receiver: Receiver) -> protocol.ReceiverInfo:
        state, detail, device = self._service.receiver_state(receiver.token)
        return protocol.ReceiverInfo(
            token=receiver.token,
            configuration=receiver.configuration,
            auto_created=receiver.auto_created,
            state=state,
            detail=detail,
            device=device,
        )

    async def _list(self, call: protocol.ListCall, _: Peer) -> protocol.ListReply:
        receivers, further = page(self._service.list_receivers(), lambda r: r.token, call.after, PAGE)
        return protocol.ListReply(receivers=[self._info(r) for r in receivers], next=further)

    async def _get(self, call: protocol.ReceiverCall, _: Peer) -> protocol.ReceiverReply:
        return protocol.ReceiverReply(receiver=self._info(self._service.get_receiver(call.receiver)))

    async def _create(self, call: protocol.CreateCall, _: Peer) -> protocol.ReceiverReply:
        return protocol.ReceiverReply(receiver=self._info(await self._service.create_receiver(call.configuration)))

    async def _configure(self, call: protocol.ConfigureCall, _: Peer) -> Nothing:
        await self._service.configure_receiver(call.receiver, call.configuration)
        return Nothing()

    async def _set_mode(self, call: protocol.ModeCall, _: Peer) -> Nothing:
        await self._service.set_receiver_mode(call.receiver, call.mode)
        return Nothing()

    async def _delete(self, call: protocol.ReceiverCall, _: Peer) -> Nothing:
        await self._service.delete_receiver(call.receiver)
        return Nothing()

    async def _get_capabilities(self, _call: Nothing, _: Peer) -> protocol.Capabilities:
        return protocol.Capabilities(
            supported_receivers=self._service.limits.receivers,
            maximum_uri_length=self._service.limits.uri_chars,
            rtp_multicast=False,
            rtp_tcp=False,
            rtp_rtsp_tcp=True,
        )
