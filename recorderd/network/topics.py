"""Topics of the events this room publishes, and how they are put together."""

from __future__ import annotations

from recorderd.model.ports import CameraPlace, Event

LOST = "tns1:Device/tnsaxis:Network/Lost"
ADDRESS_ADDED = "tns1:Device/tnsaxis:Network/AddressAdded"
ADDRESS_REMOVED = "tns1:Device/tnsaxis:Network/AddressRemoved"
LINK = "tns1:Device/tnsrecorderd:Network/Link"
CONFLICT = "tns1:Device/tnsrecorderd:Network/AddressConflict"
CAMERA = "tns1:Device/tnsrecorderd:Network/Camera"
CHANGE = "tns1:Device/tnsrecorderd:Network/Configuration"
CLOCK = "tns1:Device/tnsrecorderd:Time/Clock"


def lost_event(interface: str, lost: bool) -> Event:
    """The uplink has, or has no longer, a carrier and an address."""
    return Event(LOST, (("interface", interface),), (("lost", str(lost).lower()),), operation="Changed")


def address_event(topic: str, interface: str, cidr: str) -> Event:
    return Event(topic, (("interface", interface),), (("address", cidr),))


def link_event(label: str, interface: str, *, up: bool, speed: str, detail: str) -> Event:
    source = (("Port", label), ("Interface", interface))
    return Event(LINK, source, (("Up", str(up).lower()), ("Speed", speed), ("Detail", detail)), operation="Changed")


def camera_event(what: str, place: CameraPlace, detail: str) -> Event:
    return Event(
        CAMERA, (("Port", place.port), ("Mac", place.mac)), (("What", what), ("Address", place.ip), ("Detail", detail))
    )


def conflict_event(address: str, detail: str) -> Event:
    return Event(CONFLICT, (("Address", address),), (("Detail", detail),))


def change_event(what: str, detail: str) -> Event:
    return Event(CHANGE, (), (("What", what), ("Detail", detail)))
