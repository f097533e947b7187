"""`RescueService`: gives `rescue_step` its facts and does what it decides.

A cycle is stored before the port is switched off, so a daemon that dies in the middle has counted it. The port itself comes back without
this room's help: what is stored as wanted stays "on" during a cycle.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence

import msgspec

from hw.poe.errors import PoeError
from recorderd.model.causes import GapCause
from recorderd.model.ports import CameraHealth, CameraLocator, CameraPlace, Clock, Event, EventSink, HealthSource
from recorderd.model.timeline import Trust
from recorderd.power.memory import CycleRecord, HoldRecord, Keeper, NotStored, PowerRecord
from recorderd.power.reachability import Prober
from recorderd.power.rescue import Alarm, Cycle, Patience, Reach, Rescue, Sight, Silence, nothing_to_do, rescue_step
from recorderd.power.service import PowerService
from recorderd.power.topics import RESCUE
from recorderd.power.wishes import UnknownPort

log = logging.getLogger("rescue")

_S = 1_000_000_000
_DAY_NS = 86_400 * _S
_LOOK_S = 1.0
_PROBE_NS = 1_500_000_000
_SELDOM_PROBE_NS = 10 * _S  # a camera that restarts or is upgraded has better things to do than to refuse connections
_SOON_NS = 30 * _S
_PROTECTED_NS = 10 * _S  # so old an answer may still hold a port back; none lets one be cycled


class RescueService:
    """`bindings` gives the ports the operator bound devices to, by device; the locator is asked for the others."""

    def __init__(
        self,
        *,
        power: PowerService,
        health: HealthSource,
        locator: CameraLocator,
        prober: Prober,
        clock: Clock,
        events: EventSink,
        keeper: Keeper,
        boot_id: str,
        bindings: Callable[[], Mapping[uuid.UUID, str]] = dict,
        patience: Patience | None = None,
    ) -> None:
        self._power = power
        self._health = health
        self._locator = locator
        self._prober = prober
        self._clock = clock
        self._events = events
        self._keeper = keeper
        self._boot_id = boot_id
        self._bindings = bindings
        self._patience = patience or Patience()
        self._memory: Mapping[uuid.UUID, Silence] = {}
        self._reach: dict[uuid.UUID, Reach] = {}
        self._probing: set[uuid.UUID] = set()
        self._last = Rescue({})
        self._cycling: set[str] = set()
        self._protected: frozenset[str] = frozenset()
        self._protected_ns = -_PROTECTED_NS  # when that was asked
        power.on_port_lost(self._port_lost)

    async def run(self) -> None:
        """Until cancelled."""
        await self._keeper.load()
        async with asyncio.TaskGroup() as group:
            while True:
                self._step(group)
                await self._clock.sleep(_LOOK_S)

    def _step(self, group: asyncio.TaskGroup) -> None:
        now = self._clock.boottime_ns()
        health = list(self._health.health())
        self._last = result = self._judge(health, now)
        self._memory = result.memory
        for alarm in result.alarms:
            self._tell_alarm(alarm)
        for cycle in result.cycles:
            group.create_task(self._cycle(cycle), name=f"rescue port {cycle.port}")
        addresses = {h.device: h.address for h in health}
        self._reach = {device: reach for device, reach in self._reach.items() if device in addresses}
        for device in result.probe:
            newest = self._reach.get(device)
            period_ns = _PROBE_NS if now - result.memory[device].since_ns < _SOON_NS else _SELDOM_PROBE_NS
            if device not in self._probing and (newest is None or now - newest.at_ns >= period_ns):
                self._probing.add(device)
                group.create_task(self._probe(device, addresses[device]), name="rescue probe")

    def _judge(self, health: Sequence[CameraHealth], now_ns: int) -> Rescue:
        """Asks which ports are protected only while a camera is silent, and anew before anything is done or said: the answer takes a walk
        through the kernel's table of connections, several milliseconds long."""
        streaming = [h.device for h in health if h.streaming]
        if len(streaming) < len(health):
            if now_ns - self._protected_ns >= _PROTECTED_NS:
                self._ask_what_is_protected(now_ns)
        elif nothing_to_do(self._memory, streaming):
            return Rescue(self._memory)
        result = self._judge_by_what_is_known(health, now_ns)
        if (result.cycles or result.alarms) and self._protected_ns != now_ns:
            self._ask_what_is_protected(now_ns)
            result = self._judge_by_what_is_known(health, now_ns)
        return result

    def _judge_by_what_is_known(self, health: Sequence[CameraHealth], now_ns: int) -> Rescue:
        bindings = self._bindings()
        sights = [self._sight(h, bindings, now_ns) for h in health]
        return rescue_step(self._memory, sights, now_ns, self._patience)

    def _ask_what_is_protected(self, now_ns: int) -> None:
        self._protected, self._protected_ns = self._locator.protected_ports(), now_ns

    def _port_lost(self, port: str, cause: GapCause, detail: str) -> None:
        """Whoever is behind the port: that is why."""
        if port in self._cycling:
            return  # told already, with the reason
        bindings = self._bindings()
        for health in self._health.health():
            place = self._locator.locate(health.address) if health.address else None
            if _port_of(health, bindings, place) == port:
                self._health.power_lost(health.device, cause, detail)

    async def _probe(self, device: uuid.UUID, address: str) -> None:
        try:
            self._reach[device] = await self._prober.reach(address)
        finally:
            self._probing.discard(device)

    def _sight(self, health: CameraHealth, bindings: Mapping[uuid.UUID, str], now_ns: int) -> Sight:
        place = self._locator.locate(health.address) if health.address else None
        port = _port_of(health, bindings, place)
        if port not in self._power.labels():
            port = ""
        return Sight(
            device=health.device,
            name=health.name,
            streaming=health.streaming,
            last_media_ns=health.last_media_ns,
            ended=health.ended,
            silence=health.silence,
            fresh_sessions_without_media=health.fresh_sessions_without_media,
            port=port,
            devices_behind=_devices_behind(place),
            port_delivers=not port or self._power.port_state(port) in ("delivering", "starting", "cycling"),
            protected=port in self._protected,
            held=self.held(health.device),
            link_changed_ns=place.link_changed_ns if place is not None else 0,
            reach=self._reach.get(health.device),
            cycles_today=self._cycles_today(port, now_ns),
        )

    async def _cycle(self, cycle: Cycle) -> None:
        detail = f"port {cycle.port} is switched off and on: {cycle.names} {cycle.reason}"
        now, utc = self._clock.boottime_ns(), self._clock.realtime_ns()
        records = tuple(
            CycleRecord(device=d, port=cycle.port, boot_id=self._boot_id, boottime_ns=now, utc_ns=utc)
            for d in cycle.devices
        )

        def counted(record: PowerRecord) -> PowerRecord:
            recent = (r for r in record.cycles if self._recent(r, now))
            return msgspec.structs.replace(record, cycles=(*recent, *records))

        try:
            await self._keeper.update(counted, even_unstored=True)
        except NotStored as error:
            log.error("%s; the cycle counts until the next restart only", error)
        log.warning("%s", detail)
        for device in cycle.devices:
            self._health.rescue_began(device, detail)
        self._publish("cycled", cycle.names, cycle.devices[0], detail)
        self._cycling.add(cycle.port)
        try:
            await self._power.cycle(cycle.port, f"camera rescue: {cycle.names} {cycle.reason}")
        except (PoeError, UnknownPort) as error:
            log.warning("port %s could not be cycled: %s", cycle.port, error)
            self._publish("failed", cycle.names, cycle.devices[0], str(error))
        finally:
            self._cycling.discard(cycle.port)

    def _tell_alarm(self, alarm: Alarm) -> None:
        log.error("%s: %s", alarm.name, alarm.reason)
        self._publish("alarm", alarm.name, alarm.device, alarm.reason)

    def _publish(self, what: str, name: str, device: uuid.UUID | None, reason: str) -> None:
        source = (("Device", str(device) if device is not None else ""), ("Name", name))
        self._events.publish(Event(RESCUE, source=source, data=(("What", what), ("Reason", reason))))

    # --- counters and holds

    def _recent(self, record: CycleRecord, now_ns: int) -> bool:
        """Within a day. When that cannot be told (another boot, no trusted clock), it counts as within."""
        if record.boot_id == self._boot_id:
            return now_ns - record.boottime_ns < _DAY_NS
        if self._clock.trust() is Trust.NONE:
            return True
        return self._clock.realtime_ns() - record.utc_ns < _DAY_NS

    def _cycles_today(self, port: str, now_ns: int) -> int:
        times = {
            (r.boot_id, r.boottime_ns) for r in self._keeper.record.cycles if r.port == port and self._recent(r, now_ns)
        }
        return len(times)

    def held(self, device: uuid.UUID) -> bool:
        return any(h.device == device and self._holds(h) for h in self._keeper.record.holds)

    def _holds(self, hold: HoldRecord) -> bool:
        if hold.boot_id == self._boot_id:
            return self._clock.boottime_ns() < hold.until_boottime_ns
        return self._clock.trust() is Trust.NONE or self._clock.realtime_ns() < hold.until_utc_ns

    async def hold(self, device: uuid.UUID, seconds: float) -> None:
        """Leaves the device alone for so long, over restarts too; 0 ends a hold. Durable when it returns; raises `NotStored`."""
        until = HoldRecord(
            device=device,
            boot_id=self._boot_id,
            until_boottime_ns=self._clock.boottime_ns() + round(seconds * _S),
            until_utc_ns=self._clock.realtime_ns() + round(seconds * _S),
        )

        def held(record: PowerRecord) -> PowerRecord:
            others = tuple(h for h in record.holds if h.device != device and self._holds(h))
            return msgspec.structs.replace(record, holds=(*others, until) if seconds > 0 else others)

        await self._keeper.update(held)

    def holds(self) -> Sequence[HoldRecord]:
        """Those in force."""
        return tuple(h for h in self._keeper.record.holds if self._holds(h))


def _port_of(health: CameraHealth, bindings: Mapping[uuid.UUID, str], place: CameraPlace | None) -> str:
    """As the operator bound the device, else as it was located."""
    return bindings.get(health.device, "") or (place.port if place is not None else "")


def _devices_behind(place: CameraPlace | None) -> int:
    """As `Sight.devices_behind`. A device bound by hand and unseen by the network counts as alone on its port."""
    if place is None:
        return 1
    if place.devices_behind:
        return place.devices_behind
    return 1 if place.alone else 0
