"""What is wrong with streams that are fetched all the same: states that begin and end, told as property events, shown by `status`."""

from __future__ import annotations

import enum
import uuid

from recorderd.model.ports import Event, EventSink, StreamRequest


class Alarm(enum.StrEnum):
    """The value is the word that `status` and the event's topic use."""

    PREBUFFER_SHORT = "prebuffer-short"  # less is held before an event than was asked for
    RATE_CAP = "rate-cap"  # the stream exceeded its rate cap within the last minute: parts of it were dropped


TOPICS = {
    Alarm.PREBUFFER_SHORT: "tns1:Device/tnsrecorderd:Stream/PreBufferShort",
    Alarm.RATE_CAP: "tns1:Device/tnsrecorderd:Stream/RateCap",
}


class Alarms:
    """Those in force, by receiver."""

    def __init__(self, events: EventSink | None = None) -> None:
        self._events = events
        self._active: dict[uuid.UUID, dict[Alarm, str]] = {}

    def set(self, request: StreamRequest, alarm: Alarm, detail: str) -> None:
        """An empty detail ends the alarm. Only beginnings and ends are events."""
        before = alarm in self._active.get(request.receiver, {})
        if detail:
            self._active.setdefault(request.receiver, {})[alarm] = detail
        elif before:
            del self._active[request.receiver][alarm]
        if before != bool(detail):
            self._tell(request, alarm, (("Active", "true" if detail else "false"), ("Detail", detail)), "Changed")

    def forget(self, request: StreamRequest) -> None:
        """The receiver is not fetched any more."""
        for alarm in self._active.pop(request.receiver, {}):
            self._tell(request, alarm, (), "Deleted")

    def of(self, receiver: uuid.UUID) -> list[tuple[Alarm, str]]:
        return list(self._active.get(receiver, {}).items())

    def _tell(self, request: StreamRequest, alarm: Alarm, data: tuple[tuple[str, str], ...], operation: str) -> None:
        if self._events is not None:
            source = (("ReceiverToken", request.token), ("Camera", request.name))
            self._events.publish(Event(TOPICS[alarm], source, data, operation))
