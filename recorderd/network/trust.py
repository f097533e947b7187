"""How far the clock can be relied on, and whether it may be moved. Pure.

NTP disciplines the clock within a second by itself. Anything larger is the time owner's decision, because evidence hangs on it:

    forward, up to 1 h                                  taken
    back, up to 1 h, not behind the last known time     taken
    forward, over 1 h, clock never set since power-on   taken from configured servers: nothing known contradicts them
    everything else                                     waits for `recorderctl time trust`

A camera's clock is evidence about that camera, never a source.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from recorderd.model.timeline import Trust

SLEW_MAX_S = 1.0
STEP_MAX_S = 3600.0
FLOOR_SLACK_S = 1.0


class Mode(enum.StrEnum):
    """What chronyd may do beyond slewing."""

    HOLD = "hold"  # corrections over a second are ignored
    STEP = "step"  # one step of up to an hour at its start
    TRUSTED = "trusted"  # one step of any size: an operator said so


@dataclass(frozen=True, slots=True)
class Evidence:
    """One look at the sources. `offset_s` is what the best of them would add to the clock; None: none answers."""

    synchronised: bool
    offset_s: float | None = None
    source: str = ""
    configured: bool = True  # the source is one the operator named, not one that DHCP gave


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known before: `floor_s` is the last known time, in seconds since 1970."""

    trust: Trust
    floor_s: float
    accepted: bool = False  # the operator said `time trust`


@dataclass(frozen=True, slots=True)
class Decision:
    mode: Mode
    trust: Trust
    waits: str = ""  # what an operator must decide, one line


def decide(evidence: Evidence, standing: Standing, now_s: float) -> Decision:
    """What to let chronyd do, and what the clock is worth."""
    offset = evidence.offset_s
    if offset is None or abs(offset) <= SLEW_MAX_S:
        near = evidence.synchronised and offset is not None
        return Decision(Mode.HOLD, Trust.NTP if near else standing.trust)
    if standing.accepted:
        return Decision(Mode.TRUSTED, standing.trust)
    said = f"{evidence.source or 'NTP'} says that the clock is {duration(abs(offset))} {'behind' if offset > 0 else 'ahead'}"
    if now_s + offset < standing.floor_s - FLOOR_SLACK_S:
        return Decision(Mode.HOLD, standing.trust, f"{said}, which would go back behind the last known time")
    if abs(offset) <= STEP_MAX_S:
        return Decision(Mode.STEP, standing.trust)
    if offset > 0 and standing.trust is Trust.NONE and evidence.configured:
        return Decision(Mode.TRUSTED, standing.trust)
    return Decision(Mode.HOLD, standing.trust, f"{said}; steps above an hour are not taken unasked")


def duration(seconds: float) -> str:
    """As a person says it: 45 s, 12 min, 3.5 h, 2.1 days."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
