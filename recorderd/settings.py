"""`recorderd.toml`: board, disk, limits and defaults, typed. What changes while the recorder runs is not here but in `state/`.

Every error names the file, the key, the value and what is allowed, in one line. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import enum
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from recorderd.model.network import NetworkSettings
from recorderd.protocol.printable import printable

MAX_FILE_BYTES = 1 << 20
SWEEP_MS = 139  # the reasons are in `recorderd.ingest.sweep`


class Durability(enum.StrEnum):
    FLUSH = "flush"  # O_DIRECT writes and one flush per tick: what was acknowledged survives a power cut
    NONE = "none"  # buffered writes without flushes: for trying things out, on file systems that the ring refuses


class Medium(enum.StrEnum):
    AUTO = "auto"
    HDD = "hdd"
    SSD = "ssd"
    SD = "sd"
    SMR = "smr"


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables in the file."""


class Recorder(Section, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=63)] = "recorder"
    board: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = "none"  # a file in hw/boards, without .toml
    log: LogLevel = LogLevel.INFO


class Paths(Section, frozen=True):
    state: str = "/var/lib/recorderd"  # API objects; on the system partition
    socket: str = "/run/recorderd/control"  # used when systemd passes no socket
    helper: str = "/run/recorderd/helper"


class Disk(Section, frozen=True):
    path: str = "/srv/recorderd"  # folder of the ring, on its own ext4 or xfs
    medium: Medium = Medium.AUTO
    durability: Durability = Durability.FLUSH


class Limits(Section, frozen=True):
    media_ram_mib: Annotated[int, Meta(ge=8, le=65_536)] | None = None  # default: a quarter of RAM, at most 512 MiB
    recordings: Annotated[int, Meta(ge=1, le=1024)] = 128
    jobs: Annotated[int, Meta(ge=1, le=4096)] = 256
    connections: Annotated[int, Meta(ge=8, le=4096)] = 256
    stream_kbit_s: Annotated[int, Meta(ge=64, le=1_000_000)] = 100_000  # rate cap of a stream


class Ingest(Section, frozen=True):
    sweep_ms: Annotated[int, Meta(ge=5, le=1000)] = SWEEP_MS


class Power(Section, frozen=True):
    rescue: bool = True
    rescue_grace_s: Annotated[int, Meta(ge=60, le=86_400)] = 600


class Exports(Section, frozen=True):
    folder: Annotated[str, Meta(pattern=r"^/[^\x00]*$")] = (
        "/srv/recorderd-objects"  # what destinations of type Local lie below
    )
    own_file_system: bool = True  # refuse the folder while no file system of its own is mounted there
    file_minutes: Annotated[int, Meta(ge=1, le=1440)] = 60  # of a recording in one exported file
    ca_file: str = ""  # further certificate authorities of destinations, PEM


class Time(Section, frozen=True):
    zone: Annotated[str, Meta(min_length=1, max_length=64)] | None = None  # IANA name; default: the system's


class Settings(Section, frozen=True):
    recorder: Recorder = Recorder()
    paths: Paths = Paths()
    disk: Disk = Disk()
    limits: Limits = Limits()
    ingest: Ingest = Ingest()
    power: Power = Power()
    exports: Exports = Exports()
    network: NetworkSettings = NetworkSettings()
    time: Time = Time()

    def media_ram_bytes(self) -> int:
        """`limits.media_ram_mib`, or the smaller of a quarter of RAM and 512 MiB."""
        if self.limits.media_ram_mib is not None:
            return self.limits.media_ram_mib << 20
        ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return min(ram // 4, 512 << 20)


class SettingsError(Exception):
    """The configuration cannot be used. The text is one line for the operator."""


def load(path: Path) -> Settings:
    """Reads and checks the file. Creates and changes nothing. Raises `SettingsError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{path}: over {MAX_FILE_BYTES >> 20} MiB")
    try:
        return parse(data)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse(data: bytes) -> Settings:
    """Raises `SettingsError` with a sentence that lacks only the file's name."""
    try:
        values = tomllib.loads(data.decode("utf-8"))
        return msgspec.convert(values, Settings)
    except UnicodeDecodeError as error:
        raise SettingsError(f"not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML: {printable(str(error), 200)}") from error
    except RecursionError as error:
        raise SettingsError("nested too deeply") from error
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(str(error), values)) from error


def _explain(message: str, values: dict[str, Any]) -> str:
    """msgspec's sentence with the key as TOML writes it, the value that stands there and what is allowed."""
    what, _, path = message.partition(" - at `$")
    keys = re.findall(r"\[[0-9.]*\]|[^.\[]+", path.rstrip("`"))
    if "unknown field" in what:
        unknown = what.split("`")[1]
        known = _fields(keys)
        near = difflib.get_close_matches(unknown, known, 1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{_written([*keys, unknown])}: unknown key; {hint}"
    value: Any = values
    for key in keys:
        if isinstance(value, list):
            value = value[int(key[1:-1])]
        elif key in value:  # msgspec writes [...] for any key of a map
            value = value[key]
    return f"{_written(keys)} = {printable(repr(value), 200)}: {_allowed(keys, what)}"


def _written(keys: list[str]) -> str:
    """Keys as TOML writes them, with the number of an array's entry."""
    return printable(".".join(keys).replace(".[", "["))


def _type_at(keys: list[str]) -> msgspec.inspect.Type:
    info: msgspec.inspect.Type = msgspec.inspect.type_info(Settings)
    for key in keys:
        match info := _present(info):
            case msgspec.inspect.StructType():
                info = next(field.type for field in info.fields if field.encode_name == key)
            case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
                info = info.item_type
            case msgspec.inspect.DictType():
                info = info.value_type
            case _:
                raise AssertionError(keys)
    return _present(info)


def _present(info: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """What an optional value is when it is there."""
    if isinstance(info, msgspec.inspect.UnionType):
        return next(member for member in info.types if not isinstance(member, msgspec.inspect.NoneType))
    return info


def _fields(keys: list[str]) -> list[str]:
    info = _type_at(keys)
    assert isinstance(info, msgspec.inspect.StructType)
    return [field.encode_name for field in info.fields]


def _allowed(keys: list[str], what: str) -> str:
    info = _type_at(keys)
    match info:
        case msgspec.inspect.EnumType():
            return f"allowed are {', '.join(repr(member.value) for member in info.cls)}"
        case msgspec.inspect.IntType(ge=low, le=high) if low is not None and high is not None:
            return f"allowed are whole numbers from {low} to {high}"
        case msgspec.inspect.BoolType():
            return "allowed are true and false"
        case msgspec.inspect.StructType():
            return f"a table is expected, with {', '.join(_fields(keys))}"
        case msgspec.inspect.StrType(max_length=longest, pattern=pattern):
            limits = f" of at most {longest} characters" if longest else f" that matches {pattern}" if pattern else ""
            return f"a string{limits} is expected"
        case _:
            return printable(what)
