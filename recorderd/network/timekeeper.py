"""`TimeKeeper`: the one owner of this machine's time.

It decides what chronyd may do, remembers the last known time, and says what the clock is worth.

Files: `time.json` (zone, servers) and `clock` (the last known time, for the unit that raises the clock at boot) in the state folder;
`chrony.d/` and the requests of the two units that may set things, in the runtime folder. Trust is kept for the boot in the runtime folder,
so that a restart of the daemon does not lose what an operator said.
"""

from __future__ import annotations

import asyncio
import logging
import os
import zoneinfo
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from recorderd.durable import replace_file
from recorderd.model.network import Ntp
from recorderd.model.ports import Clock, Event, EventSink
from recorderd.model.timeline import Trust
from recorderd.network import chrony, kernelclock, topics
from recorderd.network.check import faults_of_servers
from recorderd.network.generations import boot_id
from recorderd.network.services import CHRONY
from recorderd.network.trust import Decision, Evidence, Mode, Standing, decide, duration
from recorderd.network.units import UnitFailed, Units

log = logging.getLogger(__name__)

LOOK_S = {True: 64.0, False: 8.0}  # by whether the clock is synchronised
FLOOR_S = 600.0
STEP_TOLD_S = 0.1
EARLIEST = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
SET_UNIT = "recorderd-clock-set.service"
ZONE_UNIT = "recorderd-zone.service"


class TimeRefused(Exception):
    """A request that changes nothing; one line."""

    def __init__(self, argument: str, line: str) -> None:
        super().__init__(line)
        self.argument = argument


class Kept(msgspec.Struct, frozen=True):
    """time.json. None: what recorderd.toml says."""

    zone: str | None = None
    servers: tuple[str, ...] | None = None
    from_dhcp: bool | None = None


@dataclass(frozen=True, slots=True)
class TimeStatus:
    utc_ns: int
    zone: str
    trust: Trust
    synchronised: bool
    managed: bool  # chronyd is ours
    source: str
    offset_s: float | None
    sources: tuple[chrony.Source, ...]
    configured: tuple[str, ...]
    leased: tuple[str, ...]
    rtc: bool
    floor_s: float
    mode: Mode
    waits: str


class TimeKeeper:
    """`managed`: the network is ours, and chronyd with it; otherwise someone else disciplines the clock and we only look."""

    def __init__(
        self,
        *,
        managed: bool,
        ntp: Ntp,
        zone: str | None,
        state_folder: Path,
        run_folder: Path,
        units: Units,
        events: EventSink,
        clock: Clock,
        ask: Callable[[str], Awaitable[str]] = chrony.ask,
        disciplined: Callable[[], bool] = kernelclock.disciplined,
        has_rtc: Callable[[], bool] = kernelclock.has_rtc,
        watch_steps: bool = True,
        in_thread: Callable[..., Awaitable[object]] = asyncio.to_thread,
    ) -> None:
        self._managed = managed
        self._ntp = ntp
        self._zone = zone
        self._state, self._run = state_folder, run_folder
        self._units = units
        self._events = events
        self._clock = clock
        self._ask = ask
        self._disciplined = disciplined
        self._rtc = has_rtc()
        self._watch_steps = watch_steps
        self._in_thread = in_thread  # for what must reach the flash
        self._kept = self._read_kept()
        self._floor_s = self._read_floor()
        self._trust = self._first_trust()
        self._decision = Decision(Mode.HOLD, self._trust)
        self._accepted = False
        self._sources: tuple[chrony.Source, ...] = ()
        self._synchronised = False
        self._leased: tuple[str, ...] = ()
        self._written: str | None = None
        self._floor_written_ns = 0
        self._apart_ns = 0  # wall minus boot time, as last seen
        self._wake = asyncio.Event()
        self.on_change: list[
            Callable[[], None]
        ] = []  # told after the clock was set or its trust changed (the ring's epochs)

    def trust(self) -> Trust:
        """For `model.ports.Clock`."""
        return self._trust

    def lease_changed(self, fields: dict[str, str]) -> None:
        """The uplink's lease names NTP servers, or no longer does."""
        self._leased = tuple(fields.get("ntp", "").split())
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; then the last known time is written once more."""
        watch = kernelclock.StepWatch(self._stepped) if self._watch_steps else None
        self._apart_ns = self._wall_minus_boot_ns()
        try:
            while True:
                await self._look()
                await self._pause(LOOK_S[self._synchronised])
        finally:
            if watch is not None:
                watch.close()
            self._write_floor()

    async def _pause(self, seconds: float) -> None:
        """Until the time is over or something calls for a look."""
        tasks = {asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._clock.sleep(seconds))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._wake.clear()

    # --- what people ask ---

    def status(self) -> TimeStatus:
        best = chrony.best(self._sources)
        return TimeStatus(
            utc_ns=self._clock.realtime_ns(),
            zone=self.zone,
            trust=self._trust,
            synchronised=self._synchronised,
            managed=self._managed,
            source=best.name if best else "",
            offset_s=best.offset_s if best else None,
            sources=self._sources,
            configured=self._configured,
            leased=self._leased,
            rtc=self._rtc,
            floor_s=self._floor_s,
            mode=self._decision.mode,
            waits=self._decision.waits,
        )

    @property
    def zone(self) -> str:
        return self._kept.zone or self._zone or system_zone()

    async def set_time(self, utc_s: float, who: str) -> None:
        """An operator's word: the clock is set, trusted, and may go back. Raises `TimeRefused` and `UnitFailed`."""
        if not EARLIEST <= utc_s < LATEST:
            raise TimeRefused("time", f"a time from {datetime.fromtimestamp(EARLIEST, UTC).date()} to 2099 is expected")
        if self._synchronised:
            raise TimeRefused(
                "time", "NTP keeps this clock: take the servers away first (`recorderctl time servers none`)"
            )
        before_s = self._clock.realtime_ns() / 1e9
        self._floor_s = utc_s
        self._request("clock-set", f"{utc_s:.6f}\n")
        await self._units.start(SET_UNIT)
        self._tell(f"set by {who}", utc_s - before_s)
        self._become(Trust.OPERATOR)
        self._write_floor()

    async def set_zone(self, name: str) -> None:
        """Raises `TimeRefused` for a name that the zone database does not have."""
        if name not in zoneinfo.available_timezones():
            raise TimeRefused("zone", "an IANA time zone is expected, e.g. Europe/Berlin")
        await self._in_thread(self._keep, msgspec.structs.replace(self._kept, zone=name))
        self._request("zone", f"{name}\n")
        await self._units.start(ZONE_UNIT)

    async def set_servers(self, servers: tuple[str, ...], *, from_dhcp: bool) -> None:
        """NTP servers in order of preference; none at all is allowed. Raises `TimeRefused`."""
        found = faults_of_servers(servers)
        if found:
            raise TimeRefused("servers", str(found[0]))
        await self._in_thread(self._keep, msgspec.structs.replace(self._kept, servers=servers, from_dhcp=from_dhcp))
        self._wake.set()

    async def accept(self, who: str) -> str:
        """`time trust`: what NTP says is taken, whatever the size of the step. Returns what was waiting. Raises `TimeRefused`."""
        waited = self._decision.waits
        if not waited:
            raise TimeRefused("", "nothing waits: no source asks for a step that would need your word")
        self._accepted = True
        self._events.publish(Event(topics.CLOCK, (), (("What", "StepAccepted"), ("Detail", f"by {who}: {waited}"))))
        self._wake.set()
        return waited

    # --- looking and deciding ---

    async def _look(self) -> None:
        evidence = await self._evidence()
        now_s = self._clock.realtime_ns() / 1e9
        standing = Standing(self._trust, self._floor_s, self._accepted)
        former, self._decision = self._decision, decide(evidence, standing, now_s)
        self._synchronised = evidence.synchronised
        if self._decision.waits and self._decision.waits != former.waits:
            log.warning("time: %s; `recorderctl time trust` takes it", self._decision.waits)
            self._events.publish(Event(topics.CLOCK, (), (("What", "StepWaits"), ("Detail", self._decision.waits))))
        if evidence.synchronised and evidence.offset_s is not None and abs(evidence.offset_s) < 1 and self._accepted:
            self._accepted = False
            self._floor_s = now_s  # going back was accepted
        if self._managed:
            await self._instruct()
        self._become(self._decision.trust)
        if self._clock.boottime_ns() - self._floor_written_ns > FLOOR_S * 1e9:
            await self._in_thread(self._write_floor)

    async def _evidence(self) -> Evidence:
        if not self._managed:
            return Evidence(self._disciplined(), 0.0 if self._disciplined() else None)
        try:
            self._sources = chrony.sources(await self._ask("sources"))
            synchronised = chrony.synchronised(await self._ask("tracking"))
        except chrony.ChronyFailed as error:
            log.debug("time: %s", error)
            self._sources = ()
            return Evidence(synchronised=False)
        best = chrony.best(self._sources)
        if best is None:
            return Evidence(synchronised=synchronised)
        return Evidence(synchronised, best.offset_s, best.name, configured=best.name not in self._leased)

    async def _instruct(self) -> None:
        """Writes chronyd's directives where they changed, and restarts it."""
        text = chrony.directives(self._decision.mode, self._configured, self._leased if self._from_dhcp else ())
        if text == self._written:
            return
        self._written = text
        try:
            self._request("chrony.d/recorderd.conf", text)
            await self._units.restart(CHRONY)
        except (UnitFailed, OSError) as error:
            log.warning("time: %s", error)

    def _stepped(self) -> None:
        """The kernel says that the clock was set; by whom does not matter."""
        apart_ns = self._wall_minus_boot_ns()
        by_s = (apart_ns - self._apart_ns) / 1e9
        self._apart_ns = apart_ns
        if abs(by_s) >= STEP_TOLD_S:
            self._tell("the clock was set", by_s)
            for tell in self.on_change:
                tell()
        self._wake.set()

    def _tell(self, what: str, by_s: float) -> None:
        detail = f"{what}: {duration(abs(by_s))} {'forward' if by_s >= 0 else 'back'}"
        log.warning("time: %s", detail)
        data = (("What", "Set"), ("BySeconds", f"{by_s:.3f}"), ("Detail", detail))
        self._events.publish(Event(topics.CLOCK, (), data))

    def _become(self, trust: Trust) -> None:
        if trust is self._trust:
            return
        log.info("time: trust is now %s", trust.name.lower())
        self._trust = trust
        self._decision = Decision(self._decision.mode, trust, self._decision.waits)
        self._events.publish(
            Event(topics.CLOCK, (), (("What", "Trust"), ("Trust", trust.name.lower())), operation="Changed")
        )
        try:
            self._request("trust", f"{boot_id()} {int(trust)}\n")
        except OSError as error:
            log.warning("time: trust is lost when the daemon restarts: %s", error)
        for tell in self.on_change:
            tell()

    # --- memory ---

    @property
    def _configured(self) -> tuple[str, ...]:
        return self._kept.servers if self._kept.servers is not None else self._ntp.servers

    @property
    def _from_dhcp(self) -> bool:
        return self._kept.from_dhcp if self._kept.from_dhcp is not None else self._ntp.from_dhcp

    def _first_trust(self) -> Trust:
        try:
            words = (self._run / "trust").read_text(encoding="ascii").split()
            if words[0] == boot_id():
                return Trust(int(words[1]))
        except (OSError, ValueError, IndexError):
            log.debug("time: no trust is remembered from this boot")
        now_s = self._clock.realtime_ns() / 1e9
        return Trust.RTC if self._rtc and now_s > max(self._floor_s, EARLIEST) else Trust.NONE

    def _read_kept(self) -> Kept:
        try:
            return msgspec.json.decode((self._state / "time.json").read_bytes()[:65536], type=Kept)
        except FileNotFoundError:
            return Kept()
        except (msgspec.DecodeError, OSError) as error:
            log.error("time: %s is damaged (%s): recorderd.toml holds", self._state / "time.json", error)
            return Kept()

    def _keep(self, kept: Kept) -> None:
        replace_file(self._state / "time.json", msgspec.json.encode(kept))
        self._kept = kept

    def _read_floor(self) -> float:
        try:
            return float((self._state / "clock").read_text(encoding="ascii")[:32])
        except (OSError, ValueError):
            return 0.0

    def _write_floor(self) -> None:
        """The last known time grows only while the clock is worth something."""
        if self._trust is Trust.NONE:
            return
        self._floor_s = max(self._floor_s, self._clock.realtime_ns() / 1e9)
        self._floor_written_ns = self._clock.boottime_ns()
        try:
            replace_file(self._state / "clock", f"{self._floor_s:.0f}\n".encode())
        except OSError as error:  # the system's flash is read-only or full: recording goes on
            log.warning("time: the last known time cannot be kept: %s", error)

    def _request(self, name: str, text: str) -> None:
        replace_file(self._run / name, text.encode())

    def _wall_minus_boot_ns(self) -> int:
        return self._clock.realtime_ns() - self._clock.boottime_ns()


def system_zone(root: Path = Path("/")) -> str:
    """The zone /etc/localtime leads to; UTC where it leads nowhere."""
    try:
        _, found, name = os.readlink(root / "etc/localtime").partition("zoneinfo/")  # noqa: PTH115
    except OSError:
        return "UTC"
    return name if found and name else "UTC"
