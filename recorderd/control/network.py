"""The face of `io.recorderd.Network`."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable
from typing import TypeVar

from recorderd.control.dispatch import Dispatch, Upgrade
from recorderd.control.peer import Peer
from recorderd.model.ports import CameraPlace
from recorderd.network import capture
from recorderd.network.generations import Damaged
from recorderd.network.service import NetworkService
from recorderd.network.status import LinkStatus, NetworkStatus
from recorderd.network.transaction import Applied, Preview, Refused, Undone
from recorderd.protocol import network
from recorderd.protocol.errors import InvalidArgument, NotFound, Unavailable
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import to_rfc3339

R = TypeVar("R")
CAPTURE_MAX_S = 60
CAPTURE_MIN_BYTES, CAPTURE_MAX_BYTES = 4096, 64 << 20


class NetworkFace:
    """`helper`: the path of the privileged helper's socket, for captures."""

    def __init__(self, *, service: NetworkService, helper: str) -> None:
        self._service = service
        self._helper = helper

    def bind(self, table: Dispatch) -> None:
        table.reply(network.GET_STATUS, self._status)
        table.reply(network.GET_SETTINGS, self._settings)
        table.reply(network.SET_SETTINGS, self._set)
        table.reply(network.PREVIEW, self._preview)
        table.reply(network.APPLY, self._apply)
        table.reply(network.CONFIRM, self._confirm)
        table.reply(network.ROLLBACK, self._rollback)
        table.reply(network.RESCUE, self._rescue)
        table.reply(network.LIST_LEASES, self._leases)
        table.reply(network.LIST_NEIGHBOURS, self._neighbours)
        table.upgrade(network.CAPTURE, self._capture)

    async def _status(self, _: Nothing, __: Peer) -> network.StatusReply:
        return network.StatusReply(status=_status(self._service.status()))

    async def _settings(self, _: Nothing, __: Peer) -> network.SettingsReply:
        now = self._service.status()
        return network.SettingsReply(settings=now.wish, from_file=self._service.from_file, confirmed=now.confirmed)

    async def _set(self, call: network.SetSettingsCall, _: Peer) -> network.PlanReply:
        return _plan(await _faults(self._service.declare(call.settings)))

    async def _preview(self, _: Nothing, __: Peer) -> network.PlanReply:
        return _plan(await _faults(self._service.preview()))

    async def _apply(self, call: network.ApplyCall, _: Peer) -> network.AppliedReply:
        return _applied(await _faults(self._service.apply(confirm_within_s=call.confirm_within_ms // 1000)))

    async def _confirm(self, call: network.ConfirmCall, peer: Peer) -> Nothing:
        await _faults(self._service.confirm(call.token, peer.pid))
        return Nothing()

    async def _rollback(self, _: Nothing, __: Peer) -> Nothing:
        await _faults(self._service.rollback())
        return Nothing()

    async def _rescue(self, call: network.RescueCall, _: Peer) -> network.AppliedReply:
        rescue = self._service.rescue(interface=call.interface or "", confirm_within_s=call.confirm_within_ms // 1000)
        return _applied(await _faults(rescue))

    async def _leases(self, _: Nothing, __: Peer) -> network.LeasesReply:
        leases = []
        for lease in self._service.leases():
            place = self._service.locate(lease.mac)
            expires = to_rfc3339(lease.expires_s * 10**9) if 0 < lease.expires_s < 2**33 else None
            port = place.port if place else ""
            leases.append(
                network.Lease(mac=lease.mac, address=lease.address, name=lease.name, port=port, expires=expires)
            )
        return network.LeasesReply(leases=leases)

    async def _neighbours(self, _: Nothing, __: Peer) -> network.NeighboursReply:
        return network.NeighboursReply(places=[_place(place) for place in self._service.neighbours()])

    async def _capture(self, call: network.CaptureCall, _: Peer) -> Upgrade[network.CaptureReply]:
        if not 1 <= call.seconds <= CAPTURE_MAX_S:
            raise InvalidArgument("seconds", f"1 to {CAPTURE_MAX_S}", str(call.seconds))
        if not CAPTURE_MIN_BYTES <= call.max_bytes <= CAPTURE_MAX_BYTES:
            raise InvalidArgument("max_bytes", f"{CAPTURE_MIN_BYTES} to {CAPTURE_MAX_BYTES}", str(call.max_bytes))
        interface = self._service.interface_of_port(call.port)
        if interface is None:
            raise NotFound("port", printable(call.port, 60))
        try:
            running = await capture.start(self._helper, interface, seconds=call.seconds, max_bytes=call.max_bytes)
        except capture.CaptureFailed as error:
            raise Unavailable(printable(str(error), 300)) from error
        return Upgrade(network.CaptureReply(interface=interface), running)


async def _faults(work: Awaitable[R]) -> R:
    try:
        return await work
    except Refused as error:
        raise network.Refused(error.code, printable(str(error), 600)) from error
    except Undone as error:
        raise network.Undone(printable(str(error), 600)) from error
    except (Damaged, OSError) as error:
        raise Unavailable(printable(str(error), 300)) from error


def _plan(seen: Preview) -> network.PlanReply:
    return network.PlanReply(lines=list(seen.lines()), notes=list(seen.plan.notes))


def _applied(done: Applied) -> network.AppliedReply:
    return network.AppliedReply(
        lines=list(done.lines), notes=list(done.notes), token=done.token, confirm_within_ms=done.confirm_within_s * 1000
    )


def _status(now: NetworkStatus) -> network.Status:
    return network.Status(
        managed=now.managed,
        hostname=now.host_name,
        links=[_link(link) for link in now.links],
        gateway=now.gateway,
        gateway_link=now.gateway_link,
        name_servers=list(now.name_servers),
        ntp_servers=list(now.ntp_servers),
        lease=now.lease,
        isolation=now.isolation,
        cameras=[_place(place) for place in now.cameras],
        pending=network.Pending(left_ms=now.pending.left_s * 1000, undoing=now.pending.undoing)
        if now.pending
        else None,
        trouble=list(now.trouble),
        notes=list(now.notes),
        declared_applied=now.confirmed == now.wish,
    )


def _link(link: LinkStatus) -> network.Link:
    addresses = []
    for address in link.addresses:
        own = ipaddress.ip_interface(address.cidr)
        addresses.append(network.Address(address=str(own.ip), prefix=own.network.prefixlen, origin=address.origin))
    return network.Link(
        name=link.name,
        kind=link.kind,
        role=link.role,
        label=link.label,
        mac=link.mac,
        up=link.up,
        carrier=link.carrier,
        mtu=link.mtu,
        master=link.master,
        addresses=addresses,
        speed_mbit_s=link.speed_mbit_s or None,
        full_duplex=link.full_duplex,
        isolated=link.isolated,
        macs=list(link.macs),
    )


def _place(place: CameraPlace) -> network.Place:
    return network.Place(
        mac=place.mac,
        address=place.ip,
        port=place.port,
        name=place.name,
        alone=place.alone,
        devices_behind=place.devices_behind,
    )
