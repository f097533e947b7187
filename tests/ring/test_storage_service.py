"""A disk from blank to recording, checked, unmounted, mended and mounted again: the service, the helper, the face and recorderctl."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import AccessRules
from recorderd.control.server import ControlServer
from recorderd.control.storage import StorageFace
from recorderd.model.clock import SystemClock
from recorderd.ring.disks.helper_client import HelperClient
from recorderd.ring.disks.service import StorageService
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring
from recorderd.workers.helper.serve import serve
from recorderd.workers.helper.verbs import Rules
from tests.peers.disk_image import bare_disk
from tests.ring.fakes import Feed, Sink, head, spec

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
    ),
]


@pytest.fixture
def loop_disk(tmp_path: Path) -> Iterator[str]:
    with bare_disk(tmp_path, 1536) as device:
        yield device


@pytest.fixture
def helper_socket(tmp_path: Path, loop_disk: str) -> Iterator[Path]:
    path = tmp_path / "helper"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    rules = Rules((loop_disk,), tmp_path / "ring", tmp_path / "objects", os.geteuid(), os.getegid())
    ended = threading.Event()

    def started_on_demand() -> None:
        while not ended.is_set():
            serve(listening, rules, idle_s=0.3)

    thread = threading.Thread(target=started_on_demand)
    thread.start()
    yield path
    ended.set()
    thread.join()
    listening.close()


@contextlib.asynccontextmanager
async def recorder(tmp_path: Path, helper_socket: Path) -> AsyncIterator[Ring]:
    """A ring, the storage service and its face on `control`, as the daemon runs them."""
    clock = SystemClock()
    ledger = RingLedger(clock=clock)
    (tmp_path / "ring").mkdir(exist_ok=True)
    ring = Ring.at(tmp_path / "ring", ledger=ledger, clock=clock, boot_id=uuid.uuid4(), retry_s=0.2)
    ring._head = head
    service = StorageService(
        ring=ring,
        ledger=ledger,
        helper=HelperClient(path=str(helper_socket)),
        clock=clock,
        folder=tmp_path / "ring",
        durability="direct",
        writers=1,
    )
    table = Dispatch()
    StorageFace(service=service).bind(table)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "control"))
    server = ControlServer(dispatch=table, rules=AccessRules(None, None, os.geteuid()))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in (service.run(), server.serve(listening))]
        running = group.create_task(ring.run())
        try:
            yield ring
        finally:
            for task in tasks:
                task.cancel()
            await ring.close()
            await running


async def ctl(tmp_path: Path, *words: str) -> tuple[int, str]:
    """`recorderctl` as a process of its own: (exit code, output)."""
    command = (sys.executable, "-m", "recorderd.ctl.main", "--socket", str(tmp_path / "control"), *words)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def until_mounted(ring: Ring) -> None:
    await until(lambda: ring.store is not None)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not within 20 s")


def test_a_disk_from_blank_to_recording_and_back(tmp_path: Path, loop_disk: str, helper_socket: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path, helper_socket) as ring:
            code, out = await ctl(tmp_path, "disks", "list")
            assert code == 0 and loop_disk in out and "nothing known" in out, out
            code, out = await ctl(tmp_path, "disks", "format", loop_disk)
            assert code == 1 and "--yes" in out, out
            code, out = await ctl(tmp_path, "disks", "format", loop_disk, "--objects", "200M", "--yes")
            assert (code, out) == (0, f"{loop_disk} is ready; recording starts by itself\n")
            await until_mounted(ring)
            code, out = await ctl(tmp_path, "disks", "list")
            assert "the ring in use" in out
            code, out = await ctl(tmp_path, "disks", "format", loop_disk, "--yes")
            assert code == 1 and "unmount it first" in out

            who = spec(1)
            sink = Sink()
            feed = Feed(ring, SystemClock(), ring.open_writer(who, sink), [], sink)  # type: ignore[arg-type]
            for serial in range(20):
                feed.append(serial, 200_000)
            await until(lambda: feed.sink.durable_fragments == 20)
            code, out = await ctl(tmp_path, "fsck", "--deep")
            assert code == 0 and "no fault" in out, out
            code, out = await ctl(tmp_path, "disks", "check", loop_disk)
            assert code == 1 and "is in use" in out, out
            code, out = await ctl(tmp_path, "disks", "health", loop_disk)
            assert code == 0 and out.startswith(f"{loop_disk}: unknown"), out

            code, out = await ctl(tmp_path, "disks", "unmount", loop_disk)
            assert code == 1 and "Nothing is recorded" in out
            code, out = await ctl(tmp_path, "disks", "unmount", loop_disk, "--yes")
            assert (code, out) == (0, ""), out
            assert not (tmp_path / "ring").is_mount() and ring.store is None
            code, out = await ctl(tmp_path, "disks", "repair", loop_disk)
            assert (code, out) == (0, "the file system is sound\n")
            code, out = await ctl(tmp_path, "disks", "mount", loop_disk)
            assert (code, out) == (0, ""), out
            await until_mounted(ring)
            code, out = await ctl(tmp_path, "fsck", "--deep", "--repair")
            assert code == 0 and "20 fragments checked" in out, out
        # The recorder is gone: the same ring, checked from outside.
        code, out = await ctl(tmp_path, "fsck", "--path", str(tmp_path / "ring"), "--deep")
        assert code == 0 and "no fault" in out, out
        for name in ("ckpt.a", "ckpt.b"):
            (tmp_path / "ring" / name).write_bytes(bytes((tmp_path / "ring" / name).stat().st_size))
        code, out = await ctl(tmp_path, "fsck", "--path", str(tmp_path / "ring"))
        assert code == 2, out
        code, out = await ctl(tmp_path, "fsck", "--path", str(tmp_path / "ring"), "--rebuild", "--deep")
        assert "1 slots told what they hold" in out and "20 fragments checked" in out, out

    asyncio.run(main())
