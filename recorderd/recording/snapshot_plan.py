"""Finds the one picture that a snapshot shows, and hands it to the worker that decodes it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from recorderd.media.errors import MediaError
from recorderd.media.moov_reader import parse_moov
from recorderd.protocol.work import SnapshotWork, Stored
from recorderd.recording.export_plan import LOOK_BACK_NS, KeyFrame, NothingRecorded, WantedTrack, key_frames
from recorderd.recording.worker_process import WorkerFailed, WorkerProcess
from recorderd.ring.device import UnsafeFile
from recorderd.ring.ledger.overlap import Extent
from recorderd.ring.playback import find_extents
from recorderd.ring.reading import Recycled
from recorderd.ring.ring import Ring

_FAR_NS = 1 << 62  # wall time, year 2116
_REACHES_NS = (LOOK_BACK_NS, 3600 * 10**9, 86_400 * 10**9, _FAR_NS)  # how far around a time a picture is looked for
_NEAR, _NEAR_AND_MORE = 4, 64  # extents looked at: first these, then the others
_SLOT_LEASE_S = 60.0
_SLOT_GONE = (Recycled, UnsafeFile)


async def find_picture(ring: Ring, track: WantedTrack, at_ns: int) -> tuple[KeyFrame, Extent]:
    """The key frame nearest to wall time `at_ns`. Raises NothingRecorded, StoreUnavailable, OSError."""
    for reach_ns in _REACHES_NS:
        found = await find_extents(ring, track.id, max(0, at_ns - reach_ns), min(at_ns + reach_ns, _FAR_NS))
        near = sorted(found, key=lambda extent: max(extent.wall_start_ns - at_ns, at_ns - extent.wall_stop_ns, 0))
        for chosen in (near[:_NEAR], near[_NEAR:_NEAR_AND_MORE]):
            keys = []
            for extent in chosen:
                with contextlib.suppress(*_SLOT_GONE):
                    async with ring.read_slot(extent.ref, seconds=_SLOT_LEASE_S) as reader:
                        identity = await reader.identity()
                        if identity is not None:
                            entries = await reader.entries()
                            keys += [(key, extent) for key in key_frames([extent], 0, entries, identity)]
            if keys:
                return min(keys, key=lambda pair: abs(pair[0].wall_ns - at_ns))
    raise NothingRecorded("there is no picture")


async def send_picture(
    ring: Ring, extent: Extent, key: KeyFrame, worker: WorkerProcess, width: int, image: str
) -> AsyncGenerator[int]:
    """Sends the one message of a snapshot."""
    try:
        async with ring.read_slot(extent.ref, seconds=_SLOT_LEASE_S, hold=True) as reader:
            identity, store = await reader.identity(), ring.store
            formats = parse_moov(await reader.moov(identity)) if identity is not None else ()
            for entry in await reader.entries():
                for point in entry.keys:
                    if identity is None or store is None or point.pts != key.pts:
                        continue
                    if identity.tracks[point.track].track != extent.track or point.track >= len(formats):
                        continue
                    work = SnapshotWork(
                        str(store.disk_id), extent.ref.slot, extent.ref.generation, store.identity.slot_bytes,
                        formats[point.track], point.track, Stored(entry.sequence, entry.offset, entry.fragment_bytes),
                        key.pts, width, image,
                    )  # fmt: skip
                    await worker.send(work, [reader.descriptor])
                    yield 0
                    return
    except (*_SLOT_GONE, MediaError) as error:
        raise WorkerFailed(f"the picture cannot be read: {error}") from error
    raise WorkerFailed("the picture is no longer there")
