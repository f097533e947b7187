"""What the ring says about itself: healthy or why not, how full, how far back, how much a power cut has cost at worst."""

from __future__ import annotations

import enum
import logging
import uuid
from dataclasses import dataclass

from recorderd.model.causes import GapCause
from recorderd.model.ports import StoreUnavailable
from recorderd.ring.store import Statistics, Store

log = logging.getLogger(__name__)

_LOSSES_SHOWN = 8


class RingState(enum.StrEnum):
    CLOSED = "closed"
    HEALTHY = "healthy"
    DEGRADED = "degraded"


class Condition:
    """Healthy, or degraded for a stated cause; every change is logged once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.slow = (
            False  # the disk has not answered for a while: a commit that comes back does not make it healthy yet
        )
        self.state = RingState.CLOSED
        self.cause: GapCause | None = None
        self.detail = ""

    def degrade(self, cause: GapCause, detail: str) -> None:
        if (self.state, self.cause) != (RingState.DEGRADED, cause):
            log.warning("%s: degraded (%s): %s", self._name, cause.name, detail)
        self.state, self.cause, self.detail = RingState.DEGRADED, cause, detail

    def recover(self) -> None:
        if self.slow:
            return
        if self.state is not RingState.HEALTHY:
            log.info("%s: healthy", self._name)
        self.state, self.cause, self.detail = RingState.HEALTHY, None, ""

    def unavailable(self) -> StoreUnavailable:
        """For who asks for something that a mounted ring is needed for."""
        return StoreUnavailable(self.cause or GapCause.DISK_MISSING, self.detail or "the ring is not mounted")

    def close(self) -> None:
        self.state, self.cause, self.detail = RingState.CLOSED, None, ""


@dataclass(frozen=True, slots=True)
class RingHealth:
    """Whether it takes data, else why not: known at once, for who looks every second."""

    state: RingState
    cause: GapCause | None
    detail: str
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class RingStatus(RingHealth):
    """What `status` shows. Bytes of slots; times in seconds; `reach_forecast_s` None while nothing was recorded."""

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
    faults: tuple[str, ...]


def health_of(store: Store | None, condition: Condition) -> RingHealth:
    """`store` as for `status_of`."""
    statistics = store.statistics if store is not None else Statistics()
    return RingHealth(condition.state, condition.cause, condition.detail, statistics)


def status_of(store: Store | None, condition: Condition, queued_bytes: int) -> RingStatus:
    """`store` is the mounted one, or the last one of a disk that failed; None when there was none yet."""
    state, cause, detail = condition.state, condition.cause, condition.detail
    if store is None:
        return RingStatus(
            state, cause, detail, Statistics(), None, 0, 0, 0, 0, 0, queued_bytes, 0.0, None, None, 0.0, ()
        )
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
        faults=(*store.faults, *_of_rebuild(store)),
    )


def _of_rebuild(store: Store) -> tuple[str, ...]:
    rebuild = store.rebuild
    if rebuild is None:
        return ()
    shown = rebuild.losses[:_LOSSES_SHOWN]
    more = len(rebuild.losses) - len(shown)
    return (
        *(() if rebuild.done else (rebuild.words(),)),
        *shown,
        *((f"{more} more losses: recorderctl fsck tells them",) if more else ()),
    )
