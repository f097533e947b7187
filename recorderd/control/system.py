"""`io.recorderd.System`: the state of the whole, worst first, and why a camera is not recorded."""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recorderd import __version__
from recorderd.control.cameras import Cameras, Condition
from recorderd.control.dispatch import Dispatch
from recorderd.control.explain import Chain
from recorderd.control.peer import Peer
from recorderd.model.causes import GapCause
from recorderd.model.media_ram import MediaRam
from recorderd.model.ports import Clock
from recorderd.power.board_health import BoardHealth
from recorderd.power.service import PowerService
from recorderd.protocol import system
from recorderd.protocol.errors import NotFound
from recorderd.protocol.message import Nothing
from recorderd.protocol.wall import to_rfc3339
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring, RingState, RingStatus
from recorderd.ring.ring_status import RingHealth
from recorderd.settings import Durability, Settings

_LATE_MS = 100.0
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class LoopHealth:
    """How late the daemon's loop runs its timers: over the last minute, and how often past its budget since start."""

    late_p99_ms: float
    overruns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFace:
    """Reads every part as it stands; holds nothing itself. `zone` is the recorder's now: it may be set while it runs."""

    settings: Settings
    cameras: Cameras
    chain: Chain
    ring: Ring
    ledger: RingLedger
    power: PowerService | None
    board: BoardHealth
    clock: Clock
    zone: Callable[[], zoneinfo.ZoneInfo]
    started_ns: int
    media_ram: MediaRam
    bytes_per_day: Callable[[], int | None]
    loop_health: Callable[[], LoopHealth]
    frozen: Callable[[], str] = lambda: ""
    configuration_troubles: Callable[[], list[str]] = list

    def bind(self, table: Dispatch) -> None:
        table.reply(system.GET_STATUS, self._get_status)
        table.reply(system.EXPLAIN, self._explain)

    async def _get_status(self, _call: Nothing, _peer: Peer) -> system.Status:
        return self.status()

    async def _explain(self, call: system.ExplainCall, _peer: Peer) -> system.Explanation:
        for seen in self.cameras.seen():
            if call.camera in (seen.name, seen.receiver.token):
                return self.chain.explain(seen)
        raise NotFound("camera", call.camera)

    def status(self) -> system.Status:
        cameras = self.cameras.rows()
        ring = self.ring.status()
        problems = self._problems(cameras, ring)
        return system.Status(
            name=self.settings.recorder.name,
            version=__version__,
            verdict=verdict(cameras, ring),
            well=all(camera.state == "recording" for camera in cameras if camera.due)
            and not any(problem.severity == "error" for problem in problems),
            problems=problems,
            cameras=cameras,
            disk=self._disk(ring),
            clock=self._clock(),
            poe=self._poe(),
            board=self.board.line(),
            process=self._process(cameras, ring),
        )

    def verdict(self) -> str:
        """The one line that systemd shows."""
        return verdict(self.cameras.conditions(), self.ring.health())

    def _problems(self, cameras: list[system.Camera], ring: RingStatus) -> list[system.Problem]:
        found = []
        if ring.state is not RingState.HEALTHY:
            found.append(_problem("error", "disk", _trouble(ring)))
        for camera in cameras:
            if camera.state == "failing":
                text = f"not recorded: {camera.detail or camera.cause or 'no picture reaches the disk'}"
                found.append(_problem("error", camera.name, text, camera.since))
        if frozen := self.frozen():
            found.append(_problem("error", "configuration", f"cannot be changed: {frozen}"))
        found.extend(_problem("warning", "configuration", text) for text in self.configuration_troubles())
        found.extend(_problem("warning", name, text) for name, text in self.cameras.alarms())
        found.extend(_problem("warning", "disk", fault) for fault in ring.faults)
        if self.settings.disk.durability is Durability.NONE:
            found.append(_problem("warning", "disk", "durability = none: a power cut loses what was recorded last"))
        if self.clock.trust() == 0:
            found.append(_problem("warning", "clock", "not set since power-on: times are not to be relied on"))
        if self.power is not None:
            sick = [controller for controller in self.power.status().controllers if not controller.healthy]
            found.extend(_problem("warning", "power", f"{controller.id}: {controller.detail}") for controller in sick)
        found.extend(_problem("warning", "board", symptom.text) for symptom in self.board.symptoms)
        if (late_ms := self.loop_health().late_p99_ms) > _LATE_MS:
            found.append(_problem("warning", "recorder", f"overloaded: {late_ms:.0f} ms late"))
        return found

    def _disk(self, ring: RingStatus) -> system.Disk:
        store = self.ring.store
        oldest_ns = self.ledger.queries.oldest_ns()
        now_ns = self.clock.realtime_ns()
        slot_bytes = store.identity.slot_bytes if store is not None else 0
        return system.Disk(
            state=_disk_state(ring),
            detail=_trouble(ring),
            path=self.settings.disk.path,
            medium=store.profile.name if store is not None else self.settings.disk.medium.value,
            durable=self.settings.disk.durability is Durability.FLUSH,
            size_bytes=ring.total_bytes,
            slots=ring.total_bytes // slot_bytes if slot_bytes else 0,
            free_slots=ring.free_bytes // slot_bytes if slot_bytes else 0,
            locked_bytes=len(self.ledger.keeper.locked_slots()) * slot_bytes,
            oldest=to_rfc3339(oldest_ns) if oldest_ns is not None else None,
            reach_ms=max(0, now_ns - oldest_ns) // _NS_PER_MS if oldest_ns is not None else None,
            forecast_ms=round(ring.reach_forecast_s * 1000) if ring.reach_forecast_s is not None else None,
            required_ms=self.cameras.required_ms(),
            commit_age_ms=round(ring.last_commit_age_s * 1000) if ring.last_commit_age_s is not None else None,
            slowest_commit_ms=ring.statistics.slowest_commit_ns / _NS_PER_MS if ring.statistics.commits else None,
            bytes_per_day=self.bytes_per_day(),
        )

    def _clock(self) -> system.Clock:
        now_ns = self.clock.realtime_ns()
        zone = self.zone()
        offset = datetime.datetime.fromtimestamp(now_ns // 1_000_000_000, zone).utcoffset()
        words: dict[int, system.TrustWord] = {0: "none", 1: "rtc", 2: "operator", 3: "ntp"}
        return system.Clock(
            now=to_rfc3339(now_ns),
            zone=zone.key,
            utc_offset_s=int(offset.total_seconds()) if offset is not None else 0,
            trust=words[self.clock.trust()],
        )

    def _poe(self) -> system.Poe | None:
        if self.power is None:
            return None
        status = self.power.status()
        return system.Poe(
            board=status.board,
            state="good" if all(controller.healthy for controller in status.controllers) else "failing",
            summary=status.line(),
            budget_mw=status.budget.available_mw if status.budget.total_mw else None,
            used_mw=status.budget.measured_mw,
            ports_on=sum(port.state == "delivering" for port in status.ports),
            ports=len(status.ports),
        )

    def _process(self, cameras: list[system.Camera], ring: RingStatus) -> system.Process:
        limit = self.settings.media_ram_bytes()
        rate_bps = sum(camera.bit_rate for camera in cameras)
        health = self.loop_health()
        return system.Process(
            uptime_ms=(self.clock.boottime_ns() - self.started_ns) // _NS_PER_MS,
            media_ram_bytes=ring.queued_bytes + self.media_ram.reserved_bytes,
            media_ram_limit_bytes=limit,
            stall_s=limit * 8 / rate_bps if rate_bps else None,
            late_p99_ms=health.late_p99_ms,
            overruns=health.overruns,
        )


def verdict(cameras: Sequence[system.Camera | Condition], ring: RingHealth) -> str:
    """What systemd's status line and the first line of `status` say."""
    due = [camera for camera in cameras if camera.due]
    good = sum(camera.state == "recording" for camera in due)
    if due and not good and all(camera.state == "connecting" for camera in due):
        return f"NOT RECORDING: {len(due)} camera{'s are' if len(due) > 1 else ' is'} being connected"
    if due and not good:
        worst = (
            ring.detail
            if ring.state is not RingState.HEALTHY
            else next(c.detail for c in due if c.state != "recording")
        )
        return f"NOT RECORDING: {worst or 'no picture reaches the disk'}"
    if not due and ring.state is not RingState.HEALTHY:
        return f"NOT RECORDING: {_trouble(ring)}"
    return f"RECORDING {good}/{len(due)}"


def _trouble(ring: RingHealth) -> str:
    """Why the ring takes nothing; empty when it does."""
    if ring.state is RingState.HEALTHY:
        return ""
    if ring.cause is GapCause.DISK_MISSING:
        return f"no ring there ({ring.detail}); recorderctl disks format makes one"
    return ring.detail or ("the ring is being opened" if ring.state is RingState.CLOSED else ring.state.value)


def _disk_state(ring: RingHealth) -> system.DiskState:
    if ring.state is RingState.HEALTHY:
        return "recording"
    if ring.state is RingState.CLOSED:
        return "opening"
    return "missing" if ring.cause is GapCause.DISK_MISSING else "degraded"


def _problem(severity: system.Severity, subject: str, text: str, since: str | None = None) -> system.Problem:
    return system.Problem(severity=severity, subject=subject, text=text, since=since)
