"""Parameter sets and configuration records, against what FFmpeg makes of the same streams."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from recorderd.media import aac, av1, formats, h264, h265, opus
from recorderd.media.errors import BitstreamError, MediaError
from recorderd.media.nal import escape, join_lengths, split_annex_b, split_lengths, unescape
from recorderd.model.stream import Codec
from tests.media import clips, judges

VARIANTS = [
    {"codec": Codec.H264},
    {"codec": Codec.H264, "width": 318, "height": 178},
    {"codec": Codec.H264, "width": 1920, "height": 1080, "frames": 2},
    {"codec": Codec.H264, "bframes": 3, "pyramid": True},
    {"codec": Codec.H265},
    {"codec": Codec.H265, "width": 318, "height": 178},
    {"codec": Codec.H265, "width": 1920, "height": 1080, "frames": 2},
    {"codec": Codec.H265, "bframes": 4, "pyramid": True},
]


def remuxed_by_ffmpeg(clip: clips.Clip, folder: Path) -> Path:
    """The clip as an MP4 that FFmpeg wrote: its sample entry is the oracle."""
    name = "h264" if clip.form.codec is Codec.H264 else "hevc"
    raw, made = folder / f"clip.{name}", folder / "clip.mp4"
    raw.write_bytes(b"".join(b"\0\0\1" + bytes(nal) for unit in clip.units for nal in split_lengths(unit.data)))
    done = judges.run("ffmpeg", "-v", "error", "-f", name, "-i", str(raw), "-c", "copy", str(made))
    assert made.stat().st_size, done.stderr
    return made


@judges.needs_ffmpeg
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_size_profile_and_depth_agree_with_ffmpeg(variant: dict[str, object], tmp_path: Path) -> None:
    clip = clips.video(**variant)
    with av.open(str(remuxed_by_ffmpeg(clip, tmp_path))) as container:
        context = container.streams.video[0].codec_context
        assert (clip.form.width, clip.form.height) == (context.width, context.height)
        assert clip.form.frame_rate == clips.FPS
        if clip.form.codec is Codec.H264:
            assert clip.form.config == context.extradata
            assert clip.form.codecs_string.upper() == f"AVC1.{context.extradata[1:4].hex().upper()}"
        else:
            theirs = context.extradata
            # min_spatial_segmentation_idc, parallelismType and array_completeness are ours to choose.
            assert clip.form.config[:13] == theirs[:13]
            assert clip.form.config[16:19] == theirs[16:19]
            assert clip.form.config[21] == theirs[21]
            assert h265.parse_hvcc(clip.form.config) == h265.parse_hvcc(theirs)
    times = [unit.pts for unit in clip.units]
    assert clip.form.reorder_depth == max(sum(before > at for before in times[:n]) for n, at in enumerate(times))


def test_codecs_strings() -> None:
    assert clips.video(Codec.H264).form.codecs_string == "avc1.42C00C"
    assert clips.video(Codec.H265).form.codecs_string == "hvc1.1.6.L60.90"


def test_reorder_depth_without_restriction_is_the_bound_of_profile_and_level() -> None:
    def sps(profile: int, constraints: int, level: int, poc_type: int) -> bytes:
        bits = f"{profile:08b}{constraints:08b}{level:08b}" + "1"
        if profile >= 100:
            bits += "010" + "1" + "1" + "0" + "0"  # 4:2:0, 8 bits
        bits += "1" + {0: "1" + "1", 2: "011"}[poc_type]
        bits += "010" + "0" + "0000001111000" + "0000001000100" + "1" + "1"  # 120 x 68 macroblocks
        bits += "1" + "1" + "1" + "1" + "00101" + "0"  # 8 rows cropped, no VUI
        bits += "1"
        bits += "0" * (-len(bits) % 8)
        return b"\x67" + escape(int(bits, 2).to_bytes(len(bits) // 8, "big"))

    high = h264.parse_sps(sps(100, 0, 40, 0))
    assert (high.width, high.height, high.reorder_depth, high.frame_rate) == (1920, 1080, 4, 0.0)
    assert h264.parse_sps(sps(77, 0, 31, 0)).reorder_depth == 2
    assert h264.parse_sps(sps(77, 0, 51, 0)).reorder_depth == 16
    assert h264.parse_sps(sps(77, 0, 40, 2)).reorder_depth == 0
    assert h264.parse_sps(sps(66, 0, 40, 0)).reorder_depth == 0
    assert h264.parse_sps(sps(100, 0x10, 40, 0)).reorder_depth == 0


def test_a_vui_that_breaks_off_counts_as_absent() -> None:
    sps = h264.parse_avcc(clips.video(Codec.H264).form.config)[0][0]
    whole = h264.parse_sps(sps)
    cut = h264.parse_sps(sps[:-6])
    assert (cut.width, cut.height) == (whole.width, whole.height)
    assert cut.frame_rate == 0


def test_configuration_records_round_trip() -> None:
    config = clips.video(Codec.H264).form.config
    assert h264.avcc(*h264.parse_avcc(config)) == config
    config = clips.video(Codec.H265).form.config
    assert h265.hvcc(*h265.parse_hvcc(config)) == config
    assert h265.hvcc(*h265.parse_hvcc(config), complete=True)[23] == 0x80 | 32
    for broken in (b"", config[:22], config[:40], b"\x02" + config[1:]):
        with pytest.raises(BitstreamError):
            h265.parse_hvcc(broken)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_audio_specific_config(rate: int) -> None:
    clip = clips.aac(0.2, rate)
    parsed = aac.parse_asc(clip.form.config)
    assert (parsed.object_type, parsed.sample_rate, parsed.channels, parsed.frame_length) == (2, rate, 1, 1024)
    assert clip.form.codecs_string == "mp4a.40.2"
    assert aac.asc(2, rate, 1) == clip.form.config[:2]


def test_explicit_sbr_counts_core_samples() -> None:
    # ISO/IEC 14496-3 1.6.2.1: object type 5, 24 kHz core, stereo, 48 kHz extension, then object type 2.
    bits = "00101" + "0110" + "0010" + "0011" + "00010" + "0" * 10
    parsed = aac.parse_asc(int(bits, 2).to_bytes(4, "big"))
    assert (parsed.object_type, parsed.sample_rate, parsed.channels, parsed.frame_length) == (5, 24000, 2, 1024)


@pytest.mark.parametrize("asc", [b"", b"\x00", b"\x17\x88", b"\xff\xff", bytes(65), b"\x11\x78"])
def test_bad_audio_configurations_are_refused(asc: bytes) -> None:
    with pytest.raises(MediaError):
        formats.aac_format(asc)


def test_odd_rates_are_written_out() -> None:
    assert aac.parse_asc(aac.asc(2, 47_000, 2)).sample_rate == 47_000


def test_av1_sequence_header_agrees_with_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "av1.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=25, width=320, height=176, pix_fmt="yuv420p")
        stream.options = {"preset": "11", "svtav1-params": "lp=1"}
        for number in range(3):
            frame = av.VideoFrame(320, 176, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 9]) * plane.buffer_size)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        theirs = container.streams.video[0].codec_context.extradata
        units = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    header = next(bytes(obu) for kind, obu in av1.split_obus(units[0]) if kind == av1.OBU_SEQUENCE_HEADER)
    form = formats.av1_format(header)
    assert (form.width, form.height, form.config[:4]) == (320, 176, theirs[:4])
    assert form.codecs_string == f"av01.0.{theirs[1] & 31:02d}M.08"
    assert av1.random_access(units[0])
    assert not av1.random_access(units[1])


def test_opus() -> None:
    form = formats.opus_format(2)
    assert opus.parse_dops(form.config).channels == 2
    assert opus.packet_samples(b"\xfc") == 960  # CELT full band, 20 ms, one frame (RFC 6716 table 2)
    assert opus.packet_samples(b"\x1b\x03") == 0  # 180 ms: more than a packet may hold
    assert opus.packet_samples(b"") == 0


def test_recovery_points_are_random_access() -> None:
    recovery = b"\x06\x06\x01\xc4\x80"
    assert h264.recovery_frame_count(recovery) == 0
    assert h264.recovery_frame_count(b"\x06\x05\x01\x00\x80") is None
    assert h264.random_access([recovery, b"\x41\x9a"])
    assert not h264.random_access([b"\x41\x9a"])
    clip = clips.video(Codec.H264, bframes=2, open_gop=True)
    assert [n for n, unit in enumerate(clip.units) if unit.key] == [0, 23, 47, 72] or sum(
        u.key for u in clip.units
    ) >= 3


def test_nal_splitting_and_escaping() -> None:
    raw = b"\x67\x00\x00\x01\x00\x00\x03\x00\x00\x00\x05"
    assert unescape(escape(raw)) == raw
    assert b"\x00\x00\x01" not in escape(raw)
    stream = b"\0\0\0\1\x67\1\2\0\0\1\x68\3\0\0\0\0\1\x65\4"
    assert split_annex_b(stream) == [b"\x67\1\2", b"\x68\3", b"\x65\4"]
    joined = join_lengths([b"\x67\1", b"\x65"])
    assert [bytes(nal) for nal in split_lengths(joined)] == [b"\x67\1", b"\x65"]
    for broken in (b"\0\0", b"\0\0\0\5ab", b"\0\0\0\0"):
        with pytest.raises(BitstreamError):
            list(split_lengths(broken))
