"""Fetches a stream with the real service, on the running loop and the system's clock."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from hw.sim.camera import nal
from hw.sim.camera.clip import ClipTrack
from recorderd.ingest.service import Ingest
from recorderd.media.nal import split_lengths
from recorderd.model.clock import SystemClock
from recorderd.model.media_ram import MediaRam
from recorderd.model.ports import StreamRequest
from recorderd.model.stream import AccessUnit
from tests.ingest.gather import Gather


@asynccontextmanager
async def service(**choices: object) -> AsyncIterator[Ingest]:
    ingest = Ingest(clock=SystemClock(), media_ram=MediaRam(64 << 20), **choices)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(ingest.run())
        yield ingest
        await ingest.close()
        running.cancel()


def request(url: str, **choices: object) -> StreamRequest:
    return StreamRequest(receiver=uuid.uuid4(), name="camera", uri=url, **choices)


async def fetch(url: str, counts: dict[int, int], **choices: object) -> Gather:
    """Until each track of `counts` has so many units, or the attempt has failed."""
    sink = Gather()

    def enough() -> bool:
        if sink.said("no session"):
            return True
        return bool(sink.sessions) and all(len(sink.tracks.get(track, ())) >= n for track, n in counts.items())

    async with service() as ingest:
        ingest.start(request(url, **choices), sink)
        await sink.until(enough)
    return sink


def pictures(codec: str, unit: AccessUnit) -> list[bytes]:
    """What was coded: the NAL units without parameter sets and delimiters."""
    kind = nal.VideoCodec[codec.upper()]
    return [data for data in map(bytes, split_lengths(unit.data)) if keeps(kind, data)]


def keeps(kind: nal.VideoCodec, data: bytes) -> bool:
    return not kind.is_parameter_set(data) and data[0] not in (0x09, 0x46)


def compare(units: list[AccessUnit], clip: ClipTrack, *, first: int = 0) -> None:
    """The units are the clip's from `first` on, turn after turn, bit by bit, in even media time."""
    count = len(clip.coded)
    codec = clip.media.encoding.lower()
    for number, unit in enumerate(units):
        given = clip.coded[(first + number) % count]
        assert not unit.damaged, number
        if codec in ("h264", "h265"):
            kind = nal.VideoCodec[codec.upper()]
            assert pictures(codec, unit) == [data for data in given if keeps(kind, data)], number
            assert unit.key == clip.units[(first + number) % count].key
            if unit.key:
                assert any(kind.is_parameter_set(bytes(data)) for data in split_lengths(unit.data))
        elif codec != "jpeg":
            assert unit.data == given[0], number
    times = sorted(unit.pts for unit in units)[4:-4]  # reordering leaves holes at both ends
    step = clip.loop_ticks / count
    assert all(abs(b - a - step) <= 1 for a, b in pairwise(times))
