"""The faces of the recording service and the event broker, in one list for the composition root."""

from __future__ import annotations

from recorderd.control.devices import DevicesFace
from recorderd.control.dispatch import Face
from recorderd.control.events import EventsFace
from recorderd.control.groups import GroupsFace
from recorderd.control.jobs import JobsFace
from recorderd.control.receivers import ReceiversFace
from recorderd.control.recordings import RecordingsFace
from recorderd.control.schedules import SchedulesFace
from recorderd.events.broker import Broker
from recorderd.model.ports import Clock
from recorderd.recording.service import RecordingService


def recording_faces(*, service: RecordingService, broker: Broker, clock: Clock) -> list[Face]:
    return [
        DevicesFace(service=service, wall_ns=clock.realtime_ns),
        ReceiversFace(service=service),
        RecordingsFace(service=service),
        JobsFace(service=service),
        SchedulesFace(service=service),
        GroupsFace(service=service),
        EventsFace(broker=broker),
    ]
