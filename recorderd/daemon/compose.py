"""Runs the recorder: orders start and stop of the parts, and talks to systemd.

Start: control socket first (alive and recording are two answers), then the ring, then streams. Stop: faces, streams, runs, last
commit, ring.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

from recorderd import __version__
from recorderd.control.peer import AccessRules
from recorderd.control.server import ControlServer, Limits
from recorderd.daemon import logs
from recorderd.daemon.parts import Parts, build, look_up
from recorderd.daemon.systemd import Notifier, leave_word, own_socket, passed_socket, watchdog_period_s
from recorderd.daemon.watchdog import feed
from recorderd.model.ports import Event
from recorderd.settings import Settings, SettingsError

log = logging.getLogger(__name__)
EX_UNAVAILABLE, EX_CONFIG = 69, 78
_STATUS_EVERY_S = 2.0
SYSTEM_READY = "tns1:Device/tnsaxis:Status/SystemReady"


async def run(settings: Settings) -> int:
    """Runs the recorder until SIGTERM or SIGINT. An exception that reaches this is a bug and ends the process with its traceback."""
    logs.set_up(settings.recorder.log)
    try:
        surroundings = look_up(settings)
    except SettingsError as error:
        print(f"recorderd: {error}", file=sys.stderr)
        return EX_CONFIG
    try:
        listening = passed_socket() or own_socket(Path(settings.paths.socket))
    except OSError as error:
        log.error("cannot listen on %s: %s", settings.paths.socket, error.strerror)
        return EX_UNAVAILABLE
    try:
        parts = build(settings, surroundings)
    except SettingsError as error:
        print(f"recorderd: {error}", file=sys.stderr)
        return EX_CONFIG
    leave_word(Path(settings.paths.socket), Path(settings.disk.path))
    log.info("recorderd %s starts", __version__)
    await _serve(settings, parts, listening)
    log.info("recorderd ended")
    return 0


async def _serve(settings: Settings, parts: Parts, listening: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    notifier = Notifier()
    limits = Limits(connections=settings.limits.connections)
    server = ControlServer(dispatch=parts.dispatch, rules=AccessRules.of_this_system(), limits=limits)
    async with asyncio.TaskGroup() as group:
        faces = group.create_task(server.serve(listening), name="control")
        beside = [
            group.create_task(_tell_status(parts, notifier), name="status line"),
            *(group.create_task(service.run(), name=service.name) for service in parts.beside),
        ]
        if (period_s := watchdog_period_s()) is not None:
            beside.append(group.create_task(feed(notifier, period_s, parts.vitals, parts.clock), name="watchdog"))
        group.create_task(parts.ring.run(), name="ring")
        streams = group.create_task(parts.ingest.run(), name="ingest")
        recordings = group.create_task(parts.recordings.run(), name="recordings")
        notifier.ready()
        parts.broker.publish(Event(SYSTEM_READY, (), (("ready", "1"),), "Changed"))
        await stop.wait()
        notifier.stopping()
        faces.cancel()
        await parts.ingest.close()
        recordings.cancel()
        await asyncio.wait([recordings])
        await parts.event_log.finish()
        await parts.ring.close()
        for task in (streams, *beside):
            task.cancel()
    parts.state.close()
    notifier.close()


async def _tell_status(parts: Parts, notifier: Notifier) -> None:
    while True:
        notifier.status(parts.system.verdict())
        await parts.clock.sleep(_STATUS_EVERY_S)
