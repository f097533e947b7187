"""Finds the buses a board file names on this machine, and which shipped board this machine is. `root` is `/`, or a tree made by a test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hw.boards.board import Board, Bus
from hw.poe.errors import BusMissing

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class I2cAdapter:
    """One `/dev/i2c-N`."""

    number: int
    name: str
    node: str  # its device-tree path, '' without one

    @property
    def path(self) -> str:
        return f"/dev/i2c-{self.number}"


def i2c_adapters(root: Path = _ROOT) -> tuple[I2cAdapter, ...]:
    """Every adapter with a device node, by number."""
    found = []
    for entry in sorted((root / "sys/class/i2c-dev").glob("i2c-*")):
        number = entry.name.removeprefix("i2c-")
        if not number.isdecimal():
            continue
        node = entry / "device/of_node"
        found.append(I2cAdapter(int(number), _text(entry / "name"), str(node.resolve()) if node.exists() else ""))
    return tuple(sorted(found, key=lambda a: a.number))


def device_path(bus: Bus, root: Path = _ROOT) -> str:
    """The device node of an I2C, serial or text bus. Raises `BusMissing` with what there is instead."""
    if bus.kind in ("serial", "text") or bus.path:
        if not (root / bus.path.lstrip("/")).exists():
            raise BusMissing(f"{bus.path}: not on this machine")
        return bus.path
    adapters = i2c_adapters(root)
    for adapter in adapters:
        by_name = bus.name and adapter.name == bus.name
        by_node = bus.node and adapter.node.endswith("/" + bus.node)
        if by_name or by_node or adapter.number == bus.number:
            return adapter.path
    wanted = f"named {bus.name!r}" if bus.name else f"at {bus.node}" if bus.node else f"number {bus.number}"
    there = (
        ", ".join(f"{a.path} ({a.name})" for a in adapters) or "no I2C bus at all: dtparam=i2c_arm=on in config.txt?"
    )
    raise BusMissing(f"no I2C bus {wanted}; there is {there}")


def kernel_driver(bus: Bus, path: str, root: Path = _ROOT) -> str:
    """Name of the kernel driver bound to the chip's address, '' for none: then opening it from here ends in EBUSY."""
    number = path.rpartition("-")[2]
    driver = root / f"sys/bus/i2c/devices/{number}-{bus.address:04x}/driver"
    return driver.resolve().name if driver.exists() else ""


def matches(board: Board, root: Path = _ROOT) -> bool:
    """Whether this machine is that board, by its device tree or files. A board without match rules is never found, only named."""
    rules = board.match
    compatible = _text(root / "proc/device-tree/compatible").split("\0")
    if any(word in compatible for word in rules.dt_compatible):
        return True
    if rules.dt_model and re.search(rules.dt_model, _text(root / "proc/device-tree/model").rstrip("\0")):
        return not rules.files or all((root / f.lstrip("/")).exists() for f in rules.files)
    return bool(rules.files) and not rules.dt_model and all((root / f.lstrip("/")).exists() for f in rules.files)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\n")
    except OSError:
        return ""
