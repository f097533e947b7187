"""A real ring in a folder, filled with clips: what exports are made of."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs

from recorderd.media.fragmenter import Fragmenter
from recorderd.model.causes import GapCause, RunKind
from recorderd.model.ports import Anchor, Writer, WriterSpec, WriterTrack
from recorderd.model.stream import AccessUnit, MediaKind, TrackFormat
from recorderd.model.timeline import RunCause
from recorderd.recording.export_plan import WantedTrack
from recorderd.recording.exports import Exports, RunningExport
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring
from tests.media import clips
from tests.simulated_time import FakeClock

RECORDING, RECEIVER = uuid.UUID(int=0xE0), uuid.UUID(int=0xE1)
TRACKS = (uuid.UUID(int=0xE2), uuid.UUID(int=0xE3))
NS = 1_000_000_000
KINDS = {MediaKind.VIDEO: "VIDEO001", MediaKind.AUDIO: "AUDIO001", MediaKind.METADATA: "META001"}


def wanted(formats: Sequence[TrackFormat]) -> list[WantedTrack]:
    return [WantedTrack(TRACKS[n], KINDS[form.kind], form.kind) for n, form in enumerate(formats)]


@dataclass
class Sink:
    lost_causes: list[GapCause] = field(default_factory=list)

    def durable(self, writer: Writer, through_ns: int, fragments: int) -> None: ...

    def lost(self, writer: Writer, cause: GapCause, from_ns: int, to_ns: int) -> None:
        self.lost_causes.append(cause)


@contextlib.asynccontextmanager
async def ring_in(
    folder: Path,
    clock: FakeClock,
    *,
    boot: int = 1,
    slots: int = 24,
    slot_bytes: int = 1 << 20,
    durability: str = "none",
) -> AsyncIterator[Ring]:
    """Makes and formats the folder for boot 1; later boots find what is there."""
    if boot == 1:
        folder.mkdir(exist_ok=True)  # noqa: ASYNC240
        device, calls = FileDevice(folder, durability=durability), DiskThreads(clock=clock)
        await format_ring(
            device, calls, formatted_ns=clock.realtime_ns(), slots=slots, slot_bytes=slot_bytes, durability=durability
        )
        device.release()
        calls.close()
    ring = Ring.at(
        folder, ledger=RingLedger(clock=clock), clock=clock, boot_id=uuid.UUID(int=boot), durability=durability
    )
    assert await ring.mount(), ring.status().detail
    await ring.scan_now()
    try:
        yield ring
    finally:
        await ring.close()


def on_a_ring(**options: int) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Makes a test of a story that takes an empty ring below `tmp_path`, its clock and `tmp_path`, then fixtures and parameters."""

    def make(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        _, _, *fixtures = inspect.signature(story).parameters.values()

        def test(tmp_path: Path, **given: object) -> None:
            async def main() -> None:
                clock = FakeClock()
                async with ring_in(tmp_path / "ring", clock, **options) as ring:
                    await story(ring, clock, tmp_path, **given)

            asyncio.run(main())

        test.__doc__ = story.__doc__
        test.__signature__ = inspect.Signature(fixtures)  # type: ignore[attr-defined]
        return test

    return make


async def record(
    ring: Ring,
    clock: FakeClock,
    formats: Sequence[TrackFormat],
    units: Sequence[AccessUnit],
    *,
    session: int = 1,
    tick_ns: int = 500_000_000,
    arrival: dict[int, int] | None = None,
) -> int:
    """One run, whose units arrive from now on; the clock moves with them. Returns the boot time of the first arrival.

    `arrival[track]`: boot time at which the track's media time 0 arrives, for anchors; default: as the units say.
    """
    begin_ns = clock.boottime_ns()
    shift = begin_ns - units[0].arrival_ns
    tracks = tuple(WriterTrack(TRACKS[n], form, KINDS[form.kind]) for n, form in enumerate(formats))
    writer = ring.open_writer(WriterSpec(RECORDING, "door", RECEIVER, "camera", tracks), Sink())
    run = ring.start_run(
        RECORDING, uuid.UUID(int=9), "camera", RunCause(RunKind.CONTINUOUS), [track.track for track in tracks], begin_ns
    )
    fragmenter = Fragmenter(formats)
    zero = {
        track: next(u.arrival_ns + shift - u.pts * NS // formats[track].clock_rate for u in units if u.track == track)
        for track in {unit.track for unit in units}
    }

    async def commit(*, last: bool) -> None:
        while (cut := fragmenter.flush() if last else fragmenter.take(clock.boottime_ns())) is not None:
            anchors = [
                Anchor(
                    first.track,
                    first.pts,
                    zero[first.track] + first.pts * NS // formats[first.track].clock_rate,
                    session,
                )
                for first in cut.firsts
            ]
            writer.append(cut.fragment, run, anchors, cut.arrived_from_ns, cut.arrived_to_ns)
        await ring.tick()

    due = begin_ns + tick_ns
    for unit in units:
        arrived = structs.replace(unit, arrival_ns=unit.arrival_ns + shift)
        while arrived.arrival_ns >= due:
            clock.advance((due - clock.boottime_ns()) / NS)
            await commit(last=False)
            due += tick_ns
        fragmenter.push(arrived)
    end_ns = max(unit.arrival_ns for unit in units) + shift + 40_000_000
    clock.advance(max(0, end_ns - clock.boottime_ns()) / NS)
    await commit(last=True)
    ring.stop_run(run, clock.boottime_ns())
    writer.close()
    await ring.tick()
    return begin_ns


async def everything(export: RunningExport) -> bytes:
    try:
        return b"".join([piece async for piece in export])
    finally:
        await export.aclose()


def session_units(
    clip: clips.Clip, sound: clips.Clip | None = None, start: int = 0
) -> tuple[list[TrackFormat], list[AccessUnit]]:
    """A clip and its sound, whose media times begin at unrelated values."""
    units = clips.on_track(clips.retime(clip.units, start), 0, clips.CLOCK)
    base = units[0].arrival_ns
    units = [structs.replace(unit, arrival_ns=unit.arrival_ns - base) for unit in units]
    if sound is None:
        return [clip.form], units
    rate = sound.form.clock_rate
    heard = clips.on_track(sound.units, 1, rate)
    return [clip.form, sound.form], clips.interleave(
        units, [structs.replace(unit, pts=unit.pts + 77_000) for unit in heard]
    )


async def recorded_twice(ring: Ring, clock: FakeClock, apart_s: float) -> tuple[clips.Clip, int]:
    """Two runs of H.264 without reordering; the wall time of the first picture."""
    clip = clips.video(frames=150)
    start = await record(ring, clock, *session_units(clip))
    clock.advance(apart_s)
    await record(ring, clock, *session_units(clip, None, 12345), session=2)
    return clip, start + clock.realtime_ns() - clock.boottime_ns()


async def exported(
    ring: Ring, clock: FakeClock, start_ns: int, stop_ns: int, path: Path, **options: object
) -> RunningExport:
    clip = clips.video(frames=150)
    export = await Exports(ring=ring, clock=clock).export(
        recording=RECORDING, tracks=wanted([clip.form]), start_ns=start_ns, stop_ns=stop_ns, **options
    )
    path.write_bytes(await everything(export))  # noqa: ASYNC240
    return export
