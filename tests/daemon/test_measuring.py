"""The disk's speed from a real ring's commits, kept for the next start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from recorderd.daemon.measuring import SAVE_S, Measuring
from recorderd.model.rates import MIN_COMMITS
from recorderd.ring.ring import Ring
from recorderd.state import measured
from tests.simulated_time import FakeClock, run_simulated

MIB = 1 << 20


class Disk:
    """As much of a ring as is looked at."""

    def __init__(self, name: str = "d1") -> None:
        self.store: SimpleNamespace | None = None
        self.mount(name)

    def mount(self, name: str) -> None:
        statistics = SimpleNamespace(commits=0, written_bytes=0, last_commit_took_ns=0)
        self.store = SimpleNamespace(disk_id=name, statistics=statistics)

    def commit(self, size: int, took_ms: int) -> None:
        assert self.store is not None
        self.store.statistics.commits += 1
        self.store.statistics.written_bytes += size
        self.store.statistics.last_commit_took_ns = took_ms * 1_000_000


def measuring(disk: Disk, path: Path, clock: FakeClock, *, durable: bool = True) -> Measuring:
    return Measuring(ring=cast("Ring", disk), path=path, clock=clock, durable=durable)


def test_commits_are_measured_and_kept_for_the_next_start(tmp_path: Path) -> None:
    disk, clock = Disk(), FakeClock()
    watch = measuring(disk, tmp_path / "m", clock)
    watch.look()
    for _ in range(MIN_COMMITS):
        disk.commit(8 * MIB, 100)
        watch.look()
        watch.look()
        disk.commit(1 * MIB, 900)
        disk.commit(1 * MIB, 900)  # two between two looks: their bytes and times cannot be told apart
        watch.look()
    watch.save()
    assert measured.load(tmp_path / "m").disks == {"d1": 80 * MIB}
    disk.mount("d2")
    watch.look()
    for _ in range(MIN_COMMITS):
        disk.commit(8 * MIB, 200)
        watch.look()
    watch.save()
    found = measured.load(tmp_path / "m")
    assert (found.disks, found.newest()) == ({"d1": 80 * MIB, "d2": 40 * MIB}, 40 * MIB)
    disk.store = None
    watch.look()


def test_flash_is_written_once_an_hour_and_only_for_news(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        disk, path = Disk(), tmp_path / "m"
        watch = measuring(disk, path, clock)
        task = asyncio.create_task(watch.run())
        for _ in range(60):
            await asyncio.sleep(1)
            disk.commit(8 * MIB, 100)
        assert not path.exists()
        task.cancel()
        await asyncio.wait([task])
        assert measured.load(path).newest() == 80 * MIB, "at the recorder's end"
        written = path.stat().st_mtime_ns
        watch.save()
        assert path.stat().st_mtime_ns == written, "the same again is no news"

    run_simulated(main)
    assert SAVE_S >= 3600


def test_buffered_writes_are_no_measure(tmp_path: Path) -> None:
    disk = Disk()
    watch = measuring(disk, tmp_path / "m", FakeClock(), durable=False)
    for _ in range(2 * MIN_COMMITS):
        disk.commit(8 * MIB, 1)
        watch.look()
    watch.save()
    assert not (tmp_path / "m").exists()


def test_a_file_that_is_none_of_ours_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "m"
    for garbage in (b"", b"{", b'{"disks": {"d": "fast"}}', b"\xff" * 100_000):
        path.write_bytes(garbage)
        assert measured.load(path) == measured.Measured()
    for number in range(40):
        measured.save(path, measured.load(path).with_disk(str(number), number))
    assert list(measured.load(path).disks) == [str(n) for n in range(24, 40)]
