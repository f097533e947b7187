"""Where depacketisers put what they complete, in order."""

from __future__ import annotations

from recorderd.model.stream import AccessUnit, TrackFormat
from recorderd.rtsp.events import Event, FormatKnown, Remark, Units

MAX_REMARKS = 64  # per session: a camera must not fill the log


class Output:
    """`now_ns` is the boot time of the sweep being worked on; the client sets it.

    `work` is what has been done in this call of the client's, in packets: whoever does what costs more adds to it.
    """

    __slots__ = ("_events", "_remarked", "_units", "now_ns", "work")

    def __init__(self) -> None:
        self.now_ns = 0
        self.work = 0
        self._events: list[Event] = []
        self._units: list[AccessUnit] = []
        self._remarked: set[str] = set()

    def unit(self, unit: AccessUnit) -> None:
        self.work += 1
        self._units.append(unit)

    def event(self, event: Event) -> None:
        if self._units:
            self._events.append(Units(self._units))
            self._units = []
        self._events.append(event)

    def event_first(self, event: Event) -> None:
        """Before everything that has not been taken yet."""
        self._events.insert(0, event)

    def format(self, track: int, new: TrackFormat) -> None:
        self.event(FormatKnown(track, new))

    def remark(self, text: str) -> None:
        """Says `text` once per session."""
        if text not in self._remarked and len(self._remarked) < MAX_REMARKS:
            self._remarked.add(text)
            self.event(Remark(text))

    def take(self) -> list[Event]:
        if self._units:
            self._events.append(Units(self._units))
            self._units = []
        events = self._events
        if events:
            self._events = []
        return events
