"""The IDL files are the truth: every interface, method, field, type and error in them equals what the structs declare."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from varlink import scanner

import recorderd.protocol
from recorderd.protocol.errors import ControlError
from recorderd.protocol.interface import Interface


def _interfaces() -> dict[str, Interface]:
    found: dict[str, Interface] = {}
    for info in pkgutil.iter_modules(recorderd.protocol.__path__):
        module = importlib.import_module(f"recorderd.protocol.{info.name}")
        for value in vars(module).values():
            if isinstance(value, Interface):
                assert found.setdefault(value.name, value) is value, f"{value.name} is declared twice"
    return found


INTERFACES = _interfaces()
FILES = {
    path.name.removesuffix(".varlink"): path.read_text(encoding="utf-8")
    for path in files("recorderd.protocol").iterdir()
    if path.name.endswith(".varlink")
}


def _struct_fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)}


def _compare(idl: Any, kind: Any, parsed: scanner.Interface, where: str) -> None:
    info = msgspec.inspect.type_info(kind)
    if isinstance(idl, scanner._Maybe):
        assert isinstance(info, msgspec.inspect.UnionType), f"{where}: the IDL says optional, the struct {kind}"
        inner = [member for member in info.types if not isinstance(member, msgspec.inspect.NoneType)]
        assert len(inner) == 1 == len(info.types) - 1, where
        _compare_info(idl.element_type, inner[0], parsed, where)
    else:
        _compare_info(idl, info, parsed, where)


def _compare_info(idl: Any, info: Any, parsed: scanner.Interface, where: str) -> None:
    if isinstance(idl, scanner._CustomType):
        assert idl.name in parsed.members, f"{where}: unknown type {idl.name}"
        _compare_info(parsed.members[idl.name].type, info, parsed, f"{where}<{idl.name}>")
    elif isinstance(idl, scanner._Array):
        assert isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType), f"{where}: {info}"
        _compare_info(idl.element_type, info.item_type, parsed, where + "[]")
    elif isinstance(idl, scanner._Dict):
        assert isinstance(info, msgspec.inspect.DictType), f"{where}: {info}"
        _compare_info(idl.element_type, info.value_type, parsed, where + "[string]")
    elif isinstance(idl, scanner._Struct):
        assert isinstance(info, msgspec.inspect.StructType), f"{where}: {info}"
        _compare_fields(idl, info.cls, parsed, where)
    elif isinstance(idl, scanner._Enum):
        values = info.cls if isinstance(info, msgspec.inspect.EnumType) else None
        names = [member.value for member in values] if values else list(getattr(info, "values", ()))
        assert sorted(names) == sorted(idl.fields), f"{where}: {names} and {list(idl.fields)}"
    elif isinstance(idl, scanner._Object):
        assert isinstance(info, msgspec.inspect.AnyType | msgspec.inspect.RawType), f"{where}: {info}"
    elif isinstance(info, msgspec.inspect.UnionType):
        pytest.fail(f"{where}: the struct says {info}, the IDL is not optional")
    else:
        expected = {
            bool: msgspec.inspect.BoolType,
            int: msgspec.inspect.IntType,
            float: msgspec.inspect.FloatType,
            str: msgspec.inspect.StrType,
        }[type(idl)]
        assert isinstance(info, expected), f"{where}: {info} and {type(idl).__name__}"


def _compare_fields(idl: scanner._Struct, struct: type[msgspec.Struct], parsed: scanner.Interface, where: str) -> None:
    fields = _struct_fields(struct)
    assert list(fields) == list(idl.fields), f"{where}: the struct has {list(fields)}, the IDL {list(idl.fields)}"
    for name, kind in fields.items():
        _compare(idl.fields[name], kind, parsed, f"{where}.{name}")


def test_every_file_has_an_interface_and_every_interface_a_file() -> None:
    assert set(FILES) == set(INTERFACES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_interface_equals_its_idl(name: str) -> None:
    parsed = scanner.Interface(FILES[name])
    interface = INTERFACES[name]
    assert parsed.name == name == interface.name
    methods = {member.name: member for member in parsed.members.values() if isinstance(member, scanner._Method)}
    assert set(methods) == set(interface.methods), "methods differ"
    for member in methods.values():
        method = interface.methods[member.name]
        _compare_fields(member.in_type, method.parameters, parsed, f"{member.name}()")
        _compare_fields(member.out_type, method.reply, parsed, f"{member.name}() ->")
    errors = {f"{name}.{m.name}": m for m in parsed.members.values() if isinstance(m, scanner._Error)}
    known = {error: kind for error, kind in ControlError.registry.items() if error.rpartition(".")[0] == name}
    assert set(errors) == set(known), "errors differ"
    for error, member in errors.items():
        assert tuple(member.type.fields) == known[error].fields, error


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_member_is_documented(name: str) -> None:
    parsed = scanner.Interface(FILES[name])
    if name != "org.varlink.service":
        assert parsed.doc
        for member in parsed.members.values():
            assert isinstance(member, scanner._Alias) or member.doc, f"{member.name} has no comment"
