"""Sends one session's media: paces packets, stamps them, applies the commanded faults, adds RTCP sender reports."""

from __future__ import annotations

import asyncio
import math
import random
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from hw.sim.camera.clock import CameraClock
from hw.sim.camera.faults import Faults, Quirks
from hw.sim.camera.rtp import INTERLEAVE_BYTES, Media, Unit, stamp
from hw.sim.camera.source import Playback, Source

MARKER = 0x80
MARKER_AT = 5  # in an interleaved packet
CHUNK_S = 0.001


@dataclass(slots=True)
class TrackState:
    """One track of one session. `timestamp` maps media time to RTP time, where drift alone never makes it jump."""

    media: Media
    channel: int  # interleaved channel of RTP; RTCP is one above
    ssrc: int
    sequence: int
    base: int  # RTP timestamp of `anchor`
    anchor: int = 0  # ticks
    ppm: float = 0.0
    next_report_at: float = 0.0  # loop time
    packets: int = 0
    octets: int = 0

    def timestamp(self, ticks: int) -> int:
        ahead = ticks - self.anchor
        return self.base + ahead + round(ahead * self.ppm * 1e-6)

    def drift(self, ppm: float, ticks: int) -> None:
        if ppm != self.ppm:
            self.base, self.anchor, self.ppm = self.timestamp(ticks), ticks, ppm


class Sender:
    """`write(packets, track, rtcp)` sends whole interleaved packets and returns False when the client does not keep up.

    `sent(track, timestamp)` is called after the last packet of each unit has been written, while no fault touches the packets.
    """

    def __init__(
        self,
        *,
        source: Source,
        tracks: dict[int, TrackState],
        faults: Faults,
        quirks: Quirks,
        clock: CameraClock,
        write: Callable[[memoryview, int, bool], bool],
        rng: random.Random,
        sent: Callable[[int, int], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._source, self._tracks, self._faults, self._quirks, self._clock = source, tracks, faults, quirks, clock
        self._write, self._random, self._sent = write, rng, sent
        self._playback: Playback | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._chunks: deque[tuple[memoryview, int, int | None]] = deque()
        self._chunk_at = 0.0
        self._held: tuple[bytes, int] | None = None  # a packet that the reordering fault keeps for after its successor
        self._waits_for_key = False  # after a stall an encoder starts anew
        self._has_video = any(state.media.kind == "video" for state in tracks.values())

    def start(self) -> None:
        if self._playback is None:
            self._playback = self._source.play(frozenset(self._tracks), self._wake)
        for state in self._tracks.values():
            state.next_report_at = self._loop.time() + self._quirks.first_report_s
        self._wake()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._playback is not None:
            self._playback.close()
            self._playback = None
        self._chunks.clear()

    def step_timestamps(self, seconds: float) -> None:
        """RTP time jumps, media goes on."""
        for state in self._tracks.values():
            state.base += round(seconds * state.media.clock_rate)

    def rtp_info(self, track: int) -> tuple[int, int]:
        """(sequence number, RTP timestamp) of the next packet, as far as it is known before playing."""
        state = self._tracks[track]
        return state.sequence & 0xFFFF, state.timestamp(0) & 0xFFFFFFFF

    def _wake(self) -> None:
        if self._timer is None and self._playback is not None:
            self._timer = self._loop.call_later(0, self._step)

    def _step(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._playback is not None:
            if self._chunks:
                if self._chunk_at > now:
                    due = self._chunk_at
                    break
                packets, track, ends = self._chunks.popleft()
                self._write(packets, track, False)
                if ends is not None and self._sent is not None:
                    self._sent(track, ends)
                self._chunk_at += CHUNK_S
                continue
            due = self._playback.due_s()
            if due > now:
                break
            self._send_unit(*self._playback.take(), now)
        else:
            return
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._step)

    def _send_unit(self, track: int, unit: Unit, ticks: int, now: float) -> None:
        faults, state = self._faults, self._tracks[track]
        if faults.stall or faults.no_media:
            self._waits_for_key = True
            return
        if self._waits_for_key and self._has_video:
            if state.media.kind != "video" or not unit.key:
                return
            self._waits_for_key = False
        state.drift(faults.drift_ppm.get(state.media.kind, 0.0), ticks)
        packets = stamp(
            unit, channel=state.channel, sequence=state.sequence, timestamp=state.timestamp(ticks), ssrc=state.ssrc
        )
        count = len(unit.starts)
        state.sequence += count
        state.packets += count
        state.octets += len(packets) - 16 * count
        if now >= state.next_report_at:
            state.next_report_at = now + self._quirks.report_interval_s
            self._report(track, state, now)
        view = memoryview(packets)
        if self._mangles():
            starts = [*unit.starts.tolist(), len(packets)]
            whole = [bytes(view[a:b]) for a, b in pairwise(starts)]
            self._chunks.extend((memoryview(packet), track, None) for packet in self._mangled(whole, track))
        else:
            step = self._quirks.packets_per_ms
            starts = [*unit.starts[::step].tolist(), len(packets)]
            self._chunks.extend((view[a:b], track, None) for a, b in pairwise(starts[:-1]))
            self._chunks.append((view[starts[-2] :], track, state.timestamp(ticks) & 0xFFFFFFFF))
        self._chunk_at = now

    def _mangles(self) -> bool:
        f = self._faults
        return bool(f.loss or f.lose or f.reorder or f.no_marker or f.cut or f.junk or self._held)

    def _mangled(self, packets: list[bytes], track: int) -> list[bytes]:
        """The packets of one unit as the commanded faults leave them."""
        faults, sent = self._faults, []
        video = self._tracks[track].media.kind == "video"
        for packet in packets:
            if faults.no_marker:
                packet = packet[:MARKER_AT] + bytes([packet[MARKER_AT] & ~MARKER]) + packet[MARKER_AT + 1 :]
            if video and faults.lose > 0:
                faults.lose -= 1
                continue
            if faults.loss and self._random.random() < faults.loss:
                continue
            if faults.cut > 0:
                faults.cut -= 1
                packet = packet[: len(packet) // 2]
            if faults.junk > 0:
                faults.junk -= 1
                packet = self._random.randbytes(self._random.randint(1, 40)).replace(b"$", b"#") + packet
            if self._held is not None and self._held[1] == track:
                sent += [packet, self._held[0]]
                self._held = None
            elif self._held is None and faults.reorder and self._random.random() < faults.reorder:
                self._held = packet, track
            else:
                sent.append(packet)
        return sent

    def _report(self, track: int, state: TrackState, now: float) -> None:
        """A sender report with a source description (RFC 3550, 6.4.1 and 6.5)."""
        mode = self._faults.reports
        if mode == "none" or self._playback is None:
            return
        ntp = {"zero": 0, "nonsense": self._random.getrandbits(64)}.get(mode, self._clock.now_ntp())
        ticks = round((now - self._playback.zero_at) * state.media.clock_rate)
        rtp = state.base if mode == "stale" else state.timestamp(ticks)
        report = struct.pack(
            ">BBHIQIII",
            0x80,
            200,
            6,
            state.ssrc,
            ntp,
            rtp & 0xFFFFFFFF,
            state.packets & 0xFFFFFFFF,
            state.octets & 0xFFFFFFFF,
        )
        name = b"camera"
        chunk = struct.pack(">IBB", state.ssrc, 1, len(name)) + name
        chunk += bytes(4 - len(chunk) % 4)
        report += struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk
        head = struct.pack(">BBH", 0x24, state.channel + 1, len(report))
        assert len(head) == INTERLEAVE_BYTES
        self._write(memoryview(head + report), track, True)
