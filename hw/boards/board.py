"""A board as data: its PSE controllers, ports, supply and sensors, as `hw/boards/*.toml` give them. Watts here, milliwatts in code."""

from __future__ import annotations

import msgspec

DRIVERS = ("tps23861", "tps2388x", "pd692x0", "realtek-mcu", "exaviz-interceptor", "exaviz-cruiser", "kernel", "none")
BUS_KINDS = ("i2c", "serial", "text", "netlink", "simulated")
PRIORITIES = ("critical", "high", "low")


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a board file: unknown keys are errors."""


class Match(_Table, frozen=True):
    """How to recognise the board; any one suffices. All empty: only by name."""

    dt_compatible: tuple[str, ...] = ()
    dt_model: str = ""  # regular expression over /proc/device-tree/model
    files: tuple[str, ...] = ()  # all of them exist


class Bus(_Table, frozen=True):
    """Where a controller is reached. Numbers of I2C buses move between kernels: a name or node is better."""

    kind: str
    name: str = ""  # i2c: /sys/class/i2c-dev/*/name
    node: str = ""  # i2c: end of the device-tree path, e.g. i2c@7e804000
    number: int | None = None  # i2c
    path: str = ""  # serial, text: device node or file
    baud: int = 19_200
    address: int = 0  # i2c, 7 bits


class Pse(_Table, frozen=True):
    """One controller."""

    id: str
    driver: str
    bus: Bus
    channels: int = 0  # 0: what the chip type has
    shunt_mohm: int = 255  # tps23861
    auto: bool = False  # the chip powers devices by itself
    generation: int = 0  # realtek-mcu: 1 or 2; 0: ask it
    firmware: tuple[str, ...] = ()  # tps2388x: parity image, SRAM image
    netdevs: tuple[str, ...] = ()  # kernel: one per channel
    poll_ms: int = 1_000


class Port(_Table, frozen=True):
    """One socket on the case."""

    label: str  # as printed
    pse: str
    channel: int
    second_channel: int | None = None  # four-pair
    netdev: str = ""  # the switch port
    max_w: float = 30.0
    priority: str = "low"


class Supply(_Table, frozen=True):
    """The power supply and what else hangs on it."""

    total_w: float = 0.0  # 0: unknown, nothing is budgeted
    shared: bool = True  # the computer and the disks draw from it too
    base_w: float = 0.0
    disk_spinup_w: float = 0.0
    disk_running_w: float = 0.0
    spinup_s: float = 0.0
    guard_w: float = 0.0
    basis: str = "class"
    nominal_v: float = 54.0
    low_v: float = 0.0  # the PSE's input, 0: not watched
    high_v: float = 0.0
    powers_ports_before_daemon: bool = False


class Health(_Table, frozen=True):
    """Sensors by their path and what is too much. Empty or 0: not there, not watched."""

    soc_temperature: str = "/sys/class/thermal/thermal_zone0/temp"
    soc_warn_c: float = 80.0
    soc_critical_c: float = 90.0
    throttled: str = ""  # hwmon in*_lcrit_alarm of raspberrypi-hwmon, or get_throttled
    fan: str = ""  # fan*_input
    fan_min_rpm: int = 0
    disk_warn_c: float = 55.0
    pse_warn_c: float = 100.0
    rtc: str = "/sys/class/rtc/rtc0"
    expects_rtc: bool = False


class SimulatedLoad(_Table, frozen=True):
    """What is plugged into a simulated port."""

    port: str
    pd_class: int = 3
    draw_w: float = 4.0


class Board(_Table, frozen=True):
    """One board file."""

    name: str
    title: str = ""
    match: Match = Match()
    pse: tuple[Pse, ...] = ()
    port: tuple[Port, ...] = ()
    supply: Supply = Supply()
    health: Health = Health()
    disks: tuple[
        str, ...
    ] = ()  # which may hold recordings, as patterns of whole disks in /dev; empty: all but the system's
    overlays: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what the person who sets it up must know
    simulated: tuple[SimulatedLoad, ...] = ()
