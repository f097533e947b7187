"""What has happened: the events of the past, bounded, searchable by time, topic and source.

In memory, with a log on the data disk that brings it back after a restart (`recorderd.events.log`). The bound is in bytes, because a
configuration in an event may be a thousand times as large as a motion.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from recorderd.events.filter import Condition
from recorderd.model.ports import Event

DEFAULT_BYTES = 16 << 20
_OVERHEAD = 400  # of one record in memory, beyond its texts


@dataclass(frozen=True, slots=True)
class Record:
    """An event with its number, which grows and never repeats."""

    number: int
    event: Event


class History:
    """`on_add` is told of every record, for the log."""

    def __init__(self, *, limit_bytes: int = DEFAULT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._next = 1
        self.on_add: Callable[[Record], None] | None = None

    def __len__(self) -> int:
        return len(self._records)

    @property
    def oldest(self) -> Record | None:
        return self._records[0] if self._records else None

    def restore(self, records: list[Record]) -> None:
        """What a log held, ascending by number; before anything is added."""
        for record in records:
            self._put(record)
        self._next = max(self._next, self._records[-1].number + 1 if self._records else 1)

    def add(self, event: Event) -> Record:
        record = Record(self._next, event)
        self._next += 1
        self._put(record)
        if self.on_add is not None:
            self.on_add(record)
        return record

    def _put(self, record: Record) -> None:
        self._records.append(record)
        self._bytes += _size(record)
        while self._bytes > self._limit_bytes and len(self._records) > 1:
            self._bytes -= _size(self._records.popleft())

    def search(
        self,
        *,
        condition: Condition | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        after: int = 0,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> list[Record]:
        """Records with numbers above `after` (below it, newest first, where it is not 0) whose wall time is in [start, stop)."""
        low = bisect.bisect_right(self._records, after, key=lambda r: r.number) if not newest_first else 0
        high = len(self._records)
        if newest_first and after:
            high = bisect.bisect_left(self._records, after, key=lambda r: r.number)
        order = range(high - 1, low - 1, -1) if newest_first else range(low, high)
        found: list[Record] = []
        if len(order) > 1000:
            records: deque[Record] | list[Record] = list(self._records)  # indexing into a long deque is slow
        else:
            records = self._records
        for index in order:
            record = records[index]
            at_ns = record.event.utc_ns
            if (start_ns is not None and at_ns < start_ns) or (stop_ns is not None and at_ns >= stop_ns):
                continue
            if condition is not None and not condition.matches(record.event):
                continue
            found.append(record)
            if len(found) >= limit:
                break
        return found


def _size(record: Record) -> int:
    event = record.event
    return _OVERHEAD + len(event.topic) + sum(len(n) + len(v) + 100 for n, v in event.source + event.data)
