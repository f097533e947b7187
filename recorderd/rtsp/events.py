"""What the client says to its driver."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from recorderd.model.causes import GapCause
from recorderd.model.stream import AccessUnit, SenderReport, TrackFormat


@dataclass(frozen=True, slots=True)
class Opened:
    """PLAY was answered, or media came before the answer. A format is None while only the stream itself can tell it."""

    formats: tuple[TrackFormat | None, ...]
    remarks: tuple[str, ...]  # what is not fetched and why, for the operator


class Units(msgspec.Struct, frozen=True):
    """Complete access units, in decoding order per track."""

    units: list[AccessUnit]


@dataclass(frozen=True, slots=True)
class FormatKnown:
    """In force from the next unit of `track` on."""

    track: int
    format: TrackFormat


@dataclass(frozen=True, slots=True)
class Report:
    track: int
    report: SenderReport


@dataclass(frozen=True, slots=True)
class Loss:
    """`packets` of `track` are missing (0: unknown how many); the next unit says `damaged`."""

    track: int
    packets: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """The sender of `track` began anew: media times from here on have no known relation to those before."""

    track: int
    detail: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The camera answered a keep-alive, a probe or a repeated PLAY."""

    method: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something the operator may want to know; the session goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class Redirected:
    """The stream is elsewhere. `url` has no userinfo; whether credentials may follow is the driver's decision (same address only)."""

    url: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come; close the connection. `opened` tells a broken session from an attempt that failed."""

    cause: GapCause
    detail: str
    opened: bool
    stopped: bool = False  # as asked for: no failure


Event = Opened | Units | FormatKnown | Report | Loss | Restarted | Answered | Remark | Redirected | Ended
