"""Samples out of stored fragments, in media time: what export, replay and snapshots read."""

from __future__ import annotations

from dataclasses import dataclass

from recorderd.media.sample_table import TrackTable, parse_fragment
from recorderd.model.timeline import Instant
from recorderd.ring.layout import FragmentFlag, FragmentRecord, TrackPart
from recorderd.ring.reading import FragmentData


@dataclass(frozen=True, slots=True)
class StoredSample:
    """One access unit as it was recorded. Times in the track's clock (unwrapped RTP); `data` is a slice of the fragment read."""

    track: int  # index in the writer's tracks
    pts: int
    dts: int
    duration: int
    key: bool
    data: memoryview
    run: int
    session: int
    instant: Instant  # boot time, by the fragment's anchor
    damaged: bool  # something in its fragment is


def samples_of(fragment: FragmentData, tracks: int, track: int, clock_rate: int) -> list[StoredSample]:
    """One track's samples of a fragment in decoding order. `tracks` is the writer's number of tracks. Raises MediaError."""
    part = next((part for part in fragment.record.parts if part.track == track), None)
    if part is None:
        return []
    table = next(table for table in parse_fragment(fragment.payload, tracks) if table.track == track)
    return _samples(fragment.record, part, table, fragment.payload, clock_rate)


def _samples(
    record: FragmentRecord, part: TrackPart, table: TrackTable, payload: memoryview, clock_rate: int
) -> list[StoredSample]:
    presented = table.presentation_times()
    first = part.first_pts - min(presented)  # media time of the first sample in decoding order
    damaged = bool(record.flags & FragmentFlag.DAMAGED)
    out = []
    columns = zip(presented, table.starts(), table.sizes, table.durations, table.composition, table.keys, strict=True)
    for shown, start, size, duration, offset, key in columns:
        pts = first + shown
        at_ns = part.anchor.boottime_ns + (pts - part.anchor.media_time) * 1_000_000_000 // clock_rate
        out.append(
            StoredSample(
                part.track,
                pts,
                pts - offset,
                duration,
                key,
                payload[start : start + size],
                record.run,
                part.anchor.session,
                Instant(record.boot_id, at_ns),
                damaged,
            )
        )
    return out
