"""The event history on the data disk, so that it outlives a restart without wearing system flash.

Lines of JSON with a checksum on a tape of two files (`tape.py`) that the ring made with itself: nothing is ever written to the system disk
in place of a missing one. What has happened is written at once, what happens meanwhile with the next of the ring's commits, which makes it
durable: an event is on the disk within two ticks, without a flush of its own while something is recorded.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from recorderd.events.history import History, Record
from recorderd.events.tape import Stored, Tape, read
from recorderd.model.ports import Clock, Event, StoreUnavailable
from recorderd.ring.files import HISTORIES

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 128 << 10
MAX_BATCH_BYTES = 256 << 10
MAX_FILE_BYTES = 16 << 20
RETRY_S = 5.0
LOAD_WAIT_S = 3.0
LAST_S = 3.0

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


def records_of(files: Iterable[bytes]) -> list[Record]:
    """What the files of a disk hold, oldest first. Numbers grow: where a disk that came late begins anew they are made to."""
    stored = sorted((found for file in files if (found := read(file)) is not None), key=lambda s: s.generation)
    records: list[Record] = []
    for part in stored:
        for line in part.text.split(b"\n"):
            record = decode_line(line)
            if record is not None:
                last = records[-1].number if records else 0
                records.append(record if record.number > last else Record(last + 1, record.event))
    return records


class Disk(Protocol):
    """Implemented by `ring.beside.HistoryFiles`."""

    @property
    def disk(self) -> uuid.UUID | None: ...

    @property
    def size(self) -> int: ...

    async def read(self, file: int) -> bytes: ...

    async def write(self, pieces: Sequence[tuple[int, int, bytes]]) -> None: ...

    def commit_soon(self) -> None: ...


class EventLog:
    """`load` before anything is published, if the disk is there; `run` beside the other services; `finish` while the ring is still open."""

    def __init__(self, *, disk: Disk, history: History, clock: Clock) -> None:
        self._disk = disk
        self._history = history
        self._clock = clock
        self._pending: list[Record] = []
        self._wake = asyncio.Event()
        self._attached: uuid.UUID | None = None
        self._tape: Tape | None = None
        self._writing = asyncio.Lock()
        self.failures = 0
        self.too_long = 0
        history.on_add = self._add

    def _add(self, record: Record) -> None:
        self._pending.append(record)
        self._wake.set()

    # --- the past ------------------------------------------------------------------------------------------

    def load(self, folder: Path) -> int:
        """Brings the history of the ring in `folder` back, which is not mounted yet; returns how many events. A disk that is not there,
        does not read, or hangs leaves it empty: the start does not wait for it longer than `LOAD_WAIT_S`."""
        found: list[list[Record]] = []
        reader = threading.Thread(target=_read_into, args=(folder, found), name="event history", daemon=True)
        reader.start()
        reader.join(LOAD_WAIT_S)
        if not found:
            return 0
        self._history.restore(found[0])
        return len(found[0])

    # --- the present ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Writes what happens, until cancelled."""
        while True:
            await self._wake.wait()
            if self._disk.disk is None:
                self._batch()  # what waits stays within its bound
                await self._clock.sleep(RETRY_S)
            elif not await self.write():
                await self._clock.sleep(RETRY_S)

    async def finish(self) -> None:
        """The last of it, without waiting for the ring's next tick; a disk that does not take it soon is not waited for."""
        try:
            self._disk.commit_soon()
            async with asyncio.timeout(LAST_S):
                while self._pending and self._disk.disk is not None and await self.write():
                    pass
        except TimeoutError:
            log.warning("the newest events are not in the history on the disk: it does not answer")

    async def write(self) -> bool:
        """What waits, as much as goes at once. False: the disk did not take it, and it still waits."""
        async with self._writing:
            self._wake.clear()
            batch = self._batch()
            if not batch:
                return True
            try:
                tape = await self._mounted()
                lines, count = self._lines(batch, min(MAX_BATCH_BYTES, tape.size // 4))
                moved = tape.copy()
                pieces = moved.add(lines)
                await self._disk.write([(piece.file, piece.offset, piece.data) for piece in pieces])
            except (OSError, StoreUnavailable) as error:
                if not self.failures:
                    log.warning("the event history cannot be written: %s", error)
                self.failures += 1
                self._wake.set()
                return False
            self._tape = moved
            done = batch[count - 1].number
            self._pending = [record for record in self._pending if record.number > done]
            if self._pending:
                self._wake.set()
            self.failures = 0
            return True

    def _batch(self) -> list[Record]:
        """What waits, as far as the history still holds it: its bound is the bound of what waits for a disk, too."""
        oldest = self._history.oldest
        self._pending = [r for r in self._pending if oldest is None or r.number >= oldest.number]
        return list(self._pending)

    def _lines(self, batch: Sequence[Record], room: int) -> tuple[bytes, int]:
        """(lines, of how many records), at most `room` bytes. A record that could never be written is passed over."""
        lines = b""
        for count, record in enumerate(batch):
            line = encode_line(record)
            if len(line) > min(room, MAX_LINE_BYTES):
                self.too_long += 1
                continue
            if len(lines) + len(line) > room:
                return lines, count
            lines += line
        return lines, len(batch)

    async def _mounted(self) -> Tape:
        """The tape of the disk that is there now. What it holds stays there, before what has happened since."""
        disk = self._disk.disk
        if self._tape is None or self._attached != disk:
            files: list[Stored | None] = [read(await self._disk.read(number)) for number in range(len(HISTORIES))]
            self._tape = Tape.after(self._disk.size, files)
            self._attached = disk
        return self._tape


def _read_into(folder: Path, found: list[list[Record]]) -> None:
    try:
        files = [path.read_bytes() for name in HISTORIES if _is_file(path := folder / name)]
    except OSError as error:
        log.warning("the event history cannot be read: %s", error)
        return
    found.append(records_of(files))


def _is_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= MAX_FILE_BYTES
