"""Exports from a real ring through a real worker: bit-exact, in time, across slots, gaps and restarts."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import av
import numpy as np
import pytest
from msgspec import structs

from recorderd.media import formats
from recorderd.model.stream import AccessUnit, Codec, MediaKind, TrackFormat
from recorderd.recording.export_plan import NothingRecorded, WantedTrack
from recorderd.recording.exports import Exports
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring
from tests.media import clips, judges
from tests.recording.stored_ring import (
    NS,
    RECORDING,
    everything,
    exported,
    on_a_ring,
    record,
    recorded_twice,
    ring_in,
    session_units,
    wanted,
)
from tests.simulated_time import FakeClock


@judges.needs_ffmpeg
@pytest.mark.parametrize("fragmented", [False, True], ids=["progressive", "fragmented"])
@on_a_ring(slot_bytes=256 << 10)
async def test_a_span_across_slots_and_a_gap(ring: Ring, clock: FakeClock, tmp_path: Path, fragmented: bool) -> None:
    clip, sound = clips.video(Codec.H264, frames=150, bframes=2), clips.g711(6.0)
    formats, units = session_units(clip, sound, 1 << 33)
    start = await record(ring, clock, formats, units)
    clock.advance(20)
    again = await record(ring, clock, formats, units, session=2)
    wall = clock.realtime_ns() - clock.boottime_ns()
    export = await Exports(ring=ring, clock=clock).export(
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


@on_a_ring()
async def test_nothing_recorded_says_so(ring: Ring, clock: FakeClock, tmp_path: Path) -> None:
    clip = clips.video(frames=25)
    await record(ring, clock, *session_units(clip))
    wall = clock.realtime_ns()
    with pytest.raises(NothingRecorded):
        await Exports(ring=ring, clock=clock).export(
            recording=RECORDING, tracks=wanted([clip.form]), start_ns=wall + NS, stop_ns=wall + 2 * NS
        )


@judges.needs_ffmpeg
@on_a_ring()
async def test_it_begins_at_the_nearer_key_frame_and_ends_where_asked(
    ring: Ring, clock: FakeClock, tmp_path: Path
) -> None:
    path = tmp_path / "export.mp4"
    clip, wall = await recorded_twice(ring, clock, 30)
    # Key frames come every second: at 1.3 s the one at 1 s is nearer, at 1.7 s the one at 2 s; in a gap it is the next.
    for start_s, stop_s, first, count in (
        (1.3, 4.0, 25, 75),
        (1.7, 4.0, 50, 50),
        (0.0, 1.0, 0, 25),
        (20, 37, 150, 25),
    ):
        export = await exported(ring, clock, wall + round(start_s * NS), wall + round(stop_s * NS), path)
        assert export.trailer().complete
        found = judges.pyav(path)
        units = [*clip.units, *clip.units][first : first + count]
        assert [clips.picture_hash(Codec.H264, data) for _, data in found] == [
            clips.picture_hash(Codec.H264, unit.data) for unit in units
        ], (start_s, stop_s)
        assert found[0][0] == 0
        assert judges.ffmpeg_decode(path) == count


@judges.needs_ffmpeg
@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("border", [27, 28, 30])
@on_a_ring()
async def test_a_run_that_takes_over_inside_a_gop_costs_no_picture(
    ring: Ring, clock: FakeClock, tmp_path: Path, bframes: int, border: int
) -> None:
    """A job ends and another goes on with the same stream: two runs, one session."""
    clip = clips.video(frames=75, bframes=bframes, pyramid=bframes > 1)
    formats, units = session_units(clip)
    path = tmp_path / "export.mp4"
    start = await record(ring, clock, formats, units[:border])
    await record(ring, clock, formats, units[border:])
    wall = start + clock.realtime_ns() - clock.boottime_ns()
    export = await Exports(ring=ring, clock=clock).export(
        recording=RECORDING, tracks=wanted(formats), start_ns=wall, stop_ns=wall + 60 * NS
    )
    path.write_bytes(await everything(export))
    found = judges.pyav(path)
    assert [clips.picture_hash(Codec.H264, data) for _, data in found] == [
        clips.picture_hash(Codec.H264, unit.data) for unit in clip.units
    ]
    assert judges.ffmpeg_decode(path) == 75


@judges.needs_ffmpeg
@on_a_ring()
async def test_one_picture_a_second_and_a_key_frame_a_minute(ring: Ring, clock: FakeClock, tmp_path: Path) -> None:
    clip = clips.video(frames=150, gop=60)
    slow = clips.Clip(clip.form, tuple(structs.replace(unit, pts=unit.pts * clips.FPS) for unit in clip.units))
    formats_, units = session_units(slow)
    path = tmp_path / "export.mp4"
    start = await record(ring, clock, formats_, units, tick_ns=NS)
    wall = start + clock.realtime_ns() - clock.boottime_ns()
    for start_s, first in ((25, 0), (40, 60), (100, 120)):
        export = await Exports(ring=ring, clock=clock).export(
            recording=RECORDING, tracks=wanted(formats_), start_ns=wall + start_s * NS, stop_ns=wall + 200 * NS
        )
        path.write_bytes(await everything(export))
        begin = next(n for n, unit in enumerate(units) if unit.key and unit.pts >= first * clips.CLOCK)
        expected = [unit for unit in units[begin:] if unit.pts >= units[begin].pts]
        found = judges.pyav(path)
        assert [clips.picture_hash(Codec.H264, data) for _, data in found] == [
            clips.picture_hash(Codec.H264, unit.data) for unit in expected
        ]
        zero = expected[0].pts
        assert [at for at, _ in found] == pytest.approx(
            [(unit.pts - zero) / clips.CLOCK for unit in expected], abs=1e-4
        )
        assert judges.ffmpeg_decode(path) == len(expected)


@judges.needs_ffmpeg
@on_a_ring()
async def test_rot_costs_its_gop_and_is_said(ring: Ring, clock: FakeClock, tmp_path: Path) -> None:
    path = tmp_path / "export.mp4"
    clip, wall = await recorded_twice(ring, clock, 5)
    unit = clip.units[60].data
    slot = next(p for p in sorted((tmp_path / "ring").glob("slots/*/*.mp4")) if unit in p.read_bytes())
    content = bytearray(slot.read_bytes())
    content[content.index(unit) + 30] ^= 1
    slot.write_bytes(content)
    export = await exported(ring, clock, wall, wall + 60 * NS, path)
    trailer = export.trailer()
    assert trailer.complete
    assert len(trailer.notes) == 1
    assert "checksum" in trailer.notes[0]
    found = judges.pyav(path)
    assert 300 - 45 <= len(found) < 300
    assert judges.ffmpeg_decode(path) == len(found)
    times = {round(unit.pts / clips.CLOCK, 3) for unit in clip.units}
    assert {round(at, 3) for at, _ in found if at < 6} < times


@on_a_ring()
async def test_deleted_media_never_leaves(ring: Ring, clock: FakeClock, tmp_path: Path) -> None:
    path = tmp_path / "export.mp4"
    clip, wall = await recorded_twice(ring, clock, 5)
    assert isinstance(ring.ledger, RingLedger)
    ring.ledger.keeper.delete(RECORDING, start_ns=wall + 2 * NS, stop_ns=wall + 4 * NS)
    await ring.tick()
    await exported(ring, clock, wall, wall + 6 * NS, path)
    data = path.read_bytes()
    gone = [unit for unit in clip.units if 2 <= unit.pts / clips.CLOCK < 4]
    kept = [unit for unit in clip.units if unit not in gone]
    assert not [unit.pts for unit in gone if not unit.key and unit.data in data]
    assert [unit.pts for unit in kept if not unit.key and unit.data not in data] == []


@judges.needs_ffmpeg
def test_a_restart_lies_between(tmp_path: Path) -> None:
    """Another boot: only wall time says how long the recorder was off."""
    clip = clips.video(frames=75)

    async def main() -> None:
        clock, path = FakeClock(), tmp_path / "export.mp4"
        async with ring_in(tmp_path / "ring", clock) as ring:
            first = await record(ring, clock, *session_units(clip))
            wall = first + clock.realtime_ns() - clock.boottime_ns()
        later = FakeClock(realtime_s=clock.realtime_ns() / NS + 90 - 1)
        async with ring_in(tmp_path / "ring", later, boot=2) as ring:
            again = await record(ring, later, *session_units(clip))
            distance = (again + later.realtime_ns() - later.boottime_ns() - wall) / NS
            export = await exported(ring, later, wall, wall + 200 * NS, path)
            assert export.trailer().complete
            found = judges.pyav(path)
            times = [unit.pts / clips.CLOCK for unit in clip.units]
            assert distance > 90
            assert [at for at, _ in found] == pytest.approx(times + [at + distance for at in times], abs=0.006)
            assert judges.ffmpeg_decode(path) == 150

    asyncio.run(main())


def tone(name: str, form: TrackFormat, seconds: int) -> clips.Clip:
    """440 Hz at half scale, coded by FFmpeg, in packets of 20 ms."""
    wave = (16_000 * np.sin(2 * np.pi * 440 * np.arange(seconds * 8000) / 8000)).astype(np.int16)
    encoder = av.CodecContext.create(name, "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
    if name == "g726le":
        encoder.bit_rate = 32_000
    encoder.open()
    step = encoder.frame_size or len(wave)
    packets = []
    for start in range(0, len(wave) - step + 1, step):
        frame = av.AudioFrame.from_ndarray(wave[start : start + step].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, start
        packets += encoder.encode(frame)
    coded = b"".join(bytes(packet) for packet in [*packets, *encoder.encode(None)])
    each = 80 if name == "g726le" else 160
    return clips.Clip(
        form, tuple(AccessUnit(0, n * 160, coded[n * each : n * each + each], 0) for n in range(len(coded) // each))
    )


@judges.needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "form", "audio"),
    [
        ("pcm_mulaw", formats.g711_format(Codec.PCMU), "aac"),
        ("pcm_alaw", formats.g711_format(Codec.PCMA), "aac"),
        ("g726le", formats.g726_format(4), "copy"),
    ],
)
@on_a_ring()
async def test_telephone_sound_becomes_aac_in_time(
    ring: Ring, clock: FakeClock, tmp_path: Path, name: str, form: TrackFormat, audio: str
) -> None:
    stored, units = session_units(clips.video(frames=100), tone(name, form, 4))
    start = await record(ring, clock, stored, units)
    wall = start + clock.realtime_ns() - clock.boottime_ns()
    export = await Exports(ring=ring, clock=clock).export(
        recording=RECORDING, tracks=wanted(stored), start_ns=wall, stop_ns=wall + 9 * NS, audio=audio
    )
    path = tmp_path / "export.mp4"
    path.write_bytes(await everything(export))
    trailer = export.trailer()
    assert trailer.complete, trailer.reason
    assert ["G.726" in note for note in trailer.notes] == ([True] if name == "g726le" else [])
    video, sound = judges.ffprobe(path)
    assert (video.codec, sound.codec) == ("h264", "aac")
    assert judges.ffmpeg_decode(path) == 100
    assert sound.duration_s == pytest.approx(4, abs=0.2)
    with av.open(str(path)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        assert container.streams.audio[0].start_time == 0
    middle = heard[8000:24_000]
    # In time: the tone's phase where it was.
    expected = np.sin(2 * np.pi * 440 * np.arange(8000, 24_000) / 8000)
    assert np.corrcoef(middle, expected)[0, 1] > 0.95


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
@on_a_ring()
async def test_a_snapshot_shows_the_nearest_key_frame(
    ring: Ring, clock: FakeClock, tmp_path: Path, codec: Codec
) -> None:
    clip = clips.video(codec, frames=75)
    start = await record(ring, clock, *session_units(clip))
    wall = start + clock.realtime_ns() - clock.boottime_ns()
    exports = Exports(ring=ring, clock=clock)
    track = wanted([clip.form])[0]
    clock.advance(4000)
    for at_s, expected_s, width in ((1.3, 1, 0), (1.8, 2, 160), (None, 2, 0), (-90, 0, 100)):
        at_ns = None if at_s is None else wall + round(at_s * NS)
        picture = await exports.snapshot(track=track, at_ns=at_ns, width=width)
        assert (picture.at_ns - wall) / NS == pytest.approx(expected_s, abs=0.01)
        data = await everything(picture)
        assert picture.trailer().complete, picture.trailer().reason
        with av.open(io.BytesIO(data), format="image2pipe", options={"vcodec": "mjpeg"}) as container:
            shown = next(container.decode(video=0))
        assert (shown.width, shown.height) == ((320, 180) if not width else (width, round(width * 9 / 16)))
        luma = shown.reformat(width=320, height=180, format="gray").to_ndarray().astype(int)
        # The clip's gradient tells which picture it is.
        number = expected_s * 25
        model = (np.add.outer(np.arange(180), np.arange(320)) + 5 * number) % 220 + 16
        assert np.median(np.abs(luma[60:, 100:] - (model[60:, 100:] - 16) * 255 / 219)) < 12
    assert exports.running == 0
    with pytest.raises(NothingRecorded):
        await exports.snapshot(track=WantedTrack(RECORDING, "none", MediaKind.VIDEO))


@judges.needs_ffmpeg
@on_a_ring()
async def test_another_codec_gets_a_track_of_its_own(ring: Ring, clock: FakeClock, tmp_path: Path) -> None:
    """The camera was switched from H.264 to H.265, and its sound from G.711 to AAC."""
    old = session_units(clips.video(Codec.H264, frames=50), clips.g711(2.0))
    new = session_units(clips.video(Codec.H265, frames=50), clips.aac(2.0))
    start = await record(ring, clock, *old)
    again = await record(ring, clock, *new, session=2)
    wall = start + clock.realtime_ns() - clock.boottime_ns()
    export = await Exports(ring=ring, clock=clock).export(
        recording=RECORDING, tracks=wanted(old[0]), start_ns=wall, stop_ns=wall + 60 * NS
    )
    path = tmp_path / "export.mp4"
    path.write_bytes(await everything(export))
    assert export.trailer().complete
    assert export.trailer().notes == []
    probed = {stream.codec: stream for stream in judges.ffprobe(path)}
    assert list(probed) == ["h264", "hevc", "pcm_mulaw", "aac"]
    assert [len(probed[name].packets) for name in ("h264", "hevc")] == [50, 50]
    later = float(probed["hevc"].packets[0]["pts_time"])
    assert later == pytest.approx((again - start) / NS, abs=0.001)
    assert float(probed["aac"].packets[0]["pts_time"]) == pytest.approx(later, abs=0.03)
    assert judges.ffmpeg_decode(path) == 50  # ffmpeg counts the first picture track; it decodes both
