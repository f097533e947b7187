"""Topics of the events this room publishes, and how they are put together."""

from __future__ import annotations

from recorderd.model.ports import Event

PORT = "tns1:Device/tnsrecorderd:PoE/Port"
SUPPLY = "tns1:Device/HardwareFailure/PowerSupplyFailure"
CONTROLLER = "tns1:Device/tnsrecorderd:PoE/Controller"
TEMPERATURE = "tns1:Device/HardwareFailure/TemperatureCritical"
FAN = "tns1:Device/HardwareFailure/FanFailure"
BOARD = "tns1:Device/tnsrecorderd:Board/Health"
RESCUE = "tns1:Device/tnsrecorderd:Rescue/Camera"


def port_event(label: str, what: str, reason: str, state: str) -> Event:
    """Something was decided or observed about one port."""
    return Event(PORT, source=(("Port", label),), data=(("What", what), ("State", state), ("Reason", reason)))


def supply_event(failed: bool, reason: str) -> Event:
    return Event(
        SUPPLY, source=(("Token", "PoE"),), data=(("Failed", "true" if failed else "false"), ("Reason", reason))
    )


def controller_event(controller: str, what: str, reason: str) -> Event:
    return Event(CONTROLLER, source=(("Controller", controller),), data=(("What", what), ("Reason", reason)))
