"""One RTP source: packets of a track in, payloads in sequence to its depacketiser.

**The lean path.** Most packets of a video stream are the middle pieces of a fragmented NAL unit: same channel, payload type, timestamp,
source and payload header as the one before, next sequence number. `interleaved` takes such a run with one `unpack_from` a packet, the
interleave header, RTP header and fragmentation header in one. Everything else goes through `packet`.

**Which source.** The first one seen; another takes over when the SETUP answer had announced it, or when the first falls silent for
`TAKE_OVER` packets (an encoder restarted, or a server still sends to a connection number that once was another client's).
"""

from __future__ import annotations

import struct

from recorderd.model.stream import SenderReport
from recorderd.rtsp.depacketiser import Depacketiser
from recorderd.rtsp.events import Loss, Report, Restarted
from recorderd.rtsp.mjpeg import ONVIF_EXTENSION, Mjpeg
from recorderd.rtsp.output import Output
from recorderd.rtsp.rtcp import Bye, ReportBlock, SenderInfo, parse_compound
from recorderd.rtsp.rtp import HEADER, Sequence, Step, Unwrapper, parse_packet

TAKE_OVER = 5
WRONG_TYPES = (
    32  # packets of a payload type the SDP did not name, and none of those it did, before they are taken all the same
)

_RUNS = {2: struct.Struct(">HHHHQ2s"), 3: struct.Struct(">HHHHQ3s")}


class Receiver:
    def __init__(
        self, output: Output, track: int, depacketiser: Depacketiser, payload_type: int, clock_rate: int, channel: int
    ) -> None:
        self._output = output
        self._track = track
        self.depacketiser = depacketiser
        self._payload_type = payload_type
        self.clock_rate = clock_rate
        self.channel = channel
        self._sequence = Sequence()
        self._unwrapper = Unwrapper()
        self._ssrc: int | None = None
        self.announced_ssrc: int | None = None
        self._others = 0
        self._wrong_types = 0
        self._timestamp = -1
        self._pts = 0
        self._transit: int | None = None
        self._jitter = 0
        self._report_lost = self._report_expected = 0
        self._last_sr = 0
        self._last_sr_ns = 0
        self._early_report: tuple[SenderInfo, int] | None = None
        self.packets = 0
        self.lost = 0
        self.malformed = 0
        self.last_media_ns = 0
        self.said_bye = False

    def interleaved(self, buffer: memoryview, position: int, end: int) -> int:
        """Takes the interleaved frame at `position` (complete, and believed) and those that simply continue it.

        Returns where the next frame begins.
        """
        stop = position + 4 + (buffer[position + 2] << 8 | buffer[position + 3])
        self.packet(buffer, position + 4, stop)
        fragment = self.depacketiser.fragment
        if not fragment or stop + 20 > end:
            return stop
        # `packet` left a NAL unit in progress, so its own header is the pattern for the packets that continue it.
        size = len(fragment)
        unpack = _RUNS[size].unpack_from
        skip = 16 + size
        want_head = 0x2400 | self.channel
        want_flags = 0x8000 | self._payload_type
        want_stamp = self._timestamp << 32 | (self._ssrc or 0)
        sequence = self._sequence.expected
        append = self.depacketiser.pieces.append
        count = 0
        while stop + 20 <= end:
            head, length, flags, number, stamp, start = unpack(buffer, stop)
            if (
                number != sequence
                or head != want_head
                or stamp != want_stamp
                or start != fragment
                or flags != want_flags
                or length < skip
            ):
                break
            following = stop + 4 + length
            if following > end:
                break
            append(buffer[stop + skip : following])
            stop = following
            sequence = number + 1 & 0xFFFF
            count += 1
        if count:
            self._sequence.run(sequence - 1 & 0xFFFF, count)
            self.packets += count
        return stop

    def plausible(self, buffer: memoryview, start: int, end: int) -> bool:
        """Whether an RTP packet at `start` could be the next of this source: for finding the framing again. Looks at 12 bytes."""
        if end - start < 12:
            return False
        b0, b1, sequence, _, ssrc = HEADER.unpack_from(buffer, start)
        if b0 >> 6 != 2 or b1 & 127 != self._payload_type:
            return False
        if self._ssrc is None:
            return True
        return bool(ssrc == self._ssrc and (sequence - self._sequence.expected & 0xFFFF) < 3000)

    def packet(self, buffer: memoryview, start: int, end: int) -> None:
        """One RTP packet, in the order it was received."""
        if end - start < 12:
            self.malformed += 1
            return
        b0, b1, number, timestamp, ssrc = HEADER.unpack_from(buffer, start)
        if b0 == 0x80:
            start += 12
        else:
            packet = parse_packet(buffer, start, end)
            if packet is None:
                self.malformed += 1
                return
            start, end = packet.payload_start, packet.payload_end
            if packet.extension_profile == ONVIF_EXTENSION and isinstance(self.depacketiser, Mjpeg):
                self.depacketiser.extension(bytes(buffer[packet.extension_start : packet.extension_end]))
        if b1 & 127 != self._payload_type and not self._take_type(b1 & 127):
            return
        if ssrc != self._ssrc and not self._take_source(ssrc):
            return
        self._others = 0
        if self._sequence.started and number == self._sequence.expected:
            self._sequence.run(number, 1)
        elif not self._in_sequence(number):
            return
        self.packets += 1
        self.last_media_ns = self._output.now_ns
        if timestamp != self._timestamp:
            self._timestamp = timestamp
            self._pts = self._unwrapper.unwrap(timestamp)
            self._measure(timestamp)
            if self._early_report is not None:
                self._sender_info(*self._early_report)
        self.depacketiser.packet(buffer, start, end, self._pts, b1 >= 128)

    def _in_sequence(self, number: int) -> bool:
        """Judges a packet that is not simply the next; whether it is to be used."""
        step, missing = self._sequence.step(number)
        if step is Step.LOST:
            self.lost += missing
            self.depacketiser.loss()
            self._output.event(Loss(self._track, missing))
        elif step is Step.RESTART:
            self.depacketiser.loss()
            self._output.event(Loss(self._track, 0))
        return step in (Step.NEXT, Step.LOST, Step.RESTART)

    def _take_type(self, payload_type: int) -> bool:
        self._wrong_types += 1
        if self.packets or self._wrong_types < WRONG_TYPES:
            return False
        self._output.remark(f"the camera sends payload type {payload_type}, its SDP says {self._payload_type}")
        self._payload_type = payload_type
        return True

    def _take_source(self, ssrc: int) -> bool:
        if self._ssrc is not None:
            self._others += 1
            if ssrc != self.announced_ssrc and self._others < TAKE_OVER:
                return False
            self._others = 0
            self.depacketiser.loss()
            self._output.event(Restarted(self._track, "the camera began a new RTP stream within the session"))
            self._sequence = Sequence()
            self._unwrapper = Unwrapper()
            self._timestamp = -1
            self._transit = None
            self._early_report = None
            self._last_sr = 0
        self._ssrc = ssrc
        return True

    # --- RTCP --------------------------------------------------------------------------------------------

    def control(self, data: memoryview) -> None:
        """One RTCP compound packet."""
        for item in parse_compound(data):
            if isinstance(item, SenderInfo):
                if self._ssrc is None or item.ssrc == self._ssrc:
                    self._last_sr = item.ntp >> 16 & 0xFFFFFFFF
                    self._last_sr_ns = self._output.now_ns
                    self._sender_info(item, self._output.now_ns)
            elif isinstance(item, Bye) and (self._ssrc in item.ssrcs or not item.ssrcs):
                self.said_bye = True

    def _sender_info(self, info: SenderInfo, arrival_ns: int) -> None:
        media_time = self._unwrapper.near(info.rtp)
        if media_time is None:
            self._early_report = (info, arrival_ns)
            return
        self._early_report = None
        self._output.event(Report(self._track, SenderReport(info.ntp, media_time, arrival_ns)))

    def _measure(self, timestamp: int) -> None:
        """Interarrival jitter, once per timestamp (6.4.1)."""
        transit = self._output.now_ns * self.clock_rate // 1_000_000_000 - timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference < 0x40000000:
                self._jitter += (difference - self._jitter) // 16
        self._transit = transit

    def report_block(self) -> ReportBlock | None:
        """What a receiver report says now; None before the first packet."""
        s = self._sequence
        if self._ssrc is None or not s.started:
            return None
        expected = (s.highest - s.base & 0xFFFFFFFF) + 1
        lost_now = s.lost - self._report_lost
        expected_now = expected - self._report_expected
        self._report_lost, self._report_expected = s.lost, expected
        fraction = min(255, lost_now * 256 // expected_now) if expected_now > 0 and lost_now > 0 else 0
        delay = (self._output.now_ns - self._last_sr_ns) * 65536 // 1_000_000_000 if self._last_sr else 0
        return ReportBlock(self._ssrc, fraction, s.lost, s.highest, self._jitter, self._last_sr, min(delay, 0xFFFFFFFF))
