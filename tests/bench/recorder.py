"""Our side of the ingest benchmark: the daemon itself, control socket, pre-buffers, ring and all, with one device for each camera.

Run as `python -m tests.bench.recorder FOLDER URL...`: formats a ring in FOLDER, starts the daemon in this process, adds the devices with
`recorderctl`, prints one line when all of them are recorded, and after SIGTERM one JSON line with what the ring did.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recorderd.daemon import compose
from recorderd.daemon.parts import Parts
from recorderd.ingest.prebuffer import PreBuffer
from recorderd.ingest.service import Ingest
from recorderd.model.clock import SystemClock
from recorderd.model.ports import StreamRequest, StreamSession, StreamSink
from recorderd.model.stream import AccessUnit
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring
from recorderd.settings import load

SLOT_BYTES = 8 << 20
SLOTS = 256
PREBUFFER_S = 3
"""Of GOPs of 2 s what the least that a pre-buffer holds, the two newest closed ones, always covers."""


class Watched:
    """Stands between ingest and the recorder and notes when each picture of the first camera was complete."""

    def __init__(self, inner: StreamSink, complete: dict[int, int]) -> None:
        self._inner, self._complete = inner, complete

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._complete |= {unit.pts & 0xFFFFFFFF: now for unit in units if unit.track == 0}
        self._inner.units(session, units)


def watch(url: str, complete: dict[int, int]) -> None:
    """Puts `Watched` in front of the sink of the receiver that plays `url`, once."""
    start = Ingest.start
    sinks: dict[uuid.UUID, Watched] = {}

    def watched_start(self: Ingest, request: StreamRequest, sink: StreamSink) -> None:
        if request.uri == url:
            sink = sinks.setdefault(request.receiver, Watched(sink, complete))
        start(self, request, sink)

    Ingest.start = watched_start  # type: ignore[method-assign]


def capture_parts(found: Callable[[Parts], None]) -> None:
    """Has `found` called with the parts that the daemon builds."""
    build = compose.build

    def captured(*arguments: Any) -> Parts:
        parts = build(*arguments)
        found(parts)
        return parts

    compose.build = captured


def held_bytes(parts: Parts) -> int:
    """Media in the pre-buffers."""
    views = [parts.ingest.prebuffer(receiver.id) for receiver in parts.recordings.objects.tables["receiver"].values()]
    return sum(view.size_bytes for view in views if isinstance(view, PreBuffer))


async def format_folder(ring: Path) -> None:
    clock = SystemClock()
    device, calls = FileDevice(ring), DiskThreads(clock=clock, name="format")
    await format_ring(device, calls, formatted_ns=clock.realtime_ns(), slot_bytes=SLOT_BYTES, slots=SLOTS)
    device.release()
    calls.close()


async def add_devices(socket: Path, urls: Sequence[str], parts: list[Parts]) -> None:
    """Adds every camera as a person would, once to record on motion, so that it has a pre-buffer, and once to record always.

    Says when media of all of them is in the ring.
    """
    while not socket.exists():  # noqa: ASYNC110, ASYNC240 - made by the daemon beside us
        await asyncio.sleep(0.05)
    count = len(urls)
    for number, url in enumerate(urls, 1):
        await _ctl(
            socket, "devices", "add", url, "--id", f"camera{number}", "--on-motion", "--before", str(PREBUFFER_S)
        )
        await _ctl(socket, "recordings", "create", "--name", f"camera {number}")
    listed = [recording.token for recording in parts[0].recordings.objects.tables["recording"].values()]
    for number, token in enumerate(listed[1::2], 1):
        await _ctl(socket, "jobs", "create", token, "--receiver", f"receiver-{number}")
    assert len(listed) == 2 * count
    while parts[0].ring.status().statistics.fragments < count:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    print("recording", flush=True)


async def _ctl(socket: Path, *words: str) -> None:
    command = [sys.executable, "-m", "recorderd.ctl.main", "--socket", str(socket), *words]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait():
        raise SystemExit(f"recorderctl {' '.join(words)} failed")


async def main(folder: Path, urls: Sequence[str]) -> None:
    (folder / "ring").mkdir()
    await format_folder(folder / "ring")
    config = folder / "recorderd.toml"
    config.write_text(
        f'[recorder]\nlog = "warning"\n[paths]\nsocket = "{folder}/control"\nstate = "{folder}/state"\n'
        f'[disk]\npath = "{folder}/ring"\n'
    )
    complete: dict[int, int] = {}
    parts: list[Parts] = []
    told: dict[str, Any] = {}

    def found(built: Parts) -> None:
        parts.append(built)
        close = built.ring.close

        async def closing() -> None:
            told.update(asdict(built.ring.status().statistics))
            await close()

        leave = built.ingest.close

        async def leaving() -> None:
            told["held_bytes"] = held_bytes(built)
            await leave()

        built.ring.close = closing  # type: ignore[method-assign]
        built.ingest.close = leaving  # type: ignore[method-assign]

    watch(urls[0], complete)
    capture_parts(found)
    adding = asyncio.get_running_loop().create_task(add_devices(folder / "control", urls, parts))
    await compose.run(load(config))
    await adding
    print(json.dumps(told | {"complete": complete}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
