"""Faults of the recording service as errors of the control protocol, for every face that calls it.

Nothing is lost on the way: which ONVIF fault a refusal stands for can be told from the error's name and its first field
(tests/docs/onvif-recording.md has the table).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from recorderd.control.peer import Peer
from recorderd.model import faults
from recorderd.protocol.errors import Conflict, ControlError, InvalidArgument, LimitReached, NotFound, Unavailable
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import from_rfc3339

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")

_ABSENT = (
    faults.NoDevice,
    faults.NoRecording,
    faults.NoTrack,
    faults.NoRecordingJob,
    faults.UnknownToken,
    faults.NoConfig,
    faults.NotFound,
)
_IN_THE_WAY = (faults.AlreadyExists, faults.CannotDelete, faults.CannotDeleteReceiver, faults.MaxLocks)


def as_control_error(fault: faults.Fault) -> ControlError:
    if isinstance(fault, _ABSENT):
        return NotFound(fault.kind or fault.argument, printable(fault.got, 80))
    if isinstance(fault, _IN_THE_WAY):
        return Conflict(fault.detail)
    if isinstance(fault, faults.StateUnavailable | faults.StorageUnavailable):
        return Unavailable(fault.detail)
    if fault.kind:
        return LimitReached(fault.kind, int(fault.expected or 0))
    return InvalidArgument(fault.argument, fault.expected or fault.detail, printable(fault.got, 80) or fault.detail)


def refusing(handler: Callable[[P, Peer], Awaitable[R]]) -> Callable[[P, Peer], Awaitable[R]]:
    """A handler whose faults become error replies."""

    async def handle(parameters: P, peer: Peer) -> R:
        try:
            return await handler(parameters, peer)
        except faults.Fault as fault:
            raise as_control_error(fault) from fault

    return handle


def wall_ns(text: str | None, argument: str) -> int | None:
    """An RFC 3339 time of a request. Raises `InvalidArgument`."""
    if text is None:
        return None
    try:
        return from_rfc3339(text)
    except ValueError as error:
        raise InvalidArgument(
            argument, "an RFC 3339 time such as 2026-05-04T13:02:01.5Z", printable(text, 60)
        ) from error


def page(items: list[T], key: Callable[[T], str], after: str | None, size: int) -> tuple[list[T], str | None]:
    """The items behind the one with key `after`, and the key to go on with. A key that is gone starts anew."""
    start = next((i + 1 for i, item in enumerate(items) if key(item) == after), 0) if after is not None else 0
    part = items[start : start + size]
    return part, key(part[-1]) if start + size < len(items) else None
