"""Several writes of one slot at a time: their bound, and what counts when one of them fails."""

from __future__ import annotations

import asyncio
import errno
import os
import zlib
from collections.abc import Sequence

import pytest

from recorderd.ring import slot_writing
from recorderd.ring.buffers import BufferPool, WritesInFlight
from recorderd.ring.files import slot_path
from recorderd.ring.layout import BLOCK, SIDE_OFFSETS, RowFlag, SideBlock, SlotState, crc32
from tests.ring.fakes import ListLedger, contents, feed, formatted, mounted
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated


@pytest.mark.parametrize("failing", [0, 1, 2, 4])
def test_of_a_slot_counts_what_was_written_before_the_write_that_failed(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_writing, "_JOB_BYTES", 1)  # every fragment is a write of its own

    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        ring, store = await mounted(disk, clock, ListLedger())
        one = feed(ring, clock)
        one.append(0, 5_000)
        await ring.tick()
        (ref,) = store.live
        writes: list[int] = []

        def fault(kind: str, path: str, offset: int, size: int) -> None:
            if kind == "write" and path == slot_path(ref.slot):
                writes.append(offset)
                if len(writes) == failing + 1:
                    raise OSError(errno.EIO, "this write fails")

        disk.fault = fault
        for serial in range(1, 6):
            one.append(serial, 5_000)
        await ring.tick()
        assert len(writes) == 5, "the others were on their way already"
        assert one.acknowledged == list(range(6))
        assert store.table.state(ref.slot) is SlotState.CLOSED
        assert RowFlag.RETIRED in store.table.flags(ref.slot)
        found = await contents(ring)
        assert found.pop(ref) == list(range(1 + failing))
        assert list(found.values()) == [list(range(1 + failing, 6))]

    run_simulated(main)


def test_slots_share_a_job_of_a_disk_thread_but_not_its_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[int] = []
    whole = slot_writing._fill_and_write_all

    def counted(device: object, view: memoryview, job: Sequence[object]) -> None:
        jobs.append(len(job))
        whole(device, view, job)  # type: ignore[arg-type]

    monkeypatch.setattr(slot_writing, "_fill_and_write_all", counted)

    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        ring, store = await mounted(disk, clock, ListLedger())
        feeds = [feed(ring, clock, n) for n in range(5)]
        for one in feeds:
            one.append(0, 20_000)
        await ring.tick()
        assert jobs == [5]
        refs = list(store.live)
        writes: list[str] = []

        def fault(kind: str, path: str, offset: int, size: int) -> None:
            if kind == "write" and path.startswith("slots/"):
                writes.append(path)
                if writes == [slot_path(ref.slot) for ref in refs[:2]]:
                    raise OSError(errno.EIO, "the second write fails")

        disk.fault = fault
        for one in feeds:
            one.append(1, 20_000)
        await ring.tick()
        assert jobs == [5, 5, 1], "what failed is written again, elsewhere"
        assert [one.acknowledged for one in feeds] == [[0, 1]] * 5
        found = await contents(ring)
        assert [found[ref] for ref in refs] == [[0, 1], [0], [0, 1], [0, 1], [0, 1]]

    run_simulated(main)


def test_a_full_slot_is_no_longer_virgin_however_much_the_next_fragment_left_free() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk, slots=4, slot_bytes=4 << 20)
        ring, store = await mounted(disk, clock, ListLedger())
        one = feed(ring, clock)
        for serial in range(3):
            one.append(serial, 2_300_000)  # the second does not fit behind the first
            await ring.tick()
            clock.advance(1)
        assert store.table.count(SlotState.CLOSED) == 2
        for slot in store.table.in_state(SlotState.CLOSED):
            assert RowFlag.VIRGIN not in store.table.flags(slot)
            assert disk.files[slot_path(slot)].touched == set(range((4 << 20) // 4096))

    run_simulated(main)


def test_side_blocks_of_an_open_slot_alternate_through_its_own_file() -> None:
    async def main(clock: FakeClock) -> None:
        disk, ledger = SimDisk(), ListLedger()
        await formatted(disk)
        ring, store = await mounted(disk, clock, ledger)
        one = feed(ring, clock)
        one.append(0, 5_000)
        await ring.tick()
        (ref,) = store.live
        opened: list[str] = []
        disk.fault = lambda kind, path, offset, size: opened.append(path) if kind == "open" else None

        async def mirror(text: bytes) -> list[tuple[int, bytes]]:
            ledger.sides[ref] = text
            ledger.stale = {ref}
            one.append(1, 500)
            await ring.tick()
            data = bytes(disk.files[slot_path(ref.slot)].data)
            blocks = [SideBlock.unpack(data[at : at + BLOCK]) for at in SIDE_OFFSETS]
            assert {block.ref for block in blocks} == {ref}
            return [(block.sequence, block.payload) for block in blocks]

        assert await mirror(b"first") == [(2, b"first"), (1, b"")]
        assert await mirror(b"second") == [(2, b"first"), (3, b"second")]
        assert opened == []
        store.to_close.update(store.open)
        one.append(2, 500)
        await ring.tick()
        assert await mirror(b"closed") == [(4, b"closed"), (3, b"second")]

    run_simulated(main)


def test_writes_in_flight_are_bounded_and_served_in_order() -> None:
    async def main() -> None:
        gate = WritesInFlight(100, 3)
        inside: list[int] = []
        order: list[int] = []
        most = side_by_side = 0

        async def use(number: int, size: int) -> None:
            nonlocal most, side_by_side
            async with gate.room(size):
                order.append(number)
                inside.append(size)
                most = max(most, sum(inside))
                side_by_side = max(side_by_side, len(inside))
                await asyncio.sleep(0)
                inside.remove(size)

        await asyncio.gather(*(use(n, size) for n, size in enumerate([60, 60, 40, 10, 90, 10, 10])))
        assert order == list(range(7))
        assert most == 100
        await asyncio.gather(use(7, 30), use(8, 500), use(9, 30))
        assert order[7:] == [7, 8, 9]
        assert most == 500, "what is larger than the bound goes alone"
        await asyncio.gather(*(use(n, 1) for n in range(10, 20)))
        assert side_by_side == 3

    asyncio.run(main())


def test_who_gives_up_waiting_leaves_room_for_the_next() -> None:
    async def main() -> None:
        gate = WritesInFlight(100, 3)
        done: list[str] = []

        async def use(name: str) -> None:
            async with gate.room(100):
                done.append(name)

        async with asyncio.TaskGroup() as group:
            async with gate.room(100):
                waiting = group.create_task(use("cancelled"))
                given = group.create_task(use("cancelled with its room"))
                group.create_task(use("last"))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.sleep(0)
            given.cancel()  # its turn has come, but it has not run since
        assert done == ["last"]
        async with asyncio.timeout(1), gate.room(100):
            pass

    asyncio.run(main())


def test_buffers_of_a_backlog_are_used_again() -> None:
    pool = BufferPool(keep_bytes=32 << 20)
    buffers = [pool.take(4_100_000 + 4096 * n) for n in range(4)]
    mappings = {id(buffer.mapping) for buffer in buffers}
    for buffer in buffers:
        assert len(buffer.mapping) < buffer.size + (1 << 20)
        pool.give(buffer)
    assert {id(pool.take(4_100_000).mapping) for _ in range(4)} == mappings


def test_the_checksum_is_zlibs() -> None:
    for size in (0, 1, 15, 16, 255, 256, 4092, 70_001):
        data = os.urandom(size)
        assert crc32(data) == zlib.crc32(data)
        assert crc32(memoryview(data)[: size // 3], data[size // 3 :]) == zlib.crc32(data)
