"""H.264 and H.265 access units from RTP: bit by bit, whatever the packets look like and however the bytes are cut."""

from __future__ import annotations

import dataclasses
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.model.stream import Codec
from recorderd.rtsp.events import FormatKnown, Loss, Remark, Restarted
from tests.media import clips
from tests.rtsp.packets import (
    Track,
    aggregate,
    frame,
    h264_payloads,
    h265_payloads,
    in_slices,
    nals_of,
    playing,
    rtp,
    units,
    video_section,
)

PAYLOADS = {Codec.H264: h264_payloads, Codec.H265: h265_payloads}


def session(clip, *, sets=True):
    subject, _, _ = playing("v=0\r\n" + video_section(clip, sets=sets))
    return subject


def stream(clip, track=None, *, size=1400, marker=True):
    """The clip as one list of interleaved frames per access unit."""
    track = track or Track()
    make = PAYLOADS[clip.form.codec]
    return [track.frames(unit.pts, make(nals_of(unit), size), marker=marker) for unit in clip.units]


def fed(subject, frames, now_ns=1):
    subject.feed(b"".join(frames), now_ns)
    return subject.events()


def flat(groups):
    return [item for group in groups for item in group]


def stored(unit):
    """As we store it: an access unit delimiter comes first (the clips have it behind the parameter sets)."""
    nals = nals_of(unit)
    delimiters = [nal for nal in nals if nal[0] in (0x09, 0x46)]
    return clips.join_lengths(delimiters + [nal for nal in nals if nal not in delimiters])


def same(found, clip, start=0):
    expected = clip.units[start : start + len(found)]
    assert [u.data for u in found] == [stored(u) for u in expected]
    assert [u.key for u in found] == [u.key for u in expected]
    assert not any(u.damaged for u in found)
    base = found[0].pts - expected[0].pts
    assert [u.pts - base for u in found] == [u.pts for u in expected]


CLIPS = {
    "plain": {},
    "several slices": {},
    "B-frames": {"bframes": 3, "pyramid": True},
    "open GOP": {"bframes": 2, "open_gop": True},
    "access unit delimiters": {"aud": True},
}


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
@pytest.mark.parametrize("shape", CLIPS, ids=str)
@pytest.mark.parametrize("size", [1400, 200])
def test_every_access_unit_arrives_bit_by_bit(codec, shape, size):
    clip = in_slices(codec) if shape == "several slices" else clips.video(codec, **CLIPS[shape])
    subject = session(clip)
    found = units(fed(subject, flat(stream(clip, size=size))))
    subject.stop(2)
    found += units(subject.events())
    assert len(found) == len(clip.units)
    same(found, clip)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_parameter_sets_in_band_only(codec):
    clip = clips.video(codec)
    subject = session(clip, sets=False)
    events = fed(subject, flat(stream(clip)))
    assert events[0] == FormatKnown(0, clip.form)
    same(units(events), clip)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_aggregation_packets(codec):
    clip = in_slices(codec)
    track = Track()
    header = {Codec.H264: b"\x18", Codec.H265: b"\x60\x01"}[codec]
    subject = session(clip)
    frames = []
    for unit in clip.units:
        nals = nals_of(unit)
        small = [nal for nal in nals if len(nal) < 3000]
        payloads = [aggregate(small, header)] if small == nals and len(nals) > 1 else list(PAYLOADS[codec](nals))
        frames += track.frames(unit.pts, payloads)
    same(units(fed(subject, frames)), clip)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_cuts_change_nothing(data):
    codec = data.draw(st.sampled_from([Codec.H264, Codec.H265]))
    clip = in_slices(codec, frames=30, gop=10)
    subject = session(clip)
    whole = b"".join(flat(stream(clip, size=data.draw(st.integers(60, 1500)))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=40)))
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        subject.feed(whole[start:stop], 1)
        found += units(subject.events())
    subject.stop(2)
    found += units(subject.events())
    assert len(found) == len(clip.units)
    same(found, clip)


def test_byte_by_byte():
    clip = clips.video(frames=3, gop=3)
    subject = session(clip)
    found = []
    for byte in b"".join(flat(stream(clip))):
        subject.feed(bytes((byte,)), 1)
        found += units(subject.events())
    subject.stop(2)
    same(found + units(subject.events()), clip)


def test_without_marker_bits_units_end_by_timestamp():
    clip = clips.video()
    subject = session(clip)
    found = units(fed(subject, flat(stream(clip, marker=False))))
    assert len(found) == len(clip.units) - 1
    same(found, clip)


def test_with_markers_units_are_complete_at_once():
    clip = clips.video()
    subject = session(clip)
    groups = stream(clip)
    counts = [len(units(fed(subject, group))) for group in groups]
    assert counts[:3] == [0, 1, 1]
    assert sum(counts[:5]) == 5
    assert set(counts[5:]) == {1}


def test_a_marker_on_every_slice():
    clip = clips.video(slices=4)
    track = Track()
    frames = []
    for unit in clip.units:
        for nal in nals_of(unit):
            frames += track.frames(unit.pts, h264_payloads([nal]))
    subject = session(clip)
    events = fed(subject, frames)
    same(units(events), clip)
    assert any(isinstance(event, Remark) for event in events)


@pytest.mark.parametrize("shift", [0, -40])
def test_parameter_sets_and_sei_as_packets_of_their_own(shift):
    """With a marker each, and the picture's timestamp or one of their own."""
    clip = clips.video()
    track = Track()
    frames = []
    for unit in clip.units:
        for nal in nals_of(unit):
            own = shift if nal[0] & 31 > 5 else 0
            frames += track.frames(unit.pts + own, h264_payloads([nal]))
    subject = session(clip)
    found = units(fed(subject, frames))
    subject.stop(2)
    same(found + units(subject.events()), clip)


def test_a_new_sps_in_mid_stream_is_told_before_its_key_frame():
    small, large = clips.video(), clips.video(width=640, height=360)
    track = Track()
    subject = session(small)
    offset = small.units[-1].pts + 3600
    shifted = dataclasses.replace(
        large, units=tuple(msgspec.structs.replace(u, pts=u.pts + offset) for u in large.units)
    )
    events = fed(subject, flat(stream(small, track)) + flat(stream(shifted, track)))
    told = [event for event in events if isinstance(event, FormatKnown)]
    assert told == [FormatKnown(0, large.form)]
    before = units(events[: events.index(told[0])])
    after = units(events[events.index(told[0]) :])
    assert [u.data for u in before] == [u.data for u in small.units]
    assert [u.data for u in after] == [u.data for u in large.units]
    assert [u.parameter_sets_changed for u in after] == [True] + [False] * (len(after) - 1)


def test_units_before_the_first_key_frame_are_left_out():
    clip = clips.video()
    subject = session(clip)
    found = units(fed(subject, flat(stream(clip)[5:])))
    same(found, clip, 25)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_loss_of_any_packet_marks_and_never_corrupts(codec):
    """Every packet of the second GOP lost in turn: what arrives is the source's, or says it is damaged."""
    clip = clips.video(codec, frames=24, gop=8)
    groups = stream(clip, size=300)
    first, count = len(flat(groups[:8])), len(flat(groups[8:16]))
    source = {u.pts - clip.units[0].pts: u.data for u in clip.units}
    for lost in range(first, first + count):
        subject = session(clip)
        frames = flat(groups)
        del frames[lost]
        events = fed(subject, frames)
        assert [event for event in events if isinstance(event, Loss)] == [Loss(0, 1)]
        found = units(events)
        damaged = [u for u in found if u.damaged]
        assert damaged, f"packet {lost}"
        assert len(damaged) <= 2
        for unit in found:
            if not unit.damaged:
                assert source[unit.pts - found[0].pts] == unit.data
        whole = [u for u in found if not u.damaged]
        assert len(whole) >= len(clip.units) - 3


def test_sequence_numbers_and_timestamps_wrap():
    clip = clips.video(frames=40, gop=10)
    subject = session(clip)
    track = Track(sequence=65500, start=0x100000000 - 3600 * 20)
    found = units(fed(subject, flat(stream(clip, track))))
    same(found, clip)


def test_a_duplicate_and_a_late_packet_are_ignored():
    clip = clips.video(frames=10, gop=10)
    frames = flat(stream(clip))
    frames.insert(3, frames[2])
    frames.insert(9, frames[1])
    same(units(fed(session(clip), frames)), clip)


def test_rtp_header_extensions_padding_and_contributors():
    clip = clips.video(frames=10, gop=10)
    track = Track()
    frames = []
    for unit in clip.units:
        for packet in track.packets(unit.pts, h264_payloads(nals_of(unit))):
            head = bytes((packet[0] | 0x31,)) + packet[1:12]
            frames.append(frame(head + b"\0\0\0\1" + b"\xab\xac\0\1" + b"\1\2\3\4" + packet[12:] + b"\0\0\3"))
    same(units(fed(session(clip), frames)), clip)


def test_another_source_takes_over_and_says_so():
    clip = clips.video(frames=10, gop=10)
    subject = session(clip)
    fed(subject, flat(stream(clip)))
    again = Track(ssrc=99, sequence=7, start=12345)
    events = fed(subject, flat(stream(clip, again)))
    assert [type(event) for event in events if isinstance(event, Restarted)] == [Restarted]
    # The packets it took to believe it are lost, and with them the key frame.
    events = fed(subject, flat(stream(clip, again)))
    found = units(events)
    assert found[-1].pts == clip.units[-1].pts + 12345


def test_a_stale_session_on_the_same_channel_does_not_mix_in():
    clip = clips.video(frames=20, gop=10)
    stale = [rtp(i, i * 3000, b"\x65" + bytes(50), ssrc=5) for i in range(4)]
    groups = stream(clip)
    for index, packet in enumerate(stale):
        groups[2 + index].insert(1, frame(packet))
    same(units(fed(session(clip), flat(groups))), clip)


@pytest.mark.parametrize("seed", range(8))
def test_bytes_between_frames_that_belong_to_nothing_cost_no_frame(seed):
    clip = clips.video(frames=75, gop=5)
    rng = random.Random(seed)

    def junk():
        return rng.randbytes(rng.randint(1, 40)).replace(b"$", b"#")

    frames = [
        junk() + item if rng.random() < 0.1 and number else item
        for number, item in enumerate(flat(stream(clip, size=500)))
    ]
    subject = session(clip)
    whole, found, position = b"".join(frames), [], 0
    while position < len(whole):
        step = rng.randrange(1, 5000)
        subject.feed(whole[position : position + step], 1)
        found += units(subject.events())
        position += step
    same(found, clip)


def truncated(frames, rng):
    """A camera that writes part of a frame when its socket is full, and then goes on with the next."""
    return [item if rng.random() > 0.02 else item[: rng.randrange(1, len(item))] for item in frames]


@pytest.mark.parametrize("seed", range(8))
def test_framing_is_found_again_after_partial_writes(seed):
    clip = clips.video(frames=75, gop=5)
    rng = random.Random(seed)
    subject = session(clip)
    frames = truncated(flat(stream(clip, size=500)), rng)
    whole = b"".join(frames)
    found = []
    position = 0
    while position < len(whole):
        step = rng.randrange(1, 5000)
        subject.feed(whole[position : position + step], 1)
        found += units(subject.events())
        position += step
    source = {u.pts: u.data for u in clip.units}
    base = Track().start
    wrong = [u for u in found if not u.damaged and source.get(u.pts - base) != u.data]
    assert not wrong
    assert subject.frames_found_again
    assert len(found) > len(clip.units) // 2
    assert len(subject.rest) < 70_000
