"""The short ways of `inbound.py` and `receiver.py` do what the long ones do, whatever becomes of packets on their way.

The long way is a receiver that judges every packet by itself; both clients get the same bytes in the same cuts, and must say the same.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.model.stream import Codec
from recorderd.rtsp.client import Client
from recorderd.rtsp.events import Event, Units
from recorderd.rtsp.receiver import Receiver
from tests.media import clips
from tests.rtsp.packets import (
    AAC_SECTION,
    SSRC,
    Track,
    frame,
    h264_payloads,
    h265_payloads,
    nals_of,
    playing,
    rtp,
    sender_report,
    video_section,
)

PAYLOADS = {Codec.H264: h264_payloads, Codec.H265: h265_payloads}
AUDIO_SSRC = 99


class Judging(Receiver):
    """Without short ways."""

    def interleaved(self, buffer: memoryview, position: int, stop: int, end: int) -> int:
        before = self.packets
        self.packet(buffer, position + 4, stop)
        self._output.work += 1 + self.packets - before
        return stop


def clients(codec: Codec) -> tuple[Client, Client]:
    sdp = "v=0\r\n" + video_section(clips.video(codec)) + AAC_SECTION
    lean, long = playing(sdp)[0], playing(sdp)[0]
    for receiver in long.receivers:
        receiver.__class__ = Judging
    long._by_head.clear()  # no frame is plainly one of a known channel
    return lean, long


@functools.cache
def packets(codec: Codec, size: int) -> tuple[tuple[int, bytes], ...]:
    """(channel, packet): pictures with a frame of sound between their pieces, and reports."""
    clip = clips.video(codec, frames=20, gop=10, width=320, height=180)
    video, audio = Track(), Track(channel=2, kind=97, ssrc=AUDIO_SSRC, sequence=65_000)
    out: list[tuple[int, bytes]] = []
    for number, unit in enumerate(clip.units):
        pieces = [(0, packet) for packet in video.packets(unit.pts, PAYLOADS[codec](nals_of(unit), size))]
        data = bytes([number]) * (20 + number)
        header = (16).to_bytes(2, "big") + (len(data) << 3).to_bytes(2, "big")
        sound = [(2, packet) for packet in audio.packets(number * 1024, [header + data])]
        middle = number * 7 % (len(pieces) + 1)
        out += [*pieces[:middle], *sound, *pieces[middle:]]
        if number % 8 == 3:
            out.append((1, sender_report(number << 32, unit.pts)))
    return tuple(out)


def harm(sent: list[tuple[int, bytes]], chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """What happens to packets on the way, and what some cameras do to them."""
    held: tuple[int, bytes] | None = None
    for channel, packet in sent:
        fate = chance.randrange(60)
        if fate == 0:
            continue
        if fate == 1 and held is None:
            held = channel, packet
            continue
        if fate == 2:
            yield channel, packet
        elif fate == 3:
            packet = bytes([packet[0] | 0x20, *packet[1:]]) + b"\0\0\3"  # padding
        elif fate == 4:
            packet = bytes([packet[0] | 0x10, *packet[1:12]]) + b"\xab\xac\0\1word" + packet[12:]  # extension
        elif fate == 5:
            packet = bytes([packet[0] | 1, *packet[1:12]]) + b"csrc" + packet[12:]
        elif fate == 6:
            packet = bytes([packet[0], packet[1] ^ 0x80, *packet[2:]])  # the marker
        elif fate == 7:
            packet = packet[: chance.randrange(len(packet))]
        elif fate == 8:
            packet = bytes([packet[0], packet[1] & 0x80 | 50, *packet[2:]])  # another payload type
        elif fate == 9:
            packet = packet[:8] + chance.randbytes(4) + packet[12:]  # another source
        elif fate == 10:
            packet = packet[:4] + chance.randbytes(4) + packet[8:]  # another time
        elif fate == 11:
            at = chance.randrange(len(packet))
            packet = packet[:at] + chance.randbytes(1) + packet[at + 1 :]
        elif fate == 12:
            packet += bytes(chance.randrange(1, 30))
        yield channel, packet
        if held is not None:
            yield held
            held = None


def told(subject: Client) -> tuple[list[Event], list[object]]:
    """What a client says, and what its receivers counted."""
    counts: list[object] = []
    for receiver in subject.receivers:
        counts += [receiver.packets, receiver.lost, receiver.malformed, receiver.last_media_ns, receiver.report_block()]
    return subject.events(), counts


def compare(codec: Codec, data: bytes, cuts: list[int]) -> int:
    """Feeds both; how many access units came."""
    lean, long = clients(codec)
    count = 0
    for turn, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(data)], strict=True), 1):
        now_ns = turn * 50_000_000
        lean.feed(data[begin:end], now_ns)
        long.feed(data[begin:end], now_ns)
        mine, theirs = told(lean), told(long)
        assert mine == theirs
        assert lean.rest == long.rest
        count += sum(len(event.units) for event in mine[0] if isinstance(event, Units))
    return count


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 1 << 32), size=st.sampled_from([100, 300, 1400]), harmed=st.booleans())
def test_the_short_ways_do_what_the_long_way_does(codec: Codec, seed: int, size: int, harmed: bool) -> None:
    chance = random.Random(seed)
    sent = list(packets(codec, size))
    if harmed:
        sent = list(harm(sent, chance))
    data = b"".join(frame(packet, channel) for channel, packet in sent)
    cuts = sorted(chance.sample(range(1, len(data)), chance.randrange(30)))
    count = compare(codec, data, cuts)
    assert harmed or count == 40  # all pictures and sounds


def test_a_run_of_equal_packets_ends_where_a_number_is_missing_and_goes_on_over_the_wrap() -> None:
    """By hand, so that nobody has to believe the test above: 65534, 65535, 0, 1, then 3."""
    lean, _ = clients(Codec.H264)
    head, middle, last = b"\x7c\x85", b"\x7c\x05", b"\x7c\x45"
    numbers = [65_533, 65_534, 65_535, 65_536, 65_537, 65_539]
    bodies = [head, middle, middle, middle, middle, last]
    data = b"".join(
        frame(rtp(number, 9000, start + bytes([n]) * 200, marker=start is last, ssrc=SSRC))
        for n, (number, start) in enumerate(zip(numbers, bodies, strict=True))
    )
    lean.feed(data, 1)
    receiver = lean.receivers[0]
    assert (receiver.packets, receiver.lost) == (6, 1)
    block = receiver.report_block()
    assert block is not None
    assert block.highest_sequence == 65_539
    assert not [event for event in lean.events() if isinstance(event, Units)], "an incomplete NAL unit is dropped"
