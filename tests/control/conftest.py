"""A control server on a socket of the test's own, with one small interface that misbehaves on request."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import AccessRules
from recorderd.control.server import ControlServer, Limits


@dataclass
class Served:
    path: Path
    loop: asyncio.AbstractEventLoop
    server: ControlServer
    end: Callable[[], None]
    """Cancels the server and waits for its end; the test's own end does so too."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """`serve(bind, rules=..., limits=...)` runs a server in a thread until the test ends."""
    ends: list[Callable[[], None]] = []

    def start(
        bind: Callable[[Dispatch], None], rules: AccessRules | None = None, limits: Limits | None = None
    ) -> Served:
        table = Dispatch()
        bind(table)
        server = ControlServer(dispatch=table, rules=rules or AccessRules(None, None, os.geteuid()), limits=limits)
        path = tmp_path / f"control{len(ends)}"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        ready: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []
        up = threading.Event()

        async def main() -> None:
            task = asyncio.create_task(server.serve(listening))
            ready.append((asyncio.get_running_loop(), task))
            await asyncio.sleep(0)
            up.set()
            try:
                await task
            except asyncio.CancelledError:
                return

        thread = threading.Thread(target=asyncio.run, args=(main(),))
        thread.start()
        up.wait()
        loop, task = ready[0]

        def end() -> None:
            if thread.is_alive():
                loop.call_soon_threadsafe(task.cancel)
            thread.join(10)
            assert not thread.is_alive()

        ends.append(end)
        return Served(path, loop, server, end)

    yield start
    for end in ends:
        end()
