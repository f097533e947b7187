"""The face of `io.recorderd.Devices`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.control.refusals import page, refusing
from recorderd.model.device import Device
from recorderd.model.pem import BadCertificate, fingerprint
from recorderd.protocol import devices as protocol
from recorderd.protocol.message import Nothing
from recorderd.protocol.wall import to_rfc3339
from recorderd.recording.service import RecordingService
from recorderd.recording.shortform import Addition

PAGE = 64


def _fingerprints(certificates: tuple[str, ...]) -> tuple[str, ...]:
    """Of what is stored; what an earlier release took unread is told as it is."""
    found = []
    for certificate in certificates:
        try:
            found.append(fingerprint(certificate))
        except BadCertificate as error:
            found.append(f"cannot be used: {error}")
    return tuple(found)


class DevicesFace:
    def __init__(self, *, service: RecordingService, wall_ns: Callable[[], int]) -> None:
        self._service = service
        self._wall_ns = wall_ns

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.LIST, refusing(self._list))
        table.reply(protocol.GET, refusing(self._get))
        table.reply(protocol.CREATE, refusing(self._create))
        table.reply(protocol.UPDATE, refusing(self._update))
        table.reply(protocol.DELETE, refusing(self._delete))
        table.reply(protocol.REPLACE, refusing(self._replace))
        table.reply(protocol.ADD, refusing(self._add))

    def _info(self, device: Device) -> protocol.DeviceInfo:
        fields = msgspec.structs.asdict(device)
        fields["uid"] = str(device.uid)
        fields["ca_fingerprints"] = _fingerprints(fields.pop("ca_certificates"))
        fields["events_state"] = self._service.events_state(device.id)
        return protocol.DeviceInfo(**fields, password_set=self._service.has_secret("device", device.id, "password"))

    async def _list(self, call: protocol.ListCall, _: Peer) -> protocol.ListReply:
        devices, further = page(self._service.list_devices(), lambda d: d.id, call.after, PAGE)
        return protocol.ListReply(devices=[self._info(d) for d in devices], next=further)

    async def _get(self, call: protocol.DeviceCall, _: Peer) -> protocol.DeviceReply:
        return protocol.DeviceReply(device=self._info(self._service.get_device(call.device)))

    async def _create(self, call: protocol.SettingsCall, _: Peer) -> protocol.DeviceReply:
        return protocol.DeviceReply(device=self._info(await self._service.create_device(call.device, call.settings)))

    async def _update(self, call: protocol.SettingsCall, _: Peer) -> protocol.DeviceReply:
        return protocol.DeviceReply(device=self._info(await self._service.update_device(call.device, call.settings)))

    async def _delete(self, call: protocol.DeviceCall, _: Peer) -> Nothing:
        await self._service.delete_device(call.device)
        return Nothing()

    async def _replace(self, call: protocol.SettingsCall, _: Peer) -> protocol.DeviceReply:
        until = to_rfc3339(self._wall_ns())
        return protocol.DeviceReply(
            device=self._info(await self._service.replace_device(call.device, call.settings, until))
        )

    async def _add(self, call: protocol.AddCall, _: Peer) -> protocol.AddReply:
        wanted = Addition(
            uri=call.uri,
            device=call.device or "",
            name=call.name or "",
            username=call.username,
            password=call.password,
            allow_basic=call.allow_basic,
            certificate_validation=call.certificate_validation,
            ca_certificates=call.ca_certificates,
            record=call.record or call.on_motion,
            on_motion=call.on_motion,
            before_ms=call.before_ms,
            after_ms=call.after_ms,
        )
        added = await self._service.add(wanted)
        return protocol.AddReply(
            device=added.device,
            receiver=added.receiver,
            recording=added.recording,
            job=added.job,
            warnings=tuple(self._service.prebuffer_warnings(added.job)) if added.job is not None else (),
        )
