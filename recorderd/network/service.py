"""`NetworkService`: keeps the confirmed network as it was confirmed, knows where every camera is, and tells when something changes.

It never polls: notices of the kernel start everything, gathered for a moment and at most once a second. While a change awaits its
confirmation nothing is repaired, for the guard may be restoring. Without `[network] manage` it only looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from recorderd.model.network import IPv4Mode, LinkLocal, NetworkSettings, NetworkWish, Uplink, UplinkIPv4
from recorderd.model.ports import CameraPlace, Clock, EventSink, LinkObserver
from recorderd.network import (
    arp,
    isolation,
    leases,
    lldp,
    notices,
    owners,
    places,
    report,
    services,
    sessions,
    topics,
)
from recorderd.network.declared import Declared
from recorderd.network.execute import Executor, StepFailed
from recorderd.network.filter import FilterFailed
from recorderd.network.generations import Damaged
from recorderd.network.goal import goal_of, uplink_link
from recorderd.network.observed import Observed
from recorderd.network.patience import Patience
from recorderd.network.plan import Impossible, plan
from recorderd.network.status import NetworkStatus, PendingStatus
from recorderd.network.steps import says
from recorderd.network.telling import Teller
from recorderd.network.transaction import Applied, Preview, Refused, Transactions, table_differs
from recorderd.network.units import Units
from recorderd.network.watch import Watch, read_tables

log = logging.getLogger(__name__)

GATHER_S = 0.2  # notices that belong together come within this
SLICE = 500  # table entries taken over without a pause
APART_S = 1.0  # between two readings
LEASE_S = (0.2, 1.5)  # after a sign of life the lease file is read: dnsmasq writes it about then


class NetworkService:
    """Implements `ports.CameraLocator`."""

    def __init__(
        self,
        *,
        settings: NetworkSettings,
        folder: Path,
        transactions: Transactions,
        executor: Executor,
        units: Units,
        events: EventSink,
        clock: Clock,
        labels: Mapping[str, str],
        observer: LinkObserver | None = None,
        leases_file: Path = Path(services.LEASES),
        uplink_lease_file: Path = Path(services.UPLINK_LEASE),
        resolv_file: Path = Path("/run/recorderd/resolv.conf"),
        root: Path = Path("/"),
    ) -> None:
        self._settings = settings
        self._declared = Declared(file=folder / "declared.json", settings=settings.wish())
        self._transactions = transactions
        self._executor = executor
        self._units = units
        self._events = events
        self._clock = clock
        self._board_labels = dict(labels)
        self._leases_file = leases_file
        self._uplink_lease_file = uplink_lease_file
        self._resolv_file = resolv_file
        self._root = root
        self._places = places.Places()
        self._observed = Observed()
        self._leases: tuple[leases.Lease, ...] = ()
        self._lease: dict[str, str] = {}
        self._trouble: tuple[str, ...] = ()
        self._notes: tuple[str, ...] = ()
        self._patience = Patience()
        self._teller = Teller(places=self._places, events=events, clock=clock, observer=observer)
        self._dirty = asyncio.Event()
        self._resync = True
        self._lease_timers: list[asyncio.TimerHandle] = []
        self._watch: Watch | None = None
        self.on_power_request: list[Callable[[str, int | None], None]] = []  # port label, what its PD asks for in mW
        self.on_lease: list[
            Callable[[dict[str, str]], None]
        ] = []  # told the uplink's lease when it changes (the time owner)

    async def run(self) -> None:
        """Until cancelled."""
        await self._begin()
        self._watch = watch = Watch(
            on_notice=self._notice, on_claim=self._claim, on_announcement=self._announcement, on_lost=self._lost
        )
        watch.open()
        self._dirty.set()
        try:
            while True:
                await self._dirty.wait()
                await asyncio.sleep(GATHER_S)
                self._dirty.clear()
                try:
                    await self._look()
                except (OSError, TimeoutError, FilterFailed) as error:
                    self._resync = True
                    self._trouble = (f"the kernel's tables cannot be read: {error}",)
                    log.warning("network: %s", self._trouble[0])
                    self._dirty.set()
                await asyncio.sleep(APART_S - GATHER_S)
        finally:
            for timer in self._lease_timers:
                timer.cancel()
            watch.close()

    async def _begin(self) -> None:
        """What a crash or a change of the settings left to be done."""
        try:
            if self._settings.manage:
                await asyncio.to_thread(self._transactions.finish_confirmation)
            elif await asyncio.to_thread(self._transactions.release):
                log.warning(
                    "network: no longer managed: it stays as it is until the next boot, which sets up nothing of ours"
                )
        except (Damaged, OSError) as error:
            log.error("network: %s", error)

    # --- ports.CameraLocator ---

    def locate(self, address: str) -> CameraPlace | None:
        return self._places.locate(address)

    def protected_ports(self) -> frozenset[str]:
        """Labels of the ports behind which the default gateway or a logged-in person is."""
        addresses = {path.via for path in self._observed.paths if path.default and path.via}
        links = {path.link for path in self._observed.paths if path.default}
        labels = {self._places.label(name) for name in links}
        for address in addresses | sessions.ssh_peers(self._settings.ssh_ports, self._root / "proc/self/net"):
            place = self._places.locate(address)
            if place is not None and place.port:
                labels.add(place.port)
        return frozenset(labels)

    # --- what people ask ---

    @property
    def wish(self) -> NetworkWish:
        return self._declared.wish

    async def declare(self, wish: NetworkWish) -> Preview:
        """Takes the wish over, durably, and says what applying it would do. Raises `Refused`."""
        seen = await self._transactions.preview(wish)
        await asyncio.to_thread(self._declared.set, wish)
        return seen

    async def preview(self) -> Preview:
        return await self._transactions.preview(self._declared.wish)

    async def apply(self, *, confirm_within_s: int, wish: NetworkWish | None = None) -> Applied:
        """Applies what is declared (or `wish`, for the rescue). Raises `Refused` and `Undone`."""
        self._may_change(wish or self._declared.wish)
        applied = await self._transactions.apply(wish or self._declared.wish, confirm_within_s=confirm_within_s)
        self._events.publish(topics.change_event("Applied", f"undone in {confirm_within_s} s unless confirmed"))
        self._dirty.set()
        return applied

    async def confirm(self, token: str, pid: int) -> None:
        await self._transactions.confirm(token, pid)
        self._events.publish(topics.change_event("Confirmed", ""))
        self._dirty.set()

    async def rollback(self) -> None:
        await self._transactions.rollback()
        self._events.publish(topics.change_event("RolledBack", ""))
        self._dirty.set()

    async def rescue(self, *, interface: str, confirm_within_s: int) -> Applied:
        """DHCP and a link-local address on the uplink; everything else stays as it was confirmed. Raises `Refused` and `Undone`."""
        former = self._confirmed() or NetworkWish()
        name = interface or next((wish.uplink.interface for wish in (former, self._declared.wish) if wish.uplink), "")
        if not name:
            raise Refused("invalid", "which interface is the uplink? Name it: `recorderctl net rescue INTERFACE`")
        ipv4 = UplinkIPv4(mode=IPv4Mode.DHCP, link_local=LinkLocal.ON)
        wish = msgspec.structs.replace(former, uplink=Uplink(interface=name, ipv4=ipv4), routes=())
        return await self.apply(confirm_within_s=confirm_within_s, wish=wish)

    def neighbours(self) -> tuple[CameraPlace, ...]:
        """Every device seen on the camera LAN."""
        return self._places.all()

    def interface_of_port(self, port: str) -> str | None:
        """The interface with this label or name; None where there is none."""
        names = [link.name for link in self._observed.links]
        return next((name for name in names if port in (name, self._places.label(name))), None)

    @property
    def from_file(self) -> bool:
        """Whether recorderd.toml declares the network, and not a later `net set`."""
        return self._declared.from_file

    def leases(self) -> tuple[leases.Lease, ...]:
        return self._leases

    def status(self) -> NetworkStatus:
        observed, wish, confirmed = self._observed, self._declared.wish, self._confirmed()
        wish_in_force = confirmed or wish
        default = next((path for path in observed.paths if path.default and path.family == 4), None)
        return NetworkStatus(
            managed=self._settings.manage,
            host_name=observed.hostname,
            links=report.links(
                observed, wish_in_force, self._places, self._board_labels, leased=self._lease.get("ip", "")
            ),
            gateway=default.via if default else "",
            gateway_link=default.link if default else "",
            name_servers=(*wish.dns.servers, *(self._lease.get("dns", "").split() if wish.dns.from_dhcp else ())),
            ntp_servers=(*wish.ntp.servers, *(self._lease.get("ntp", "").split() if wish.ntp.from_dhcp else ())),
            lease=self._lease.get("state", ""),
            isolation=report.isolation(observed, confirmed, self._places),
            cameras=tuple(place for place in self._places.all() if place.port),
            pending=self._pending_status(),
            trouble=self._trouble,
            notes=self._notes + ((self._watch.unheard,) if self._watch and self._watch.unheard else ()),
            wish=wish,
            confirmed=confirmed,
        )

    # --- what the kernel says ---

    def _notice(self, notice: notices.Notice) -> None:
        match notice:
            case notices.Forwarding(index, mac, gone):
                self._teller.found(self._places.forwarding(index, mac, self._now_s(), gone=gone))
                if not gone:
                    self._read_leases_soon()
            case notices.Neighbour(index, address, mac):
                self._teller.found(self._places.neighbour(index, address, mac, self._now_s()))
            case notices.Changed():
                self._dirty.set()

    def _claim(self, index: int, claim: arp.Claim) -> None:
        if not claim.probe:
            self._teller.found(self._places.claim(index, claim.mac, claim.address, self._now_s()))
        self._read_leases_soon()

    def _announcement(self, index: int, said: lldp.Announcement) -> None:
        name = next((link.name for link in self._observed.links if link.index == index), "")
        self._places.heard(name, said)
        label = self._board_labels.get(name)
        if label is not None:
            power_mw = said.requested_mw if said.ttl_s else 0
            for listener in self.on_power_request:
                listener(label, power_mw or None)

    def _lost(self) -> None:
        self._resync = True
        self._dirty.set()

    def _read_leases_soon(self) -> None:
        """One pair of readings at a time, however many signs of life there are."""
        now = asyncio.get_running_loop().time()
        self._lease_timers = [timer for timer in self._lease_timers if not timer.cancelled() and timer.when() > now]
        if not self._lease_timers:
            loop = asyncio.get_running_loop()
            self._lease_timers = [loop.call_later(delay, self._read_leases) for delay in LEASE_S]

    def _read_leases(self) -> None:
        self._leases = leases.read(self._leases_file)
        self._places.leases(self._leases)

    # --- reading, comparing, repairing ---

    async def _look(self) -> None:
        former, self._observed = self._observed, await self._executor.observe()
        self._configure_places()
        if (
            self._resync
            or not former.links
            or {x.index for x in former.links} != {x.index for x in self._observed.links}
        ):
            await self._read_tables()
        wish = self._confirmed() or self._declared.wish
        cameras = set(wish.cameras.ports) if wish.cameras else set(self._board_labels)
        default = next((path.link for path in self._observed.paths if path.default), "")
        self._teller.compare(former, self._observed, cameras, uplink_link(wish.uplink) if wish.uplink else default)
        self._read_uplink_lease()
        self._read_leases()
        if self._settings.manage:
            await self._keep()

    async def _read_tables(self) -> None:
        tables = await read_tables()
        self._resync = False
        now_s = self._now_s()
        self._places.relearn({entry.mac for entry in tables.forwarding})
        entries: tuple[notices.Forwarding | notices.Neighbour, ...] = (*tables.forwarding, *tables.neighbours)
        for count, entry in enumerate(entries):
            if isinstance(entry, notices.Forwarding):
                self._teller.found(self._places.forwarding(entry.index, entry.mac, now_s, gone=False))
            else:
                self._teller.found(self._places.neighbour(entry.index, entry.address, entry.mac, now_s))
            if count % SLICE == SLICE - 1:
                await asyncio.sleep(0)

    def _configure_places(self) -> None:
        """Camera ports are what the wish names, or, unmanaged, what the board labels; their bridge is wherever they are enslaved."""
        wish = self._confirmed() or self._declared.wish
        cameras = wish.cameras
        names = set(cameras.ports) if cameras else set(self._board_labels)
        ports = {link.index: link.name for link in self._observed.links if link.name in names}
        bridges = {link.master for link in self._observed.links if link.name in names and link.master}
        inside = {
            x.index: x.name for x in self._observed.links if x.name in bridges or (x.name in names and not x.master)
        }
        own = {
            address.cidr.partition("/")[0] for address in self._observed.addresses if address.link in bridges | names
        }
        self._places.configure(
            ports=ports,
            inside=inside,
            labels=self._board_labels | (cameras.labels if cameras else {}),
            fixed=cameras.places if cameras else {},
            own=own,
        )
        if self._watch is not None:
            self._watch.listen_on(ports)

    async def _keep(self) -> None:
        """Repairs what drifted from the confirmed network."""
        try:
            async with self._transactions.undisturbed() as ours:
                await self._repair(self._transactions.confirmed_wish() if ours else None)
        except Damaged as error:
            self._trouble = (str(error),)

    async def _repair(self, wish: NetworkWish | None) -> None:
        if wish is None:
            self._trouble = self._powers(self._declared.wish) if self._declared.wish != NetworkWish() else ()
            return
        self._trouble = self._powers(wish)
        if self._trouble:
            return
        mac = next((x.mac for x in self._observed.links if wish.uplink and x.name == wish.uplink.interface), "")
        goal = goal_of(wish, isolation.ruleset(wish), mac)
        try:
            repair = plan(goal, self._observed, table_differs=table_differs(goal, self._observed), repair=True)
        except Impossible as error:
            self._trouble = (str(error),)
            return
        self._notes = repair.notes
        if not repair.steps or not self._may_repair():
            return
        for step in repair.steps:
            try:
                await self._executor.carry_out(step)
            except StepFailed as error:
                self._trouble = (f"cannot be repaired: {error}",)
                log.warning("network: %s", self._trouble[0])
                return
            log.warning("network: drifted and repaired: %s", says(step))
            self._events.publish(topics.change_event("Repaired", says(step)))

    def _may_repair(self) -> bool:
        said = self._patience.spent(self._now_s())
        if not said:
            return True
        if said not in self._trouble:
            log.error("network: %s", said)
            self._events.publish(topics.change_event("Contested", said))
        self._trouble = (said,)
        return False

    def _powers(self, wish: NetworkWish) -> tuple[str, ...]:
        names = [*([wish.uplink.interface] if wish.uplink else []), *(wish.cameras.ports if wish.cameras else ())]
        numbers = [(link.name, link.index) for link in self._observed.links if link.name in names]
        return owners.missing_powers(self._root) + owners.other_owners(numbers, self._root)

    def _may_change(self, wish: NetworkWish) -> None:
        if not self._settings.manage:
            raise Refused(
                "not-managed",
                "recorderd does not manage this network: set `manage = true` in [network] of recorderd.toml",
            )
        trouble = self._powers(wish)
        if trouble:
            raise Refused("not-possible", trouble[0])

    # --- the uplink's lease ---

    def _read_uplink_lease(self) -> None:
        try:
            with self._uplink_lease_file.open(encoding="utf-8", errors="replace") as file:
                fields = services.lease_fields(file.read(8192))
        except FileNotFoundError:
            fields = {}
        if fields == self._lease:
            return
        self._lease = fields
        wish = self._confirmed()
        if self._settings.manage and wish is not None and wish.uplink is not None:
            text = services.resolv_conf(
                wish, lease_servers=tuple(fields.get("dns", "").split()), lease_domain=fields.get("domain", "")
            )
            with contextlib.suppress(FileNotFoundError):  # the unit that makes it does not run
                self._resolv_file.write_text(text, encoding="utf-8")
        for tell in self.on_lease:
            tell(fields)

    # --- status ---

    def _confirmed(self) -> NetworkWish | None:
        if not self._settings.manage:
            return None
        try:
            return self._transactions.confirmed_wish()
        except Damaged:
            return None

    def _pending_status(self) -> PendingStatus | None:
        try:
            pending = self._transactions.pending()
            if pending is not None:
                return PendingStatus(max(0, round(pending.deadline_s - self._now_s())), undoing=False)
            return PendingStatus(0, undoing=True) if self._transactions.unsettled() else None
        except Damaged:
            return None

    def _now_s(self) -> float:
        return self._clock.boottime_ns() / 1e9
