"""Typed errors of the control protocol: exceptions on both sides, error replies on the wire.

`io.recorderd` holds those that every interface shares; `org.varlink.service` those that Varlink itself defines. A service raises them, the
server sends them, and the client raises them again with the same fields.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ControlError(Exception):
    """Base of all error replies. Subclasses name the error and list their fields, which are the IDL's."""

    name: ClassVar[str]
    fields: ClassVar[tuple[str, ...]] = ()
    registry: ClassVar[dict[str, type[ControlError]]] = {}

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            ControlError.registry[cls.name] = cls

    def __init__(self, *values: object) -> None:
        if len(values) != len(self.fields):
            raise TypeError(f"{type(self).__name__} takes {self.fields}")
        super().__init__(*values)
        for field, value in zip(self.fields, values, strict=True):
            setattr(self, field, value)

    def parameters(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in self.fields}

    def __str__(self) -> str:
        return self.sentence()

    def sentence(self) -> str:
        """The error in words, for a person."""
        details = ", ".join(f"{field}: {getattr(self, field)}" for field in self.fields)
        return f"{self.name.rpartition('.')[2]}{f' ({details})' if details else ''}"

    @staticmethod
    def from_reply(name: str, parameters: dict[str, Any]) -> ControlError:
        """The exception for an error reply; an unknown or misshapen one becomes `UnknownError`."""
        known = ControlError.registry.get(name)
        if known is not None and set(known.fields) <= parameters.keys():
            return known(*(parameters[field] for field in known.fields))
        return UnknownError(name, parameters)


class UnknownError(ControlError):
    """An error reply that this client does not know."""

    fields = ("error", "details")

    def sentence(self) -> str:
        return f"{self.error} {self.details}"  # type: ignore[attr-defined]  # set by the base from `fields`


class InvalidArgument(ControlError):
    """A value is wrong: which argument, what was expected, and what came (escaped, at most 100 characters)."""

    name = "io.recorderd.InvalidArgument"
    fields = ("argument", "expected", "got")
    argument: str
    expected: str
    got: str

    def sentence(self) -> str:
        return f"{self.argument}: expected {self.expected}, got {self.got}"


class NotFound(ControlError):
    """There is no object of this kind with this name or token."""

    name = "io.recorderd.NotFound"
    fields = ("kind", "key")
    kind: str
    key: str

    def sentence(self) -> str:
        return f"no {self.kind} {self.key!r}"


class Conflict(ControlError):
    """The request contradicts the present state; `reason` says how."""

    name = "io.recorderd.Conflict"
    fields = ("reason",)
    reason: str

    def sentence(self) -> str:
        return self.reason


class LimitReached(ControlError):
    """A stated limit would be exceeded."""

    name = "io.recorderd.LimitReached"
    fields = ("limit", "allowed")
    limit: str
    allowed: int

    def sentence(self) -> str:
        return f"{self.limit}: at most {self.allowed}"


class Unavailable(ControlError):
    """What the request needs is not there now (no disk, device away, shutting down); it may work later."""

    name = "io.recorderd.Unavailable"
    fields = ("reason",)
    reason: str

    def sentence(self) -> str:
        return self.reason


class ConfirmationNeeded(ControlError):
    """The operation does harm (`consequence`) and was not confirmed with `confirm`."""

    name = "io.recorderd.ConfirmationNeeded"
    fields = ("consequence",)
    consequence: str

    def sentence(self) -> str:
        return self.consequence


class InternalError(ControlError):
    """A bug in the recorder; the details are in its log."""

    name = "io.recorderd.InternalError"


class InterfaceNotFound(ControlError):
    name = "org.varlink.service.InterfaceNotFound"
    fields = ("interface",)


class MethodNotFound(ControlError):
    name = "org.varlink.service.MethodNotFound"
    fields = ("method",)


class InvalidParameter(ControlError):
    name = "org.varlink.service.InvalidParameter"
    fields = ("parameter",)


class PermissionDenied(ControlError):
    name = "org.varlink.service.PermissionDenied"

    def sentence(self) -> str:
        return (
            "permission denied: operating the recorder takes root or the group 'recorder', reading it 'recorder-view'"
        )


class ExpectedMore(ControlError):
    name = "org.varlink.service.ExpectedMore"
