"""What leaves a camera's connection: at once, at a commanded trickle, or not at all. Never more than a bounded backlog."""

from __future__ import annotations

import asyncio
from collections import deque

from hw.sim.camera.faults import Faults

BACKLOG_BYTES = 2 * 1024 * 1024
DRIP_S = 0.05


class Outlet:
    """Writes to one TCP transport under the camera's faults. Packets that find the backlog full are dropped whole, as cameras do."""

    def __init__(self, transport: asyncio.WriteTransport, faults: Faults) -> None:
        self._transport, self._faults = transport, faults
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0

    @property
    def backlog(self) -> int:
        return self._queued_bytes + self._transport.get_write_buffer_size()

    def write(self, data: bytes | bytearray | memoryview) -> bool:
        """False when `data` was dropped."""
        if self._faults.hang or self._transport.is_closing():
            return False
        if self.backlog + len(data) > BACKLOG_BYTES:
            self.dropped += 1
            return False
        if self._faults.drip_bytes_per_s or self._queue:
            self._queue.append(bytes(data))
            self._queued_bytes += len(data)
            if self._timer is None:
                self._drip()
        else:
            self._transport.write(data)
        return True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue.clear()

    def _drip(self) -> None:
        self._timer = None
        rate = self._faults.drip_bytes_per_s
        room = max(1, round(rate * DRIP_S)) if rate else self._queued_bytes
        while self._queue and room > 0 and not self._faults.hang:
            head = self._queue.popleft()
            self._transport.write(head[:room])
            if len(head) > room:
                self._queue.appendleft(head[room:])
            sent = min(room, len(head))
            room -= sent
            self._queued_bytes -= sent
        if self._queue and not self._transport.is_closing():
            self._timer = asyncio.get_running_loop().call_later(DRIP_S, self._drip)
