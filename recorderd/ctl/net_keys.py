"""Network settings as `KEY=VALUE`: the keys of recorderd.toml's `[network]`, joined by dots, with values typed by the model's structs."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from recorderd.ctl.session import Failure
from recorderd.model.network import NetworkWish, Opening, Route
from recorderd.protocol.printable import printable

_KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_MAPS = {"labels", "places", "dhcp_hosts"}


def changed(wish: NetworkWish, changes: list[str]) -> NetworkWish:
    """`wish` with `KEY=VALUE` changes, each value read as the key's type says. Raises `Failure`."""
    values = msgspec.to_builtins(wish)
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise Failure(f"{printable(change, 80)}: KEY=VALUE is expected, e.g. uplink.ipv4.mode=dhcp", 64)
        _put(values, key.split("."), text, NetworkWish, key)
    try:
        return msgspec.convert(values, NetworkWish)
    except msgspec.ValidationError as error:
        raise Failure(printable(str(error).replace("$.", ""), 300), 64) from error


def _put(values: dict[str, Any], keys: list[str], text: str, struct: type[msgspec.Struct], whole: str) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    field = fields.get(keys[0])
    if field is None:
        raise Failure(f"{whole}: unknown key; known here: {', '.join(fields)}", 64)
    inner = _struct_in(field.type)
    if len(keys) > 1:
        if inner is None or isinstance(values.get(keys[0]), list | tuple):
            raise Failure(f"{whole}: {keys[0]} has no keys of its own", 64)
        if not isinstance(values.get(keys[0]), dict):
            values[keys[0]] = {}
        _put(values[keys[0]], keys[1:], text, inner, whole)
    elif not text:
        values.pop(keys[0], None)
    else:
        values[keys[0]] = _value(field.type, text, whole)


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401  # a type expression, which has no type of its own
    for found in (kind, *getattr(kind, "__args__", ())):
        if isinstance(found, type) and issubclass(found, msgspec.Struct):
            return found
    return None


def _value(kind: Any, text: str, whole: str) -> Any:  # noqa: ANN401  # as above, and a value of it
    info = msgspec.inspect.type_info(kind)
    match info:
        case msgspec.inspect.BoolType():
            truth = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
            if text.lower() not in truth:
                raise Failure(f"{whole}: yes or no is expected, not {printable(text, 40)}", 64)
            return truth[text.lower()]
        case msgspec.inspect.IntType():
            if not re.fullmatch(r"-?\d{1,9}", text):
                raise Failure(f"{whole}: a number is expected, not {printable(text, 40)}", 64)
            return int(text)
        case msgspec.inspect.VarTupleType(item_type=msgspec.inspect.StructType(cls=cls)):
            return [_entry(cls, part, whole) for part in text.split(";")]
        case msgspec.inspect.VarTupleType():
            return [part.strip() for part in text.split(",") if part.strip()]
        case msgspec.inspect.DictType():
            return dict(_pair(part, whole) for part in text.split(","))
        case msgspec.inspect.EnumType(cls=cls):
            words = [member.value for member in cls]
            if text not in words:
                raise Failure(f"{whole}: allowed are {', '.join(words)}, not {printable(text, 40)}", 64)
            return text
        case msgspec.inspect.StrType():
            return text
        case _:
            raise Failure(f"{whole}: set its keys one by one, e.g. {whole}.KEY=VALUE, or empty it with {whole}=", 64)


def _entry(cls: type[msgspec.Struct], text: str, whole: str) -> dict[str, Any]:
    """One opening or route as `reach:uplink,source:192.168.50.9,port:80`."""
    entry: dict[str, Any] = {}
    for part in text.split(","):
        key, value = _pair(part, whole, ":")
        _put(entry, [key.strip()], value, cls, f"{whole}[{key}]")
    if not {"reach", "to"} & entry.keys():
        first = {Opening: "reach:uplink,...", Route: "to:10.0.0.0/8,via:192.168.1.1"}[cls]
        raise Failure(f"{whole}: entries look like {first}; several are separated by semicolons", 64)
    return entry


def _pair(text: str, whole: str, mark: str = "=") -> tuple[str, str]:
    key, found, value = text.partition(mark)
    if not found:
        raise Failure(f"{whole}: NAME{mark}VALUE is expected, not {printable(text, 60)}", 64)
    return key.strip(), value.strip()


def flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Keys as `set` takes them, with their values as text."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict) and key in _MAPS:
            found.append((before + key, ",".join(f"{name}={part}" for name, part in value.items())))
        elif isinstance(value, dict):
            found += flat(value, f"{before}{key}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            found.append(
                (before + key, ";".join(",".join(f"{k}:{v}" for k, v in entry.items() if v) for entry in value))
            )
        elif isinstance(value, list | tuple):
            found.append((before + key, ",".join(map(str, value))))
        elif value is not None:
            found.append((before + key, str(value).lower() if isinstance(value, bool) else str(value)))
    return found
