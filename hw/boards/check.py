"""`board check`: in words, what this board should have, what is there, what is missing and what to do about it.

Opens nothing that a running daemon owns: what the daemon knows of its controllers is handed in; without it, buses and chips are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hw.boards import health
from hw.boards.board import Board, Pse
from hw.boards.discovery import device_path, kernel_driver, matches
from hw.boards.findings import Finding, error, good, warning
from hw.poe.errors import BusMissing
from hw.poe.vocabulary import CLASS_PSE_MW

_ROOT = Path("/")


def check_board(
    board: Board,
    *,
    controllers: Mapping[str, tuple[bool, str]] | None = None,
    drawn_mw: int | None = None,
    root: Path = _ROOT,
) -> list[Finding]:
    """`controllers` gives, by id, whether it answers and as what or why not; None while no daemon runs. `drawn_mw`: by the ports."""
    out: list[Finding] = []
    if board.match.dt_compatible or board.match.dt_model or board.match.files:
        if matches(board, root):
            out.append(good("board", f"this is a {board.title or board.name}"))
        else:
            out.append(
                warning(
                    "board", f"nothing here says that this is a {board.title or board.name}", "check recorder.board"
                )
            )
    for pse in board.pse:
        out.append(_bus(pse, root))
        if controllers is not None:
            out.append(_controller(pse, controllers.get(pse.id, (False, "not known to the daemon"))))
    out += _ports(board, root)
    out += worst_case(board, drawn_mw)
    out += health.findings(health.look(board.health, root=root), board.health)
    out += [good("note", text) for text in board.notes]
    return out


def _bus(pse: Pse, root: Path) -> Finding:
    if pse.bus.kind == "simulated":
        return good(pse.id, "simulated")
    if pse.bus.kind == "netlink":
        return good(pse.id, f"through the kernel, network devices {', '.join(pse.netdevs)}")
    try:
        path = device_path(pse.bus, root)
    except BusMissing as missing:
        return error(pse.id, str(missing), "load the overlay the board needs, or correct the bus in the board file")
    if pse.bus.kind == "i2c" and (driver := kernel_driver(pse.bus, path, root)):
        return error(
            pse.id,
            f"{path} address {pse.bus.address:#04x} is owned by the kernel driver {driver}",
            "remove its device-tree node or overlay: a chip has one owner",
        )
    if root == _ROOT and not os.access(path, os.R_OK | os.W_OK):
        return error(
            pse.id, f"{path}: this user may not open it", "add the daemon's user to the group that owns the device"
        )
    return good(
        pse.id, f"{pse.driver} on {path}" + (f" address {pse.bus.address:#04x}" if pse.bus.kind == "i2c" else "")
    )


def _controller(pse: Pse, known: tuple[bool, str]) -> Finding:
    answers, detail = known
    if answers:
        return good(pse.id, f"answers: {detail}")
    return error(
        pse.id,
        f"does not answer: {detail}",
        "check power and cable of the PSE board, and the address in the board file",
    )


def _ports(board: Board, root: Path) -> list[Finding]:
    missing = [p.netdev for p in board.port if p.netdev and not (root / "sys/class/net" / p.netdev).exists()]
    if missing and not any(p.bus.kind == "simulated" for p in board.pse):
        return [
            warning(
                "ports",
                f"no network device {', '.join(missing)}: the switch driver is not loaded",
                "power works without; finding cameras by port does not",
            )
        ]
    return [good("ports", f"{len(board.port)} ports: {', '.join(p.label for p in board.port)}")] if board.port else []


def worst_case(board: Board, drawn_mw: int | None = None) -> list[Finding]:
    """Whether the supply carries every port at its most, with the disks spinning up."""
    supply = board.supply
    if not board.port:
        return []
    if not supply.total_w:
        return [
            warning(
                "supply", "the board file does not say what the supply gives: nothing is budgeted", "set supply.total_w"
            )
        ]
    ports_w = sum(p.max_w for p in board.port)
    other_w = supply.base_w + max(supply.disk_spinup_w, supply.disk_running_w) if supply.shared else 0.0
    need_w, have_w = ports_w + other_w, supply.total_w - supply.guard_w
    sum_text = f"{ports_w:.0f} W for {len(board.port)} ports" + (
        f" and {other_w:.0f} W for recorder and disks" if other_w else ""
    )
    out = []
    if need_w <= have_w:
        out.append(good("supply", f"{supply.total_w:.0f} W carry the worst case: {sum_text}"))
    else:
        fits = int(max(0.0, have_w - other_w) // (CLASS_PSE_MW[3] / 1_000))
        out.append(
            warning(
                "supply",
                f"{supply.total_w:.0f} W do not carry the worst case, {sum_text}: about {fits} cameras of 15.4 W have power",
                "priorities decide who goes without; a larger supply, or limits per port, settle it",
            )
        )
    if drawn_mw is not None and drawn_mw > 0.9 * 1_000 * (have_w - other_w):
        out.append(
            warning("supply", f"the ports draw {drawn_mw / 1000:.0f} W, over nine tenths of what is there for them")
        )
    if supply.powers_ports_before_daemon and need_w > have_w:
        out.append(
            warning(
                "supply", "this hardware powers ports before the recorder can budget them", "size the supply for it"
            )
        )
    return out
