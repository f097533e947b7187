"""The bytes that come from the camera over one connection: RTP frames to their receivers, RTSP messages to the client.

Sans-IO. What the messages mean is `client.py`'s matter; here is where each begins and ends, what is done about bytes that are neither, and
how much of it all one call takes on. Nearly all frames take the short way at the head of `receive`; everything that is not plainly a whole
RTP frame of a known channel with another frame behind it is judged by the rest.
"""

from __future__ import annotations

import re
import struct

from recorderd.model.causes import GapCause
from recorderd.rtsp.framing import DOLLAR, FrameFinder, padding_end, starts_message
from recorderd.rtsp.messages import MAX_HEAD_BYTES, MessageError, Request, Response, head_end, parse_head
from recorderd.rtsp.output import Output
from recorderd.rtsp.receiver import Receiver
from recorderd.rtsp.transitions import Answer, State, classify

MAX_GARBAGE_BYTES = 1024 * 1024  # more than there was good media since
MAX_WORK = 3000  # of `Output.work` in one call of `receive`: two seconds of 16 Mbit/s. Others must not wait longer
STRANGE_WORK = 6  # a stretch of bytes that are no packet
MESSAGE_WORK = 50
RUN_BYTES = 64 * 1024  # of packets that continue one another, before the work is looked at again
_BEFORE_MEDIA = frozenset({State.IDLE, State.OPTIONS, State.DESCRIBE, State.SETUP})
_CLOSED, _PLAYING = State.CLOSED, State.PLAYING
_FRAME_HEAD = struct.Struct(">HHB").unpack_from  # $ and channel, length, the first byte of what is framed


class Inbound:
    """Base of the client, which has the hooks of the first section."""

    def __init__(self) -> None:
        self._state = State.IDLE
        self._output = Output()
        self._rtp: list[Receiver | None] = [None] * 256  # by channel
        self._by_head: dict[int, Receiver] = {}  # the same, by the first two bytes of their frames
        self._rtcp: list[Receiver | None] = [None] * 256
        self._finder = FrameFinder((), self._plausible)
        self._body_awaited = False
        self._body_overdue = False
        self._garbage = 0
        self._last_byte_ns = 0
        self._now_ns = 0
        self.rest = b""  # the start of something that has not arrived whole, or what is left to do
        self.behind = False  # the last call of `receive` had more than it takes on: call it again without reading more
        self.frames_found_again = 0

    # --- what the client does ----------------------------------------------------------------------------

    def _asked(self, request: Request) -> None:
        """The camera's own request."""
        raise NotImplementedError

    def _answered(self, response: Response) -> None:
        raise NotImplementedError

    def _open(self) -> None:
        """Media came before the answer to PLAY."""
        raise NotImplementedError

    def _report(self, receiver: Receiver, data: memoryview) -> None:
        """An RTCP packet of a receiver's source."""
        raise NotImplementedError

    def _end(self, cause: GapCause, detail: str, *, stopped: bool = False) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Copies what depacketisers still need of the memory they were shown."""
        raise NotImplementedError

    # --- bytes in ----------------------------------------------------------------------------------------

    def feed(self, data: bytes, now_ns: int) -> None:
        """`receive` for callers that have no buffer of their own, and time."""
        whole = self.rest + data
        self.receive(memoryview(whole), len(whole), now_ns)
        while self.behind:
            self.receive(memoryview(self.rest), len(self.rest), now_ns)

    def receive(self, buffer: memoryview, end: int, now_ns: int) -> None:
        """Takes buffer[:end], which begins with `rest` as it was. The buffer may be reused as soon as this returns.

        The work is bounded by `MAX_WORK`, whatever the bytes are. Unless that leaves the client `behind`, `rest` never exceeds 64 KiB for
        a frame, or `MAX_HEAD_BYTES` plus `MAX_BODY_BYTES` for a message.
        """
        self._now(now_ns)
        if end > len(self.rest):
            self._last_byte_ns = now_ns
        position = 0
        rtp, rtcp, by_head = self._rtp, self._rtcp, self._by_head
        output = self._output
        output.work, self.behind = 0, False
        while position < end and self._state is not _CLOSED:
            if output.work > MAX_WORK:
                self.behind = True
                break
            before = position
            if self._state is _PLAYING and not self._garbage:
                # What nearly all frames are: whole, RTP of a known channel, another frame behind them. The rest is judged below.
                while end - position >= 16 and output.work <= MAX_WORK:
                    head, length, first = _FRAME_HEAD(buffer, position)
                    stop = position + 4 + length
                    receiver = by_head.get(head)
                    if (
                        receiver is None
                        or first & 0xC0 != 0x80
                        or not (buffer[stop] == DOLLAR if stop < end else stop == end)
                    ):
                        break
                    position = receiver.interleaved(buffer, position, stop, min(end, stop + RUN_BYTES))
                if position > before:
                    continue
            if buffer[position] == DOLLAR:
                if end - position < 5:
                    break
                channel = buffer[position + 1]
                stop = position + 4 + (buffer[position + 2] << 8 | buffer[position + 3])
                receiver = rtp[channel]
                if (
                    (receiver is None and rtcp[channel] is None)
                    or buffer[position + 4] & 0xC0 != 0x80
                    or (
                        stop < end
                        and buffer[stop] != DOLLAR
                        and not self._something_starts(buffer, stop, end)
                        and not self._whole(buffer, position, stop, end)
                    )
                ):
                    position = self._strange_frame(buffer, position, stop, end)
                elif stop > end:
                    break
                elif self._state in _BEFORE_MEDIA:
                    position = self._skip(position, stop)  # of a session that the camera should have forgotten
                elif receiver is not None:
                    if self._garbage:
                        self._garbage = max(0, self._garbage - (stop - position))
                    position = receiver.interleaved(buffer, position, stop, min(end, stop + RUN_BYTES))
                    if self._state is State.PLAY:
                        self._open()
                else:
                    self._control(channel, buffer[position + 4 : stop])
                    output.work += STRANGE_WORK + (stop - position) // 32
                    position = stop
            else:
                position = self._text(buffer, position, end)
            if position == before:
                break
        self.settle()
        self.rest = b"" if self._state is State.CLOSED else bytes(buffer[position:end])

    def _now(self, now_ns: int) -> None:
        self._now_ns = self._output.now_ns = now_ns

    def _control(self, channel: int, data: memoryview) -> None:
        receiver = self._rtcp[channel]
        if receiver is not None:
            self._report(receiver, data)

    # --- framing -----------------------------------------------------------------------------------------

    def _something_starts(self, buffer: memoryview, position: int, end: int) -> bool:
        return buffer[position] in b"\r\n" or starts_message(buffer, position, end)

    def _whole(self, buffer: memoryview, position: int, stop: int, end: int) -> bool:
        """Whether a frame is to be believed although nothing known follows it: it is one of its source, and no other begins inside it, as
        one would had the camera written only half of it."""
        self._output.work += STRANGE_WORK + (stop - position) // 32
        if not self._plausible(buffer[position + 1], buffer, position + 4, stop):
            return False
        end = min(end, stop + 16)  # as much as it takes to judge one that begins just before `stop`
        return self._finder.find(buffer, position + 1, end) >= min(stop, end - 9)

    def _strange_frame(self, buffer: memoryview, position: int, stop: int, end: int) -> int:
        """A `$` that begins nothing known. A frame of a foreign channel or with nonsense in it is skipped when what follows it makes
        sense; otherwise the framing is lost."""
        if stop < end and (buffer[stop] == DOLLAR or self._something_starts(buffer, stop, end)):
            return self._skip(position, stop)
        if stop == end:
            return self._skip(position, stop)
        if stop > end and self._state is not State.PLAYING:
            return position
        return self._search(buffer, position + 1, end)

    def _search(self, buffer: memoryview, position: int, end: int) -> int:
        found = self._finder.find(buffer, position, end)
        self.frames_found_again += 1
        self._output.remark("the camera's RTSP stream lost its framing; what was lost is marked")
        return self._skip(position - 1, found)

    def _skip(self, position: int, following: int) -> int:
        self._output.work += STRANGE_WORK
        self._garbage += following - position
        if self._garbage > MAX_GARBAGE_BYTES:
            self._end(GapCause.CAMERA_ERROR, "the camera's RTSP stream makes no sense")
        return following

    def _plausible(self, channel: int, buffer: memoryview, start: int, end: int) -> bool:
        receiver = self._rtp[channel]
        if receiver is not None:
            return receiver.plausible(buffer, start, end)
        return end - start >= 8 and 200 <= buffer[start + 1] <= 204 and (end - start) % 4 == 0

    # --- messages ----------------------------------------------------------------------------------------

    def _text(self, buffer: memoryview, position: int, end: int) -> int:
        """What is no frame: a message, or something lost. Returns `position` while more has to arrive."""
        if buffer[position] in b"\r\n\x00 ":
            return self._skip(position, padding_end(buffer, position, end))
        if not starts_message(buffer, position, end):
            return self._search(buffer, position + 1, end)
        head = bytes(buffer[position : min(end, position + MAX_HEAD_BYTES)])
        length = head_end(head)
        if length < 0:
            return position if len(head) < MAX_HEAD_BYTES else self._search(buffer, position + 1, end)
        try:
            message, body_bytes = parse_head(head[:length])
        except MessageError as error:
            self._output.remark(f"a message that is no RTSP was dropped: {error}")
            return self._skip(position, position + length)
        body_at = position + length
        body_end = body_at + body_bytes
        if isinstance(message, Response) and self._state is State.DESCRIBE and classify(message.status) is Answer.OK:
            if body_end <= end and ("Content-Length" in message.headers or self._body_overdue):
                # A description longer than its Content-Length says goes on as text; nothing else may follow before the next request.
                following = re.search(rb"RTSP/|\$", buffer[body_end:end])
                body_end = end if following is None else body_end + following.start()
            elif not self._body_overdue:
                self._body_awaited = True
                return position
            else:
                body_end = end
        elif body_end > end and not self._body_overdue:
            self._body_awaited = True
            return position
        body_end = min(body_end, end)
        self._body_awaited = self._body_overdue = False
        self._garbage = 0
        self._output.work += MESSAGE_WORK
        body = bytes(buffer[body_at:body_end])
        if isinstance(message, Response):
            self._answered(Response(message.status, message.reason, message.headers, body))
        else:
            self._asked(Request(message.method, message.url, message.headers, body))
        return body_end
