"""The ONVIF metadata stream (ONVIF Streaming Specification, 5.2): events as XML documents over RTP, scripted or on command.

`WithEvents` adds the track to any source. A new session gets an empty document, then every stateful event as Initialized, then changes, as
Axis cameras send them ("Video streaming", RTSP metadata).
"""

from __future__ import annotations

import asyncio
import gzip
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from hw.sim.camera.rtp import PAYLOAD_BYTES, Media, Payload, Unit, build
from hw.sim.camera.source import Playback, Source

CLOCK = 90_000
_OPENING = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"'
    ' xmlns:tns1="http://www.onvif.org/ver10/topics" xmlns:tnsaxis="http://www.axis.com/2009/event/topics"'
    ' xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" xmlns:wsa5="http://www.w3.org/2005/08/addressing">'
)
_DIALECT = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Simple"


@dataclass(frozen=True, slots=True)
class StatefulEvent:
    """One property event: its topic, what it is about, and the names of its state. The default is motion as every ONVIF camera has it."""

    topic: str = "tns1:VideoSource/MotionAlarm"
    source: tuple[tuple[str, str], ...] = (("Source", "0"),)
    state: str = "State"
    on: str = "true"
    off: str = "false"


VMD4 = StatefulEvent("tnsaxis:CameraApplicationPlatform/VMD/Camera1Profile1", (), "active", "1", "0")
RULE_MOTION = StatefulEvent(
    "tns1:RuleEngine/CellMotionDetector/Motion",
    (("VideoSourceConfigurationToken", "1"), ("VideoAnalyticsConfigurationToken", "1"), ("Rule", "motion")),
    "IsMotion",
)


def document(notifications: str = "") -> str:
    """A whole MetadataStream document around some notifications."""
    event = f"<tt:Event>{notifications}</tt:Event>" if notifications else ""
    return f"{_OPENING}{event}</tt:MetadataStream>"


def notification(event: StatefulEvent, active: bool, operation: str, wall_ns: int) -> str:
    """One wsnt:NotificationMessage. `operation`: Initialized, Changed or Deleted; empty for an event that is no property."""
    change = f' PropertyOperation="{operation}"' if operation else ""
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1000:06d}Z"
    items = "".join(f"<tt:SimpleItem Name={quoteattr(n)} Value={quoteattr(v)}/>" for n, v in event.source)
    state = f"<tt:SimpleItem Name={quoteattr(event.state)} Value={quoteattr(event.on if active else event.off)}/>"
    return (
        f'<wsnt:NotificationMessage><wsnt:Topic Dialect="{_DIALECT}">{escape(event.topic)}</wsnt:Topic>'
        "<wsnt:ProducerReference><wsa5:Address>uri://simulated-camera/ProducerReference</wsa5:Address></wsnt:ProducerReference>"
        f'<wsnt:Message><tt:Message UtcTime="{utc}"{change}>'
        f"<tt:Source>{items}</tt:Source><tt:Key/><tt:Data>{state}</tt:Data></tt:Message></wsnt:Message>"
        "</wsnt:NotificationMessage>"
    )


@dataclass(slots=True)
class EventScript:
    """Events that happen by themselves: at `at_s` of every `every_s` seconds of a session's playback `event` becomes `active`."""

    every_s: float
    steps: list[tuple[float, StatefulEvent, bool]] = field(default_factory=list)


class WithEvents:
    """A source with an ONVIF metadata track behind those of `inner`. `wall_ns` is the camera's clock; `compressed` uses gzip."""

    def __init__(
        self,
        inner: Source,
        events: tuple[StatefulEvent, ...] = (StatefulEvent(),),
        *,
        script: EventScript | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        compressed: bool = False,
    ) -> None:
        self.inner, self.states, self.wall_ns = inner, dict.fromkeys(events, False), wall_ns
        self.script, self._compressed = script, compressed
        name = "vnd.onvif.metadata.gzip" if compressed else "vnd.onvif.metadata"
        self._media = Media("application", name, 98, CLOCK)
        self._playing: set[_Playback] = set()
        self.hearers: set[Callable[[StatefulEvent, bool, str], None]] = set()  # other ways the events leave the camera

    @property
    def media(self) -> tuple[Media, ...]:
        return (*self.inner.media, self._media)

    def play(self, tracks: frozenset[int], wake: Callable[[], None]) -> _Playback:
        own = len(self.inner.media)
        playback = _Playback(self, self.inner.play(tracks - {own}, wake), own if own in tracks else None, wake)
        if own in tracks:
            self._playing.add(playback)
            playback.push(document())
            for event, active in self.states.items():
                playback.push(document(notification(event, active, "Initialized", self.wall_ns())))
        return playback

    def change_parameter_sets(self) -> None:
        self.inner.change_parameter_sets()

    def set(self, event: StatefulEvent, active: bool) -> None:
        """The event's state now; all sessions are told when it changes."""
        if self.states.get(event) != active:
            self.states[event] = active
            self._tell(event, active, "Changed")

    def happen(self, event: StatefulEvent) -> None:
        """An event that is no property: an instant."""
        self._tell(event, True, "")

    def _tell(self, event: StatefulEvent, active: bool, operation: str) -> None:
        self.send(document(notification(event, active, operation, self.wall_ns())))
        for hear in list(self.hearers):
            hear(event, active, operation)

    def send(self, text: str) -> None:
        """Sends any document to all sessions."""
        for playback in list(self._playing):
            playback.push(text)

    def forget(self, playback: _Playback) -> None:
        self._playing.discard(playback)

    def unit(self, text: str, ticks: int) -> Unit:
        data = gzip.compress(text.encode(), mtime=0) if self._compressed else text.encode()
        pieces = [data[at : at + PAYLOAD_BYTES] for at in range(0, len(data), PAYLOAD_BYTES)]
        payloads = [Payload(piece, marker=n == len(pieces) - 1) for n, piece in enumerate(pieces)]
        return build(self._media, payloads, ticks=ticks, due_s=0.0, key=True)


class _Playback:
    """The inner playback, with documents in between as they come."""

    def __init__(self, source: WithEvents, inner: Playback, track: int | None, wake: Callable[[], None]) -> None:
        self.zero_at = inner.zero_at
        self._source, self._inner, self._track, self._wake = source, inner, track, wake
        self._waiting: deque[tuple[str, float]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._step = 0
        self._began = self._loop.time()
        if track is not None and source.script is not None and source.script.steps:
            self._schedule()

    def push(self, text: str) -> None:
        self._waiting.append((text, self._loop.time()))
        self._wake()

    def due_s(self) -> float:
        return self._waiting[0][1] if self._waiting else self._inner.due_s()

    def take(self) -> tuple[int, Unit, int]:
        if self._waiting and self._track is not None:
            text, at = self._waiting.popleft()
            ticks = max(0, math.floor((at - self.zero_at) * CLOCK))
            return self._track, self._source.unit(text, ticks), ticks
        return self._inner.take()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._source.forget(self)
        self._inner.close()

    def _schedule(self) -> None:
        script = self._source.script
        assert script is not None
        turn, index = divmod(self._step, len(script.steps))
        at = self._began + turn * script.every_s + script.steps[index][0]
        self._timer = self._loop.call_at(at, self._act)

    def _act(self) -> None:
        script = self._source.script
        assert script is not None
        _, event, active = script.steps[self._step % len(script.steps)]
        self._source.set(event, active)
        self._step += 1
        self._schedule()
