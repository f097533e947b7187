"""Our side of the ingest benchmark: ingest, pre-buffers, recording and the disk ring, as the daemon wires them, without its faces.

Run as `python -m tests.bench.recorder FOLDER URL...`: formats a ring in FOLDER, prints one line when it records, and at SIGTERM one JSON
line with what it did.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from recorderd.ingest.service import Ingest
from recorderd.model.clock import SystemClock
from recorderd.model.job import JobConfiguration, JobMode, JobSource, JobTrack, RecordingJob
from recorderd.model.media_ram import MediaRam
from recorderd.model.objects import Draft, Objects, apply
from recorderd.model.ports import Event, StreamSession, StreamSink
from recorderd.model.receiver import Receiver, ReceiverConfiguration
from recorderd.model.recording import Recording, RecordingConfiguration, Track, TrackConfiguration, TrackType
from recorderd.model.stream import AccessUnit
from recorderd.model.timeline import Trust
from recorderd.recording.engine import Engine
from recorderd.recording.timetable import Timetable
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring

SLOT_BYTES = 8 << 20
SLOTS = 256
MEDIA_RAM_BYTES = 512 << 20
TRACKS = [("VIDEO001", TrackType.VIDEO), ("AUDIO001", TrackType.AUDIO)]


class Silence:
    """`ports.EventSink` for a benchmark."""

    def publish(self, event: Event) -> None:
        del event


class Watched:
    """Stands between ingest and the recorder and notes when each picture of the first receiver was complete."""

    def __init__(self, inner: StreamSink, receiver: uuid.UUID) -> None:
        self._inner, self._receiver = inner, receiver
        self.complete: dict[int, int] = {}  # RTP timestamp: CLOCK_BOOTTIME in ns

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        if session.receiver == self._receiver:
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self.complete |= {unit.pts & 0xFFFFFFFF: now for unit in units if unit.track == 0}
        self._inner.units(session, units)


def objects_for(urls: Sequence[str]) -> Draft:
    """One receiver, one recording with picture and sound, one active job for each camera."""
    draft = Draft(Objects())
    for number, url in enumerate(urls):
        receiver = Receiver(id=uuid.uuid4(), token=f"r{number}", configuration=ReceiverConfiguration(media_uri=url))
        draft.receivers.put(receiver)
        tracks = tuple(
            Track(id=uuid.uuid4(), token=token, configuration=TrackConfiguration(type=kind)) for token, kind in TRACKS
        )
        draft.recordings.put(
            Recording(id=uuid.uuid4(), token=f"rec{number}", configuration=RecordingConfiguration(), tracks=tracks)
        )
        source = JobSource(token=receiver.token, tracks=tuple(JobTrack(destination=token) for token, _ in TRACKS))
        job = JobConfiguration(recording=f"rec{number}", mode=JobMode.ACTIVE, sources=(source,))
        draft.jobs.put(
            RecordingJob(
                id=uuid.uuid4(), token=f"job{number}", activation=draft.number("activation"), configuration=job
            )
        )
    return draft


async def record(folder: Path, urls: Sequence[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    clock = SystemClock(lambda: Trust.NTP)
    device, calls = FileDevice(folder), DiskThreads(clock=clock, name="format")
    await format_ring(device, calls, formatted_ns=clock.realtime_ns(), slot_bytes=SLOT_BYTES, slots=SLOTS)
    device.release()
    ring = await Ring.open(folder, ledger=RingLedger(clock=clock), clock=clock, boot_id=uuid.uuid4())
    ingest = Ingest(clock=clock, media_ram=MediaRam(MEDIA_RAM_BYTES))
    draft = objects_for(urls)
    objects = Objects()
    engine = Engine(
        objects=objects,
        store=ring,
        source=ingest,
        events=Silence(),
        clock=clock,
        timetable=Timetable(objects=objects, clock=clock, time_zone="UTC"),
        password=lambda _device: "",
        properties=lambda: (),
        note_encoding=lambda *_: None,
        metadata=lambda *_: None,
        camera_lost=lambda _receiver: None,
        tick_ns=1_000_000_000,
        media_ram_bytes=256 << 20,
    )
    ring.before_tick(engine.tick)
    first = next(iter(draft.change.puts.values()))
    watched = Watched(engine.recorder, first.id)
    engine.sources.sink = watched  # type: ignore[assignment]
    async with asyncio.TaskGroup() as group:
        group.create_task(ring.run())
        streams = group.create_task(ingest.run())
        apply(objects, draft.change)
        engine.apply(draft.change)
        while ring.status().statistics.fragments < len(urls):
            await clock.sleep(0.1)
        print("recording", flush=True)
        await stop.wait()
        statistics = asdict(ring.status().statistics) | {"complete": watched.complete}
        await ingest.close()
        streams.cancel()
        await ring.close()
    print(json.dumps(statistics), flush=True)


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1]), sys.argv[2:]))
