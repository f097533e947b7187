"""One simulated camera: a source of media behind an RTSP port, with its quirks, faults, clock and credentials."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

from hw.sim.camera.authentication import Authenticator, Credentials
from hw.sim.camera.clock import CameraClock
from hw.sim.camera.connection import Connection
from hw.sim.camera.faults import Faults, Quirks
from hw.sim.camera.source import Source


class Camera:
    """Serves while it is entered (`async with`), on the running loop. Every camera has a port of its own, so that it can refuse alone.

    `source` may be exchanged while nobody plays. `faults` may be changed at any time. `path` is what DESCRIBE must ask for; a query
    is ignored, as stream options are the camera's business.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str = "camera",
        path: str = "/stream",
        host: str = "127.0.0.1",
        port: int = 0,
        credentials: Credentials | None = None,
        quirks: Quirks | None = None,
        clock: CameraClock | None = None,
        seed: int | None = None,
    ) -> None:
        self.source, self.name, self.path, self.host = source, name, path, host
        self.quirks, self.faults, self.clock = quirks or Quirks(), Faults(), clock or CameraClock()
        self.random = random.Random(seed)
        self.authenticator = Authenticator(credentials) if credentials else None
        self.unit_sent: Callable[[int, int], None] | None = (
            None  # (track, RTP timestamp), of sessions that begin after it was set
        )
        self.connections: set[Connection] = set()
        self.accepted = 0  # connections so far
        self.requests: dict[str, int] = {}  # by method, so far
        self.timed_out = 0  # sessions that ended for want of a sign of life
        self._port = port
        self._waiting: set[asyncio.Event] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_listening()
        self.reset()
        await self.until(lambda: not self.connections)

    @property
    def port(self) -> int:
        """The TCP port; the same again after `accept` follows `refuse`."""
        return self._port

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"rtsp://{self.host}:{self._port}{self.path}"

    @property
    def url_with_credentials(self) -> str:
        if self.authenticator is None:
            return self.url
        who = self.authenticator.credentials
        userinfo = f"{quote(who.username, safe='')}:{quote(who.password, safe='')}"
        return f"rtsp://{userinfo}@{self.host}:{self._port}{self.path}"

    def serves(self, url: str) -> bool:
        return urlsplit(url).path.rstrip("/") == self.path.rstrip("/")

    @property
    def playing(self) -> int:
        """Sessions that play."""
        return sum(connection.playing for connection in self.connections)

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Waits until `predicate` holds; asked again after each connection, request, start and end of a session."""
        happened = asyncio.Event()
        self._waiting.add(happened)
        try:
            while not predicate():
                await happened.wait()
                happened.clear()
        finally:
            self._waiting.discard(happened)

    def changed(self) -> None:
        """Something happened that `until` may wait for."""
        for happened in self._waiting:
            happened.set()

    # --- what can be done to it

    def refuse(self) -> None:
        """New connections are refused from now on; those that are open stay."""
        self._stop_listening()

    async def accept(self) -> None:
        await self._listen()

    def reset(self) -> None:
        """Every connection ends with a TCP reset."""
        for connection in list(self.connections):
            connection.reset()

    def close(self) -> None:
        """Every connection ends in good order."""
        for connection in list(self.connections):
            connection.close()

    def step_timestamps(self, seconds: float) -> None:
        """RTP time of every session jumps."""
        for connection in self.connections:
            if connection.sender is not None:
                connection.sender.step_timestamps(seconds)

    def set_credentials(self, credentials: Credentials | None) -> None:
        """From the next request on."""
        self.authenticator = Authenticator(credentials) if credentials else None

    async def _listen(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Connection(self), self.host, self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
