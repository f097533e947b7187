"""A camera in memory, for simulated time: speaks RTSP through `ingest.wire.Wire` and misbehaves when told to. No socket, no thread."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from recorderd.ingest.connecting import NotConnected
from recorderd.ingest.transports import Opener
from recorderd.model.causes import GapCause
from recorderd.model.ports import StreamRequest
from recorderd.model.stream import Codec
from recorderd.rtsp.url import RtspUrl
from tests.media import clips
from tests.rtsp.packets import (
    AAC_SECTION,
    METADATA_SECTION,
    Server,
    Track,
    h264_payloads,
    nals_of,
    sender_report,
    video_section,
)


@functools.cache
def pictures() -> tuple[list[bytes], ...]:
    """RTP payloads of one GOP."""
    clip = clips.video(Codec.H264, frames=25, gop=25)
    return tuple(list(h264_payloads(nals_of(unit))) for unit in clip.units)


@dataclass
class Faults:
    refuse: GapCause | None = None  # connections fail so
    mute: bool = False  # no byte leaves the camera, connections stay
    stall: bool = False  # RTSP answers, no media
    unreachable: GapCause | None = None  # what a TCP probe finds
    status: int = 0  # DESCRIBE is answered so
    flood: int = 0  # extra bytes of garbage per picture
    drop_every: int = 0  # packets


class FakeWire:
    """The client's end."""

    def __init__(self, camera: FakeCamera) -> None:
        self._camera = camera
        self._inbox = bytearray()
        self._readable: Callable[[], None] | None = None
        self.ended: OSError | None = None
        self.finished = False
        self.closed = False
        self.track = Track(sequence=camera.sessions * 1000, start=camera.sessions * 77_777)
        self.audio = Track(channel=2, kind=97, ssrc=2)
        self.metadata = Track(channel=4, kind=98, ssrc=3)
        self.playing = False
        self.server = Server(camera.sdp, hook=self._hook)

    @property
    def peer(self) -> tuple[str, int]:
        return ("192.0.2.1", 554)

    @property
    def local_address(self) -> str:
        return "192.0.2.2"

    def _hook(self, method: str, headers: dict[str, str]) -> bytes | None:
        if method == "DESCRIBE" and self._camera.faults.status:
            return f"RTSP/1.0 {self._camera.faults.status} No\r\nCSeq: {headers['cseq']}\r\n\r\n".encode()
        if method == "PLAY":
            self.playing = True
        if method == "TEARDOWN":
            self.playing = False
        return None

    def deliver(self, data: bytes) -> None:
        if self.closed or self._camera.faults.mute:
            return
        self._inbox += data
        self._wake()

    def end(self, error: OSError | None = None) -> None:
        """The camera closes, in order or with an error."""
        self.ended, self.finished = error, True
        self.playing = False
        self._wake()

    def _wake(self) -> None:
        if self._readable is not None:
            asyncio.get_running_loop().call_soon(lambda: self._readable and self._readable())

    def receive_into(self, view: memoryview) -> int:
        if not self._inbox:
            if self.finished:
                if self.ended is not None:
                    raise self.ended
                return 0
            raise BlockingIOError
        count = min(len(view), len(self._inbox))
        view[:count] = self._inbox[:count]
        del self._inbox[:count]
        return count

    def send(self, data: bytes) -> None:
        if self.finished and self.ended is not None:
            raise BrokenPipeError(32, "Broken pipe")
        answer = self.server.answer(data)
        if answer:
            self.deliver(answer)

    def flush(self) -> None: ...

    def watch(self, readable: Callable[[], None]) -> None:
        self._readable = readable
        if self._inbox:
            self._wake()

    def unwatch(self) -> None:
        self._readable = None

    def close(self) -> None:
        self.closed = True
        self.playing = False
        self._camera.wires.discard(self)


@dataclass(eq=False)
class FakeCamera:
    """Sends `fps` pictures a second to every session while `run` does. `now_ns` is the simulated boot time."""

    now_ns: Callable[[], int]
    fps: float = 25.0
    audio: bool = False
    metadata: bool = False
    faults: Faults = field(default_factory=Faults)
    wires: set[FakeWire] = field(default_factory=set)
    sessions: int = 0
    attempts: list[int] = field(default_factory=list)  # boot times of connections
    most_wires: int = 0
    sent: int = 0
    probes: int = 0
    clock_ppm: float = 0.0
    jump_ticks: int = 0

    description: str = ""  # instead of one of what it sends

    @property
    def sdp(self) -> str:
        if self.description:
            return self.description
        clip = clips.video(Codec.H264, frames=25, gop=25)
        return "v=0\r\n" + video_section(clip) + AAC_SECTION * self.audio + METADATA_SECTION * self.metadata

    def open_with(self, request: StreamRequest, url: RtspUrl) -> Opener:
        return Opener(self._open, encrypted=False)

    async def _open(self, authenticator: object) -> FakeWire:
        self.attempts.append(self.now_ns())
        if self.faults.refuse is not None:
            raise NotConnected(self.faults.refuse, "as told")
        self.sessions += 1
        wire = FakeWire(self)
        self.wires.add(wire)
        self.most_wires = max(self.most_wires, len(self.wires))
        return wire

    async def reach(self, host: str, port: int) -> GapCause | None:
        self.probes += 1
        return self.faults.unreachable

    def end_all(self, error: OSError | None = None) -> None:
        for wire in list(self.wires):
            wire.end(error)

    async def run(self) -> None:
        number = 0
        began_ns = self.now_ns()
        while True:
            await asyncio.sleep(1 / self.fps)
            ticks = round((self.now_ns() - began_ns) * 9e-5 * (1 + self.clock_ppm * 1e-6)) + self.jump_ticks
            for wire in list(self.wires):
                if wire.playing and not self.faults.stall:
                    self._send(wire, number, ticks)
            number += 1
            self.sent += 1

    def _send(self, wire: FakeWire, number: int, ticks: int) -> None:
        frames = wire.track.frames(ticks, pictures()[number % 25])
        if self.faults.drop_every and number % self.faults.drop_every == 0:
            frames = frames[:-1]
        if number % 125 == 0:
            seconds = self.now_ns() // 1_000_000_000
            frames.append(b"$\x01\x00\x1c" + sender_report(seconds << 32, wire.track.start + ticks))
        if self.audio:
            frames += wire.audio.frames(ticks * 16 // 90, [b"\x00\x10" + (20 << 3).to_bytes(2, "big") + bytes(20)])
        if self.metadata and number % 25 == 0:
            frames += wire.metadata.frames(ticks, [b"<tt:MetadataStream/>"])
        wire.deliver(b"".join(frames) + b"\xa5" * self.faults.flood)
