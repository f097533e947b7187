"""Composition root: builds the parts, wires them through `model.ports`, and orders start and stop.

Start: control socket first (alive and recording are two answers), then the ring, then streams. Stop: faces, services, last commit, ring.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from pathlib import Path

from recorderd import __version__
from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import AccessRules
from recorderd.control.server import ControlServer, Limits
from recorderd.daemon import logs
from recorderd.daemon.systemd import Notifier, own_socket, passed_socket, watchdog_period_s
from recorderd.daemon.watchdog import LoopProbe, Vital, feed
from recorderd.model.clock import SystemClock
from recorderd.settings import Settings

log = logging.getLogger(__name__)
EX_UNAVAILABLE = 69


async def run(settings: Settings) -> int:
    """Runs the recorder until SIGTERM or SIGINT. An exception that reaches this is a bug and ends the process with its traceback."""
    logs.set_up(settings.recorder.log)
    try:
        listening = passed_socket() or own_socket(Path(settings.paths.socket))
    except OSError as error:
        log.error("cannot listen on %s: %s", settings.paths.socket, error.strerror)
        return EX_UNAVAILABLE
    log.info("recorderd %s starts", __version__)
    await _serve(settings, listening)
    log.info("recorderd ended")
    return 0


async def _serve(settings: Settings, listening: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = SystemClock()
    notifier = Notifier()
    probe = LoopProbe(clock=clock)
    vitals: list[Vital] = []
    table = Dispatch()
    server = ControlServer(
        dispatch=table,
        rules=AccessRules.of_this_system(),
        limits=Limits(connections=settings.limits.connections),
    )
    async with asyncio.TaskGroup() as services:
        background = [services.create_task(probe.run(), name="loop probe")]
        if (period_s := watchdog_period_s()) is not None:
            background.append(services.create_task(feed(notifier, period_s, vitals, clock), name="watchdog"))
        faces = services.create_task(server.serve(listening), name="control")
        notifier.ready()
        await stop.wait()
        notifier.stopping()
        faces.cancel()
        for task in background:
            task.cancel()
