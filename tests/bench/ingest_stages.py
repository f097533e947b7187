"""What ingest and recording cost without a kernel under them: cameras out of memory, in simulated time, in this process.

The same media as in `ingest`, cut by the sweeps as there, through the real sessions, pre-buffers, engine and fragmenter; fragments are
copied once and forgotten. No system call and no other process is in the figures, so that they repeat within a few per cent on a busy
machine: the least of some rounds is given. What is left of `ingest`'s figure is the kernel, the ring, and caches that are colder.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

from hw.sim.camera import SoundSettings, VideoSettings, sound_clip, video_clip
from hw.sim.camera.clip import ClipTrack
from hw.sim.camera.rtp import stamp
from hw.sim.camera.sdp import describe
from recorderd.ingest.service import Ingest
from recorderd.ingest.transports import Opener
from recorderd.model.job import EventCondition, EventFilter
from recorderd.model.media_ram import MediaRam
from recorderd.model.ports import Anchor, DurableSink, FragmentBody, StreamRequest, StreamSession, WriterSpec
from recorderd.model.stream import AccessUnit
from tests.bench.cameras import GOP_S, MEDIA_BPS
from tests.bench.place import Place
from tests.bench.row import Row
from tests.recording.fakes import FakeRun
from tests.recording.house import House
from tests.rtsp.packets import Server
from tests.simulated_time import FakeClock, run_simulated

CAMERAS = 16
SETTLE_S = 6
WINDOW_S = 24
ROUNDS = 3
PREBUFFER_S = 3
PACKETS_PER_MS = 3  # as on a wire of 100 Mbit/s
PHASE_NS = 13_700_000  # cameras do not send in step
_NS = 1_000_000_000


@dataclass(frozen=True)
class Stream:
    """What a camera sends: `data[:ends[i]]` has been sent at `times_ns[i]` after PLAY."""

    sdp: str
    data: memoryview
    times_ns: list[int]
    ends: list[int]


def stream(tracks: Sequence[ClipTrack], seconds: float) -> Stream:
    bursts = []
    for index, track in enumerate(tracks):
        sequence, turn, free_ns = 1000 * index, 0, 0
        while turn * track.loop_s < seconds:
            for unit in track.units:
                ticks = unit.ticks + turn * track.loop_ticks
                packets = bytes(stamp(unit, channel=2 * index, sequence=sequence, timestamp=ticks, ssrc=index + 1))
                sequence += len(unit.starts)
                at_ns = max(free_ns, round((unit.due_s + turn * track.loop_s) * _NS))
                ends = [*unit.starts[PACKETS_PER_MS::PACKETS_PER_MS].tolist(), len(packets)]
                bursts += [
                    (at_ns + n * 1_000_000, packets[begin:end]) for n, (begin, end) in enumerate(pairwise([0, *ends]))
                ]
                free_ns = at_ns + len(ends) * 1_000_000
            turn += 1
    bursts.sort(key=lambda burst: burst[0])
    return Stream(
        describe([track.media for track in tracks], address="192.0.2.1"),
        memoryview(b"".join(data for _, data in bursts)),
        [at_ns for at_ns, _ in bursts],
        list(accumulate(len(data) for _, data in bursts)),
    )


class PlayedWire:
    """`ingest.wire.Wire`: answers requests, and from PLAY on gives out what has been sent by now."""

    peer = ("192.0.2.1", 554)
    local_address = "192.0.2.2"

    def __init__(self, clock: FakeClock, sent: Stream, phase_ns: int) -> None:
        self._clock = clock
        self._sent = sent
        self._phase_ns = phase_ns
        self._server = Server(sent.sdp)
        self._answers = b""
        self._at = 0
        self._zero_ns: int | None = None
        self._readable: Callable[[], None] | None = None

    def receive_into(self, view: memoryview) -> int:
        if self._answers:
            count = len(self._answers)
            view[:count] = self._answers
            self._answers = b""
            return count
        if self._zero_ns is None:
            raise BlockingIOError
        sent, at = self._sent, self._at
        done = bisect_right(sent.times_ns, self._clock.boottime_ns() - self._zero_ns)
        end = min(sent.ends[done - 1], at + len(view)) if done else 0
        if end == at:
            raise BlockingIOError
        view[: end - at] = sent.data[at:end]
        self._at = end
        return end - at

    def send(self, data: bytes) -> None:
        self._answers += self._server.answer(data)
        if self._zero_ns is None and self._server.seen[-1][0] == "PLAY":
            self._zero_ns = self._clock.boottime_ns() + self._phase_ns
        if self._readable is not None and self._answers:
            asyncio.get_running_loop().call_soon(self._readable)

    def flush(self) -> None: ...

    def watch(self, readable: Callable[[], None]) -> None:
        self._readable = readable

    def unwatch(self) -> None:
        self._readable = None

    def close(self) -> None:
        self._readable = None


class Nothing:
    """A sink that wants nothing: `ports.StreamSink`."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None: ...


@dataclass
class Forgetful:
    """A `ports.MediaStore` that copies fragments, says they are durable at the next tick, and forgets them."""

    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(8 << 20)))
    runs: dict[int, FakeRun] = field(default_factory=dict)
    feeders: list[Callable[[int], None]] = field(default_factory=list)
    queue: list[tuple[Any, FragmentBody, int]] = field(default_factory=list)
    media_bytes: int = 0

    def open_writer(self, spec: WriterSpec, sink: DurableSink) -> Any:
        return _Writer(self, spec, sink)

    def start_run(self, *_: object) -> int:
        return 1

    def stop_run(self, run: int, at_ns: int) -> None: ...

    def note_gap(self, *_: object) -> None: ...

    def before_tick(self, feeder: Callable[[int], None]) -> None:
        self.feeders.append(feeder)

    def tick(self, now_ns: int) -> None:
        for feeder in self.feeders:
            feeder(now_ns)
        queue, self.queue = self.queue, []
        for writer, fragment, to_ns in queue:
            fragment.write_into(self.buffer[: fragment.size], 1, [0, 0])
            self.media_bytes += fragment.size
            writer.sink.durable(writer, to_ns, 1)


@dataclass
class _Writer:
    store: Forgetful
    spec: WriterSpec
    sink: DurableSink

    def append(
        self,
        fragment: FragmentBody,
        run: int,
        anchors: Sequence[Anchor],
        arrived_from_ns: int,
        arrived_to_ns: int,
        *,
        urgent: bool = False,
    ) -> None:
        self.store.queue.append((self, fragment, arrived_to_ns))

    def close(self) -> None: ...


def media() -> tuple[ClipTrack, ClipTrack]:
    """What the cameras of `ingest` send."""
    video = VideoSettings("h264", 1920, 1080, Fraction(30), gop=30 * GOP_S, bitrate_bps=MEDIA_BPS, texture=0.12)
    return video_clip(video, 60 * GOP_S), sound_clip(SoundSettings("aac", 48_000, 1, 64_000), 375)


def cost(sent: Stream, count: int, *, seconds: int, prebuffer: bool, recorded: bool) -> float:
    """CPU seconds of this process for `seconds` of `count` cameras."""
    return run_simulated(lambda clock: _cost(clock, sent, count, seconds, prebuffer=prebuffer, recorded=recorded))


async def _cost(clock: FakeClock, sent: Stream, count: int, seconds: int, *, prebuffer: bool, recorded: bool) -> float:
    wires: list[PlayedWire] = []

    async def connect(_: object) -> PlayedWire:
        wires.append(PlayedWire(clock, sent, len(wires) * PHASE_NS))
        return wires[-1]

    store = Forgetful()
    ingest = Ingest(clock=clock, media_ram=MediaRam(1 << 30), open_with=lambda *_: Opener(connect, encrypted=False))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(ingest.run())
        if recorded:
            house = House(clock, store=store, source=ingest)
            for number in range(count):
                _record(house, number, prebuffer=prebuffer)
        else:
            for number in range(count):
                request = StreamRequest(uuid.UUID(int=number), f"camera{number}", "rtsp://192.0.2.1/")
                ingest.start(request, Nothing())  # type: ignore[arg-type]
        for _ in range(SETTLE_S):
            await clock.sleep(1)
            store.tick(clock.boottime_ns())
        began, stored = time.process_time(), store.media_bytes
        for _ in range(seconds):
            await clock.sleep(1)
            store.tick(clock.boottime_ns())
        took = time.process_time() - began
        if recorded and store.media_bytes - stored < 0.8 * MEDIA_BPS / 8 * seconds * count:
            raise RuntimeError("not everything was recorded")
        await ingest.close()
        running.cancel()
    return took


def _record(house: House, number: int, *, prebuffer: bool) -> None:
    """As `recorder` adds a camera: always recorded, and once more on motion, which never comes."""
    house.recording(f"always{number}")
    house.receiver(f"r{number}")
    tracks = [(f"r{number}", ("VIDEO001", "AUDIO001"))]
    house.job(f"always{number}", f"always{number}", tracks)
    if prebuffer:
        house.recording(f"motion{number}")
        motion = EventFilter(
            conditions=(EventCondition(topic="tns1:RuleEngine/CellMotionDetector/Motion"),),
            before_ms=PREBUFFER_S * 1000,
        )
        house.job(f"motion{number}", f"motion{number}", tracks, event_filter=motion)


def rows(where: Place) -> Iterator[Row]:
    seconds = round(where.seconds(WINDOW_S))
    sent = stream(media(), SETTLE_S + WINDOW_S + 4)
    for what, prebuffer, recorded in (
        ("RTSP to access units", False, False),
        ("and to fragments", False, True),
        ("and pre-buffers", True, True),
    ):
        least = min(cost(sent, CAMERAS, seconds=seconds, prebuffer=prebuffer, recorded=recorded) for _ in range(ROUNDS))
        yield Row(
            f"in process: {what}, {CAMERAS} cameras",
            f"{least * 60 / seconds / CAMERAS:.4f} CPU-s/camera-min",
            note="user time, no kernel",
        )
