"""One RTP source: packets of a track in, payloads in sequence to its depacketiser.

**The lean paths.** Most packets of a video stream are the middle pieces of a fragmented NAL unit: same channel, length, payload type,
timestamp, source and payload header as the one before, next sequence number. `_run` takes such packets with one `unpack_from` and three
comparisons each (0.5 us; 14 packets a picture at 4 Mbit/s). A packet that is simply the next of its source, without padding, extension or
contributing sources, goes from `interleaved` to the depacketiser. Everything else is judged in `packet`, which knows no short cut.

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

_HEADERS = struct.Struct(">HHII").unpack_from  # RTP: flags and type, sequence number, timestamp, source
# Interleaving, flags and type; sequence number; timestamp, source and the payload header of a fragment, by its length.
_RUNS = {2: struct.Struct(">6sH10s").unpack_from, 3: struct.Struct(">6sH11s").unpack_from}
_RUN_HEAD, _RUN_TAIL = struct.Struct(">HHH"), struct.Struct(">II")
_PLAIN = 0xFF7F  # all bits of flags and type but the marker


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
        self._plain = 0x8000 | payload_type  # flags and type of a packet without frills
        self._ssrc: int | None = None
        self.announced_ssrc: int | None = None
        self._others = 0
        self._wrong_types = 0
        self._timestamp = -1
        self._pts = 0
        self._transit: int | None = None
        self._jitter = 0
        self._measured_ns = -1
        self._report_lost = self._report_expected = 0
        self._last_sr = 0
        self._last_sr_ns = 0
        self._early_report: tuple[SenderInfo, int] | None = None
        self.packets = 0
        self.lost = 0
        self.malformed = 0
        self.last_media_ns = 0
        self.said_bye = False

    def interleaved(self, buffer: memoryview, position: int, stop: int, end: int) -> int:
        """Takes the interleaved frame buffer[position:stop] (complete, and believed) and those that simply continue it, up to `end`.

        Returns where the next frame begins.
        """
        output, depacketiser = self._output, self.depacketiser
        if depacketiser.fragment and (following := self._run(buffer, position, end)) > position:
            return following
        output.work += 2
        if stop - position < 16:
            self.malformed += 1
            return stop
        flags, number, timestamp, ssrc = _HEADERS(buffer, position + 4)
        sequence = self._sequence
        if number == sequence.expected and ssrc == self._ssrc and flags & _PLAIN == self._plain:
            sequence.run(number, 1)
            self._others = 0
            self.packets += 1
            self.last_media_ns = output.now_ns
            if timestamp != self._timestamp:
                self._new_timestamp(timestamp)
            depacketiser.packet(buffer, position + 16, stop, self._pts, flags & 0x80 != 0)
        else:
            self.packet(buffer, position + 4, stop)
        if depacketiser.fragment:
            return self._run(buffer, stop, end)
        return stop

    def _run(self, buffer: memoryview, position: int, end: int) -> int:
        """Takes the frames from `position` on that continue the NAL unit in progress; where the first that does not begins.

        The header of the first frame must be the one that such a packet has; those of the same length must then have the same.
        """
        depacketiser = self.depacketiser
        fragment = depacketiser.fragment
        size = len(fragment)
        skip = 16 + size
        if position + skip > end or buffer[position + skip - 1] != fragment[-1]:
            return position
        unpack = _RUNS[size]
        length = buffer[position + 2] << 8 | buffer[position + 3]
        step = 4 + length
        head = _RUN_HEAD.pack(0x2400 | self.channel, length, self._plain)
        tail = _RUN_TAIL.pack(self._timestamp & 0xFFFFFFFF, self._ssrc or 0) + fragment
        expected = first = self._sequence.expected
        append = depacketiser.pieces.append
        start, last = position, end - step
        if step < skip:
            return position
        while position <= last:
            found, number, behind = unpack(buffer, position)
            if number != expected or found != head or behind != tail:
                break
            following = position + step
            append(buffer[position + skip : following])
            position = following
            expected = expected + 1 & 0xFFFF
        if position > start:
            count = expected - first & 0xFFFF
            self._sequence.run(expected - 1 & 0xFFFF, count)
            self.packets += count
            self._output.work += count
            self.last_media_ns = self._output.now_ns
        return position

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
            self._new_timestamp(timestamp)
        self.depacketiser.packet(buffer, start, end, self._pts, b1 >= 128)

    def _new_timestamp(self, timestamp: int) -> None:
        self._timestamp = timestamp
        self._pts = self._unwrapper.unwrap(timestamp)
        if self._output.now_ns != self._measured_ns:
            self._measure(timestamp)
        if self._early_report is not None:
            self._sender_info(*self._early_report)

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
        self._plain = 0x8000 | payload_type
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
        """Interarrival jitter (6.4.1), of the first new timestamp of each sweep: the others' arrival is not known."""
        now_ns = self._measured_ns = self._output.now_ns
        transit = now_ns * self.clock_rate // 1_000_000_000 - timestamp
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
