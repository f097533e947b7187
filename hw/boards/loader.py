"""Reads board files. An error names the file, the key, what stood there and what is allowed."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec

from hw.boards.board import BUS_KINDS, DRIVERS, PRIORITIES, Board

_SHIPPED = Path(__file__).parent
_LARGEST_BYTES = 256 * 1024
_CHANNELS = {
    "tps23861": 4,
    "tps2388x": 8,
    "exaviz-interceptor": 16,
    "exaviz-cruiser": 8,
    "pd692x0": 48,
    "realtek-mcu": 48,
}


class BadBoard(Exception):
    """One line: file, key, what is wrong, what is allowed."""


def shipped() -> dict[str, Path]:
    """The board files that come with the recorder, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.toml"))}


def load(name_or_path: str) -> Board:
    """A shipped board by name, or any board file by path. Raises `BadBoard`."""
    known = shipped()
    if "/" not in name_or_path and not name_or_path.endswith(".toml"):
        if name_or_path not in known:
            near = difflib.get_close_matches(name_or_path, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"shipped boards: {', '.join(known)}"
            raise BadBoard(f"board {name_or_path!r}: unknown; {hint}")
        return read(known[name_or_path])
    return read(Path(name_or_path))


def read(path: Path) -> Board:
    """Parses and checks one file. Raises `BadBoard`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadBoard(f"{path}: {error.strerror}") from error
    if len(raw) > _LARGEST_BYTES:
        raise BadBoard(f"{path}: {len(raw)} bytes, a board file has at most {_LARGEST_BYTES}")
    try:
        board = msgspec.convert(tomllib.loads(raw.decode()), Board)
    except UnicodeDecodeError as error:
        raise BadBoard(f"{path}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadBoard(f"{path}: {error}") from error
    except RecursionError as error:
        raise BadBoard(f"{path}: nested too deeply") from error
    except msgspec.ValidationError as error:
        raise BadBoard(f"{path}: {error}{_nearest_key(str(error))}") from error
    _check(board, path)
    return board


def _nearest_key(message: str) -> str:
    found = re.search(r"unknown field `([^`]*)`", message)
    if not found:
        return ""
    keys = {key for table in _tables(Board) for key in table.__struct_fields__}
    near = difflib.get_close_matches(found[1], sorted(keys), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _tables(table: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    found: list[type[msgspec.Struct]] = [table]
    for field in msgspec.structs.fields(table):
        for inner in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found += _tables(inner)
    return found


def _check(board: Board, path: Path) -> None:
    def require(holds: bool, key: str, got: object, allowed: str) -> None:
        if not holds:
            raise BadBoard(f"{path}: {key} = {got!r}: {allowed}")

    require(
        bool(re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", board.name)),
        "name",
        board.name,
        "lower case letters, digits, dashes",
    )
    _check_controllers(board, require)
    _check_ports(board, require)
    supply = board.supply
    require(supply.basis in ("class", "lldp", "measured"), "supply.basis", supply.basis, "class, lldp or measured")
    for key in ("total_w", "base_w", "disk_spinup_w", "disk_running_w", "spinup_s", "guard_w"):
        value = getattr(supply, key)
        require(0 <= value <= 5_000, f"supply.{key}", value, "0 to 5000")
    for number, pattern in enumerate(board.disks):
        holds = re.fullmatch(r"/dev/[a-z0-9*?\[\]-]+", pattern) is not None
        require(holds, f"disks[{number}]", pattern, "a pattern of whole disks, like /dev/sd* or /dev/nvme?n1")
    try:
        re.compile(board.match.dt_model)
    except re.error as error:
        raise BadBoard(f"{path}: match.dt_model = {board.match.dt_model!r}: {error}") from error


def _check_controllers(board: Board, require: Callable[[bool, str, object, str], None]) -> None:
    seen: set[str] = set()
    for number, pse in enumerate(board.pse):
        where = f"pse[{number}]"
        require(pse.driver in DRIVERS, f"{where}.driver", pse.driver, f"one of {', '.join(DRIVERS)}")
        require(pse.bus.kind in BUS_KINDS, f"{where}.bus.kind", pse.bus.kind, f"one of {', '.join(BUS_KINDS)}")
        require(pse.id not in seen and pse.id != "", f"{where}.id", pse.id, "present and used once")
        seen.add(pse.id)
        if pse.bus.kind == "i2c":
            by = bool(pse.bus.name) + bool(pse.bus.node) + (pse.bus.number is not None) + bool(pse.bus.path)
            require(
                by == 1,
                f"{where}.bus",
                pse.bus.name or pse.bus.node or pse.bus.number,
                "one of name, node, number, path",
            )
            require(
                0x08 <= pse.bus.address <= 0x77,
                f"{where}.bus.address",
                pse.bus.address,
                "a 7-bit address, 0x08 to 0x77",
            )
        if pse.bus.kind in ("serial", "text"):
            require(pse.bus.path.startswith("/"), f"{where}.bus.path", pse.bus.path, "an absolute path")
        if pse.driver == "tps23861":
            require(pse.shunt_mohm in (250, 255), f"{where}.shunt_mohm", pse.shunt_mohm, "250 or 255")
        if pse.driver == "kernel":
            require(bool(pse.netdevs), f"{where}.netdevs", pse.netdevs, "one network device per channel")
        require(100 <= pse.poll_ms <= 10_000, f"{where}.poll_ms", pse.poll_ms, "100 to 10000")


def _check_ports(board: Board, require: Callable[[bool, str, object, str], None]) -> None:
    controllers = {pse.id: pse for pse in board.pse}
    labels: set[str] = set()
    places: set[tuple[str, int]] = set()
    for number, port in enumerate(board.port):
        where = f"port[{number}]"
        require(
            bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,15}", port.label)),
            f"{where}.label",
            port.label,
            "1 to 16 characters",
        )
        require(port.label not in labels, f"{where}.label", port.label, "each label once")
        labels.add(port.label)
        require(
            port.pse in controllers, f"{where}.pse", port.pse, f"one of {', '.join(controllers) or 'no controllers'}"
        )
        pse = controllers[port.pse]
        channels = pse.channels or len(pse.netdevs) or _CHANNELS.get(pse.driver, 0)
        for channel in (port.channel, port.second_channel):
            if channel is None:
                continue
            require(0 <= channel < channels, f"{where}.channel", channel, f"0 to {channels - 1}")
            require((port.pse, channel) not in places, f"{where}.channel", channel, f"each channel of {port.pse} once")
            places.add((port.pse, channel))
        require(0 < port.max_w <= 100, f"{where}.max_w", port.max_w, "above 0, at most 100")
        require(port.priority in PRIORITIES, f"{where}.priority", port.priority, f"one of {', '.join(PRIORITIES)}")
    for number, load in enumerate(board.simulated):
        require(load.port in labels, f"simulated[{number}].port", load.port, "a label of this board")
        require(0 <= load.pd_class <= 8, f"simulated[{number}].pd_class", load.pd_class, "0 to 8")
