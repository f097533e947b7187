"""The history on the data disk: two files of bounded size, written in turn, so that it outlives a restart without wearing system flash.

Lines of JSON with a checksum, appended every few seconds without a flush of their own: a power cut costs the newest events, never the
recording's flush. Nothing is written before the folder holds a ring, so never to the system disk in place of a missing one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import zlib
from pathlib import Path

import msgspec

from recorderd.events.history import History, Record
from recorderd.model.ports import Clock, Event

log = logging.getLogger(__name__)

FILE_BYTES = 8 << 20
MAX_LINE_BYTES = 128 << 10
WRITE_EVERY_S = 5.0
LOAD_WAIT_S = 3.0
MARKER = "recorderd.id"  # what a ring's folder has

Items = tuple[tuple[str, str], ...]
_Row = tuple[int, int, int, str, Items, Items, str]
_decode = msgspec.json.Decoder(_Row)
_encode = msgspec.json.Encoder()


def encode_line(record: Record) -> bytes:
    event = record.event
    body = _encode.encode(
        (record.number, event.utc_ns, event.boottime_ns, event.topic, event.source, event.data, event.operation)
    )
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode_line(line: bytes) -> Record | None:
    """None for what is torn, damaged or none of ours."""
    body = line[9:]
    if len(line) > MAX_LINE_BYTES or line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(body):
        return None
    try:
        number, utc_ns, boottime_ns, topic, source, data, operation = _decode.decode(body)
    except msgspec.DecodeError:
        return None
    return Record(number, Event(topic, source, data, operation, utc_ns, boottime_ns))


class EventLog:
    """`load` before anything is published, if the disk is there; `run` beside the other services."""

    def __init__(self, *, folder: Path, history: History, clock: Clock) -> None:
        self._ring = folder
        self._folder = folder / "history"
        self._history = history
        self._clock = clock
        self._pending: list[Record] = []
        self._current = 0
        self._attached = False
        self.failures = 0
        history.on_add = self._pending.append

    def _present(self) -> bool:
        return (self._ring / MARKER).is_file()

    def load(self) -> int:
        """Brings the history back; returns how many events. A disk that is not there, does not read, or hangs leaves it empty: the
        start does not wait for it longer than `LOAD_WAIT_S`."""
        found: list[list[Record]] = []
        reader = threading.Thread(target=self._read_into, args=(found,), name="event history", daemon=True)
        reader.start()
        reader.join(LOAD_WAIT_S)
        if not found:
            return 0
        self._history.restore(found[0])
        self._attached = True
        return len(found[0])

    def _read_into(self, found: list[list[Record]]) -> None:
        try:
            if self._present():
                found.append(self._read())
        except OSError as error:
            log.warning("the event history cannot be read: %s", error)

    def _read(self) -> list[Record]:
        found: dict[int, Record] = {}
        newest = [0, 0]
        for index in (0, 1):
            path = self._folder / str(index)
            if not path.is_file() or path.stat().st_size > 2 * FILE_BYTES:
                continue
            for line in path.read_bytes().split(b"\n"):
                record = decode_line(line)
                if record is not None:
                    found[record.number] = record
                    newest[index] = max(newest[index], record.number)
        self._current = int(newest[1] > newest[0])
        return [found[number] for number in sorted(found)]

    async def run(self) -> None:
        """Writes what has happened every few seconds, and once more at the end."""
        try:
            while True:
                await self._clock.sleep(WRITE_EVERY_S)
                batch = self._take()
                if batch and not await asyncio.to_thread(self._write, batch):
                    self._pending[:0] = batch
        finally:
            self.write()

    def write(self) -> None:
        """What waits is written now. Blocks."""
        batch = self._take()
        if batch and not self._write(batch):
            self._pending[:0] = batch

    def _take(self) -> list[Record]:
        """What waits, as far as the history still holds it: its bound is the bound of what waits for a disk, too."""
        oldest = self._history.oldest
        batch = [r for r in self._pending if oldest is None or r.number >= oldest.number]
        self._pending.clear()
        return batch

    def _write(self, batch: list[Record]) -> bool:
        try:
            if not self._present():
                return False
            if not self._attached:
                self._attach()
            self._append(b"".join(encode_line(record) for record in batch))
        except OSError as error:
            if not self.failures:
                log.warning("the event history cannot be written: %s", error)
            self.failures += 1
            return False
        self.failures = 0
        return True

    def _attach(self) -> None:
        """The disk came later than the start: what it holds stays there and is not mixed with what has happened since."""
        self._read()
        self._attached = True
        self._current = 1 - self._current
        (self._folder / str(self._current)).unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        self._folder.mkdir(mode=0o750, exist_ok=True)
        path = self._folder / str(self._current)
        if path.exists() and path.stat().st_size + len(data) > FILE_BYTES:
            self._current = 1 - self._current
            path = self._folder / str(self._current)
            path.unlink(missing_ok=True)
        with path.open("ab") as file:
            file.write(data)
