"""The export's worker: what it is given, where it writes, and what it costs when either end goes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
from pathlib import Path

import pytest

from recorderd.protocol.upgrade import Trailer
from recorderd.protocol.work import IN_FLIGHT
from recorderd.recording.exports import Exports, TooManyExports
from recorderd.recording.worker_process import WorkerProcess
from recorderd.ring.ring import Ring
from tests.recording.stored_ring import (
    NS,
    RECORDING,
    everything,
    on_a_ring,
    recorded_twice,
    ring_in,
    wanted,
)
from tests.simulated_time import FakeClock


@on_a_ring()
async def test_a_client_that_goes_away_or_never_reads_harms_nothing(
    ring: Ring, clock: FakeClock, tmp_path: Path
) -> None:
    clip, wall = await recorded_twice(ring, clock, 5)
    exports = Exports(ring=ring, clock=clock, max_running=2)
    ask = {"recording": RECORDING, "tracks": wanted([clip.form]), "start_ns": wall, "stop_ns": wall + 60 * NS}
    silent, leaver = await exports.export(**ask), await exports.export(**ask)
    with pytest.raises(TooManyExports):
        await exports.export(**ask)
    assert ring.store is not None
    assert ring.store.leases.count() > 0
    pieces = aiter(leaver)
    assert await anext(pieces)
    await leaver.aclose()
    assert not leaver.trailer().complete
    assert exports.running == 1
    third = await exports.export(**ask)
    os.kill(third.pid, signal.SIGKILL)
    await everything(third)
    assert third.trailer().reason == "the worker ended early"
    await silent.aclose()
    await silent.aclose()
    assert exports.running == 0
    assert ring.store.leases.count() == 0
    for process in (silent, leaver, third):
        assert not Path(f"/proc/{process.pid}").exists()  # noqa: ASYNC240


@on_a_ring(slots=48, slot_bytes=256 << 10)
async def test_a_ring_that_closes_ends_the_export_with_the_reason(
    ring: Ring, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerProcess.read_now, "__defaults__", (4096,))  # so that there are many pieces
    clip, wall = await recorded_twice(ring, clock, 5)
    ask = {"recording": RECORDING, "tracks": wanted([clip.form]), "start_ns": wall, "stop_ns": wall + 60 * NS}
    exports = Exports(ring=ring, clock=clock)
    export = await exports.export(**ask, fragmented=True)
    assert len(export.plan.slots) > IN_FLIGHT + 1, "some are still to be opened"
    pieces = aiter(export)
    assert await anext(pieces)
    leases = ring.mounted().leases
    await ring.close()
    async with asyncio.timeout(30):
        async for _ in pieces:
            pass
    assert not export.trailer().complete
    assert export.trailer().reason == "the disk is gone: the ring is not mounted"
    await export.aclose()
    assert (leases.count(), exports.running) == (0, 0)


@pytest.mark.parametrize("way", ["descriptor", "handed over", "pipe"])
@on_a_ring(slots=48, slot_bytes=256 << 10)
async def test_the_worker_writes_somebodys_file_itself(ring: Ring, clock: FakeClock, tmp_path: Path, way: str) -> None:
    path = tmp_path / "export.mp4"
    clip, wall = await recorded_twice(ring, clock, 5)
    ask = {"recording": RECORDING, "tracks": wanted([clip.form]), "start_ns": wall, "stop_ns": wall + 60 * NS}
    expected = await everything(await Exports(ring=ring, clock=clock).export(**ask))
    path.write_bytes(b"before")
    with contextlib.ExitStack() as stack:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        stack.callback(os.close, fd)
        if way == "descriptor":
            export = await Exports(ring=ring, clock=clock).export(**ask, output=fd)
        elif way == "handed over":
            ours, theirs = socket.socketpair()
            with ours, theirs:
                export = await Exports(ring=ring, clock=clock).export(**ask, output=ours)
                socket.send_fds(theirs, [b"0"], [fd])
        else:
            copy = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=fd)
            assert copy.stdin is not None
            pipe = copy.stdin.get_extra_info("pipe").fileno()  # which asyncio made non-blocking
            export = await Exports(ring=ring, clock=clock).export(**ask, output=pipe)
        told = [(piece, export.bytes) async for piece in export]
        await export.aclose()
        if way == "pipe":
            copy.stdin.close()
            assert await copy.wait() == 0
    assert export.trailer() == Trailer(complete=True, bytes=len(expected))
    assert {piece for piece, _ in told} == {b""}
    assert len(told) > 3
    assert told == sorted(set(told))
    assert path.read_bytes() == b"before" + expected


async def ended(pid: int) -> None:
    process = os.pidfd_open(pid)
    assert (await asyncio.to_thread(select.select, [process], [], [], 30))[0]
    os.close(process)


@on_a_ring()
async def test_a_file_that_cannot_be_written_is_the_reason(ring: Ring, clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "readable").touch()
    clip, wall = await recorded_twice(ring, clock, 5)
    exports = Exports(ring=ring, clock=clock)
    ask = {"recording": RECORDING, "tracks": wanted([clip.form]), "start_ns": wall, "stop_ns": wall + 60 * NS}
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230
        export = await exports.export(**ask, output=full.fileno())
        assert await everything(export) == b""
    assert export.trailer().reason == "cannot write: No space left on device"
    unread, unwritten = os.pipe()
    os.close(unread)
    export = await exports.export(**ask, output=unwritten)
    await everything(export)
    os.close(unwritten)
    assert export.trailer().reason == "cannot write: Broken pipe"
    for handed, reason in (
        (os.open("/dev/full", os.O_WRONLY), "what was handed over is neither a file nor a pipe"),
        (os.open(tmp_path / "readable", os.O_RDONLY), "what was handed over is not open for writing"),
        (None, "no file was handed over"),
    ):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            export = await exports.export(**ask, output=ours)
            if handed is not None:
                socket.send_fds(theirs, [b"0"], [handed])
                os.close(handed)
        await ended(export.pid)  # before it is sent its slots
        await everything(export)
        assert export.trailer().reason == reason
    assert exports.running == 0


def test_a_worker_gets_no_secret_and_no_way_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "sesame")
    secret = (tmp_path / "credentials").open("w")

    async def main() -> None:
        clock = FakeClock()
        async with ring_in(tmp_path / "ring", clock) as ring:
            clip, wall = await recorded_twice(ring, clock, 5)
            for _ in range(2):  # more than the pipe holds: the worker is still there when it is looked at
                await recorded_twice(ring, clock, 5)
            export = await Exports(ring=ring, clock=clock).export(
                recording=RECORDING, tracks=wanted([clip.form]), start_ns=wall, stop_ns=wall + 60 * NS
            )
            pieces = aiter(export)
            assert await anext(pieces)
            here = Path(f"/proc/{export.pid}")
            assert b"sesame" not in (here / "environ").read_bytes()
            assert (here / "cmdline").read_bytes().split(b"\0")[4] == b"recorderd.workers.export"
            targets = {fd.name: str(fd.readlink()) for fd in (here / "fd").iterdir()}
            assert not [target for target in targets.values() if "credentials" in target]
            for name, target in targets.items():
                if "/slots/" in target:
                    flags = int((here / "fdinfo" / name).read_text().split("flags:")[1].split()[0], 8)
                    assert flags & os.O_ACCMODE == os.O_RDONLY
            limits = (here / "limits").read_text()
            assert "1073741824" in limits
            status = (here / "status").read_text()
            assert "NoNewPrivs:\t1" in status
            await export.aclose()

    try:
        asyncio.run(main())
    finally:
        secret.close()


@on_a_ring(slots=48, slot_bytes=256 << 10)
async def test_slots_are_kept_while_somebody_reads_and_no_longer(
    ring: Ring, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerProcess.read_now, "__defaults__", (4096,))  # so that there are many pieces
    clip, wall = await recorded_twice(ring, clock, 5)
    assert ring.store is not None
    leases = ring.store.leases
    ask = {"recording": RECORDING, "tracks": wanted([clip.form]), "start_ns": wall, "stop_ns": wall + 60 * NS}
    export = await Exports(ring=ring, clock=clock).export(**ask)
    refs = {slot.ref for slot in export.plan.slots}
    pieces = aiter(export)
    for _ in range(3):
        clock.advance(600)
        assert all(leases.is_leased(ref) for ref in refs)
        await anext(pieces)
        await anext(pieces)
    clock.advance(901)
    assert not any(leases.is_leased(ref) for ref in refs)
    await export.aclose()
    assert leases.count() == 0
