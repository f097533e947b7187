"""`PoeController`: what every back end offers, and the readings it gives.

A controller is driven from one thread, the one that owns its bus; none of its methods may be called from two threads at once. All of them
block for bounded time and raise `errors.PoeError` and nothing else. Channels count from 0 and are the controller's own numbers; a board
file maps them to labels.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from hw.poe.vocabulary import Detection, Fault, PortState, Priority


class Grants(enum.StrEnum):
    """Who decides that a detected device gets power."""

    HOST = "host"  # the chip waits in `REQUESTING` for `grant`
    CHIP = "chip"  # the controller has a budget of its own: the host observes
    AUTO = "auto"  # every enabled port is powered at once: the host can only disable


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What really differs between controllers. No chip has a power cycle of its own: that is always off, wait, on."""

    grants: Grants
    limits: bool = False  # a limit per port can be set
    limit_step_mw: int = 0  # 0: only the steps of the classes
    priorities: int = 0  # levels the hardware knows; 0: the host's alone
    measures_power: bool = True  # false: `power_mw` is what is allocated
    detection_resistance: bool = False
    four_pair: bool = False
    class_before_power: bool = False
    persistent_settings: bool = False  # the chip can save its configuration
    keeps_power_without_host: bool = True  # ports stay on while the daemon is down


@dataclass(frozen=True, slots=True)
class Identity:
    """What answered."""

    chip: str
    firmware: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PortReading:
    """One port at one instant. None: this controller cannot tell."""

    channel: int
    admin: bool
    state: PortState
    detection: Detection = Detection.UNKNOWN
    pd_class: int | None = None
    voltage_mv: int | None = None
    current_ma: int | None = None
    power_mw: int | None = None
    allocated_mw: int | None = None  # what the controller itself set aside
    limit_mw: int | None = None
    priority: Priority | None = None
    fault: Fault | None = None  # of the present state
    detail: str = ""  # the chip's own code, for the log
    resistance_ohm: int | None = None

    @property
    def delivering(self) -> bool:
        return self.state is PortState.DELIVERING

    @property
    def powered(self) -> bool:
        """Whether voltage is on the port."""
        return self.state in (PortState.DELIVERING, PortState.STARTING, PortState.TEST)


@dataclass(frozen=True, slots=True)
class PortFault:
    """A latched event: it happened since the last reading and may be over."""

    channel: int  # -1: the whole controller
    fault: Fault
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """Health of the communication since the driver was opened."""

    transfers: int = 0
    retries: int = 0
    failures: int = 0  # transfers given up
    resynchronisations: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class ControllerReading:
    """Everything one poll found."""

    ports: tuple[PortReading, ...]
    faults: tuple[PortFault, ...] = ()
    temperature_c: float | None = None
    supply_mv: int | None = None
    budget_mw: int | None = None  # of the hardware, where it has one
    consumed_mw: int | None = None
    link: LinkCounters = LinkCounters()


class PoeController(Protocol):
    """See the module's page. `open` comes first; it never interrupts a port that runs."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def channels(self) -> int: ...

    def open(self) -> Identity:
        """Identifies the chip and writes only what differs from the configuration wanted; ports that deliver go on delivering."""

    def read(self) -> ControllerReading: ...

    def set_admin(self, channel: int, on: bool) -> None:
        """Off cuts power at once and stops looking for a device; on looks for one."""

    def grant(self, channel: int, limit_mw: int) -> None:
        """`Grants.HOST` only: powers the device found, policing it at `limit_mw` or the chip's next step above."""

    def withdraw(self, channel: int) -> None:
        """Cuts power. The port stays on and, with `Grants.HOST`, goes on detecting; otherwise it is disabled."""

    def set_limit(self, channel: int, limit_mw: int) -> None: ...

    def set_priority(self, channel: int, priority: Priority) -> None: ...

    def close(self) -> None:
        """Leaves every port as it is and lets the bus go."""
