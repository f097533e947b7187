"""What players make of our fragments: sizes, times and every coded byte."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from recorderd.media.fragmenter import LEAD_S, Cut, Fragmenter
from recorderd.media.init_segment import init_segment
from recorderd.model.ports import WriterSpec, WriterTrack
from recorderd.model.stream import AccessUnit, Codec, TrackFormat
from tests.media import clips, judges

FORMATS = {
    "h264": {"codec": Codec.H264},
    "h264-b3": {"codec": Codec.H264, "bframes": 3, "pyramid": True},
    "h264-open-gop": {"codec": Codec.H264, "bframes": 2, "open_gop": True},
    "h265": {"codec": Codec.H265},
    "h265-b4-open": {"codec": Codec.H265, "bframes": 4, "pyramid": True, "open_gop": True},
}


def spec(*formats: TrackFormat) -> WriterSpec:
    tracks = tuple(WriterTrack(uuid.UUID(int=n + 1), form, f"T{n}") for n, form in enumerate(formats))
    return WriterSpec(uuid.UUID(int=100), "door", uuid.UUID(int=200), "camera", tracks)


def fragments(formats: list[TrackFormat], units: list[AccessUnit], every_ns: int) -> list[Cut]:
    """Pushes in order of arrival and takes at every tick, then flushes."""
    fragmenter = Fragmenter(formats)
    cuts = []
    tick = units[0].arrival_ns + every_ns
    for unit in units:
        while unit.arrival_ns >= tick:
            if (cut := fragmenter.take(tick)) is not None:
                cuts.append(cut)
            tick += every_ns
        fragmenter.push(unit)
    while (cut := fragmenter.flush()) is not None:
        cuts.append(cut)
    return cuts


def written(spec: WriterSpec, cuts: list[Cut], bases: list[int]) -> bytes:
    out = bytearray(init_segment(spec))
    for sequence, cut in enumerate(cuts):
        buffer = bytearray(cut.fragment.size)
        cut.fragment.write_into(memoryview(buffer), sequence + 1, bases)
        out += buffer
    return bytes(out)


@judges.needs_ffmpeg
@pytest.mark.parametrize("name", FORMATS)
def test_players_get_every_access_unit_with_its_time(name: str, tmp_path: Path) -> None:
    clip = clips.video(**FORMATS[name])
    sound = clips.aac()
    units = clips.interleave(
        clips.on_track(clips.retime(clip.units, 1 << 40), 0, clips.CLOCK),
        clips.on_track(clips.retime(sound.units, 5000), 1, 48_000, (1 << 40) * 1_000_000_000 // clips.CLOCK),
    )
    cuts = fragments([clip.form, sound.form], units, 440_000_000)
    assert len(cuts) > 4
    path = tmp_path / "slot.mp4"
    path.write_bytes(written(spec(clip.form, sound.form), cuts, [1 << 40, 5000]))

    video, audio = judges.ffprobe(path)
    assert (video.width, video.height) == (clip.form.width, clip.form.height) == (320, 180)
    assert len(video.packets) == len(clip.units)
    assert len(audio.packets) == len(sound.units)
    assert [packet["flags"][0] == "K" for packet in video.packets] == [unit.key for unit in clip.units]
    assert judges.ffmpeg_decode(path) == len(clip.units)
    lead = LEAD_S if FORMATS[name].get("bframes") else 0
    expected = [(lead + unit.pts / clips.CLOCK, unit.data) for unit in clip.units]
    assert judges.pyav(path) == [(pytest.approx(at), data) for at, data in expected]
    assert [data for _, data in judges.pyav(path, "audio")] == [unit.data for unit in sound.units]
    assert judges.pyav(path, "audio")[0][0] == lead
    assert judges.pyav_decode(path) == pytest.approx([lead + n / clips.FPS for n in range(len(clip.units))])


@judges.needs_gstreamer
@pytest.mark.parametrize("name", FORMATS)
def test_gstreamer_agrees(name: str, tmp_path: Path) -> None:
    clip = clips.video(**FORMATS[name])
    cuts = fragments([clip.form], clips.on_track(clip.units, 0, clips.CLOCK), 440_000_000)
    path = tmp_path / "slot.mp4"
    path.write_bytes(written(spec(clip.form), cuts, [0]))
    found = judges.qtdemux(path)
    assert len(found) == len(clip.units)
    # GStreamer starts at the first decoding time, so its zero is not ours.
    assert [round((at - found[0][0]) * clips.CLOCK / 1e9) for at, _ in found] == [unit.pts for unit in clip.units]


@pytest.mark.parametrize("name", FORMATS)
def test_runs_and_arrivals_tell_what_is_inside(name: str) -> None:
    clip = clips.video(**FORMATS[name])
    units = clips.on_track(clip.units, 0, clips.CLOCK)
    cuts = fragments([clip.form], units, 440_000_000)
    runs = [cut.fragment.runs[0] for cut in cuts]
    assert sum(run.count for run in runs) == len(units)
    assert [pts for run in runs for pts in run.key_pts] == [unit.pts for unit in units if unit.key]
    assert runs[-1].end_pts == max(unit.pts for unit in units) + clips.FRAME
    assert [cut.fragment.starts_with_key for cut in cuts] == [bool(run.key_samples[:1] == (0,)) for run in runs]
    position = 0
    for cut, run in zip(cuts, runs, strict=True):
        inside = units[position : position + run.count]
        after = units[position + run.count :]
        position += run.count
        assert run.first_pts == min(unit.pts for unit in inside)
        assert cut.firsts[0].pts == inside[0].pts
        assert cut.arrived_from_ns == inside[0].arrival_ns
        assert all(unit.arrival_ns > cut.arrived_to_ns for unit in after)
