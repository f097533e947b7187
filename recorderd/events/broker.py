"""The event broker: every notification of the recorder and of its cameras passes here, once, in order.

Property events are remembered by topic and source, so that a new listener learns what holds now; one that says nothing new is not passed
on. Everything that is passed on goes into the history. Nobody who listens can hold up who publishes: subscriptions have bounded queues
and count what they lost.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from recorderd.events.filter import BadFilter, Condition, topic_steps
from recorderd.events.history import History, Record
from recorderd.model.ports import Clock, Event

QUEUE_EVENTS = 1000
MAX_PROPERTIES = 10_000
MAX_ITEMS = 64
MAX_VALUE_CHARS = 65_536  # a configuration in an event

Instance = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of events that a subscription was too slow for."""

    count: int


class Subscription:
    """Iterate for events; `close` when done. Begins with the properties in force, as Initialized."""

    def __init__(self, broker: Broker, condition: Condition | None, first: Iterable[Record]) -> None:
        self._broker = broker
        self._condition = condition
        self._queue: deque[Record] = deque(first)
        self._lost = 0
        self._wake = asyncio.Event()

    def offer(self, record: Record) -> None:
        if self._condition is not None and not self._condition.matches(record.event):
            return
        if len(self._queue) >= QUEUE_EVENTS:
            self._queue.popleft()
            self._lost += 1
        self._queue.append(record)
        self._wake.set()

    async def next(self) -> Record | Lost:
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return Lost(lost)
        return self._queue.popleft()

    async def __aiter__(self) -> AsyncIterator[Record | Lost]:
        while True:
            yield await self.next()

    def close(self) -> None:
        self._broker.drop(self)


class Broker:
    """Implements `ports.EventSink`."""

    def __init__(self, *, clock: Clock, history: History) -> None:
        self._clock = clock
        self.history = history
        self._properties: dict[Instance, Record] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._subscriptions: list[Subscription] = []
        self._waiting: deque[Event] = deque()
        self._busy = False
        self.refused = 0  # properties beyond the bound

    def listen(self, listener: Callable[[Event], None]) -> None:
        """`listener` is called at once for every event, on the loop; it must return quickly. For services, not for clients."""
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        """Stamps the event and passes it on. Published from within a listener it waits its turn."""
        self._waiting.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._pass_on(self._waiting.popleft())
        finally:
            self._busy = False

    def _pass_on(self, event: Event) -> None:
        settled = self._settle(self._stamped(event))
        if settled is None:
            return
        record = self.history.add(settled)
        if settled.operation and settled.operation != "Deleted":
            self._properties[settled.topic, settled.source] = record
        for listener in self._listeners:
            listener(settled)
        for subscription in self._subscriptions:
            subscription.offer(record)

    def _stamped(self, event: Event) -> Event:
        if event.utc_ns and event.boottime_ns:
            return event
        return dataclasses.replace(
            event,
            utc_ns=event.utc_ns or self._clock.realtime_ns(),
            boottime_ns=event.boottime_ns or self._clock.boottime_ns(),
        )

    def _settle(self, event: Event) -> Event | None:
        """What a property event amounts to, given what holds: Initialized the first time, nothing when nothing changes."""
        if not event.operation:
            return event
        instance = (event.topic, event.source)
        held = self._properties.get(instance)
        if event.operation == "Deleted":
            return event if self._properties.pop(instance, None) is not None else None
        if held is None:
            if len(self._properties) >= MAX_PROPERTIES:
                self.refused += 1
                return None
            return dataclasses.replace(event, operation="Initialized")
        if held.event.data == event.data:
            return None
        return dataclasses.replace(event, operation="Changed")

    def properties(self, condition: Condition | None = None) -> list[Event]:
        """The property events in force."""
        events = [record.event for record in self._properties.values()]
        return events if condition is None else [e for e in events if condition.matches(e)]

    def property_records(self, condition: Condition | None = None) -> list[Record]:
        return [r for r in self._properties.values() if condition is None or condition.matches(r.event)]

    def subscribe(self, condition: Condition | None = None, *, properties: bool = True) -> Subscription:
        first: list[Record] = []
        if properties:
            first = [
                dataclasses.replace(record, event=dataclasses.replace(record.event, operation="Initialized"))
                for record in self._properties.values()
                if condition is None or condition.matches(record.event)
            ]
        subscription = Subscription(self, condition, first)
        self._subscriptions.append(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)


def check_event(event: Event) -> None:
    """An event from outside (by hand, from a script, from a camera) keeps to the bounds. Raises `BadFilter` with the reason."""
    if len(event.topic) > 256:
        raise BadFilter("a topic has at most 256 characters")
    topic_steps(event.topic)
    if len(event.source) + len(event.data) > MAX_ITEMS:
        raise BadFilter(f"an event has at most {MAX_ITEMS} items")
    for name, value in event.source + event.data:
        if not name or len(name) > 64 or len(value) > MAX_VALUE_CHARS:
            raise BadFilter("an item has a name of 1 to 64 characters and a value of at most 64 KiB")
    if event.operation not in ("", "Initialized", "Changed", "Deleted"):
        raise BadFilter("an operation is Initialized, Changed or Deleted, or empty for an event that is no property")
