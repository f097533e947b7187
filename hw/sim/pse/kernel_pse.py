"""A kernel with a PSE behind its network devices. Its answers are netlink attributes packed here by hand."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hw.sim.pse.load import Load, Supply

_CLASS_MW = {0: 15_400, 1: 4_000, 2: 7_000, 3: 15_400, 4: 30_000, 5: 45_000, 6: 60_000, 7: 75_000, 8: 90_000}


def _attribute(number: int, payload: bytes) -> bytes:
    """struct nlattr: length, type, payload padded to four bytes."""
    return struct.pack("=HH", 4 + len(payload), number) + payload + bytes(-len(payload) % 4)


@dataclass(slots=True)
class _Port:
    load: Load | None = None
    enabled: bool = True
    limit_mw: int = 30_000
    priority: int = 2
    fault: int = 0  # ext state


@dataclass(slots=True)
class SimulatedKernel:
    """`reply` gives the bytes of one PSE_GET answer from the generic netlink header on. `features` is the kernel's age: 10, 12 or 17."""

    now: Callable[[], float]
    supply: Supply
    netdevs: tuple[str, ...]
    budget_mw: int = 120_000
    features: int = 17
    ports: dict[str, _Port] = field(default_factory=dict)
    refuses: int = 0  # errno of every request

    def __post_init__(self) -> None:
        self.ports = {name: _Port() for name in self.netdevs}

    def granted(self) -> set[str]:
        """Who has power: by priority, then by name."""
        free, found = self.budget_mw, set()
        for name, port in sorted(self.ports.items(), key=lambda item: (item[1].priority, item[0])):
            if port.enabled and port.load is not None and not port.fault:
                wants = min(_CLASS_MW[port.load.pd_class], port.limit_mw)
                if wants <= free:
                    free -= wants
                    found.add(name)
        return found

    def reply(self, netdev: str) -> bytes:
        self._check(netdev)
        port = self.ports[netdev]
        on = netdev in self.granted()
        status = 2 if not port.enabled else 4 if on else 6 if port.fault else 3
        header = _attribute(1 | 0x8000, _attribute(2, netdev.encode() + b"\0"))
        values = {5: 3 if port.enabled else 2, 7: status}
        if self.features >= 12:
            denied = port.enabled and port.load is not None and not on and not port.fault
            if on and port.load is not None:
                values |= {8: port.load.pd_class, 9: round(port.load.draw(self.now()))}
            if port.fault or denied:
                values[10] = port.fault or 8
            values[12] = port.limit_mw
        if self.features >= 17:
            values |= {14: 1, 15: 3, 16: port.priority}
        ranges = _attribute(
            13 | 0x8000, _attribute(1, struct.pack("=I", 2_000)) + _attribute(2, struct.pack("=I", 90_000))
        )
        body = b"".join(_attribute(n, struct.pack("=I", v)) for n, v in values.items())
        extra = _attribute(200, b"\1\2\3\4")  # of a kernel yet to come
        return struct.pack("=BBH", 36, 1, 0) + header + body + (ranges if self.features >= 12 else b"") + extra

    def change(self, netdev: str, attributes: Mapping[int, int]) -> None:
        self._check(netdev)
        port = self.ports[netdev]
        for number, value in attributes.items():
            if number == 6:
                port.enabled = value == 3
                port.fault = 0
            elif number == 12:
                if not 2_000 <= value <= 90_000:
                    raise OSError(errno.ERANGE, "limit")
                port.limit_mw = value
            elif number == 16:
                port.priority = value
            else:
                raise OSError(errno.EINVAL, "attribute")

    def _check(self, netdev: str) -> None:
        if self.refuses:
            raise OSError(self.refuses, "refused")
        if netdev not in self.ports:
            raise OSError(errno.ENODEV, "No such device")
