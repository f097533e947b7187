"""Reading ahead: everything once, in order, neighbours together; a bad place costs what lies on it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator, Sequence

import pytest

from recorderd.protocol.work import Stored
from recorderd.workers.stored_fragment import AHEAD, MAX_UNREADABLE, READ_BYTES, Found, Life, ReadAhead, read_one
from tests.media import clips
from tests.recording.stored_ring import record, ring_in, session_units
from tests.simulated_time import FakeClock

_preadv = os.preadv


class Disk:
    """Counts reads, and fails those that touch a bad byte, as a disk does."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []
        self.bad: Sequence[int] = ()
        self.error = errno.EIO

    def preadv(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        length = len(buffers[0])
        self.reads.append((offset, length))
        if any(offset <= at < offset + length for at in self.bad):
            raise OSError(self.error, os.strerror(self.error))
        return _preadv(fd, buffers, offset)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "preadv", disk.preadv)
    return disk


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Life, list[Stored]]]:
    """A slot with 48 fragments of half a second."""
    folder = tmp_path_factory.mktemp("ring")
    clip = clips.video(frames=600)

    async def fill() -> tuple[Life, list[Stored]]:
        clock = FakeClock()
        async with ring_in(folder, clock, slot_bytes=8 << 20) as ring:
            await record(ring, clock, *session_units(clip))
            store = ring.store
            assert store is not None
            ref = next(store.summary(n).ref for n in range(24) if store.summary(n).length)
            async with ring.read_slot(ref) as reader:
                wanted = [Stored(e.sequence, e.offset, e.fragment_bytes) for e in await reader.entries()]
                return Life(os.dup(reader.descriptor), store.disk_id, ref.generation, store.identity.slot_bytes), wanted

    life, wanted = asyncio.run(fill())
    assert len(wanted) > 2 * MAX_UNREADABLE
    yield life, wanted
    os.close(life.fd)


def read(life: Life, *jobs: list[Stored]) -> list[tuple[int, Found, bytes]]:
    return [
        (number, found, bytes(found.payload))
        for number, batch in ReadAhead[int]().read(iter((n, life, job) for n, job in enumerate(jobs)))
        for found in batch
    ]


def test_everything_once_and_in_order_and_neighbours_together(slot: tuple[Life, list[Stored]], disk: Disk) -> None:
    life, wanted = slot
    found = read(life, wanted[:20], wanted[20:21], wanted[25:])
    assert [one.stored for _, one, _ in found] == [*wanted[:21], *wanted[25:]]
    assert [number for number, _, _ in found] == [0] * 20 + [1] + [2] * len(wanted[25:])
    for _, one, payload in found:
        assert one.record is not None
        assert payload[4:8] == b"moof"
        assert len(payload) == one.record.payload_bytes
    assert len(disk.reads) <= 3 + sum(stored.bytes for stored in wanted) // (READ_BYTES // 2)


def test_a_fragment_larger_than_a_read(slot: tuple[Life, list[Stored]]) -> None:
    life, wanted = slot
    huge = Stored(wanted[0].sequence, wanted[0].offset, 2 * READ_BYTES)
    found = read(life, [*wanted[:1], huge, *wanted[1:3]])
    assert [one.stored for _, one, _ in found] == [wanted[0], huge, *wanted[1:3]]
    (_, _, small), (_, _, large), *_ = found
    assert small == large


def test_a_bad_place_costs_the_fragment_on_it(slot: tuple[Life, list[Stored]], disk: Disk) -> None:
    life, wanted = slot
    disk.bad = [wanted[7].offset + 5000]
    found = read(life, wanted)
    assert [one.stored for _, one, _ in found] == wanted
    lost = [one for _, one, _ in found if one.record is None]
    assert [(one.stored, one.fault) for one in lost] == [
        (wanted[7], f"fragment {wanted[7].sequence} cannot be read: Input/output error")
    ]


def test_a_disk_that_answers_nothing_ends_the_reading(slot: tuple[Life, list[Stored]], disk: Disk) -> None:
    life, wanted = slot
    disk.bad = [stored.offset for stored in wanted[4:]]
    with pytest.raises(OSError, match="Input/output error"):
        read(life, wanted)
    disk.error = errno.ENODEV
    disk.reads.clear()
    with pytest.raises(OSError, match="No such device"):
        read(life, wanted[4:5])


@pytest.mark.parametrize("offset", [-4096, 0, 100, 8 << 20, 1 << 60])
def test_what_cannot_be_in_the_slot_is_not_read(offset: int, slot: tuple[Life, list[Stored]], disk: Disk) -> None:
    life, wanted = slot
    found = read(life, [wanted[0], Stored(99, offset, 4096), wanted[1]])
    assert [one.fault for _, one, _ in found] == ["", "fragment 99 lies outside its slot", ""]
    assert all(0 <= at < 8 << 20 for at, _ in disk.reads)


def test_it_asks_for_no_more_than_it_may_have_under_way(slot: tuple[Life, list[Stored]]) -> None:
    """A job that cannot be had before an earlier one is used is waited for."""
    life, wanted = slot
    used = 0
    given = 0

    def jobs() -> Iterator[tuple[int, Life, list[Stored]] | None]:
        nonlocal given
        for number, stored in enumerate(wanted):
            while given - used >= 2:
                yield None
            given += 1
            yield number, life, [stored]

    for number, _ in ReadAhead[int]().read(jobs()):
        assert number == used
        assert given - used <= min(2, AHEAD)
        used += 1
    assert used == len(wanted)


def test_one_fragment_at_once(slot: tuple[Life, list[Stored]], disk: Disk) -> None:
    life, wanted = slot
    assert read_one(life, wanted[3]).record is not None
    assert "another one" in read_one(Life(life.fd, life.disk, life.generation + 1, life.slot_bytes), wanted[3]).fault
    disk.bad = [wanted[3].offset]
    with pytest.raises(OSError, match="Input/output"):
        read_one(life, wanted[3])
