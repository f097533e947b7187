"""What is told when something changes: one log line for the operator, one event, and the gap's cause where a camera is concerned."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from recorderd.model.ports import Clock, EventSink, LinkObserver
from recorderd.network import ethtool, topics
from recorderd.network.observed import Link, Observed
from recorderd.network.places import Conflict, Finding, Found, Moved, Places

log = logging.getLogger(__name__)


class Teller:
    def __init__(self, *, places: Places, events: EventSink, clock: Clock, observer: LinkObserver | None) -> None:
        self._places = places
        self._events = events
        self._clock = clock
        self._observer = observer
        self._lost_uplink: bool | None = None

    def compare(self, former: Observed, now: Observed, cameras: Collection[str], uplink: str) -> None:
        """Two readings of the kernel. `cameras` are the interfaces of camera ports, `uplink` the link with our addresses, or empty."""
        for link in now.links:
            before = former.link(link.name)
            if before is not None and before.carrier != link.carrier and (link.name in cameras or link.name == uplink):
                self._carrier(link, camera=link.name in cameras)
        if former.links:
            for gone, topic in (
                (set(former.addresses), topics.ADDRESS_REMOVED),
                (set(now.addresses), topics.ADDRESS_ADDED),
            ):
                other = {(a.link, a.cidr) for a in (now if topic == topics.ADDRESS_REMOVED else former).addresses}
                for address in gone:
                    if address.link == uplink and (address.link, address.cidr) not in other:
                        self._events.publish(topics.address_event(topic, address.link, address.cidr))
        carrying = now.link(uplink) if uplink else None
        lost = carrying is None or not carrying.carrier or not any(not a.by_kernel for a in now.addresses_of(uplink))
        if uplink and lost != self._lost_uplink:
            if self._lost_uplink is not None or lost:
                log.warning("network: the uplink %s is %s", uplink, "lost" if lost else "back")
                self._events.publish(topics.lost_event(uplink, lost))
            self._lost_uplink = lost

    def _carrier(self, link: Link, *, camera: bool) -> None:
        label = self._places.label(link.name)
        speed = ethtool.speed_of(link.name) if link.carrier else None
        said = f"{speed.mbit_s} Mbit/s {'full' if speed.full_duplex else 'half'} duplex" if speed else ""
        detail = ""
        if speed is not None and speed.poor:
            detail = f"only {said}: a cable with a broken pair, or one side set by hand"
            log.warning("network: port %s: %s", label, detail)
        log.info("network: port %s (%s): link %s %s", label, link.name, "up" if link.carrier else "down", said)
        self._events.publish(topics.link_event(label, link.name, up=link.carrier, speed=said, detail=detail))
        if not camera:
            return
        behind = [place for place in self._places.all() if place.port == label]
        self._places.carrier(link.name, up=link.carrier, at_ns=self._clock.boottime_ns())
        for place in behind:
            if self._observer is not None and place.ip:
                if link.carrier:
                    self._observer.link_back(place.ip)
                else:
                    self._observer.link_lost(place.ip, f"port {label} has no link")

    def found(self, findings: Iterable[Finding]) -> None:
        """What the table of places has learned."""
        for finding in findings:
            match finding:
                case Found(place):
                    log.info("network: device %s on port %s", place.mac, place.port)
                    self._events.publish(topics.camera_event("Found", place, ""))
                case Moved(place, former_port):
                    log.info("network: device %s moved from port %s to %s", place.mac, former_port, place.port)
                    self._events.publish(topics.camera_event("Moved", place, f"was on port {former_port}"))
                case Conflict(address, mac, other, port, other_port):
                    whose = f"{other} on port {other_port}" if other else "the recorder itself"
                    detail = f"{mac} on port {port} uses the address of {whose}"
                    log.warning("network: address conflict: %s: %s", address, detail)
                    self._events.publish(topics.conflict_event(address, detail))
