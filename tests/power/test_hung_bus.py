"""A bus that hangs for good while a recording runs in the same process: pictures go on reaching the disk, and the ports say unknown."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs

from hw.boards.assembly import assemble
from hw.boards.loader import load
from recorderd.media.fragmenter import Fragmenter
from recorderd.model.causes import GapCause, RunKind
from recorderd.model.clock import SystemClock
from recorderd.model.ports import Anchor, Writer, WriterSpec, WriterTrack
from recorderd.model.timeline import RunCause
from recorderd.power.memory import Keeper, VolatileMemory
from recorderd.power.service import PowerService
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring
from tests.media import clips
from tests.power.simulated_power import Heard

TRACK, RECORDING = uuid.UUID(int=0xC1), uuid.UUID(int=0xC0)
FRAMES = 30


@dataclass
class Sink:
    at: list[float] = field(default_factory=list)
    fragments: int = 0
    lost_causes: list[GapCause] = field(default_factory=list)

    def durable(self, writer: Writer, through_ns: int, fragments: int) -> None:
        self.at.append(time.monotonic())
        self.fragments += fragments

    def lost(self, writer: Writer, cause: GapCause, from_ns: int, to_ns: int) -> None:
        self.lost_causes.append(cause)


async def _record(ring: Ring, clock: SystemClock, sink: Sink, stop: asyncio.Event) -> int:
    """Thirty pictures a second until told to stop, a fragment every quarter second; returns how many were appended."""
    video = clips.video(frames=FRAMES)
    writer = ring.open_writer(
        WriterSpec(RECORDING, "gate", uuid.uuid4(), "gate", (WriterTrack(TRACK, video.form),)), sink
    )
    run = ring.start_run(RECORDING, uuid.uuid4(), "gate", RunCause(RunKind.CONTINUOUS), [TRACK], clock.boottime_ns())
    fragmenter = Fragmenter([video.form])
    appended, number = 0, 0
    step = video.form.clock_rate // 30
    while not stop.is_set():
        for _ in range(8):
            unit = video.units[number % FRAMES]
            fragmenter.push(
                structs.replace(unit, pts=unit.pts + (number // FRAMES) * FRAMES * step, arrival_ns=clock.boottime_ns())
            )
            number += 1
        while (cut := fragmenter.take(clock.boottime_ns())) is not None:
            anchors = [Anchor(first.track, first.pts, first.arrival_ns, 1) for first in cut.firsts]
            writer.append(cut.fragment, run, anchors, cut.arrived_from_ns, cut.arrived_to_ns)
            appended += 1
        await ring.tick()
        await asyncio.sleep(0.25)
    return appended


def test_a_recording_does_not_notice_a_hung_bus(tmp_path: Path) -> None:
    async def main() -> None:
        clock = SystemClock()
        device, calls = FileDevice(tmp_path, durability="none"), DiskThreads(clock=clock)
        await format_ring(
            device, calls, formatted_ns=clock.realtime_ns(), slots=16, slot_bytes=1 << 20, durability="none"
        )
        device.release()
        calls.close()
        ring = Ring.at(tmp_path, ledger=RingLedger(clock=clock), clock=clock, boot_id=uuid.uuid4(), durability="none")
        assert await ring.mount(), ring.status().detail
        await ring.scan_now()
        assembly = assemble(load("sim-8port"))
        assert assembly.simulation is not None
        bus = assembly.simulation.adapter
        power = PowerService(assembly=assembly, clock=clock, events=Heard(), keeper=Keeper(VolatileMemory()))
        sink, stop = Sink(), asyncio.Event()
        worst_s = 0.0

        async def feel() -> None:
            nonlocal worst_s
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.01)
                worst_s = max(worst_s, time.monotonic() - began)

        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(power.run())
                feeling = group.create_task(feel())
                recording = group.create_task(_record(ring, clock, sink, stop))
                async with asyncio.timeout(20):
                    while not all(c.healthy for c in power.status().controllers):
                        await power.wait_changed()
                    bus.released.clear()
                    hung_at = time.monotonic()
                    before = sink.fragments
                    while any(c.healthy for c in power.status().controllers):
                        await power.wait_changed()
                    told_s = time.monotonic() - hung_at
                    await asyncio.sleep(1)
                status = power.status()
                states = {p.state for p in status.ports}
                during = sink.fragments - before
                stop.set()
                serving.cancel()
                feeling.cancel()
            assert told_s < 8
            assert states == {"unknown"}
            assert all("no answer within" in c.detail or "stuck" in c.detail for c in status.controllers)
            assert "no answer from pse0 pse1" in status.line()
            assert power.oldest_operation_s() == 0, "a hung bus no longer withholds the watchdog"
            assert during >= 10
            assert not sink.lost_causes
            longest_s = max(later - earlier for earlier, later in itertools.pairwise(sink.at))
            assert longest_s < 2.5
            assert worst_s < 1.0
            assert recording.result() >= sink.fragments
        finally:
            bus.released.set()
            await ring.close()

    asyncio.run(main())
