"""What to read for an export, in which order, and where it falls on the time axis of the file.

The ring's span iterator says what to play of each track (`ring.playback.find_extents`). Here the first picture is chosen, the extents of
all tracks are brought into one order by time and grouped by slot, and each group gets its place: boot time plus `axis_ns`. Inside a boot
the axis is boot time, which nothing steps; only from one boot to the next does wall time say how long it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recorderd.model.stream import MediaKind
from recorderd.protocol.work import Range
from recorderd.ring.border import SlotRef
from recorderd.ring.layout import IndexEntry, SlotIdentity
from recorderd.ring.ledger.overlap import Extent

_NS = 1_000_000_000
LOOK_BACK_NS = 70 * _NS  # for the key frame before the start: the longest GOP anything records, and some
_NO_LIMIT_NS = 1 << 62
_SAME_AXIS_NS = 500_000_000  # wall time that says less than this against boot time is slewing or a small step


class NothingRecorded(Exception):
    """The tracks hold nothing in that range."""


@dataclass(frozen=True, slots=True)
class WantedTrack:
    """A track of the recording to be exported, video first where there is some."""

    id: uuid.UUID
    name: str
    kind: MediaKind


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A random access point: its wall time, and where it is. `pts` in the track's media time."""

    wall_ns: int
    boot_ns: int
    pts: int
    extent: int  # number of the extent that holds it


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """Consecutive extents in one life of one slot."""

    ref: SlotRef
    axis_ns: int
    ranges: tuple[Range, ...]
    extents: tuple[Extent, ...]  # one per range


def key_frames(
    extents: Sequence[Extent], number: int, entries: Iterable[IndexEntry], identity: SlotIdentity
) -> list[KeyFrame]:
    """The key frames of extent `number` that lie inside it, ascending."""
    extent = extents[number]
    track = next((n for n, held in enumerate(identity.tracks) if held.track == extent.track), None)
    if track is None:
        return []
    rate = identity.tracks[track].timescale
    found = []
    for entry in entries:
        part = next((part for part in entry.parts if part.track == track), None)
        if part is None or not extent.first <= entry.sequence < extent.first + extent.count:
            continue
        for key in entry.keys:
            boot_ns = identity.start_ns + (key.pts - part.base) * _NS // rate
            if key.track == track and extent.start.ns <= boot_ns < extent.stop.ns:
                wall_ns = extent.wall_start_ns + boot_ns - extent.start.ns
                found.append(KeyFrame(wall_ns, boot_ns, key.pts, number))
    return found


def choose_start(keys: Sequence[KeyFrame], start_ns: int) -> KeyFrame | None:
    """The key frame at or before `start_ns` where that is nearer than the one after, else the one after; None when there is none.

    `keys` are those of the stretch without a gap that holds `start_ns`, or that begins after it.
    """
    before = max((key for key in keys if key.wall_ns <= start_ns), key=lambda key: key.wall_ns, default=None)
    after = min((key for key in keys if key.wall_ns > start_ns), key=lambda key: key.wall_ns, default=None)
    if before is None or after is None:
        return before or after
    return before if start_ns - before.wall_ns <= after.wall_ns - start_ns else after


def stretch_at(extents: Sequence[Extent], start_ns: int) -> list[int]:
    """Numbers of the extents in which the first picture is looked for: those that lead up to `start_ns` without a gap, and the next."""
    holding = next((n for n, extent in enumerate(extents) if extent.wall_stop_ns > start_ns), None)
    if holding is None:
        return []
    first = holding
    while first > 0 and extents[first].wall_start_ns <= start_ns and extents[first].follows:
        first -= 1
    last = min(holding + 1, len(extents) - 1)
    return list(range(first, last + 1))


def slot_plans(extents: Sequence[Sequence[Extent]], start_ns: int, first_key: KeyFrame | None) -> list[SlotPlan]:
    """Groups in order of time. `extents[output]` are one output track's; `first_key`, in the first extent of output 0, is where the picture
    begins. The axis begins at wall time `start_ns`.
    """
    ordered = sorted(
        (
            (extent.wall_start_ns, output, number)
            for output, held in enumerate(extents)
            for number, extent in enumerate(held)
        )
    )
    axis = _Axis(start_ns)
    plans: list[SlotPlan] = []
    group: list[tuple[Extent, Range]] = []
    for _, output, number in ordered:
        extent = extents[output][number]
        if group and group[-1][0].ref != extent.ref:
            plans.append(_group(group, axis))
            group = []
        key = first_key if first_key is not None and output == 0 and number == 0 else None
        joined = _joins(extents[output], number), _joins(extents[output], number + 1)
        group.append((extent, _range(extent, output, key, joined)))
    if group:
        plans.append(_group(group, axis))
    return plans


def _joins(held: Sequence[Extent], number: int) -> bool:
    """Whether extent `number` goes on exactly where the one before it ends: nothing was left out between them."""
    if not 0 < number < len(held):
        return False
    extent = held[number]
    # One run ends and another goes on with the same stream, inside a GOP: another source would begin at a key frame.
    goes_on = extent.follows or extent.continues
    return goes_on and extent.wall_start_ns <= held[number - 1].wall_stop_ns


def _range(extent: Extent, output: int, key: KeyFrame | None, joined: tuple[bool, bool]) -> Range:
    """Where extents join there is no cut: a picture decoded before the border may be shown behind it."""
    start_ns = -_NO_LIMIT_NS if joined[0] else extent.start.ns
    return Range(
        output=output,
        track=-1,  # filled in when the slot is opened
        first=extent.first,
        count=extent.count,
        start_ns=start_ns if key is None else key.boot_ns,
        stop_ns=_NO_LIMIT_NS if joined[1] else extent.stop.ns,
        cold=key is not None or not extent.follows,
        from_pts=None if key is None else key.pts,
    )


def _group(group: Sequence[tuple[Extent, Range]], axis: _Axis) -> SlotPlan:
    first = min((extent for extent, _ in group), key=lambda extent: extent.start.ns)
    return SlotPlan(first.ref, axis.of(first), tuple(share for _, share in group), tuple(extent for extent, _ in group))


class _Axis:
    """Keeps one offset per boot, unless wall time says something quite different."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._offsets: dict[uuid.UUID, int] = {}

    def of(self, extent: Extent) -> int:
        offset = extent.wall_start_ns - extent.start.ns - self._start_ns
        held = self._offsets.get(extent.start.boot_id)
        if held is not None and abs(held - offset) < _SAME_AXIS_NS:
            return held
        self._offsets[extent.start.boot_id] = offset
        return offset
