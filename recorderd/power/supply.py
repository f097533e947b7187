"""What the power supply leaves for the ports, in mW, by the board's figures and the time since the machine was switched on."""

from __future__ import annotations

from collections.abc import Iterable

from hw.boards.board import Port, Supply

_S = 1_000_000_000


def ready(supply: Supply, now_ns: int) -> bool:
    """Disks spin up when the machine is switched on, which is where boot time starts."""
    return now_ns >= supply.spinup_s * _S


def disks_mw(supply: Supply, now_ns: int) -> int:
    if not supply.shared:
        return 0
    return round(1_000 * (supply.disk_running_w if ready(supply, now_ns) else supply.disk_spinup_w))


def base_mw(supply: Supply) -> int:
    return round(1_000 * supply.base_w) if supply.shared else 0


def available_mw(supply: Supply, ports: Iterable[Port], now_ns: int) -> int:
    """For all ports together. A supply that nobody described carries everything."""
    if not supply.total_w:
        return sum(round(port.max_w * 1_000) for port in ports)
    rest = round(1_000 * (supply.total_w - supply.guard_w)) - base_mw(supply) - disks_mw(supply, now_ns)
    return max(0, rest)
