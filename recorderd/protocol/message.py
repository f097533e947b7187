"""The envelope of every Varlink message, and the base of all parameter structs."""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False, forbid_unknown_fields=True):
    """Base of the parameters of calls, replies and of the types in them.

    Field names are the IDL's. An optional field is `X | None = None`. Wall times are RFC 3339 strings (`protocol.wall`), durations integer
    `_ms` or `_us`, and no integer exceeds 2^53.
    """


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call as it stands on the wire."""

    method: str
    parameters: msgspec.Raw = msgspec.Raw(b"{}")
    oneway: bool = False
    more: bool = False
    upgrade: bool = False


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reply as it stands on the wire; `error` names an error, whose fields are then in `parameters`."""

    parameters: msgspec.Raw = msgspec.Raw(b"{}")
    continues: bool = False
    error: str | None = None


class Nothing(Message, frozen=True):
    """Parameters of a method that takes or returns nothing."""


def encode_call(method: str, parameters: msgspec.Struct, *, more: bool = False, upgrade: bool = False) -> bytes:
    return msgspec.json.encode(Call(method, msgspec.Raw(msgspec.json.encode(parameters)), more=more, upgrade=upgrade))


def encode_reply(
    parameters: msgspec.Struct | dict[str, Any], *, continues: bool = False, error: str | None = None
) -> bytes:
    return msgspec.json.encode(Reply(msgspec.Raw(msgspec.json.encode(parameters)), continues=continues, error=error))
