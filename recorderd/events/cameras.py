"""Events of the cameras: what they say becomes the recorder's events, and any motion its own `UniversalMotionDetection`.

A camera's event is published with its own topic and one more source item, `device`, so that two cameras cannot be mistaken for each other.
Any motion of a device raises `UniversalMotionDetection` for it; it falls when nothing moves any more, and when the camera is lost, with
everything else the camera had stated.

A device may speak with several voices: two of its streams carry metadata, or its event stream comes beside them. The voice that spoke
first is heard; what the others state is remembered, and counts from the moment the first one falls silent. So no event is told twice.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from recorderd.events.broker import Broker, Instance, check_event
from recorderd.events.filter import BadFilter
from recorderd.events.motion import motion_state
from recorderd.events.notification import Answer, Kind, Notification
from recorderd.events.reader import Reader
from recorderd.model.ports import Event

log = logging.getLogger(__name__)

UNIVERSAL_MOTION = "tns1:RuleEngine/tnsaxis:UniversalMotionDetection"
MAX_STATED = 500  # property events of one voice


class NotRead(Exception):
    """Too much waits for the worker, or it ended over the document."""


@dataclass(slots=True, eq=False)
class _Voice:
    """One stream of events of a device, from its first document to its loss."""

    id: uuid.UUID
    device: str
    stated: dict[Instance, Event] = field(default_factory=dict)  # its property events in force


class CameraEvents:
    """Implements `ports.CameraEventSink`."""

    def __init__(self, *, broker: Broker, reader: Reader) -> None:
        self._broker = broker
        self._reader = reader
        self._voices: dict[uuid.UUID, _Voice] = {}
        self._of_device: dict[str, list[_Voice]] = {}  # the first one speaks
        self._moving: dict[str, set[Instance]] = {}
        self._overrun: set[str] = set()
        self.refused = 0

    # --- documents -----------------------------------------------------------------------------------------

    def submit(self, voice: uuid.UUID, device: str, document: bytes, arrival_ns: int) -> None:
        """One metadata document of a receiver. Those without notifications (pictures' analytics, many a second) go no further."""
        if b"NotificationMessage" not in document:
            return
        speaks = self._voice(voice, device or str(voice))
        taken = self._reader.submit(
            speaks.device, Kind.XML, document, lambda answer: self._take(speaks, answer, arrival_ns)
        )
        if not taken and speaks.device not in self._overrun:
            self._overrun.add(speaks.device)
            log.warning("%s: events come faster than they can be read, some are lost", speaks.device)
        elif taken:
            self._overrun.discard(speaks.device)

    async def read(self, voice: uuid.UUID, device: str, kind: Kind, document: bytes, arrival_ns: int) -> Answer:
        """The same for an event stream, which waits for the answer before it takes the next document. Raises `NotRead`."""
        speaks = self._voice(voice, device)
        done: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def taken(answer: Answer | None) -> None:
            self._take(speaks, answer, arrival_ns)
            if not done.done():
                done.set_result(answer)

        if not self._reader.submit(device, kind, document, taken):
            raise NotRead("events come faster than they can be read")
        answer = await done
        if answer is None:
            raise NotRead("the worker ended over a document")
        return answer

    def _voice(self, voice: uuid.UUID, device: str) -> _Voice:
        known = self._voices.get(voice)
        if known is not None and known.device == device:
            return known
        if known is not None:  # the receiver belongs to another device now
            self.lost(voice)
        made = self._voices[voice] = _Voice(voice, device)
        self._of_device.setdefault(device, []).append(made)
        return made

    def _take(self, voice: _Voice, answer: Answer | None, arrival_ns: int) -> None:
        if self._voices.get(voice.id) is not voice or answer is None:
            return  # what was sent before a loss does not count after it
        if answer.error:
            self.refused += 1
            log.warning("%s: an event document was refused: %s", voice.device, answer.error)
        self.take(voice.id, voice.device, answer.notifications, arrival_ns)

    # --- notifications -------------------------------------------------------------------------------------

    def take(self, voice: uuid.UUID, device: str, notifications: Sequence[Notification], arrival_ns: int) -> None:
        """What a document of a voice says."""
        speaker = self._voice(voice, device)
        heard = self._of_device[device][0] is speaker
        for notification in notifications:
            event = Event(
                notification.topic,
                (("device", device), *((n, v) for n, v in notification.source if n != "device")),
                notification.data,
                notification.operation,
                boottime_ns=arrival_ns,
            )
            if not self._acceptable(speaker, event):
                self.refused += 1
                continue
            if event.operation:
                _note_state(speaker, event)
            if heard:
                self._tell(device, event)

    def _acceptable(self, voice: _Voice, event: Event) -> bool:
        try:
            check_event(event)
        except BadFilter:
            return False
        if event.topic == UNIVERSAL_MOTION:
            return False  # the recorder's own word
        known = (event.topic, event.source) in voice.stated
        return not event.operation or known or event.operation == "Deleted" or len(voice.stated) < MAX_STATED

    def _tell(self, device: str, event: Event) -> None:
        self._broker.publish(event)
        moves = motion_state(event)
        if moves is None:
            return
        moving = self._moving.get(device)
        if moving is None:
            moving = self._moving[device] = set()
            self._tell_motion(device, False, event.boottime_ns)
        instance = (event.topic, event.source)
        before = bool(moving)
        moving.add(instance) if moves else moving.discard(instance)
        if bool(moving) != before:
            self._tell_motion(device, bool(moving), event.boottime_ns)

    def _tell_motion(self, device: str, active: bool, at_ns: int = 0, operation: str = "Changed") -> None:
        data = (("active", "1" if active else "0"),)
        self._broker.publish(Event(UNIVERSAL_MOTION, (("device", device),), data, operation, boottime_ns=at_ns))

    # --- losses --------------------------------------------------------------------------------------------

    def lost(self, voice: uuid.UUID) -> None:
        """A stream of events has ended: nothing it stated holds any more, unless another voice of the device says so."""
        gone = self._voices.pop(voice, None)
        if gone is None:
            return
        voices = self._of_device[gone.device]
        heard = voices[0] is gone
        voices.remove(gone)
        if not voices:
            del self._of_device[gone.device]
        if not heard:
            return
        stated = dict(voices[0].stated) if voices else {}
        for topic, source in gone.stated:
            if (topic, source) not in stated:
                self._tell(gone.device, Event(topic, source, (), "Deleted"))
        for event in stated.values():
            self._tell(gone.device, Event(event.topic, event.source, event.data, "Changed"))

    def forget(self, device: str) -> None:
        """The device is no more, and neither is what could be said of it."""
        for voice in list(self._of_device.get(device, ())):
            self.lost(voice.id)
        if self._moving.pop(device, None) is not None:
            self._tell_motion(device, False, operation="Deleted")


def _note_state(voice: _Voice, event: Event) -> None:
    if event.operation == "Deleted":
        voice.stated.pop((event.topic, event.source), None)
    else:
        voice.stated[event.topic, event.source] = event
