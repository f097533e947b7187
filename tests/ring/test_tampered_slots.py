"""Slot files of a ring in use that somebody changed behind its back, and a file system without room, on real ext4 and xfs."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from recorderd.model.clock import SystemClock
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.files import slot_path
from recorderd.ring.formatting import format_ring
from recorderd.ring.fsck.check import check_ring
from recorderd.ring.fsck.findings import Severity
from recorderd.ring.layout import SlotState
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ring import Ring
from tests.peers.disk_image import DiskImage, disk_image, needs_loop_devices
from tests.ring.fakes import Feed, contents, feed, head

pytestmark = [pytest.mark.root, needs_loop_devices]
SLOTS, SLOT_BYTES = 12, 1 << 20


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DiskImage]:
    with disk_image(tmp_path, request.param, 320 if request.param == "xfs" else 64) as disk:
        yield disk


async def on_a_ring(disk: DiskImage, body: Callable[[Ring, RingLedger, Feed], Awaitable[None]]) -> None:
    clock = SystemClock()
    device, calls = FileDevice(disk.mount_point), DiskThreads(clock=clock)
    await format_ring(device, calls, formatted_ns=clock.realtime_ns(), slots=SLOTS, slot_bytes=SLOT_BYTES)
    device.release()
    calls.close()
    ledger = RingLedger(clock=clock)
    ring = Ring(
        open_device=lambda: FileDevice(disk.mount_point),
        make_calls=lambda: DiskThreads(clock=clock),
        ledger=ledger,
        clock=clock,
        boot_id=uuid.uuid4(),
        head=head,
    )
    assert await ring.mount(), ring.status().detail
    try:
        one = feed(ring, clock)  # type: ignore[arg-type]
        await fill(ring, one, 4)
        await body(ring, ledger, one)
    finally:
        await ring.close()


async def fill(ring: Ring, one: Feed, slots: int) -> None:
    """Records until that many more slots are closed; every fragment is acknowledged."""
    done = ring.status().statistics.slots_closed + slots
    while ring.status().statistics.slots_closed < done:
        one.append(len(one.serials), 200_000)
        await ring.tick()
    for _ in range(3):
        await ring.tick()
    assert one.acknowledged == one.serials
    assert not one.sink.lost_ranges


def symlink(path: Path, victim: Path) -> None:
    path.unlink()
    path.symlink_to(victim)


def hard_link(path: Path, victim: Path) -> None:
    os.link(path, victim.with_name("second name"))


def shorten(path: Path, _victim: Path) -> None:
    os.truncate(path, SLOT_BYTES - 4096)


def lengthen(path: Path, _victim: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(4096))


def punch(path: Path, _victim: Path) -> None:
    subprocess.run(["fallocate", "--punch-hole", "--offset", "65536", "--length", "65536", str(path)], check=True)


def remove(path: Path, _victim: Path) -> None:
    path.unlink()


def reflink(path: Path, victim: Path) -> None:
    path.write_bytes(os.urandom(SLOT_BYTES))
    os.sync()
    subprocess.run(["cp", "--reflink=always", str(path), str(victim.with_name("clone"))], check=True)


TAMPERINGS = (symlink, hard_link, shorten, lengthen, punch, remove, reflink)


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_a_slot_file_that_was_changed_is_named_and_never_written(
    disk: DiskImage, tamper: Callable[[Path, Path], None]
) -> None:
    if tamper is reflink and disk.file_system == "ext4":
        with pytest.raises(subprocess.CalledProcessError):  # ext4 shares no extents
            reflink(disk.mount_point / "any", disk.mount_point / "victim")
        return

    async def body(ring: Ring, ledger: RingLedger, one: Feed) -> None:
        assert ring.store is not None
        coming = ring.store.pool[0].slot
        path = disk.mount_point / slot_path(coming)
        victim = disk.mount_point / "victim"
        victim.write_bytes(b"mine" * (SLOT_BYTES // 4))
        tamper(path, victim)
        touched = path.lstat().st_mtime_ns if tamper is not remove else 0
        before = path.read_bytes() if tamper is not remove else b""
        await fill(ring, one, 2 * SLOTS)  # its turn came more than once
        assert ring.store.table.state(coming) is SlotState.BAD
        assert victim.read_bytes() == b"mine" * (SLOT_BYTES // 4)
        if tamper is not remove:
            assert path.read_bytes() == before
            assert path.lstat().st_mtime_ns == touched
        held = [serial for serials in (await contents(ring)).values() for serial in serials]
        assert max(held) == one.serials[-1]
        report = await check_ring(ring.store, ledger, deep=True, repair=True)
        assert any("bad" in f.text for f in report.findings)
        assert [
            f for f in report.findings if f.severity is Severity.ERROR and "slot" in f.subject and not f.repaired
        ] == [f for f in report.findings if f.severity is Severity.ERROR and f.subject.endswith(path.name)]

    asyncio.run(on_a_ring(disk, body))


def test_a_slot_with_the_content_of_another_one_gives_out_nothing_and_is_named(disk: DiskImage) -> None:
    async def body(ring: Ring, ledger: RingLedger, one: Feed) -> None:
        assert ring.store is not None
        first, second = ring.store.table.in_state(SlotState.CLOSED)[:2]
        before = await contents(ring)
        source, target = (disk.mount_point / slot_path(slot) for slot in (first, second))
        with source.open("rb") as read, target.open("r+b") as write:
            shutil.copyfileobj(read, write)
            os.fsync(write.fileno())
        ref = ring.store.table.ref(second)
        async with ring.read_slot(ref) as reader:
            assert await reader.identity() is None
            assert await reader.entries() == ()
        report = await check_ring(ring.store, ledger, deep=True)
        assert any(
            f.invariant == "I2" and f.subject == f"slot {second}" and f"slot {first}" in f.text for f in report.findings
        )
        after = await contents(ring)
        assert {r: s for r, s in after.items() if r != ref} == {r: s for r, s in before.items() if r != ref}
        await fill(ring, one, SLOTS)

    asyncio.run(on_a_ring(disk, body))


def test_a_full_file_system_does_not_matter(disk: DiskImage) -> None:
    async def body(ring: Ring, ledger: RingLedger, one: Feed) -> None:
        with (disk.mount_point / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError) as full:
            while True:
                filler.write(bytes(1 << 16))
        assert full.value.errno == errno.ENOSPC
        await fill(ring, one, 2 * SLOTS)
        assert ring.status().statistics.write_errors == 0
        assert ring.status().statistics.flush_errors == 0

    asyncio.run(on_a_ring(disk, body))
