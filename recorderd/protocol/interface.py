"""Interfaces and their methods: the one place where a method's name, its parameter types and its access are tied together.

The IDL file beside this one is the truth; a test walks every file with an independent parser and compares it with the
structs declared here.
"""

from __future__ import annotations

import enum
from importlib.resources import files
from typing import Any, Generic, TypeVar

import msgspec

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


class Access(enum.IntEnum):
    """What a peer must be allowed to do to call a method."""

    VIEW = 1
    OPERATE = 2


class Kind(enum.IntEnum):
    """How a method answers."""

    REPLY = 1
    STREAM = 2  # one reply, or many when called with `more`
    UPGRADE = 3  # one reply, then raw bytes (`protocol.upgrade`)


class Method(Generic[P, R]):
    """A method with its types: the server decodes `parameters` by them, the client the reply."""

    def __init__(
        self, interface: Interface, name: str, parameters: type[P], reply: type[R], access: Access, kind: Kind
    ) -> None:
        self.interface = interface
        self.name = name
        self.parameters = parameters
        self.reply = reply
        self.access = access
        self.kind = kind

    @property
    def full_name(self) -> str:
        return f"{self.interface.name}.{self.name}"

    def __repr__(self) -> str:
        return f"<Method {self.full_name}>"


class Interface:
    """One Varlink interface, described by `NAME.varlink` in this package."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.methods: dict[str, Method[Any, Any]] = {}  # each of its own types

    def description(self) -> str:
        """The IDL text."""
        return files("recorderd.protocol").joinpath(f"{self.name}.varlink").read_text(encoding="utf-8")

    def method(
        self,
        name: str,
        parameters: type[P],
        reply: type[R],
        *,
        access: Access = Access.OPERATE,
        kind: Kind = Kind.REPLY,
    ) -> Method[P, R]:
        """Declares a method; access defaults to the stricter."""
        method = Method(self, name, parameters, reply, access, kind)
        self.methods[name] = method
        return method
