"""What the recorder tells of its own disk: whether it can be recorded to, whether it has failed, and every write that failed.

VAPIX "Event and action services" has `Storage/Disruption`, ONVIF's device service `HardwareFailure/StorageFailure`.
"""

from __future__ import annotations

from collections.abc import Callable

from recorderd.model.causes import GapCause
from recorderd.model.ports import Clock, Event, EventSink
from recorderd.ring.ring_status import RingHealth, RingState

DISRUPTION = "tnsaxis:Storage/Disruption"
FAILURE = "tns1:Device/HardwareFailure/StorageFailure"
WRITE_ERROR = "tns1:Device/tnsrecorderd:Storage/WriteError"
DISK = "HDD_DISK"  # as VAPIX calls the recorder's disk
LOOK_EVERY_S = 1.0


class DiskEvents:
    """`look` gives the ring's health."""

    def __init__(self, *, look: Callable[[], RingHealth], events: EventSink, clock: Clock) -> None:
        self._look = look
        self._events = events
        self._clock = clock
        self._disrupted: bool | None = None
        self._failed: bool | None = None
        self._errors = (0, 0)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        health = self._look()
        if health.state is RingState.CLOSED:  # not looked for yet
            return
        disrupted = health.state is RingState.DEGRADED
        reason = health.detail if disrupted else ""
        if disrupted != self._disrupted:
            self._disrupted = disrupted
            self._state(DISRUPTION, ("disk_id", DISK), (("disruption", "1" if disrupted else "0"), ("reason", reason)))
        failed = disrupted and health.cause is GapCause.DISK_ERROR
        if failed != self._failed:
            self._failed = failed
            self._state(FAILURE, ("Token", DISK), (("Failed", "true" if failed else "false"), ("Reason", reason)))
        counted = (health.statistics.write_errors, health.statistics.flush_errors)
        new = sum(counted) - sum(self._errors)
        self._errors = counted
        if new > 0:
            data = (("New", str(new)), ("Writes", str(counted[0])), ("Flushes", str(counted[1])))
            self._events.publish(Event(WRITE_ERROR, (("disk_id", DISK),), data))

    def _state(self, topic: str, source: tuple[str, str], data: tuple[tuple[str, str], ...]) -> None:
        self._events.publish(Event(topic, (source,), data, "Changed"))
