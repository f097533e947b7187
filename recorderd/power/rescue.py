"""The camera rescue as a pure state machine: when a silent camera's port is switched off and on, and when it is not.

`rescue_step` is called about once a second with what is known of every camera. It reads no clock, opens no socket and switches nothing.

A silence begins at the last byte of media. What kind it is decides how long it may last (`Patience`):

| the camera | its port is cycled after |
|---|---|
| fell silent abruptly and answers neither ARP nor TCP | `unreachable_s` |
| answers, but two fresh sessions brought no media, or no session can be had | `no_media_s` |
| closed the session in order, reset it, its link flapped, or its web port answers while its streams do not | `grace_s` |
| has not sent a byte since the recorder started | `grace_s` from the start |

A sign of an orderly end is remembered for the whole silence: in the middle of a firmware upgrade a camera restarts and is unreachable.

Nothing is cycled: when the camera answers and refuses for a reason a restart does not mend (credentials, address, settings); while other
cameras fell silent within `together_s`, on other ports (the recorder's own side is suspected); on a port with several devices unless all of
them are silent; on a port that carries the default route or a login; on a port that is not delivering; while the operator holds the device;
after `tries` in one silence, or `per_day` on one port. What cannot be rescued raises an alarm, once.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from recorderd.model.causes import GapCause

_S = 1_000_000_000

ANSWERS_AND_REFUSES = frozenset(
    (
        GapCause.UNAUTHORIZED,
        GapCause.NOT_FOUND,
        GapCause.INCOMPATIBLE_STREAM,
        GapCause.CONFIGURATION,
        GapCause.RATE_CAP,
        GapCause.MEMORY,
        GapCause.PACKET_LOSS,
    )
)
"""Causes a restart of the camera does not mend."""

WITHOUT_POWER = frozenset((GapCause.PORT_POWER_OFF, GapCause.PORT_FAULT))
"""Causes that are the port's own. Once it delivers again the camera has the grace to start."""

ENDED_IN_ORDER = frozenset((GapCause.CAMERA_CLOSED, GapCause.CAMERA_RESET, GapCause.CAMERA_REFUSED, GapCause.LINK_DOWN))
"""Causes that show a camera which is still in control of itself: its kernel answered, or its network interface went down and up."""


_TOGETHER = "together with others"


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds, except counts."""

    silent_s: float = 4.0  # without a byte: silent
    unreachable_s: float = 14.0  # acts then; off within 20 s of the last byte
    no_media_s: float = 60.0
    grace_s: float = 600.0
    together_s: float = 30.0
    resumed_s: float = 60.0  # the others of a group have to be back for so long before one is looked at alone
    flap_s: float = 5.0  # a link that changed so shortly before the silence belongs to it
    after_cycle_s: tuple[float, ...] = (180.0, 360.0, 720.0)  # time to start, before the next try
    good_s: float = 600.0  # media for so long: tries count from the start again
    tries: int = 3
    per_day: int = 6
    probes: int = 3  # failed in a row: unreachable


@dataclass(frozen=True, slots=True)
class Reach:
    """What one attempt to reach a camera found. `arp` None: could not be asked."""

    at_ns: int
    arp: bool | None = None
    tcp: bool = False  # any port accepted or refused: somebody is there
    web: bool = False  # the web port accepted

    @property
    def anything(self) -> bool:
        return self.tcp or self.web or bool(self.arp)


@dataclass(frozen=True, slots=True)
class Sight:
    """One camera as it is seen now. Times are CLOCK_BOOTTIME in ns."""

    device: uuid.UUID
    name: str
    streaming: bool  # media comes at the stream's own pace
    last_media_ns: int  # 0: none since the recorder started
    ended: GapCause | None = None  # how the last session with media ended
    silence: GapCause | None = None
    fresh_sessions_without_media: int = 0
    port: str = ""  # empty: not known
    devices_behind: int = 1  # on the port; 0: several, nobody knows how many
    port_delivers: bool = True
    protected: bool = False
    held: bool = False
    link_changed_ns: int = 0
    reach: Reach | None = None
    cycles_today: int = 0  # of the port


class Kind(enum.StrEnum):
    """Which row of the table a silence belongs to."""

    UNDECIDED = "undecided"
    UNREACHABLE = "unreachable"
    NO_MEDIA = "no media"
    ORDERLY = "orderly"
    NEVER_SEEN = "never seen"
    REFUSES = "refuses"


@dataclass(frozen=True, slots=True)
class Silence:
    """What is remembered of one camera while it is silent, and for `good_s` afterwards."""

    first_seen_ns: int
    fell_ns: int = 0  # the byte that was the last; 0: not silent
    since_ns: int = 0  # patience counts from here: `fell_ns`, or a later event that starts it anew
    orderly: str = ""  # the sign that was seen
    web_seen: bool = False
    grouped: bool = False
    alone_since_ns: int = 0  # the others of the group have been back since
    failed_probes: int = 0
    probed_ns: int = 0
    tries: int = 0
    not_before_ns: int = 0
    good_since_ns: int = 0
    alarmed: str = ""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Switch `port` off and on, for these devices."""

    port: str
    devices: tuple[uuid.UUID, ...]
    names: str
    reason: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """The operator has to look. `device` None: more than one camera."""

    device: uuid.UUID | None
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rescue:
    """The outcome of one step. `probe`: the devices whose reach should be found out now."""

    memory: Mapping[uuid.UUID, Silence]
    cycles: tuple[Cycle, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    probe: tuple[uuid.UUID, ...] = ()
    silent: int = 0


@dataclass(slots=True)
class _Case:
    """One camera within a step."""

    sight: Sight
    silence: Silence
    silent: bool = False
    kind: Kind = Kind.UNDECIDED
    due_ns: int = 0
    obstacle: str = ""
    alarms: list[Alarm] = field(default_factory=list)


def rescue_step(
    memory: Mapping[uuid.UUID, Silence], sights: Sequence[Sight], now_ns: int, patience: Patience | None = None
) -> Rescue:
    patience = patience or Patience()
    cases = [_look(memory.get(s.device, Silence(first_seen_ns=now_ns)), s, now_ns, patience) for s in sights]
    alarms = _group(cases, now_ns, patience)
    for case in cases:
        if case.silent:
            case.kind, case.due_ns = _judge(case, patience)
            case.obstacle = _obstacle(case, cases, patience)
    cycles = _cycles(cases, now_ns, patience)
    for case in cases:
        _raise_alarm(case, now_ns, patience)
        alarms += case.alarms
    return Rescue(
        memory={case.sight.device: case.silence for case in cases},
        cycles=tuple(cycles),
        alarms=tuple(alarms),
        probe=tuple(c.sight.device for c in cases if c.silent and c.kind is not Kind.REFUSES),
        silent=sum(c.silent for c in cases),
    )


def nothing_to_do(memory: Mapping[uuid.UUID, Silence], streaming: Collection[uuid.UUID]) -> bool:
    """Whether a step would change nothing, whatever is seen of these cameras besides: all there are stream, and no try is remembered."""
    return len(streaming) == len(memory) and all(
        (silence := memory.get(device)) is not None and silence.good_since_ns != 0 and not silence.tries
        for device in streaming
    )


def _look(silence: Silence, sight: Sight, now_ns: int, patience: Patience) -> _Case:
    """Begins, continues or ends the silence."""
    last = sight.last_media_ns or silence.first_seen_ns
    if sight.streaming:
        good = silence.good_since_ns or now_ns
        kept = Silence(silence.first_seen_ns, good_since_ns=good)
        if silence.tries and now_ns - good < patience.good_s * _S:
            kept = replace(kept, tries=silence.tries, not_before_ns=silence.not_before_ns)
        return _Case(sight, kept)
    if now_ns - last < patience.silent_s * _S:
        return _Case(sight, silence)
    if not silence.fell_ns:
        silence = replace(silence, fell_ns=last, since_ns=last, good_since_ns=0)
    if sight.port and not sight.port_delivers:
        # Whatever it was, when power is back it has to start first.
        start_ns = now_ns + round(patience.after_cycle_s[0] * _S)
        silence = replace(
            silence,
            since_ns=now_ns,
            failed_probes=0,
            probed_ns=now_ns,
            not_before_ns=max(silence.not_before_ns, start_ns),
        )
    silence = _note_signs(silence, sight, patience)
    if sight.reach is not None and sight.reach.at_ns > silence.probed_ns and sight.reach.at_ns > silence.since_ns:
        failed = 0 if sight.reach.anything else silence.failed_probes + 1
        silence = replace(silence, probed_ns=sight.reach.at_ns, failed_probes=failed)
    return _Case(sight, silence, silent=True)


def _note_signs(silence: Silence, sight: Sight, patience: Patience) -> Silence:
    """Remembers the first sign of an orderly end. After a cycle of our own the link is bound to flap: that is no sign."""
    if sight.reach is not None and sight.reach.web and sight.reach.at_ns > silence.since_ns:
        silence = replace(silence, web_seen=True)
    if silence.orderly:
        return silence
    cycled = silence.since_ns > silence.fell_ns
    sign = ""
    orderly = sight.ended if sight.ended in ENDED_IN_ORDER else sight.silence
    if orderly in ENDED_IN_ORDER and not cycled:
        sign = f"the session ended with {orderly.name}"
    elif sight.link_changed_ns >= silence.since_ns - patience.flap_s * _S and sight.link_changed_ns and not cycled:
        sign = "its link flapped"
    return replace(silence, orderly=sign) if sign else silence


def _group(cases: Sequence[_Case], now_ns: int, patience: Patience) -> list[Alarm]:
    """Marks cameras that fell silent together, on different ports; one alarm per group. Lets go of one whose group is back."""
    silent = sorted(
        (c for c in cases if c.silent and c.sight.silence not in ANSWERS_AND_REFUSES | WITHOUT_POWER),
        key=lambda c: c.silence.fell_ns,
    )
    members: set[int] = set()
    for index, case in enumerate(silent):
        for other in silent[index + 1 :]:
            if other.silence.fell_ns - case.silence.fell_ns > patience.together_s * _S:
                break
            if case.sight.last_media_ns and other.sight.last_media_ns and not _same_place(case, other):
                members |= {id(case), id(other)}
    for case in silent:
        if id(case) in members:
            case.silence = replace(case.silence, grouped=True, alone_since_ns=0)
        elif case.silence.grouped:
            _let_go(case, now_ns, patience)
    group = [c for c in silent if id(c) in members]
    told = any(c.silence.alarmed == _TOGETHER for c in group)
    if not group or (not told and now_ns - group[0].silence.fell_ns < patience.unreachable_s * _S):
        return []  # more may yet fall silent: they belong into the same alarm
    for case in group:
        case.silence = replace(case.silence, alarmed=_TOGETHER)
    if told:
        return []
    names = ", ".join(sorted(c.sight.name for c in group))
    return [
        Alarm(
            None,
            names,
            f"{len(group)} cameras fell silent within {patience.together_s:g} s: the recorder's side is suspected "
            "(switch, power, cable); no port is cycled",
        )
    ]


def _let_go(case: _Case, now_ns: int, patience: Patience) -> None:
    since = case.silence.alone_since_ns or now_ns
    case.silence = replace(case.silence, alone_since_ns=since)
    if now_ns - since >= patience.resumed_s * _S:
        case.silence = replace(
            case.silence, grouped=False, alone_since_ns=0, fell_ns=now_ns, since_ns=now_ns, failed_probes=0, alarmed=""
        )


def _same_place(one: _Case, other: _Case) -> bool:
    return bool(one.sight.port) and one.sight.port == other.sight.port


def _judge(case: _Case, patience: Patience) -> tuple[Kind, int]:
    """The kind of a silence and when it has lasted long enough; 0: not decided."""
    sight, silence = case.sight, case.silence
    if sight.silence in ANSWERS_AND_REFUSES or (sight.silence in WITHOUT_POWER and not sight.port_delivers):
        return Kind.REFUSES, 0
    if silence.orderly or sight.silence in WITHOUT_POWER:
        return Kind.ORDERLY, silence.since_ns + round(patience.grace_s * _S)
    if not sight.last_media_ns and not silence.tries:
        return Kind.NEVER_SEEN, silence.since_ns + round(patience.grace_s * _S)
    answers = silence.probed_ns > silence.since_ns and silence.failed_probes == 0
    if answers and sight.fresh_sessions_without_media >= 2:
        return Kind.NO_MEDIA, silence.since_ns + round(patience.no_media_s * _S)
    if silence.web_seen:
        return Kind.ORDERLY, silence.since_ns + round(patience.grace_s * _S)
    if silence.failed_probes >= patience.probes:
        return Kind.UNREACHABLE, silence.since_ns + round(patience.unreachable_s * _S)
    if answers:
        return Kind.NO_MEDIA, silence.since_ns + round(patience.no_media_s * _S)
    return Kind.UNDECIDED, 0


def _obstacle(case: _Case, cases: Sequence[_Case], patience: Patience) -> str:
    """Why this camera's port must not be cycled now, or ''."""
    sight, silence = case.sight, case.silence
    if sight.held:
        return "held by the operator"
    if case.kind is Kind.REFUSES:
        return "a restart would not help"
    if not sight.port:
        return "nobody knows which port it is on"
    if sight.protected:
        return f"port {sight.port} carries the default route or a login"
    if not sight.port_delivers:
        return f"port {sight.port} does not deliver power"
    if silence.grouped:
        return "other cameras fell silent at the same time"
    behind = [c for c in cases if c.sight.port == sight.port]
    if sight.devices_behind != 1 or len(behind) > 1:
        if sight.devices_behind == 0 or sight.devices_behind > len(behind):
            return f"port {sight.port} has other devices behind it"
        if not all(c.silent for c in behind):
            return f"other cameras on port {sight.port} are well"
    if silence.tries >= patience.tries:
        return f"{silence.tries} tries did not help"
    if sight.cycles_today >= patience.per_day:
        return f"port {sight.port} has been cycled {sight.cycles_today} times within a day"
    return ""


def _cycles(cases: Sequence[_Case], now_ns: int, patience: Patience) -> list[Cycle]:
    """One per port, once every camera behind it is due and nothing stands in the way of any."""
    found = []
    for port in sorted({c.sight.port for c in cases if c.silent and c.sight.port}):
        behind = [c for c in cases if c.sight.port == port]
        if any(
            not c.silent or c.obstacle or not c.due_ns or now_ns < max(c.due_ns, c.silence.not_before_ns)
            for c in behind
        ):
            continue
        first = behind[0]
        tries = max(c.silence.tries for c in behind)
        silent_s = (now_ns - first.silence.fell_ns) / _S
        why = first.silence.orderly or (f"{first.kind}, its web port answers" if first.silence.web_seen else first.kind)
        reason = f"silent for {silent_s:.0f} s ({why}), try {tries + 1} of {patience.tries}"
        found.append(
            Cycle(port, tuple(c.sight.device for c in behind), ", ".join(c.sight.name for c in behind), reason)
        )
        wait_s = patience.after_cycle_s[min(tries, len(patience.after_cycle_s) - 1)]
        for case in behind:
            case.silence = replace(
                case.silence,
                since_ns=now_ns,
                tries=tries + 1,
                not_before_ns=now_ns + round(wait_s * _S),
                orderly="",
                web_seen=False,
                failed_probes=0,
                probed_ns=now_ns,
            )
            case.due_ns = 0
    return found


def _raise_alarm(case: _Case, now_ns: int, patience: Patience) -> None:
    """Once per silence and obstacle, when the port would have been cycled were it not for the obstacle."""
    silence = case.silence
    if case.kind is Kind.REFUSES:
        return  # its cause is told by whoever found it
    if not case.silent or not case.obstacle or silence.grouped or case.sight.held or silence.alarmed == case.obstacle:
        return
    if case.sight.port_delivers:
        due = max(case.due_ns or silence.since_ns + round(patience.no_media_s * _S), silence.not_before_ns)
    else:
        due = silence.fell_ns + round(patience.no_media_s * _S)
    if now_ns < due:
        return
    case.silence = replace(silence, alarmed=case.obstacle)
    silent_s = (now_ns - silence.fell_ns) / _S
    case.alarms.append(
        Alarm(case.sight.device, case.sight.name, f"silent for {silent_s:.0f} s and not rescued: {case.obstacle}")
    )
