"""The event condition of one job, as a pure state machine: events in, "record from .. until .." out.

A property event holds from the notification that says true to the one that says false (or Deleted); a non-property event is an instant
(5.3.4). Around both lie Before and After. All times are boot time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from recorderd.events.filter import Condition, parse_condition, property_value
from recorderd.model.job import EventFilter
from recorderd.model.ports import Event

_NEVER = -(1 << 62)


@dataclass(slots=True)
class EventCondition:
    """Feed it matching events in order with `take`; ask `holds`."""

    conditions: tuple[Condition, ...]
    before_ns: int
    after_ns: int
    _true: set[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=set)
    _until_ns: int = _NEVER  # end of After, once nothing is true any more
    _instant: bool = False  # a non-property event that nobody has looked at
    started_ns: int = _NEVER  # of the activity that holds or held last
    cause: Event | None = None  # the event that started it

    @classmethod
    def of(cls, event_filter: EventFilter) -> EventCondition:
        """Raises `BadFilter`; a stored filter was checked when it was configured."""
        conditions = tuple(parse_condition(c.topic, c.source) for c in event_filter.conditions)
        return cls(conditions, event_filter.before_ms * 1_000_000, event_filter.after_ms * 1_000_000)

    def listens_to(self, topic: str) -> bool:
        return any(c.listens_to(topic) for c in self.conditions)

    def matches(self, event: Event) -> bool:
        return any(c.matches(event) for c in self.conditions)

    def take(self, event: Event) -> bool:
        """True when the event changed what is to be recorded, or extended it."""
        now_ns = event.boottime_ns
        instance = (event.topic, event.source)
        value = property_value(event)
        if value is False:
            if instance not in self._true:
                return False
            self._true.discard(instance)
            if not self._true:
                self._until_ns = max(self._until_ns, now_ns + self.after_ns)
            return True
        if value and instance in self._true:
            return False
        if not self.holds(now_ns):
            self.started_ns = now_ns
            self.cause = event
        if value:
            self._true.add(instance)
        else:
            self._instant = True
            self._until_ns = max(self._until_ns, now_ns + self.after_ns)
        return True

    def holds(self, now_ns: int) -> bool:
        """Whether the event or its After lasts. An instant counts as lasting until `looked`."""
        return bool(self._true) or self._instant or now_ns < self._until_ns

    def looked(self) -> None:
        """Whoever decides what is recorded has seen the instant."""
        self._instant = False

    @property
    def from_ns(self) -> int:
        """Where the recording of the activity should begin."""
        return self.started_ns - self.before_ns

    def until_ns(self) -> int | None:
        """When it ends if nothing else happens; None while an event is true, or when nothing is wanted."""
        return None if self._true or self._until_ns == _NEVER else self._until_ns
