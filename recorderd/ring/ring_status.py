"""What the ring says about itself: healthy or why not, how full, how far back, how much a power cut has cost at worst."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass

from recorderd.model.causes import GapCause
from recorderd.ring.store import Statistics, Store


class RingState(enum.StrEnum):
    CLOSED = "closed"
    HEALTHY = "healthy"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True)
class RingStatus:
    """What `status` shows. Bytes of slots; times in seconds; `reach_forecast_s` None while nothing was recorded."""

    state: RingState
    cause: GapCause | None
    detail: str
    disk_id: uuid.UUID | None
    total_bytes: int
    free_bytes: int
    recyclable_bytes: int  # closed slots, kept ones included
    open_slots: int
    unscanned_slots: int
    queued_bytes: int
    oldest_disk_call_s: float
    last_commit_age_s: float | None
    reach_forecast_s: float | None
    worst_loss_s: float  # longest time from a fragment's first arrival to its durability, since the ring was opened
    statistics: Statistics
    faults: tuple[str, ...]


def status_of(
    store: Store | None, state: RingState, cause: GapCause | None, detail: str, queued_bytes: int
) -> RingStatus:
    """`store` is the mounted one, or the last one of a disk that failed; None when there was none yet."""
    if store is None:
        nothing = Statistics()
        return RingStatus(state, cause, detail, None, 0, 0, 0, 0, 0, queued_bytes, 0.0, None, None, 0.0, nothing, ())
    room = store.room()
    last = store.statistics.last_commit_ns
    forecast = store.forecast_ns()
    return RingStatus(
        state=state,
        cause=cause,
        detail=detail,
        disk_id=store.disk_id,
        total_bytes=room.slots * room.slot_bytes,
        free_bytes=room.free * room.slot_bytes,
        recyclable_bytes=room.closed * room.slot_bytes,
        open_slots=len(store.open),
        unscanned_slots=len(store.unscanned),
        queued_bytes=queued_bytes,
        oldest_disk_call_s=store.io.calls.oldest_s(),
        last_commit_age_s=(store.clock.boottime_ns() - last) / 1e9 if last else None,
        reach_forecast_s=forecast / 1e9 if forecast is not None else None,
        worst_loss_s=store.statistics.worst_delay_ns / 1e9,
        statistics=store.statistics,
        faults=tuple(store.faults),
    )
