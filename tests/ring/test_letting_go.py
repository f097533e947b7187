"""A ring that lets its disk go (closed, taken out, failed) while somebody reads: the reader is told, and keeps nothing open."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.ports import StoreUnavailable
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskClosed, DiskThreads
from recorderd.ring.fsck.check import check_ring
from recorderd.ring.layout import SlotState
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.playback import find_extents, follow, play
from recorderd.ring.ring import Ring
from tests.media import clips
from tests.recording.stored_ring import TRACKS, record, ring_in, session_units
from tests.simulated_time import FakeClock

FAR_NS = 1 << 62


async def closed(ring: Ring) -> None:
    await ring.close()


async def taken_out(ring: Ring) -> None:
    await ring.eject()


async def failed(ring: Ring) -> None:
    ring._fail(ring.mounted(), "it is on fire")


WAYS = pytest.mark.parametrize("let_go", [closed, taken_out, failed])
LetGo = Callable[[Ring], Awaitable[None]]


@contextlib.asynccontextmanager
async def recorded(folder: Path) -> AsyncIterator[tuple[Ring, FakeClock]]:
    """150 pictures, in several slots."""
    clock = FakeClock()
    async with ring_in(folder, clock, slot_bytes=256 << 10) as ring:
        await record(ring, clock, *session_units(clips.video(frames=150)))
        yield ring, clock


async def nothing_open(folder: Path) -> None:
    """A disk that failed is closed by a thread that nobody waits for."""
    async with asyncio.timeout(30):
        while open_files(folder):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def open_files(folder: Path) -> list[str]:
    """The ring's files that this process holds open."""
    found = []
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(entry.path)  # noqa: PTH115
            if target.startswith(str(folder)):
                found.append(target)
    return found


async def ended(reading: Awaitable[object]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as told:
        await asyncio.wait_for(reading, 10)
    return told.value


@WAYS
def test_who_reads_a_slot_is_told_at_his_next_call(let_go: LetGo, tmp_path: Path) -> None:
    async def main() -> None:
        async with recorded(tmp_path / "ring") as (ring, _):
            store = ring.mounted()
            begun, go_on = asyncio.Event(), asyncio.Event()

            async def read() -> None:
                (extent, *_) = await find_extents(ring, TRACKS[0], 0, FAR_NS)
                async with ring.read_slot(extent.ref, hold=True) as reader:
                    first, second, *_ = await reader.entries()
                    await reader.fragment(first)
                    begun.set()
                    await go_on.wait()
                    await reader.fragment(second)

            task = asyncio.create_task(read())
            await begun.wait()
            assert store.leases.count() == 1
            await let_go(ring)
            go_on.set()
            await ended(task)
            assert store.leases.count() == 0
            await nothing_open(tmp_path / "ring")

    asyncio.run(main())


@WAYS
def test_playback_ends_in_the_middle(let_go: LetGo, tmp_path: Path) -> None:
    async def main() -> None:
        async with recorded(tmp_path / "ring") as (ring, _):
            store = ring.mounted()
            samples = play(ring, await find_extents(ring, TRACKS[0], 0, FAR_NS))
            await anext(samples)
            await let_go(ring)

            async def rest() -> None:
                async for _ in samples:
                    pass

            await ended(rest())
            assert store.leases.count() == 0
            await nothing_open(tmp_path / "ring")

    asyncio.run(main())


@WAYS
def test_who_waits_at_the_live_edge_waits_no_longer(let_go: LetGo, tmp_path: Path) -> None:
    async def main() -> None:
        async with recorded(tmp_path / "ring") as (ring, _):
            seen = 0

            async def watch() -> None:
                nonlocal seen
                async for _ in follow(ring, TRACKS[0], 0):
                    seen += 1

            task = asyncio.create_task(watch())
            while seen < 140:  # noqa: ASYNC110 - of 150; then it waits for a commit
                await asyncio.sleep(0.01)
            await let_go(ring)
            await ended(task)

    asyncio.run(main())


@WAYS
def test_who_waits_for_durability_is_told(let_go: LetGo, tmp_path: Path) -> None:
    """A ring that fails makes nothing durable; one that is closed makes what was queued durable first."""

    async def main() -> None:
        async with recorded(tmp_path / "ring") as (ring, _):
            task = asyncio.create_task(ring.make_durable())
            await asyncio.sleep(0)
            await let_go(ring)
            if let_go is failed:
                await ended(task)
            else:
                await asyncio.wait_for(task, 10)
            assert (await ended(ring.make_durable())).cause in (GapCause.DISK_ERROR, GapCause.DISK_MISSING)

    asyncio.run(main())


def test_a_read_that_never_returns_does_not_keep_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    armed, inside, gate = threading.Event(), threading.Event(), threading.Event()
    plain = FileDevice.read

    def read(self: FileDevice, handle: int, buffer: memoryview, offset: int) -> None:
        if armed.is_set():
            inside.set()
            gate.wait(60)
            raise OSError(errno.EIO, "at last")
        plain(self, handle, buffer, offset)

    monkeypatch.setattr(FileDevice, "read", read)

    async def main() -> None:
        async with recorded(tmp_path / "ring") as (ring, _):
            store = ring.mounted()
            (extent, *_) = await find_extents(ring, TRACKS[0], 0, FAR_NS)

            async def hang() -> None:
                async with ring.read_slot(extent.ref) as reader:
                    (entry, *_) = await reader.entries()
                    armed.set()
                    await reader.fragment(entry)

            task = asyncio.create_task(hang())
            try:
                assert await asyncio.to_thread(inside.wait, 10)
                await failed(ring)
                await ended(task)
                assert store.leases.count() == 0
            finally:
                gate.set()

    asyncio.run(main())


@WAYS
def test_a_check_of_the_ring_ends_and_blames_no_slot(
    let_go: LetGo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed, left = threading.Event(), threading.Event()
    plain = FileDevice.read

    def read(self: FileDevice, handle: int, buffer: memoryview, offset: int) -> None:
        if armed.is_set():
            armed.clear()
            left.wait(60)
        plain(self, handle, buffer, offset)

    monkeypatch.setattr(FileDevice, "read", read)

    async def main() -> None:
        async with recorded(tmp_path / "ring") as (ring, clock):
            await record(ring, clock, *session_units(clips.video(frames=150)))
            store, ledger = ring.mounted(), ring.ledger
            assert isinstance(ledger, RingLedger)
            closed_slots = store.table.count(SlotState.CLOSED)
            progress: list[int] = []
            going: list[asyncio.Task[None]] = []

            async def go() -> None:
                await let_go(ring)
                left.set()

            def counted(done: int, _all: int) -> None:
                progress.append(done)
                if done == 1:
                    armed.set()  # the next read, which is the check's, goes on when the ring has left
                    going.append(asyncio.create_task(go()))

            with pytest.raises(DiskClosed):
                await asyncio.wait_for(check_ring(store, ledger, deep=True, progress=counted), 30)
            await going[0]
            assert len(progress) < closed_slots
            assert store.leases.count() == 0
            await nothing_open(tmp_path / "ring")

    asyncio.run(main())


def test_a_file_whose_opening_is_given_up_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves while its slot is being opened."""
    armed, inside, gate = threading.Event(), threading.Event(), threading.Event()
    plain = FileDevice.open

    def slow(self: FileDevice, path: str, *, writable: bool, size: int) -> int:
        handle = plain(self, path, writable=writable, size=size)
        if armed.is_set():
            armed.clear()
            inside.set()
            gate.wait(60)
        return handle

    monkeypatch.setattr(FileDevice, "open", slow)

    async def main() -> None:
        async with recorded(tmp_path / "ring") as (ring, _):
            (extent, *_) = await find_extents(ring, TRACKS[0], 0, FAR_NS)
            before = sorted(open_files(tmp_path / "ring"))

            async def read() -> None:
                async with ring.read_slot(extent.ref):
                    pytest.fail("it was given up")

            armed.set()
            task = asyncio.create_task(read())
            assert await asyncio.to_thread(inside.wait, 10)
            task.cancel()
            await asyncio.wait([task])
            gate.set()
            async with asyncio.timeout(30):
                while sorted(open_files(tmp_path / "ring")) != before:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert ring.mounted().leases.count() == 0

    asyncio.run(main())


def test_threads_that_are_closed_take_no_more_calls() -> None:
    async def main() -> None:
        threads = DiskThreads(clock=FakeClock(), count=1)
        before = asyncio.create_task(threads.run(lambda: "done"))
        await asyncio.sleep(0)
        threads.close()
        assert await asyncio.wait_for(before, 10) == "done", "what was asked before is answered"
        with pytest.raises(DiskClosed):
            await asyncio.wait_for(threads.run(int), 10)

    asyncio.run(main())
