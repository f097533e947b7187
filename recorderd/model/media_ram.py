"""`limits.media_ram`: one budget for the pre-buffers and for what waits while a disk is stalled.

Pre-buffers hold hard reservations: memory promised to a job is never used for anything else. A part is never reservable, so that the queue
for a stalled disk always has room; what nobody reserved is the queue's too.
"""

from __future__ import annotations

import uuid

QUEUE_PART = 4  # of limit_bytes, one part in so many stays with the queue


class MediaRam:
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._reserved: dict[uuid.UUID, int] = {}

    @property
    def reserved_bytes(self) -> int:
        return sum(self._reserved.values())

    @property
    def reservable_bytes(self) -> int:
        """What can still be promised to pre-buffers."""
        return self.limit_bytes - self.limit_bytes // QUEUE_PART - self.reserved_bytes

    @property
    def queue_bytes(self) -> int:
        """What the queue for a stalled disk may hold now."""
        return self.limit_bytes - self.reserved_bytes

    def reserve(self, owner: uuid.UUID, wanted_bytes: int) -> int:
        """Sets the owner's reservation to `wanted_bytes`, or to as much as there is; returns what it is now."""
        held = self._reserved.get(owner, 0)
        granted = max(0, min(wanted_bytes, held + self.reservable_bytes))
        if granted:
            self._reserved[owner] = granted
        else:
            self._reserved.pop(owner, None)
        return granted

    def release(self, owner: uuid.UUID) -> None:
        self._reserved.pop(owner, None)
