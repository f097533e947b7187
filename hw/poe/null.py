"""A board without PSE: no channels, nothing to switch."""

from __future__ import annotations

from hw.poe.controller import Capabilities, ControllerReading, Grants, Identity
from hw.poe.errors import NotSupported
from hw.poe.vocabulary import Priority


class NullController:
    capabilities = Capabilities(grants=Grants.AUTO, measures_power=False)
    channels = 0

    def open(self) -> Identity:
        return Identity("none", detail="this board has no PoE controller")

    def read(self) -> ControllerReading:
        return ControllerReading(ports=())

    def set_admin(self, channel: int, on: bool) -> None:
        raise _absent(f"switch {'on' if on else 'off'}", channel)

    def grant(self, channel: int, limit_mw: int) -> None:
        raise _absent(f"grant {limit_mw} mW", channel)

    def withdraw(self, channel: int) -> None:
        raise _absent("withdraw", channel)

    def set_limit(self, channel: int, limit_mw: int) -> None:
        raise _absent(f"limit to {limit_mw} mW", channel)

    def set_priority(self, channel: int, priority: Priority) -> None:
        raise _absent(f"priority {priority.name.lower()}", channel)

    def close(self) -> None:
        """Nothing is open."""


def _absent(what: str, channel: int) -> NotSupported:
    return NotSupported(f"{what}, channel {channel}: this board has no PoE controller")
