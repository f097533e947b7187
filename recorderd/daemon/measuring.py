"""Looks on while the ring commits, and notes how fast its disk is."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from recorderd.model.ports import Clock
from recorderd.model.rates import DiskSpeed
from recorderd.ring.ring import Ring
from recorderd.state import measured

log = logging.getLogger(__name__)

LOOK_S = 1.0  # a commit at most, so its bytes and its time belong together
SAVE_S = 3600.0  # system flash is spared
CHANGE = 0.1  # less is not worth a write


class Measuring:
    """`durable`: commits reach the medium; where they do not there is nothing to learn."""

    def __init__(self, *, ring: Ring, path: Path, clock: Clock, durable: bool) -> None:
        self._ring = ring
        self._path = path
        self._clock = clock
        self._durable = durable
        self._disk = ""
        self._speed = DiskSpeed()
        self._seen = (0, 0)  # commits, bytes written

    async def run(self) -> None:
        due_ns = self._clock.boottime_ns() + round(SAVE_S * 1e9)
        try:
            while True:
                await self._clock.sleep(LOOK_S)
                self.look()
                if self._clock.boottime_ns() >= due_ns:
                    due_ns += round(SAVE_S * 1e9)
                    await asyncio.to_thread(self.save)
        finally:
            self.save()

    def look(self) -> None:
        store = self._ring.store
        if store is None or not self._durable:
            return
        disk, now = str(store.disk_id), (store.statistics.commits, store.statistics.written_bytes)
        if disk != self._disk or now < self._seen:
            self._disk, self._speed = disk, DiskSpeed()
        elif now[0] == self._seen[0] + 1:
            self._speed.add(now[1] - self._seen[1], store.statistics.last_commit_took_ns)
        self._seen = now

    def save(self) -> None:
        """Blocks."""
        speed = self._speed.bytes_s
        known = measured.load(self._path)
        old = known.disks.get(self._disk, 0)
        if not speed or abs(speed - old) <= CHANGE * old:
            return
        try:
            measured.save(self._path, known.with_disk(self._disk, speed))
        except OSError as error:
            log.warning("what was measured of the disk is not kept: %s", error)
