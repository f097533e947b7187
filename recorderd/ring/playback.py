"""Plays a track from the ring: forward, backward by GOP, key frames only, and on past the live edge.

What to read comes from the ledger as extents; this file reads them one slot at a time under leases. A slot that was recycled meanwhile,
a fragment that rotted: the playback goes on behind it, and the caller sees the hole in the samples' times.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from recorderd.media.errors import MediaError
from recorderd.model.timeline import Instant
from recorderd.ring.border import SlotRef
from recorderd.ring.layout import IndexEntry, IndexPart, SlotIdentity
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.overlap import Extent, extents
from recorderd.ring.reading import Recycled, Rotten, SlotReader
from recorderd.ring.ring import Ring
from recorderd.ring.samples import StoredSample, samples_of

LEASE_S = 60.0
_FAR_NS = 1 << 62  # wall time, year 2116


class IndexNeeded(Exception):
    """The key frames of a slot are not in RAM yet."""

    def __init__(self, ref: SlotRef) -> None:
        super().__init__(f"slot {ref.slot}")
        self.ref = ref


async def find_extents(ring: Ring, track: uuid.UUID, wall_from_ns: int, wall_to_ns: int) -> list[Extent]:
    """What the ring holds of a track in [from, to), ascending. Slots are only read where spans overlap.

    Raises StoreUnavailable, OSError.
    """
    ledger = ring.ledger
    assert isinstance(ledger, RingLedger)
    keys: dict[SlotRef, list[Instant]] = {}

    def key_after(_disk: uuid.UUID, ref: SlotRef, _track: uuid.UUID, at: Instant) -> Instant | None:
        if ref not in keys:
            raise IndexNeeded(ref)
        return next((key for key in keys[ref] if key.boot_id == at.boot_id and key.ns >= at.ns), None)

    while True:
        store = ring.store
        disk = store.disk_id if store is not None else uuid.UUID(int=0)
        try:
            return list(extents([(disk, ledger.tables)], track, wall_from_ns, wall_to_ns, key_after))
        except IndexNeeded as needed:
            keys[needed.ref] = await key_instants(ring, needed.ref, track)


async def key_instants(ring: Ring, ref: SlotRef, track: uuid.UUID) -> list[Instant]:
    """Of the slot's random access points of one track, ascending; empty when the slot is gone."""
    try:
        async with ring.read_slot(ref, seconds=LEASE_S) as reader:
            found = await _track_of(reader, track)
            if found is None:
                return []
            index, identity = found
            out = []
            for entry in await reader.entries():
                out += [Instant(identity.boot_id, ns) for ns in _key_times(entry, index, identity)]
            return sorted(out, key=lambda instant: instant.ns)
    except Recycled:
        return []


def _key_times(entry: IndexEntry, index: int, identity: SlotIdentity) -> list[int]:
    part = next((part for part in entry.parts if part.track == index), None)
    if part is None:
        return []
    rate = identity.tracks[index].timescale
    points = [key.pts for key in entry.keys if key.track == index]
    if identity.tracks[index].codec.kind != "video":
        points = [part.first_pts]
    return [_boot_time(part, pts, rate, identity) for pts in points]


def _boot_time(part: IndexPart, pts: int, rate: int, identity: SlotIdentity) -> int:
    """Boot time by the slot's own timeline: exact at the start of a session, within its drift later."""
    return identity.start_ns + (pts - part.base) * 1_000_000_000 // rate


async def _track_of(reader: SlotReader, track: uuid.UUID) -> tuple[int, SlotIdentity] | None:
    identity = await reader.identity()
    if identity is None:
        return None
    index = next((i for i, t in enumerate(identity.tracks) if t.track == track), None)
    return None if index is None else (index, identity)


async def play(ring: Ring, chosen: Sequence[Extent], *, lead_in: bool = False) -> AsyncIterator[StoredSample]:
    """The samples of these extents in decoding order. With `lead_in` an extent that begins inside a GOP starts at the key frame before it
    (as far as that lies in the same slot), and what is decoded from there on comes too, so that its first pictures can be decoded.

    What is shown at the end of an extent may need a picture shown behind it, which is left out. Raises StoreUnavailable, OSError.
    """
    for extent in chosen:
        async with _reading(ring, extent) as opened:
            if opened is None:
                continue
            reader, index, identity = opened
            lead: list[StoredSample] | None = []  # from the newest key frame on; None when the extent has begun
            async for sample in _samples(reader, extent, index, identity, from_start=lead_in):
                if sample.instant.ns >= extent.stop.ns:
                    continue  # in decoding order a later picture may come before an earlier one
                inside = sample.instant.ns >= extent.start.ns
                if lead is None:
                    if inside or lead_in:
                        yield sample
                elif inside:
                    # A key frame may follow here whose leading pictures, shown before it, need the GOP before.
                    if lead_in and not (sample.key and sample.instant.ns == extent.start.ns):
                        for earlier in lead:
                            yield earlier
                    lead = None
                    yield sample
                elif sample.instant.ns >= extent.earliest.ns and sample.run == extent.run:
                    lead = [sample] if sample.key else [*lead, sample]


async def play_backward(ring: Ring, chosen: Sequence[Extent]) -> AsyncIterator[list[StoredSample]]:
    """GOPs from the last to the first, each in decoding order, also across slots. Raises StoreUnavailable, OSError."""
    later: list[StoredSample] = []  # the end of a GOP whose key frame is still to come
    for extent in reversed(chosen):
        async with _reading(ring, extent) as opened:
            if opened is not None:
                reader, index, identity = opened
                for entry in reversed(_in_extent(await reader.entries(), extent)):
                    samples = await _fragment_samples(reader, entry, index, identity)
                    gops = _gops([s for s in samples if extent.start.ns <= s.instant.ns < extent.stop.ns] + later)
                    later = gops.pop(0) if gops and not gops[0][0].key else []
                    for gop in reversed(gops):
                        yield gop
        if later and not extent.follows:
            yield later
            later = []


async def play_keys(
    ring: Ring, chosen: Sequence[Extent], *, min_interval_ns: int = 0, backward: bool = False
) -> AsyncIterator[StoredSample]:
    """Key frames only, at least `min_interval_ns` of boot time apart. Reads only fragments that hold one.

    Raises StoreUnavailable, OSError.
    """
    last_ns: int | None = None
    for extent in reversed(chosen) if backward else chosen:
        async with _reading(ring, extent) as opened:
            if opened is None:
                continue
            reader, index, identity = opened
            entries = [e for e in _in_extent(await reader.entries(), extent) if _key_times(e, index, identity)]
            last_ns = None
            for entry in reversed(entries) if backward else entries:
                samples = [s for s in await _fragment_samples(reader, entry, index, identity) if s.key]
                for sample in reversed(samples) if backward else samples:
                    at_ns = sample.instant.ns
                    if not extent.start.ns <= at_ns < extent.stop.ns:
                        continue
                    if last_ns is not None and abs(at_ns - last_ns) < min_interval_ns:
                        continue
                    last_ns = at_ns
                    yield sample


async def follow(ring: Ring, track: uuid.UUID, wall_from_ns: int) -> AsyncIterator[StoredSample]:
    """From a wall time on, past the live edge, for as long as the caller asks: waits for commits. Raises StoreUnavailable when the ring
    lets its disk go, OSError."""
    at_ns = wall_from_ns
    read: dict[tuple[SlotRef, int, int], int] = {}  # extent (it only grows at its end) -> the fragment to read next
    while True:
        ring.mounted()
        commit = ring.commit_after()
        seen: dict[tuple[SlotRef, int, int], int] = {}
        for extent in await find_extents(ring, track, at_ns, _FAR_NS):
            key = (extent.ref, extent.first, extent.start.ns)
            following = read.get(key, extent.first)
            rest = replace(extent, first=following, count=max(0, extent.first + extent.count - following))
            async with _reading(ring, extent) as opened:
                if opened is not None:
                    # The ledger tells of media with the commit that is being made; the index only of what is durable.
                    for entry in _in_extent(await opened[0].entries(), rest):
                        following = entry.sequence + 1
                        for sample in await _fragment_samples(opened[0], entry, *opened[1:]):
                            if extent.start.ns <= sample.instant.ns < extent.stop.ns:
                                yield sample
            seen[key] = following
            at_ns = max(wall_from_ns, extent.wall_start_ns)
        read = seen
        await commit.wait()


@contextlib.asynccontextmanager
async def _reading(ring: Ring, extent: Extent) -> AsyncIterator[tuple[SlotReader, int, SlotIdentity] | None]:
    """The extent's slot under a lease, or None when it is gone."""
    async with contextlib.AsyncExitStack() as stack:
        found = None
        try:
            reader = await stack.enter_async_context(ring.read_slot(extent.ref, seconds=LEASE_S))
            track = await _track_of(reader, extent.track)
            if track is not None:
                found = (reader, *track)
        except Recycled:
            found = None
        yield found


def _in_extent(entries: Sequence[IndexEntry], extent: Extent) -> list[IndexEntry]:
    return [entry for entry in entries if extent.first <= entry.sequence < extent.first + extent.count]


async def _samples(
    reader: SlotReader, extent: Extent, index: int, identity: SlotIdentity, *, from_start: bool
) -> AsyncIterator[StoredSample]:
    entries = await reader.entries()
    wanted = _in_extent(entries, extent)
    if from_start and wanted:
        first = wanted[0].sequence
        before = [e for e in entries if e.sequence < first and any(key.track == index for key in e.keys)]
        if before:
            wanted = [e for e in entries if before[-1].sequence <= e.sequence < first] + wanted
    for entry in wanted:
        for sample in await _fragment_samples(reader, entry, index, identity):
            yield sample


async def _fragment_samples(
    reader: SlotReader, entry: IndexEntry, index: int, identity: SlotIdentity
) -> list[StoredSample]:
    """Empty when the fragment rotted or the slot was recycled under the reader."""
    if not any(part.track == index for part in entry.parts):
        return []
    try:
        fragment = await reader.fragment(entry)
        reader.lease.renew(LEASE_S)
        return samples_of(fragment, len(identity.tracks), index, identity.tracks[index].timescale)
    except (Rotten, Recycled, MediaError):
        return []


def _gops(samples: Sequence[StoredSample]) -> list[list[StoredSample]]:
    gops: list[list[StoredSample]] = []
    for sample in samples:
        if sample.key or not gops:
            gops.append([])
        gops[-1].append(sample)
    return gops
