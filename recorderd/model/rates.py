"""MaxRate and MaxTotalRate (5.25) from what this recorder was measured to do, and not from what its parts promise.

Two things bound the sum of all streams:

- the disk: a commit should take at most half a tick, so that the other half is there for what is worse than usual. A commit's bytes over
  the time it took is what the disk does with the ring's own pattern of writes, seeks and flushes included; half of the median is the
  bound. Only commits of a megabyte and more count: the flush of a small one says nothing of the disk's speed.
- memory: ten seconds of all streams must fit into the part of `limits.media_ram` that pre-buffers can never take, for a disk that stalls.

One recording has the smaller of that sum and the cap of a stream. A disk that was not measured yet promises nothing: 0.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

from recorderd.model.media_ram import QUEUE_PART

STALL_S = 10
MIN_COMMIT_BYTES = 1 << 20
MIN_COMMITS = 30
KEPT_COMMITS = 600
_KBPS = 125  # bytes per second of a kbit/s
_STEP_KBPS = 100


@dataclass(frozen=True, slots=True)
class Rates:
    """In kbit/s; 0 is not known."""

    recording_kbps: int = 0
    total_kbps: int = 0


class DiskSpeed:
    """The newest commits of a disk."""

    def __init__(self) -> None:
        self._bytes_s: deque[float] = deque(maxlen=KEPT_COMMITS)

    def add(self, commit_bytes: int, took_ns: int) -> None:
        if commit_bytes >= MIN_COMMIT_BYTES and took_ns > 0:
            self._bytes_s.append(commit_bytes * 1e9 / took_ns)

    @property
    def bytes_s(self) -> int:
        """The median; 0 until there are enough to tell."""
        return round(statistics.median(self._bytes_s)) if len(self._bytes_s) >= MIN_COMMITS else 0


def rates(disk_bytes_s: int, media_ram_bytes: int, stream_kbps: int) -> Rates:
    """`disk_bytes_s` of `DiskSpeed`; the rest as configured."""
    if disk_bytes_s <= 0:
        return Rates()
    total = min(disk_bytes_s // 2, media_ram_bytes // QUEUE_PART // STALL_S) // _KBPS // _STEP_KBPS * _STEP_KBPS
    return Rates(min(stream_kbps, total), total)
