"""Whatever a camera sends, a session ends in order or goes on: it never raises, and the sink hears a story that makes sense."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest

from recorderd.ingest.rate_cap import RateCap
from recorderd.ingest.session import Outcome, Session
from recorderd.model.ports import StreamSession
from recorderd.model.stream import TrackFormat
from tests.ingest.gather import Gather
from tests.rtsp.fuzzing import corpora, mutate
from tests.rtsp.packets import Server, client

SECOND = 1_000_000_000


class Mutating:
    """A wire whose camera answers, and then sends, with random changes."""

    peer = ("192.0.2.1", 554)
    local_address = "192.0.2.2"

    def __init__(self, server: Server, rng: random.Random, part: float) -> None:
        self._server, self._rng, self._part = server, rng, part
        self.inbox = b""

    def send(self, data: bytes) -> None:
        answer = self._server.answer(data)
        self.inbox += mutate(answer, self._rng) if self._rng.random() < self._part else answer

    def receive_into(self, view: memoryview) -> int:
        if not self.inbox:
            raise BlockingIOError
        count = self._rng.randrange(1, min(len(view), len(self.inbox)) + 1)
        view[:count] = self.inbox[:count]
        self.inbox = self.inbox[count:]
        return count

    def flush(self) -> None: ...

    def watch(self, readable) -> None: ...

    def unwatch(self) -> None: ...

    def close(self) -> None: ...


class Strict(Gather):
    """A sink that insists on the order of its calls."""

    is_open = False

    def session_opened(self, session: StreamSession) -> None:
        assert not self.is_open
        assert all(isinstance(form, TrackFormat) for form in session.formats)
        self.is_open = True
        super().session_opened(session)

    def units(self, session, units) -> None:
        assert self.is_open
        assert all(0 <= unit.track < len(session.formats) for unit in units)
        super().units(session, units)

    def session_closed(self, session, cause, detail) -> None:
        assert self.is_open
        self.is_open = False
        super().session_closed(session, cause, detail)


async def converse(seed: int) -> Strict:
    rng = random.Random(seed)
    sdp, _, media = rng.choice(corpora())
    wire, sink = Mutating(Server(sdp), rng, rng.choice((0.0, 0.1, 0.5))), Strict()
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    session = Session(
        client=client(user="u", password="p"),
        wire=wire,
        udp=None,
        sink=sink,
        next_session=lambda formats, at, times: StreamSession(
            uuid.UUID(int=1), len(sink.sessions) + 1, formats, at, times
        ),
        now_ns=SECOND,
        rate_cap=RateCap(),
        patience_s=20,
        done=done,
        on_probe=lambda: None,
        on_remark=lambda text: None,
        on_rate=lambda detail: None,
    )
    view = memoryview(bytearray(640 * 1024))
    now_ns, at, spoiled = SECOND, 0, rng.choice((0.02, 0.2, 1.0))
    session.begin(now_ns)
    for step in range(300):
        if done.done():
            break
        now_ns += rng.choice((45, 45, 45, 500, 3000)) * 1_000_000
        session.drain(view, now_ns)
        if step % 8 == 0:
            session.tick(now_ns)
        piece = media[at : at + rng.randrange(3000)]
        at = (at + len(piece)) % len(media)
        wire.inbox += mutate(piece, rng) if rng.random() < spoiled else piece
    if not done.done():
        session.stop(now_ns)
        session.drain(view, now_ns)
        session.tick(now_ns + 20 * SECOND)
    assert done.done() != sink.is_open
    return sink


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_mutated_sessions(start):
    delivered = 0
    for seed in range(start, start + 100):
        delivered += sum(map(len, asyncio.run(converse(seed)).tracks.values()))
    assert delivered > 1000  # the mutations leave enough to get through to the depacketisers
