"""Which device is behind which switch port: evidence in, places out. Pure; fed by netlink notices, leases, ARP and LLDP.

The bridge's forwarding table says behind which port a MAC is; neighbours, leases and ARP say which address it has; leases and LLDP say
what it calls itself. A device that fell silent keeps its last place, because that is when the camera rescue asks for it; it loses it
when its MAC turns up elsewhere, or when the table is full and it has been gone the longest.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from recorderd.model.ports import CameraPlace
from recorderd.network.leases import Lease
from recorderd.network.lldp import Announcement

DEVICES_MAX = 1024
PER_PORT_MAX = 64  # a camera that invents addresses fills its own port's share, not the table
ADDRESSES_PER_DEVICE_MAX = 8
CONFLICT_AGAIN_S = 600.0


@dataclass(slots=True)
class Device:
    """One MAC. `port` is the link's name; `live`: the bridge has it now."""

    mac: str
    port: str = ""
    live: bool = False
    since_s: float = 0.0  # CLOCK_BOOTTIME of the last change of place
    addresses: dict[str, float] = field(default_factory=dict)  # -> when last said
    lease: Lease | None = None
    counted: str = ""  # the port whose share it takes


@dataclass(frozen=True, slots=True)
class Found:
    place: CameraPlace


@dataclass(frozen=True, slots=True)
class Moved:
    place: CameraPlace
    former_port: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two devices say that they have `address`; `mac_other` is empty where the other one is the recorder itself."""

    address: str
    mac: str
    mac_other: str
    port: str
    port_other: str


Finding = Found | Moved | Conflict


class Places:
    """The table. Every method that learns returns what is new, for events."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._by_address: dict[str, str] = {}
        self._ports: dict[int, str] = {}  # link number -> name, camera ports only
        self._inside: dict[int, str] = {}  # links whose neighbours are cameras: the bridge, single ports
        self._labels: dict[str, str] = {}
        self._fixed: dict[str, str] = {}
        self._own: frozenset[str] = frozenset()
        self._heard: dict[str, Announcement] = {}
        self._conflicts: dict[str, float] = {}
        self._behind: dict[str, dict[str, Device]] = {}  # port -> MAC -> device
        self._full: dict[str, int] = {}  # ports whose share is taken by live devices, until one of them goes
        self._link_changed_ns: dict[str, int] = {}
        self.refused = 0  # MACs not taken because their port had its share

    def configure(
        self,
        *,
        ports: Mapping[int, str],
        inside: Mapping[int, str],
        labels: Mapping[str, str],
        fixed: Mapping[str, str],
        own: Iterable[str],
    ) -> None:
        """`ports`: numbers and names of the camera ports; `inside`: links with cameras' addresses; `labels`: name -> label on the case;
        `fixed`: MAC -> label; `own`: the recorder's addresses there."""
        self._ports, self._inside = dict(ports), dict(inside)
        self._labels, self._fixed, self._own = dict(labels), dict(fixed), frozenset(own)
        names = set(ports.values())
        for mac in [mac for mac, device in self._devices.items() if device.port and device.port not in names]:
            self._forget(mac)
        for name in [name for name in self._heard if name not in names]:
            del self._heard[name]

    def forwarding(self, index: int, mac: str, now_s: float, *, gone: bool) -> tuple[Finding, ...]:
        """The bridge learned or forgot a MAC."""
        port = self._ports.get(index)
        if port is None:
            return ()
        known = self._devices.get(mac)
        if gone:
            if known is not None and known.port == port:
                known.live = False
                self._full.clear()
            return ()
        device = known or self._admit(mac, port, now_s)
        if device is None:
            return ()
        former, was_live = device.port, device.live
        device.live = True
        if former == port:
            return () if was_live or former else (Found(self._place(device, "")),)
        device.port, device.since_s = port, now_s
        self._put(device, port)
        place = self._place(device, "")
        return (Moved(place, self.label(former)) if former else Found(place),)

    def relearn(self, present: Container[str]) -> None:
        """The forwarding table was read anew: a device whose MAC is not in it is no longer live. `forwarding` follows for each that is."""
        for device in self._devices.values():
            device.live = device.live and device.mac in present
        self._full.clear()

    def neighbour(self, index: int, address: str, mac: str, now_s: float) -> tuple[Finding, ...]:
        """The IP layer resolved an address, or forgot it (`mac` empty: what was known stays known)."""
        if index not in self._inside or not mac:
            return ()
        device = self._devices.get(mac) or self._admit(mac, self._ports.get(index, ""), now_s)
        return self._says(device, address, now_s) if device else ()

    def claim(self, index: int, mac: str, address: str, now_s: float) -> tuple[Finding, ...]:
        """An ARP packet from a camera says that `mac` has `address`."""
        return self.neighbour(index, address, mac, now_s)

    def leases(self, leases: Iterable[Lease]) -> None:
        """All leases in force."""
        for device in self._devices.values():
            device.lease = None
        for lease in leases:
            known = self._devices.get(lease.mac)
            if known is not None:
                known.lease = lease

    def heard(self, port: str, said: Announcement) -> None:
        """LLDP from a port; with a time to live of 0 the sender takes leave."""
        if said.ttl_s == 0:
            self._heard.pop(port, None)
        elif port in self._ports.values():
            self._heard[port] = said

    def carrier(self, port: str, *, up: bool, at_ns: int) -> None:
        """The port's carrier changed at this CLOCK_BOOTTIME. Without one nobody is live, and what LLDP said no longer holds."""
        self._link_changed_ns[port] = at_ns
        if not up:
            self._heard.pop(port, None)
            self._full.clear()
            for device in self._behind.get(port, {}).values():
                device.live = False

    def locate(self, address: str) -> CameraPlace | None:
        """The place of an IP address or a MAC; None where nothing is known of it."""
        text = address.lower()
        device = self._devices.get(text)
        if device is not None:
            return self._place(device, "")
        try:
            text = str(ipaddress.ip_address(text))
        except ValueError:
            return None
        mac = self._by_address.get(text)
        if mac is None:
            mac = next((d.mac for d in self._devices.values() if d.lease and d.lease.address == text), None)
        return self._place(self._devices[mac], text) if mac else None

    def all(self) -> tuple[CameraPlace, ...]:
        """Every device with a place, by port."""
        placed = (
            device for device in self._devices.values() if device.port or device.mac in self._fixed or device.addresses
        )
        return tuple(sorted((self._place(device, "") for device in placed), key=lambda place: (place.port, place.mac)))

    def live(self, mac: str) -> bool:
        device = self._devices.get(mac)
        return device is not None and device.live

    def label(self, port: str) -> str:
        return self._labels.get(port, port)

    def announcement(self, port: str) -> Announcement | None:
        return self._heard.get(port)

    def __len__(self) -> int:
        return len(self._devices)

    def _place(self, device: Device, address: str) -> CameraPlace:
        newest = max(device.addresses, key=lambda text: (":" not in text, device.addresses[text]), default="")
        leased = device.lease.address if device.lease else ""
        live = [d.mac for d in self._behind.get(device.port, {}).values() if d.live] if device.port else []
        others = any(mac != device.mac for mac in live)
        label = self._fixed.get(device.mac) or (self.label(device.port) if device.port else "")
        heard = self._heard.get(device.port)
        says = (heard.system or heard.description) if heard is not None and not others else ""
        name = (device.lease.name if device.lease else "") or says
        alone = bool(label) and (device.mac in self._fixed or not others)
        return CameraPlace(
            mac=device.mac,
            ip=address or newest or leased,
            port=label,
            name=name,
            alone=alone,
            devices_behind=len({*live, device.mac}) if device.port else 0,
            link_changed_ns=self._link_changed_ns.get(device.port, 0),
        )

    def _says(self, device: Device, address: str, now_s: float) -> tuple[Finding, ...]:
        found: tuple[Finding, ...] = ()
        if address in self._own:
            return self._conflict(address, device, None, now_s)
        holder = self._devices.get(self._by_address.get(address, ""))
        if holder is not None and holder is not device and holder.live and device.live:
            found = self._conflict(address, device, holder, now_s)
        if holder is not None and holder is not device:
            holder.addresses.pop(address, None)
        while len(device.addresses) >= ADDRESSES_PER_DEVICE_MAX and address not in device.addresses:
            oldest = min(device.addresses, key=device.addresses.__getitem__)
            del device.addresses[oldest]
            self._by_address.pop(oldest, None)
        device.addresses[address] = now_s
        self._by_address[address] = device.mac
        return found

    def _conflict(self, address: str, device: Device, holder: Device | None, now_s: float) -> tuple[Finding, ...]:
        """Said once, and again after ten minutes: the two keep taking the address from each other."""
        last = self._conflicts.get(address)
        if last is not None and now_s - last < CONFLICT_AGAIN_S:
            return ()
        if len(self._conflicts) >= DEVICES_MAX:
            self._conflicts.clear()
        self._conflicts[address] = now_s
        other_mac, other_port = (holder.mac, self.label(holder.port)) if holder else ("", "")
        return (Conflict(address, device.mac, other_mac, self.label(device.port), other_port),)

    def _admit(self, mac: str, port: str, now_s: float) -> Device | None:
        """Room for one more, at the cost of one that has been gone longest; constant time while a port is full of live ones."""
        behind = self._behind.setdefault(port, {})
        crowd = behind if len(behind) >= PER_PORT_MAX else self._devices if len(self._devices) >= DEVICES_MAX else None
        if crowd is not None:
            if self._full.get(port) == len(behind) or not (gone := [d for d in crowd.values() if not d.live]):
                self._full[port] = len(behind)
                self.refused += 1
                return None
            self._forget(min(gone, key=lambda device: device.since_s).mac)
        device = Device(mac, port="", since_s=now_s)
        self._devices[mac] = device
        self._put(device, port)
        return device

    def _put(self, device: Device, port: str) -> None:
        """Counts the device to `port`; its `port` itself is set by whoever knows that it is there."""
        self._behind.get(device.counted, {}).pop(device.mac, None)
        device.counted = port
        self._behind.setdefault(port, {})[device.mac] = device

    def _forget(self, mac: str) -> None:
        device = self._devices.pop(mac)
        self._behind.get(device.counted, {}).pop(mac, None)
        self._full.clear()
        for address in device.addresses:
            if self._by_address.get(address) == mac:
                del self._by_address[address]
