"""The face of `io.recorderd.Time`."""

from __future__ import annotations

import zoneinfo
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.model.timeline import Trust
from recorderd.network.timekeeper import TimeKeeper, TimeRefused, TimeStatus
from recorderd.network.units import UnitFailed
from recorderd.network.zone import observes_dst, posix_rule
from recorderd.protocol import time
from recorderd.protocol.errors import Conflict, InvalidArgument, Unavailable
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import from_rfc3339, to_rfc3339

R = TypeVar("R")
LATEST_YEAR = 2099
_TRUST: dict[Trust, time.TrustWord] = {
    Trust.NONE: "none",
    Trust.RTC: "rtc",
    Trust.OPERATOR: "operator",
    Trust.NTP: "ntp",
}


class TimeFace:
    def __init__(self, *, keeper: TimeKeeper) -> None:
        self._keeper = keeper

    def bind(self, table: Dispatch) -> None:
        table.reply(time.GET_STATUS, self._status)
        table.reply(time.LIST_ZONES, self._zones)
        table.reply(time.SET_TIME, self._set_time)
        table.reply(time.SET_ZONE, self._set_zone)
        table.reply(time.SET_SERVERS, self._set_servers)
        table.reply(time.TRUST, self._trust)

    async def _status(self, _: Nothing, __: Peer) -> time.StatusReply:
        return time.StatusReply(status=_status(self._keeper.status()))

    async def _zones(self, _: Nothing, __: Peer) -> time.ZonesReply:
        return time.ZonesReply(zones=sorted(zoneinfo.available_timezones()))

    async def _set_time(self, call: time.SetTimeCall, peer: Peer) -> Nothing:
        try:
            utc_ns = from_rfc3339(call.time)
        except ValueError as error:
            raise InvalidArgument(
                "time", "an RFC 3339 time, e.g. 2026-05-04T13:02:01Z", printable(call.time, 100)
            ) from error
        await _faults(self._keeper.set_time(utc_ns / 1e9, f"user {peer.uid}"), call.time)
        return Nothing()

    async def _set_zone(self, call: time.SetZoneCall, _: Peer) -> Nothing:
        await _faults(self._keeper.set_zone(call.zone), call.zone)
        return Nothing()

    async def _set_servers(self, call: time.SetServersCall, _: Peer) -> Nothing:
        servers = self._keeper.set_servers(tuple(call.servers), from_dhcp=call.from_dhcp)
        await _faults(servers, " ".join(call.servers))
        return Nothing()

    async def _trust(self, _: Nothing, peer: Peer) -> time.TrustReply:
        return time.TrustReply(taken=await _faults(self._keeper.accept(f"user {peer.uid}"), ""))


async def _faults(work: Awaitable[R], got: str) -> R:
    try:
        return await work
    except TimeRefused as error:
        if not error.argument:
            raise Conflict(str(error)) from error
        raise InvalidArgument(error.argument, printable(str(error), 200), printable(got, 100)) from error
    except (UnitFailed, OSError) as error:
        raise Unavailable(printable(str(error), 300)) from error


def _status(now: TimeStatus) -> time.Status:
    moment = datetime.fromtimestamp(now.utc_ns // 10**9, UTC)
    try:
        zone = zoneinfo.ZoneInfo(now.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        zone = zoneinfo.ZoneInfo("UTC")
    return time.Status(
        now=to_rfc3339(now.utc_ns),
        local=moment.astimezone(zone).isoformat(),
        zone=now.zone,
        posix_zone=posix_rule(now.zone),
        dst=observes_dst(zone, moment.year),
        dhcp_zone=None,
        latest_year=LATEST_YEAR,
        trust=_TRUST[now.trust],
        synchronised=now.synchronised,
        managed=now.managed,
        source=now.source,
        offset_ms=None if now.offset_s is None else now.offset_s * 1000,
        sources=[
            time.Source(
                name=source.name,
                state=source.state,
                stratum=source.stratum,
                reachable=source.reachable,
                offset_ms=source.offset_s * 1000,
                error_ms=source.error_s * 1000,
            )
            for source in now.sources
        ],
        servers=list(now.configured),
        servers_from_dhcp=list(now.leased),
        rtc=now.rtc,
        last_known=to_rfc3339(int(now.floor_s) * 10**9) if now.floor_s else None,
        mode=now.mode.value,
        waits=now.waits,
    )
