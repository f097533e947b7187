"""Exports from a real ring through a real worker: bit-exact, in time, across slots, gaps and restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorderd.model.stream import Codec
from recorderd.recording.exports import Exports, NothingRecorded
from tests.media import clips, judges
from tests.recording.stored_ring import NS, RECORDING, everything, record, ring_in, session_units, wanted
from tests.simulated_time import FakeClock


@judges.needs_ffmpeg
@pytest.mark.parametrize("fragmented", [False, True], ids=["progressive", "fragmented"])
def test_a_span_across_slots_and_a_gap(fragmented: bool, tmp_path: Path) -> None:
    (tmp_path / "ring").mkdir()
    clip, sound = clips.video(Codec.H264, frames=150, bframes=2), clips.g711(6.0)
    formats, units = session_units(clip, sound, 1 << 33)

    async def main() -> None:
        clock = FakeClock()
        async with ring_in(tmp_path / "ring", clock, slot_bytes=256 << 10) as ring:
            start = await record(ring, clock, formats, units)
            clock.advance(20)
            again = await record(ring, clock, formats, units, session=2)
            wall = clock.realtime_ns() - clock.boottime_ns()
            export = await Exports(ring=ring).export(
                recording=RECORDING, tracks=wanted(formats), start_ns=start + wall, stop_ns=clock.realtime_ns(),
                fragmented=fragmented,
            )  # fmt: skip
            data = await everything(export)
            trailer = export.trailer()
            assert trailer.complete, trailer.reason
            assert trailer.notes == []
            assert trailer.bytes == len(data)
            path = tmp_path / "export.mp4"
            path.write_bytes(data)
            assert len(export.plan.slots) > 1
            assert abs(export.plan.start_ns - (start + wall)) < 40_000_000
            distance = (again - start) / NS
            times = [unit.pts / clips.CLOCK for unit in clip.units]
            found = judges.pyav(path)
            lead = found[0][0]
            assert lead == (1.0 if fragmented else 0.0)
            assert [at - lead for at, _ in found] == pytest.approx(times + [at + distance for at in times], abs=2e-5)
            assert [clips.picture_hash(Codec.H264, data) for _, data in found] == [
                clips.picture_hash(Codec.H264, unit.data) for unit in clip.units
            ] * 2
            assert judges.ffmpeg_decode(path) == 300
            assert b"".join(data for _, data in judges.pyav(path, "audio")) == b"".join(u.data for u in sound.units) * 2
            gaps = [(gap.track, (gap.stop_ns - gap.start_ns) / NS) for gap in export.plan.gaps]
            assert gaps == [] or [track for track, _ in gaps] == ["VIDEO001", "AUDIO001"]

    asyncio.run(main())


def test_nothing_recorded_says_so(tmp_path: Path) -> None:
    (tmp_path / "ring").mkdir()
    clip = clips.video(frames=25)

    async def main() -> None:
        clock = FakeClock()
        async with ring_in(tmp_path / "ring", clock) as ring:
            await record(ring, clock, *session_units(clip))
            wall = clock.realtime_ns()
            with pytest.raises(NothingRecorded):
                await Exports(ring=ring).export(
                    recording=RECORDING, tracks=wanted([clip.form]), start_ns=wall + NS, stop_ns=wall + 2 * NS
                )

    asyncio.run(main())
