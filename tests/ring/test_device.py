"""The device on real file systems: what is not the ring's own file is neither written nor read; buffered rings without O_DIRECT."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorderd.model.clock import SystemClock
from recorderd.ring.device import FileDevice, UnsafeFile, direct_alignment, extents
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import FormatRefused, choose_geometry, format_ring
from recorderd.ring.ring import Ring, RingState
from tests.peers.disk_image import DiskImage, disk_image, needs_loop_devices
from tests.ring.fakes import BOOT, ListLedger, contents, feed, head
from tests.simulated_time import FakeClock

SIZE = 1 << 20


@pytest.fixture(scope="module", params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskImage]:
    folder = tmp_path_factory.mktemp("device")
    with disk_image(folder, request.param, 320 if request.param == "xfs" else 64) as image:
        yield image


@pytest.fixture
def ring_folder(disk: DiskImage) -> Iterator[Path]:
    folder = disk.mount_point / uuid.uuid4().hex
    folder.mkdir()
    device = FileDevice(folder)
    device.make_folder("slots")
    device.create("slots/good.mp4", SIZE)
    device.release()
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def refused(folder: Path, path: str, match: str) -> None:
    device = FileDevice(folder)
    try:
        for writable in (False, True):
            with pytest.raises(UnsafeFile, match=match):
                device.open(path, writable=writable, size=SIZE)
    finally:
        device.release()


@pytest.mark.root
@needs_loop_devices
class TestOnRealFileSystems:
    def test_a_file_that_format_made_opens(self, ring_folder: Path) -> None:
        device = FileDevice(ring_folder)
        handle = device.open("slots/good.mp4", writable=True, size=SIZE)
        assert [(e.unwritten, e.shared) for e in extents(handle)] == [(True, False)]
        assert direct_alignment(handle) in (0, 512, 4096)
        device.close(handle)
        device.release()

    def test_a_symbolic_link(self, ring_folder: Path) -> None:
        (ring_folder / "slots/link.mp4").symlink_to("good.mp4")
        refused(ring_folder, "slots/link.mp4", "a link")

    def test_a_linked_folder_on_the_way(self, ring_folder: Path) -> None:
        (ring_folder / "elsewhere").symlink_to("slots")
        refused(ring_folder, "elsewhere/good.mp4", "a link")

    def test_a_way_out_of_the_ring(self, ring_folder: Path) -> None:
        refused(ring_folder, f"../{ring_folder.name}/slots/good.mp4", "not below")

    def test_a_second_hard_link(self, ring_folder: Path) -> None:
        os.link(ring_folder / "slots/good.mp4", ring_folder / "slots/twin.mp4")
        refused(ring_folder, "slots/good.mp4", "2 links")

    def test_a_short_file(self, ring_folder: Path) -> None:
        os.truncate(ring_folder / "slots/good.mp4", SIZE - 4096)
        refused(ring_folder, "slots/good.mp4", "bytes instead of")

    def test_a_file_with_holes(self, ring_folder: Path) -> None:
        path = ring_folder / "slots/sparse.mp4"
        path.touch()
        os.truncate(path, SIZE)
        refused(ring_folder, "slots/sparse.mp4", "holes")

    def test_something_that_is_no_file(self, ring_folder: Path) -> None:
        os.mkfifo(ring_folder / "slots/pipe.mp4")
        device = FileDevice(ring_folder)
        with pytest.raises((UnsafeFile, OSError)):
            device.open("slots/pipe.mp4", writable=False, size=SIZE)
        device.release()

    def test_a_reflinked_file(self, ring_folder: Path, disk: DiskImage) -> None:
        path = ring_folder / "slots/whole.mp4"
        path.write_bytes(os.urandom(SIZE))
        os.sync()
        command = ["cp", "--reflink=always", str(path), str(ring_folder / "clone.mp4")]
        if disk.file_system == "ext4":
            assert subprocess.run(command, capture_output=True, check=False).returncode != 0, "ext4 shares no extents"
            return
        subprocess.run(command, check=True)
        refused(ring_folder, "slots/whole.mp4", "shares extents")

    def test_buffers_that_are_not_aligned_are_the_kernels_to_refuse(self, ring_folder: Path) -> None:
        device = FileDevice(ring_folder)
        handle = device.open("slots/good.mp4", writable=True, size=SIZE)
        with pytest.raises(OSError, match="Invalid") as refusal:
            device.write(handle, memoryview(bytearray(4096 + 7))[7:], 100)
        assert refusal.value.errno == errno.EINVAL
        device.close(handle)
        device.release()


def test_a_ring_without_durability_records_where_direct_writes_are_refused() -> None:
    folder = Path("/dev/shm") / f"ring-{uuid.uuid4().hex}"
    folder.mkdir()

    async def main() -> None:
        clock = SystemClock()
        device, calls = FileDevice(folder, durability="none"), DiskThreads(clock=clock)
        with pytest.raises(FormatRefused, match="tmpfs"):
            await format_ring(device, calls, formatted_ns=1, slots=16, slot_bytes=1 << 20)
        done: list[tuple[int, int]] = []
        await format_ring(
            device,
            calls,
            formatted_ns=1,
            slots=16,
            slot_bytes=1 << 20,
            durability="none",
            progress=lambda at, of: done.append((at, of)),
        )
        assert done[-1] == (16, 16)
        with pytest.raises(FormatRefused, match="already holds a ring"):
            await format_ring(device, calls, formatted_ns=1, slots=16, slot_bytes=1 << 20, durability="none")
        device.release()
        calls.close()

        def ring() -> Ring:
            return Ring(
                open_device=lambda: FileDevice(folder, durability="none"),
                make_calls=lambda: DiskThreads(clock=clock, count=2),
                ledger=ListLedger(),
                clock=clock,
                boot_id=BOOT,
                head=head,
            )

        first = ring()
        assert await first.mount()
        one = feed(first, FakeClock())
        for serial in range(30):
            one.append(serial, 90_000)
            await first.tick()
        await first.tick()
        assert len(one.acknowledged) == 30
        await first.close()
        assert first.state is RingState.CLOSED
        second = ring()
        assert await second.mount()
        await second.scan_now()
        assert sorted(s for found in (await contents(second)).values() for s in found) == list(range(30))
        await second.close()

    try:
        asyncio.run(main())
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize(
    ("free_gb", "writers", "slot_mib"), [(2000, 16, 64), (120, 16, 64), (64, 16, 32), (32, 16, 16), (12, 16, 8)]
)
def test_slots_are_as_large_as_64_per_writer_allow(free_gb: float, writers: int, slot_mib: int) -> None:
    size, slots = choose_geometry(round(free_gb * 1e9), writers)
    assert size == slot_mib << 20
    assert slots >= 64 * writers
    assert slots * size > 0.97 * free_gb * 1e9 - (200 << 20)
