"""kill -9 at random instants under load, on a real ext4: nothing that was acknowledged may be missing when the next process looks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from recorderd.model.clock import SystemClock
from recorderd.ring.border import SlotRef
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring
from recorderd.ring.ring import Ring
from tests.peers.disk_image import disk_image, needs_loop_devices
from tests.ring.fakes import BOOT, Feed, Sink, contents, head, spec
from tests.ring.oracle import Oracle, append
from tests.simulated_time import FakeClock

pytestmark = [pytest.mark.root, needs_loop_devices]

ACKS_A_ROUND = 240
"""Three writers acknowledge each commit: 80 commits at most, 40 in the mean, about 7 MB; six rounds fill the ring."""


class Telling(Oracle):
    """Says which serials vanish before the commit that makes them vanish."""

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self._pipe = pipe

    def slot_vanishes(self, ref: SlotRef) -> None:
        gone = self.serials(ref)
        if gone:
            os.write(self._pipe, f"gone {' '.join(map(str, gone))}\n".encode())
        super().slot_vanishes(ref)


class TellingSink(Sink):
    def __init__(self, pipe: int, serials: list[int]) -> None:
        super().__init__()
        self._pipe = pipe
        self._serials = serials

    def durable(self, writer: object, through_ns: int, fragments: int) -> None:
        done = self._serials[self.durable_fragments : self.durable_fragments + fragments]
        self.durable_fragments += fragments
        os.write(self._pipe, f"acked {' '.join(map(str, done))}\n".encode())


async def life(folder: Path, pipe: int, expected: set[int], first: int, seed: int) -> None:
    """Looks whether everything expected is there, then records until it is killed."""
    clock = SystemClock()
    ring = Ring(
        open_device=lambda: FileDevice(folder),
        make_calls=lambda: DiskThreads(clock=clock, count=3),
        ledger=Telling(pipe),
        clock=clock,
        boot_id=BOOT,
        head=head,
    )
    assert await ring.mount(), ring.status().detail
    await ring.scan_now()
    await ring.tick()
    found = [s for serials in (await contents(ring)).values() for s in serials]
    assert len(found) == len(set(found)), "twice"
    vanished = set(ring.ledger.vanished) if isinstance(ring.ledger, Oracle) else set()
    missing = expected - set(found) - vanished
    os.write(pipe, f"missing {' '.join(map(str, sorted(missing)))}\n".encode())
    assert ring.store is not None
    ring.store.profile = replace(ring.store.profile, tick_s=0.002)
    rng = random.Random(seed)
    feeds = []
    for number in (1, 2, 3):
        serials: list[int] = []
        sink = TellingSink(pipe, serials)
        feeds.append(Feed(ring, FakeClock(), ring.open_writer(spec(number), sink), serials, sink))
    serial = first

    def feeder(_: int) -> None:
        nonlocal serial
        for f in feeds:
            append(f, serial, rng.randrange(500, 120_000), key=True)
            serial += 1

    ring.before_tick(feeder)
    await ring.run()


class Lines:
    """What the child says, whole lines at a time; nothing it said is lost."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._held = b""

    def read(self, seconds: float) -> list[list[str]] | None:
        """The lines that came within `seconds`; None when the child is dead and everything was read."""
        if not select.select([self._pipe], [], [], max(0.0, seconds))[0]:
            return []
        data = os.read(self._pipe, 1 << 16)
        if not data:
            return None
        *whole, self._held = (self._held + data).split(b"\n")
        return [line.decode().split() for line in whole]


def rounds(folder: Path, count: int) -> None:
    rng = random.Random(1)
    acked: set[int] = set()
    gone: set[int] = set()
    for number in range(count):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                asyncio.run(life(folder, writer, acked - gone, number * 1_000_000, number))
            except BaseException:  # noqa: BLE001 - the child of a fork must not return
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(3)
        os.close(writer)
        try:
            said = Lines(reader)
            checked, acks, killed = False, 0, False
            # Counted in commits, so that a slow machine writes as much as a fast one; then an instant within the next commit.
            last = rng.randrange(1, ACKS_A_ROUND)
            until = time.monotonic() + 60
            while (heard := said.read(until - time.monotonic())) is not None:
                for kind, *rest in heard:
                    serials = {int(word) for word in rest}
                    if kind == "missing":
                        assert not serials, f"round {number}: acknowledged and lost: {sorted(serials)}"
                        checked = True
                    elif kind == "gone":
                        gone |= serials
                    else:
                        acked |= serials
                        acks += 1
                        if acks == last:
                            until = time.monotonic() + rng.uniform(0.0, 0.02)
                if time.monotonic() > until and not killed:
                    os.kill(child, signal.SIGKILL)
                    killed = True
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status), f"round {number}: the recorder ended by itself"
            assert checked
            assert acks >= last, f"round {number}: {acks} of {last} acknowledgements in a minute"
        finally:
            os.close(reader)
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    assert gone, "the ring must have recycled"


async def formatted(folder: Path) -> None:
    device, calls = FileDevice(folder), DiskThreads(clock=SystemClock())
    await format_ring(
        device, calls, formatted_ns=1, slots=40, slot_bytes=1 << 20, journal_blocks=256, ledger_bytes=1 << 19
    )
    device.release()
    calls.close()


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_kill_9_under_load(count: int, tmp_path: Path) -> None:
    with disk_image(tmp_path, "ext4", 64) as disk:
        asyncio.run(formatted(disk.mount_point))
        rounds(disk.mount_point, count)
