"""Exports as players see them: every picture and sound once, at its time, bit for bit; cuts, gaps, changes, split tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import structs

from hw.sim.camera.clip import sound_clip, video_clip
from hw.sim.camera.encoder import VideoSettings
from hw.sim.camera.sound import SoundSettings
from recorderd.media import formats, h264
from recorderd.media.errors import MediaError
from recorderd.media.nal import join_lengths, split_lengths
from recorderd.media.remux import Remux
from recorderd.model.stream import AccessUnit, Codec
from tests.media import clips, judges, stored

VIDEO = {
    "h264": {"codec": Codec.H264},
    "h264-4-slices-aud": {"codec": Codec.H264, "slices": 4, "aud": True},
    "h264-b1": {"codec": Codec.H264, "bframes": 1},
    "h264-b3-pyramid": {"codec": Codec.H264, "bframes": 3, "pyramid": True},
    "h264-open": {"codec": Codec.H264, "bframes": 2, "open_gop": True},
    "h265": {"codec": Codec.H265},
    "h265-b4-pyramid": {"codec": Codec.H265, "bframes": 4, "pyramid": True},
    "h265-open": {"codec": Codec.H265, "bframes": 3, "open_gop": True},
}
DECODERS = {Codec.H264: "h264parse avdec_h264", Codec.H265: "h265parse avdec_h265"}


def hashes(codec: Codec, units: Sequence[AccessUnit]) -> list[str]:
    return [clips.picture_hash(codec, unit.data) for unit in units]


def check(path: Path, clip: clips.Clip, units: Sequence[AccessUnit], first_pts: int, lead_s: float = 0.0) -> None:
    """`units` are all the pictures of the file, and come out where their pts says."""
    codec = clip.form.codec
    times = [lead_s + (unit.pts - first_pts) / clips.CLOCK for unit in units]
    video = judges.ffprobe(path)[0]
    assert (video.width, video.height) == (clip.form.width, clip.form.height)
    assert [float(packet["pts_time"]) for packet in video.packets] == pytest.approx(times, abs=1e-5)
    assert not [packet for packet in video.packets if "D" in packet["flags"]]
    assert judges.ffmpeg_decode(path) == len(units)
    found = judges.pyav(path)
    assert [clips.picture_hash(codec, data) for _, data in found] == hashes(codec, units)
    assert [at for at, _ in found] == pytest.approx(times, abs=1e-5)
    assert judges.pyav_decode(path) == pytest.approx(sorted(times), abs=1e-5)
    shown = judges.qtdemux(path, decode=DECODERS[codec])
    assert len(shown) == len(units)
    # GStreamer starts a fragmented file at its first decoding time.
    apart = [(after - before) / 1e9 for (before, _), (after, _) in pairwise(shown)]
    ordered = sorted(times)
    assert apart == pytest.approx([after - before for before, after in pairwise(ordered)], abs=1e-4)


@judges.needs_ffmpeg
@judges.needs_gstreamer
@pytest.mark.parametrize("form", ["progressive", "fragmented"])
@pytest.mark.parametrize("name", VIDEO)
def test_every_judge_gets_every_picture(name: str, form: str, tmp_path: Path) -> None:
    clip = clips.video(**VIDEO[name])
    formats_, units = stored.recorded(clip, start=123_456)
    path = tmp_path / "export.mp4"
    path.write_bytes(
        stored.export(formats_, stored.store(formats_, units), {0: -123_456}, fragmented=form == "fragmented")
    )
    lead = 1.0 if form == "fragmented" and clip.form.reorder_depth else 0.0
    check(path, clip, [unit for unit in units if unit.track == 0], 123_456, lead)


@judges.needs_mp4box
@pytest.mark.parametrize("form", ["progressive", "fragmented"])
@pytest.mark.parametrize("name", VIDEO)
def test_mp4box_finds_nothing_to_complain_of(name: str, form: str, tmp_path: Path) -> None:
    clip, audio = clips.video(**VIDEO[name]), clips.aac()
    forms, units = stored.recorded(clip, audio)
    path = tmp_path / "export.mp4"
    path.write_bytes(stored.export(forms, stored.store(forms, units), fragmented=form == "fragmented"))
    assert judges.mp4box(path) == len(clip.units)


@judges.needs_ffmpeg
@judges.needs_gstreamer
@pytest.mark.parametrize("form", ["progressive", "fragmented"])
@pytest.mark.parametrize("sound", ["aac", "pcmu", "pcma"])
def test_sound_is_in_time_and_bit_exact(sound: str, form: str, tmp_path: Path) -> None:
    clip = clips.video(Codec.H264, bframes=2)
    audio = clips.aac() if sound == "aac" else clips.g711(codec=Codec(sound))
    forms, units = stored.recorded(clip, audio)
    path = tmp_path / "export.mp4"
    path.write_bytes(stored.export(forms, stored.store(forms, units), fragmented=form == "fragmented"))
    lead = 1.0 if form == "fragmented" else 0.0
    assert judges.ffmpeg_decode(path) == len(clip.units)
    found = judges.pyav(path, "audio")
    assert b"".join(data for _, data in found) == b"".join(unit.data for unit in audio.units)
    assert found[0][0] == lead
    assert judges.pyav(path)[0][0] == lead
    picture, noise = judges.qtdemux(path)[0], judges.qtdemux(path, "audio_0")
    assert picture[0] == noise[0][0]
    assert len(noise) == len(audio.units)


@judges.needs_ffmpeg
@judges.needs_gstreamer
@pytest.mark.parametrize("form", ["progressive", "fragmented"])
@pytest.mark.parametrize("name", ["h264", "h264-b3-pyramid", "h265-open"])
def test_gaps_keep_their_length(name: str, form: str, tmp_path: Path) -> None:
    """Two sessions seven seconds apart, sound in both."""
    clip, audio = clips.video(**VIDEO[name]), clips.g711()
    forms, before = stored.recorded(clip, audio)
    _, after = stored.recorded(clip, audio, start=10 * clips.CLOCK)
    path = tmp_path / "export.mp4"
    fragments = stored.store(forms, before) + stored.store(forms, after)
    path.write_bytes(stored.export(forms, fragments, fragmented=form == "fragmented"))
    lead = 1.0 if form == "fragmented" and clip.form.reorder_depth else 0.0
    check(path, clip, [unit for unit in before + after if unit.track == 0], 0, lead)
    sounds = [at / 1e9 for at, _ in judges.qtdemux(path, "audio_0")]
    assert sounds[150] - sounds[149] == pytest.approx(7.02, abs=1e-3)
    assert sounds[150] - sounds[0] == pytest.approx(10, abs=1e-3)


@judges.needs_ffmpeg
@pytest.mark.parametrize("name", VIDEO)
def test_a_cut_at_each_key_frame_decodes_without_error(name: str, tmp_path: Path) -> None:
    """From every key frame on, without the pictures that need what is missing; up to every key frame."""
    assert cut_at_each_key_frame(clips.video(**VIDEO[name]), tmp_path) >= 3


@judges.needs_ffmpeg
@pytest.mark.parametrize("shape", [{}, {"bframes": 3, "pyramid": True}], ids=["plain", "B-frames"])
@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_one_picture_a_second(codec: Codec, shape: dict[str, object], tmp_path: Path) -> None:
    """Reordered too: what is held back for its successor then lasts for seconds."""
    clip = clips.video(codec, frames=24, gop=8, **shape)
    slow = replace(clip, units=tuple(structs.replace(unit, pts=unit.pts * clips.FPS) for unit in clip.units))
    assert cut_at_each_key_frame(slow, tmp_path) == 3


@judges.needs_ffmpeg
def test_gops_of_a_minute(tmp_path: Path) -> None:
    clip = clips.video(Codec.H264, frames=2 * 60 * clips.FPS, gop=60 * clips.FPS, width=64, height=64)
    assert cut_at_each_key_frame(clip, tmp_path) == 2


def cut_at_each_key_frame(clip: clips.Clip, tmp_path: Path) -> int:
    """Returns how many there are."""
    forms, units = stored.recorded(clip)
    fragments = stored.store(forms, units)
    keys = [n for n, unit in enumerate(units) if unit.key]
    for key in keys:
        at = units[key].pts
        for from_pts, to_pts in ((at, None), (None, at)):
            if to_pts == 0:
                continue
            remux = Remux(forms)
            out = bytearray()
            begun = from_pts is None
            for fragment in fragments:
                takes = stored.takes(fragment, {0: -at if from_pts is not None else 0}, to_pts=to_pts)
                if not begun:
                    takes = [replace(take, from_pts=from_pts) for take in takes]
                for piece in remux.add(memoryview(fragment.payload), takes):
                    out += piece
                begun = begun or remux.samples[0] > 0
            for piece in remux.finish():
                out += piece
            path = tmp_path / "cut.mp4"
            path.write_bytes(out)
            if from_pts is not None:
                expected = [unit for unit in units[key:] if unit.pts >= at]
            else:
                last = max(n for n, unit in enumerate(units) if unit.pts < at)
                expected = units[: last + 1]
            found = judges.pyav(path)
            assert [clips.picture_hash(clip.form.codec, data) for _, data in found] == hashes(clip.form.codec, expected)
            assert min(pts for pts, _ in found) == 0
            assert judges.ffmpeg_decode(path) == len(expected)
    return len(keys)


@judges.needs_ffmpeg
def test_a_cut_at_a_recovery_point_of_intra_refresh(tmp_path: Path) -> None:
    """No picture but the first can be decoded alone: players show what follows once the refresh has gone round, and say nothing."""
    made = video_clip(VideoSettings("h264", intra_refresh=True, gop=20), 60)
    sets = [nal for nal in made.coded[0] if h264.nal_type(nal) in (7, 8)]
    units = []
    for unit, coded in zip(made.units, made.coded, strict=True):
        key = h264.random_access(coded)
        nals = [nal for nal in coded if h264.nal_type(nal) not in (7, 8)]
        units.append(AccessUnit(0, unit.ticks, join_lengths([*sets, *nals] if key else nals), 0, key))
    clip = clips.Clip(formats.h264_format(sets[:1], sets[1:]), tuple(units))
    forms, units = stored.recorded(clip)
    assert [n for n, unit in enumerate(units) if unit.key] == [0, 20, 40]
    at = units[20].pts
    remux, out = Remux(forms), bytearray()
    for fragment in stored.store(forms, units):
        from_pts = at if not remux.samples[0] else None
        for piece in remux.add(memoryview(fragment.payload), stored.takes(fragment, {0: -at}, from_pts=from_pts)):
            out += piece
    for piece in remux.finish():
        out += piece
    path = tmp_path / "export.mp4"
    path.write_bytes(out)
    assert [clips.picture_hash(Codec.H264, data) for _, data in judges.pyav(path)] == hashes(Codec.H264, units[20:])
    assert 40 - 20 <= judges.ffmpeg_decode(path) <= 40


@judges.needs_ffmpeg
@pytest.mark.parametrize("count", range(26, 34))
def test_a_file_that_ends_inside_a_group_of_reordered_pictures(count: int, tmp_path: Path) -> None:
    """The live edge: what was decoded before its turn is shown too."""
    clip = clips.video(Codec.H265, bframes=4, pyramid=True)
    forms, units = stored.recorded(clip)
    path = tmp_path / "export.mp4"
    path.write_bytes(stored.export(forms, stored.store(forms, units[:count])))
    assert judges.ffmpeg_decode(path) == count
    assert not [packet for packet in judges.ffprobe(path)[0].packets if "D" in packet["flags"]]
    assert len(judges.pyav_decode(path)) == count


@judges.needs_ffmpeg
def test_what_is_missing_in_the_middle_costs_no_more_than_its_gop(tmp_path: Path) -> None:
    clip = clips.video(Codec.H264, bframes=2, open_gop=True)
    forms, units = stored.recorded(clip)
    fragments = stored.store(forms, units, 300_000_000)
    remux, out, missing = Remux(forms), bytearray(), 4
    for number, fragment in enumerate(fragments):
        if number != missing:
            takes = stored.takes(fragment, {}, cold=number == missing + 1)
            for piece in remux.add(memoryview(fragment.payload), takes):
                out += piece
    for piece in remux.finish():
        out += piece
    path = tmp_path / "export.mp4"
    path.write_bytes(out)
    stored_before = sum(fragment.tables[0].count for fragment in fragments[:missing])
    resumed = next(
        n for n, unit in enumerate(units) if unit.key and n >= stored_before + fragments[missing].tables[0].count
    )
    expected = units[:stored_before] + [unit for unit in units[resumed:] if unit.pts >= units[resumed].pts]
    found = judges.pyav(path)
    assert [clips.picture_hash(Codec.H264, data) for _, data in found] == hashes(Codec.H264, expected)
    assert [at for at, _ in found] == pytest.approx([unit.pts / clips.CLOCK for unit in expected], abs=1e-5)
    assert 0 < len(units) - len(expected) <= 25 + fragments[missing].tables[0].count


def test_one_parameter_set_serves_and_leaves_the_samples() -> None:
    for codec, entry in ((Codec.H264, b"avc1"), (Codec.H265, b"hvc1")):
        clip = clips.video(codec)
        forms, units = stored.recorded(clip)
        made = stored.export(forms, stored.store(forms, units))
        assert entry in made
        assert clip.form.config[5:40] in made if codec is Codec.H264 else True
        sets = [bytes(nal) for nal in split_lengths(clip.units[0].data)][:2]
        assert all(made.count(nal) == 1 for nal in sets)


def changed(codec: Codec) -> tuple[clips.Clip, clips.Clip, list[AccessUnit]]:
    """The resolution changes in mid-stream, twice."""
    large, small = clips.video(codec, frames=50), clips.video(codec, frames=50, width=160, height=96)
    second = clips.retime(small.units, 2 * clips.CLOCK)
    third = clips.retime(large.units, 4 * clips.CLOCK)
    return large, small, clips.on_track([*large.units, *second, *third], 0, clips.CLOCK)


@judges.needs_ffmpeg
@judges.needs_gstreamer
@pytest.mark.parametrize("form", ["progressive", "fragmented"])
@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_parameter_sets_that_change(codec: Codec, form: str, tmp_path: Path) -> None:
    large, _, units = changed(codec)
    forms = [large.form]
    path = tmp_path / "export.mp4"
    path.write_bytes(stored.export(forms, stored.store(forms, units), fragmented=form == "fragmented"))
    assert judges.ffmpeg_decode(path) == 150
    found = judges.pyav(path)
    assert [clips.picture_hash(codec, data) for _, data in found] == hashes(codec, units)
    with judges.av.open(str(path)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
        assert sizes == [(320, 180)] * 50 + [(160, 96)] * 50 + [(320, 180)] * 50
        # Back to the first pictures after the last: a player's seek.
        container.seek(0)
        assert next(container.decode(video=0)).width == 320
    assert len(judges.qtdemux(path, decode=DECODERS[codec])) == 150


def test_tracks_split(tmp_path: Path) -> None:
    clip, audio = clips.video(), clips.aac()
    forms, units = stored.recorded(clip, audio)
    remux, out = Remux([audio.form]), bytearray()
    for fragment in stored.store(forms, units):
        takes = [replace(take, output=0) for take in stored.takes(fragment, {}) if take.output == 1]
        for piece in remux.add(memoryview(fragment.payload), takes):
            out += piece
    for piece in remux.finish():
        out += piece
    path = tmp_path / "sound.mp4"
    path.write_bytes(out)
    assert [data for _, data in judges.pyav(path, "audio")] == [unit.data for unit in audio.units]
    with judges.av.open(str(path)) as container:
        assert len(container.streams) == 1
    assert len(out) < sum(len(unit.data) for unit in audio.units) + 4000


@judges.needs_ffmpeg
@judges.needs_gstreamer
def test_a_gap_longer_than_a_sample_can_last(tmp_path: Path) -> None:
    """Ten hours at 90 kHz are past 31 bits: the track's clock gets coarser, its times stay."""
    clip = clips.video(Codec.H264, bframes=3, pyramid=True)
    forms, before = stored.recorded(clip)
    _, after = stored.recorded(clip, start=36_000 * clips.CLOCK)
    path = tmp_path / "export.mp4"
    path.write_bytes(stored.export(forms, stored.store(forms, before) + stored.store(forms, after)))
    found = judges.pyav(path)
    times = [unit.pts / clips.CLOCK for unit in before + after]
    assert [at for at, _ in found] == pytest.approx(times, abs=1e-4)
    assert judges.ffmpeg_decode(path) == 150
    shown = judges.qtdemux(path)
    assert [at / 1e9 for at, _ in shown] == pytest.approx(times, abs=1e-3)


@judges.needs_ffmpeg
def test_a_track_that_begins_later(tmp_path: Path) -> None:
    clip, audio = clips.video(), clips.aac(2.0)
    late = clips.retime(audio.units, 48_000 * 3 // 4)
    units = clips.interleave(clips.on_track(clip.units, 0, clips.CLOCK), clips.on_track(late, 1, 48_000))
    forms = [clip.form, audio.form]
    for fragmented in (False, True):
        path = tmp_path / "export.mp4"
        path.write_bytes(stored.export(forms, stored.store(forms, units), fragmented=fragmented))
        assert judges.pyav(path, "audio")[0][0] == pytest.approx(0.75)
        assert float(judges.ffprobe(path)[1].packets[0]["pts_time"]) == pytest.approx(0.75)
        assert judges.qtdemux(path, "audio_0")[0][0] / 1e9 == pytest.approx(0.75)
        assert judges.ffmpeg_decode(path) == 75


@judges.needs_ffmpeg
@pytest.mark.parametrize("fragmented", [False, True])
def test_other_codecs(fragmented: bool, tmp_path: Path) -> None:
    """Opus beside MJPEG."""
    pictures = video_clip(VideoSettings("mjpeg", width=320, height=176), 30)
    sound = sound_clip(SoundSettings("opus", 48_000), 90)
    forms = [formats.mjpeg_format(320, 176), formats.opus_format(1)]
    units = [
        clips.on_track(
            [AccessUnit(0, u.ticks, c[0], 0) for u, c in zip(t.units, t.coded, strict=True)], n, f.clock_rate
        )
        for n, (t, f) in enumerate(((pictures, forms[0]), (sound, forms[1])))
    ]
    path = tmp_path / "export.mp4"
    path.write_bytes(stored.export(forms, stored.store(forms, clips.interleave(*units)), fragmented=fragmented))
    assert [stream.codec for stream in judges.ffprobe(path)] == ["mjpeg", "opus"]
    assert judges.ffmpeg_decode(path) == 30
    assert [data for _, data in judges.pyav(path)] == [unit.data for unit in units[0]]
    assert [data for _, data in judges.pyav(path, "audio")] == [unit.data for unit in units[1]]


@judges.needs_ffmpeg
def test_metadata_documents_come_back_whole(tmp_path: Path) -> None:
    clip = clips.video()
    documents = [b"<tt:MetadataStream><n>%d</n></tt:MetadataStream>" % n for n in range(6)]
    meta = [AccessUnit(1, n * 45_000, document, n * 500_000_000) for n, document in enumerate(documents)]
    forms = [clip.form, formats.metadata_format()]
    units = clips.interleave(clips.on_track(clip.units, 0, clips.CLOCK), meta)
    for fragmented in (False, True):
        path = tmp_path / "export.mp4"
        path.write_bytes(stored.export(forms, stored.store(forms, units), fragmented=fragmented))
        assert judges.ffmpeg_decode(path) == 75
        assert len(judges.qtdemux(path)) == 75
        with judges.av.open(str(path)) as container:
            stream = container.streams.data[0]
            assert [bytes(packet) for packet in container.demux(stream) if packet.size] == documents


@judges.needs_ffmpeg
def test_stretches_that_meet_inside_reordered_pictures_keep_their_times(tmp_path: Path) -> None:
    """Flushed at any unit and gone on from there: every picture at its time, as if nothing had been between."""
    clip = clips.video(Codec.H265, bframes=4, pyramid=True, frames=50)
    forms, units = stored.recorded(clip)
    for border in range(20, 36):
        made = stored.export(forms, stored.store(forms, units[:border]) + stored.store(forms, units[border:]))
        path = tmp_path / "export.mp4"
        path.write_bytes(made)
        found = judges.pyav(path)
        assert [at for at, _ in found] == pytest.approx([unit.pts / clips.CLOCK for unit in units], abs=1e-5)
        with judges.av.open(str(path)) as container:
            times = [packet.dts for packet in container.demux(video=0) if packet.size]
        assert times == sorted(set(times))
    assert judges.ffmpeg_decode(path) == 50


def test_nothing_is_an_error() -> None:
    with pytest.raises(MediaError, match="no track"):
        Remux([])
    remux = Remux([clips.video().form])
    with pytest.raises(MediaError, match="nothing to write"):
        remux.finish()


def test_broken_key_frames_are_refused() -> None:
    clip = clips.video(frames=2)
    unit = structs.replace(clip.units[0], data=join_lengths([b"\x67\x42"]) + b"\0\0\xff\xff")
    forms = [clip.form]
    fragment = stored.store(forms, [unit])[0]
    with pytest.raises(MediaError):
        Remux(forms).add(memoryview(fragment.payload), stored.takes(fragment, {}))
