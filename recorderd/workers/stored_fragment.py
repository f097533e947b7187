"""Fragments through slots' descriptors, believed only after they were checked (format.md section 14), and read ahead of their use.

A disk answers several requests sooner than one after the other, and a processor can sum what has come while the disk fetches more: threads
keep up to `AHEAD` reads under way. Neighbours are read together. Descriptors with O_DIRECT serve: buffers, offsets and lengths are whole
blocks. A bad place on the disk costs the fragments on it; a disk that answers nothing more ends the reading.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Generic, TypeVar

from recorderd.protocol.work import Stored
from recorderd.ring.layout import BLOCK, MAX_SLOT_BYTES, CorruptStructure, FragmentRecord, UnknownFeature, payload_crc

T = TypeVar("T")
READ_BYTES = 1 << 20  # at a time, but for a fragment that is larger
AHEAD = 4
MAX_UNREADABLE = 16  # fragments in a row: then it is not a bad place, but the disk
_THREADS = 3


class Rotten(Exception):
    """The bytes are not the fragment they should be."""


@dataclass(frozen=True, slots=True)
class Found:
    """A fragment that is what it should be (`record` and `payload`, its `moof` and `mdat`), or why it is not (`fault`)."""

    stored: Stored
    record: FragmentRecord | None = None
    payload: memoryview = field(default_factory=lambda: memoryview(b""))
    fault: str = ""
    error: OSError | None = None  # of the disk, when that is the fault


@dataclass(frozen=True, slots=True)
class Life:
    """One life of one slot, through a descriptor that reads."""

    fd: int
    disk: uuid.UUID
    generation: int
    slot_bytes: int

    def holds(self, stored: Stored) -> bool:
        return (
            self.slot_bytes <= MAX_SLOT_BYTES
            and not stored.offset % BLOCK
            and not stored.bytes % BLOCK
            and 0 < stored.bytes <= self.slot_bytes - stored.offset
            and stored.offset > 0
        )


class _Batch(Generic[T]):
    """Fragments that lie one behind the other and are read together; `of` is what the caller knows them by."""

    def __init__(self, of: T, life: Life, first: Stored) -> None:
        self.of = of
        self.life = life
        self.wanted = [first]
        self.start = first.offset
        self.bytes = first.bytes if life.holds(first) else 0
        self.found: list[Found] = []
        self.buffer: mmap.mmap | None = None
        self.ready = threading.Event()

    def takes(self, stored: Stored) -> bool:
        """Adds a neighbour; false when it is none or there is no room."""
        if (
            not self.bytes
            or not self.life.holds(stored)
            or stored.offset != self.start + self.bytes
            or self.bytes + stored.bytes > READ_BYTES
        ):
            return False
        self.wanted.append(stored)
        self.bytes += stored.bytes
        return True

    def load(self) -> None:
        """Reads and checks; what is wrong is in `found`."""
        if self.buffer is None:
            self.found = [
                Found(stored, fault=f"fragment {stored.sequence} lies outside its slot") for stored in self.wanted
            ]
            return
        view = memoryview(self.buffer)[: self.bytes]
        together = self._read(view, self.start) is None
        for stored in self.wanted:
            part = view[stored.offset - self.start :][: stored.bytes]
            error = None if together else self._read(part, stored.offset)
            if error is not None:
                fault = f"fragment {stored.sequence} cannot be read: {error.strerror}"
                self.found.append(Found(stored, fault=fault, error=error))
                continue
            try:
                self.found.append(Found(stored, *_checked(part, stored, self.life)))
            except Rotten as rotten:
                self.found.append(Found(stored, fault=str(rotten)))

    def _read(self, view: memoryview, offset: int) -> OSError | None:
        done = 0
        while done < len(view):
            try:
                count = os.preadv(self.life.fd, [view[done:]], offset + done)
            except OSError as error:
                return error
            if count == 0:
                return OSError(errno.EIO, "cut off")
            done += count
        return None


class ReadAhead(Generic[T]):
    """Its threads run from the start: in the cage of a worker there will be no new ones."""

    def __init__(self, cage: Callable[[], object] = lambda: None) -> None:
        """`cage` is what each thread does first, because a filter of system calls holds for one thread."""
        self._cage = cage
        self._todo: SimpleQueue[_Batch[T]] = SimpleQueue()
        self._spare = [mmap.mmap(-1, READ_BYTES) for _ in range(AHEAD)]
        self._unreadable = 0
        for _ in range(_THREADS):
            threading.Thread(target=self._run, daemon=True).start()

    def read(self, jobs: Iterator[tuple[T, Life, list[Stored]] | None]) -> Iterator[tuple[T, list[Found]]]:
        """Everything in the order of `jobs`, neighbours together. What it gives holds until the next is asked for.

        `jobs` says None when it can give nothing before more of what is under way was used. Raises OSError.
        """
        under_way: deque[_Batch[T]] = deque()
        more = _batches(jobs)
        ended = False
        while True:
            while not ended and len(under_way) < AHEAD and sum(batch.bytes for batch in under_way) < AHEAD * READ_BYTES:
                try:
                    batch = next(more)
                except StopIteration:
                    ended = True
                    break
                if batch is None:
                    break
                if batch.bytes:
                    batch.buffer = self._spare.pop() if batch.bytes <= READ_BYTES else mmap.mmap(-1, batch.bytes)
                self._todo.put(batch)
                under_way.append(batch)
            if not under_way:
                assert ended, "jobs are waited for while nothing is under way"
                return
            batch = under_way.popleft()
            batch.ready.wait()
            self._look(batch)
            yield batch.of, batch.found
            if batch.buffer is not None and len(batch.buffer) == READ_BYTES:
                self._spare.append(batch.buffer)

    def _look(self, batch: _Batch[T]) -> None:
        assert len(batch.found) == len(batch.wanted), (
            "a reading thread died of a bug; its traceback is on standard error"
        )
        for found in batch.found:
            self._unreadable = self._unreadable + 1 if found.error is not None else 0
            if found.error is not None and (found.error.errno != errno.EIO or self._unreadable >= MAX_UNREADABLE):
                raise found.error

    def _run(self) -> None:
        self._cage()
        while True:
            batch = self._todo.get()
            try:
                batch.load()
            finally:
                batch.ready.set()


def read_one(life: Life, stored: Stored) -> Found:
    """Here and now, without threads. Raises OSError."""
    batch = _Batch(None, life, stored)
    if batch.bytes:
        batch.buffer = mmap.mmap(-1, batch.bytes)
    batch.load()
    found = batch.found[0]
    if found.error is not None:
        raise found.error
    return found


def _batches(jobs: Iterator[tuple[T, Life, list[Stored]] | None]) -> Iterator[_Batch[T] | None]:
    for job in jobs:
        if job is None:
            yield None
            continue
        of, life, wanted = job
        batch: _Batch[T] | None = None
        for stored in wanted:
            if batch is None:
                batch = _Batch(of, life, stored)
            elif not batch.takes(stored):
                yield batch
                batch = _Batch(of, life, stored)
        if batch is not None:
            yield batch


def _checked(view: memoryview, stored: Stored, life: Life) -> tuple[FragmentRecord, memoryview]:
    try:
        record = FragmentRecord.unpack(view, room=life.slot_bytes - stored.offset)
    except (CorruptStructure, UnknownFeature) as error:
        raise Rotten(f"fragment {stored.sequence}: {error}") from error
    payload = view[record.payload_offset : record.payload_offset + record.payload_bytes]
    if (record.disk_id, record.generation, record.sequence) != (life.disk, life.generation, stored.sequence):
        raise Rotten(f"fragment {stored.sequence}: another one lies there")
    if payload_crc(payload) != record.payload_crc:
        raise Rotten(f"fragment {stored.sequence}: its checksum does not match")
    return record, payload
