"""What the power-cut benchmark reads from a log of writes and flushes."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

from tests.bench.power_cuts import FPS, STREAMS, Logged, lost_s
from tests.peers.write_log_server import FLUSH, LOG_ENTRY, WRITE


def disk_with(folder: Path, entries: list[tuple[int, bytes]]) -> Logged:
    log = folder / "writes.log"
    log.write_bytes(b"".join(LOG_ENTRY.pack(kind, 0, len(data)) + data for kind, data in entries))
    return Logged(folder, folder / "disk", log, folder / "now.img")


def test_work_is_counted_from_where_recording_began(tmp_path: Path) -> None:
    entries = [(WRITE, b"before"), (FLUSH, b""), (WRITE, b"12345"), (WRITE, b"678"), (FLUSH, b"")]
    disk = disk_with(tmp_path, entries)
    assert disk.work() == (3, 2, 14)
    disk.start = 2 * LOG_ENTRY.size + len(b"before")
    assert disk.work() == (2, 1, 8)


def test_the_cut_is_at_the_last_position_known_at_its_instant(tmp_path: Path) -> None:
    disk = disk_with(tmp_path, [])
    disk.start, disk.positions = 10, [(0.05, 10), (1.0, 50), (2.0, 70)]
    assert [disk.at(second) for second in (0.0, 0.5, 1.0, 1.99, 9.0)] == [10, 10, 50, 50, 70]


def test_loss_is_what_was_sent_less_what_is_found(tmp_path: Path) -> None:
    class Cut(Logged):
        def cut(self, second: float, rng: random.Random) -> contextlib.AbstractContextManager[Path]:
            return contextlib.nullcontext(self.folder)

    disk = Cut(tmp_path, tmp_path, tmp_path, tmp_path)
    assert lost_s(disk, [10.0, 20.0], lambda _: STREAMS * FPS * 8) == [2.0, 12.0]
