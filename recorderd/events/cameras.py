"""Events of the cameras: documents to the sandboxed worker, notifications back, and the recorder's own `UniversalMotionDetection`.

A camera's event is published with its own topic and one more source item, `device`, so that two cameras cannot be mistaken for each other.
Any motion of a device raises `UniversalMotionDetection` for it; it falls when nothing moves any more, and when the camera is lost, with
everything else the camera had stated.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import sys
import uuid
from collections import deque
from dataclasses import dataclass

import msgspec

from recorderd.events.broker import Broker, Instance, check_event
from recorderd.events.camera_xml import MAX_DOCUMENT_BYTES, Notification
from recorderd.events.filter import BadFilter
from recorderd.events.motion import motion_state
from recorderd.model.ports import Clock, Event

log = logging.getLogger(__name__)

UNIVERSAL_MOTION = "tns1:RuleEngine/tnsaxis:UniversalMotionDetection"
MAX_WAITING_BYTES = 4 << 20
MAX_ANSWER_BYTES = 2 << 20
ANSWER_TIMEOUT_S = 10.0
RESTART_S = 2.0
_LENGTH = struct.Struct(">I")


class Answer(msgspec.Struct, frozen=True):
    """What the worker says about one document."""

    notifications: list[Notification] = []
    error: str = ""


_ANSWERS = msgspec.json.Decoder(Answer)


@dataclass(frozen=True, slots=True)
class _Document:
    device: str
    life: int  # of the device's connection: what was sent before a loss does not count after it
    data: bytes
    arrival_ns: int


class CameraEvents:
    """`submit` and `lost` are what `RecordingService` is given; `run` keeps the worker alive."""

    def __init__(self, *, broker: Broker, clock: Clock, command: tuple[str, ...] = ()) -> None:
        self._broker = broker
        self._clock = clock
        self._command = command or (sys.executable, "-m", "recorderd.workers.camera_events")
        self._waiting: deque[_Document] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._lives: dict[str, int] = {}
        self._stated: dict[str, dict[Instance, Event]] = {}  # device -> its property events in force
        self._moving: dict[str, set[Instance]] = {}
        self.documents = 0
        self.dropped = 0
        self.refused = 0
        self.restarts = 0

    def submit(self, receiver: uuid.UUID, device: str, document: bytes, arrival_ns: int) -> None:
        """One metadata document of a device. Those without notifications (pictures' analytics, many a second) go no further."""
        if b"NotificationMessage" not in document:
            return
        owner = device or str(receiver)
        if len(document) > MAX_DOCUMENT_BYTES or self._waiting_bytes + len(document) > MAX_WAITING_BYTES:
            self.dropped += 1
            return
        self._waiting.append(_Document(owner, self._lives.setdefault(owner, 0), document, arrival_ns))
        self._waiting_bytes += len(document)
        self._wake.set()

    def lost(self, device: str) -> None:
        """The camera is gone: nothing it stated holds any more."""
        self._lives[device] = self._lives.get(device, 0) + 1
        for topic, source in list(self._stated.pop(device, {})):
            self._broker.publish(Event(topic, source, (), "Deleted"))
        if self._moving.pop(device, None) is not None:
            self._tell_motion(device, False)

    # --- the worker ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Starts the worker when there is something for it, and again when it died. Runs until cancelled."""
        while True:
            await self._something_waits()
            worker = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MAX_ANSWER_BYTES
            )
            try:
                await self._serve(worker)
            except (OSError, EOFError, TimeoutError, msgspec.DecodeError) as error:
                self.restarts += 1
                log.error("the worker for camera events ended (%s); another one starts", error or type(error).__name__)
            finally:
                if worker.returncode is None:
                    worker.kill()
                await worker.wait()
            await self._clock.sleep(RESTART_S)

    async def _something_waits(self) -> None:
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()

    async def _serve(self, worker: asyncio.subprocess.Process) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        while True:
            await self._something_waits()
            document = self._waiting.popleft()
            self._waiting_bytes -= len(document.data)
            worker.stdin.write(_LENGTH.pack(len(document.data)) + document.data)
            await worker.stdin.drain()
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                (length,) = _LENGTH.unpack(await worker.stdout.readexactly(_LENGTH.size))
                if length > MAX_ANSWER_BYTES:
                    raise EOFError(f"an answer of {length} bytes")
                answer = _ANSWERS.decode(await worker.stdout.readexactly(length))
            self.documents += 1
            if answer.error:
                self.refused += 1
                log.warning("%s: a metadata document was refused: %s", document.device, answer.error)
            self._take(document, answer.notifications)

    # --- notifications -------------------------------------------------------------------------------------

    def _take(self, document: _Document, notifications: list[Notification]) -> None:
        device = document.device
        if self._lives.get(device) != document.life:
            return
        for notification in notifications:
            event = Event(
                notification.topic,
                (("device", device), *((n, v) for n, v in notification.source if n != "device")),
                notification.data,
                notification.operation,
                boottime_ns=document.arrival_ns,
            )
            try:
                check_event(event)
            except BadFilter:
                self.refused += 1
                continue
            if event.operation:
                self._note_state(device, event)
            self._broker.publish(event)
            self._note_motion(device, event)

    def _note_state(self, device: str, event: Event) -> None:
        stated = self._stated.setdefault(device, {})
        if event.operation == "Deleted":
            stated.pop((event.topic, event.source), None)
        else:
            stated[event.topic, event.source] = event

    def _note_motion(self, device: str, event: Event) -> None:
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

    def _tell_motion(self, device: str, active: bool, at_ns: int = 0) -> None:
        data = (("active", "1" if active else "0"),)
        self._broker.publish(Event(UNIVERSAL_MOTION, (("device", device),), data, "Changed", boottime_ns=at_ns))
