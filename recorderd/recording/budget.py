"""Bounds the media held in RAM while the disk cannot keep up: whole GOPs of the lowest priority are given up first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recorderd.model.causes import GapCause
from recorderd.recording.lane import Lane


def relieve(lanes: Iterable[Lane], limit_bytes: int) -> Sequence[Lane]:
    """Drops pending data of lanes, lowest priority and fullest first, until what is held fits. Returns the lanes that lost data.

    What was appended already belongs to the ring and cannot be taken back, so the bound holds for it only through the ring's own.
    """
    present = list(lanes)
    held = {id(lane): lane.held_bytes for lane in present}
    total = sum(held.values())
    suffered = []
    for lane in sorted(present, key=lambda lane: (lane.spec.priority, -held[id(lane)])):
        if total <= limit_bytes:
            break
        cause = lane.blocked.cause if lane.blocked is not None else GapCause.DISK_SLOW
        freed = lane.drop(cause)
        if freed:
            total -= freed
            suffered.append(lane)
    return suffered
