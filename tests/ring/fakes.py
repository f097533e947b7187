"""Fragment bodies with recognisable content, a ledger that keeps lists, and a ring on a simulated disk."""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from recorderd.model.causes import GapCause
from recorderd.model.ports import Anchor, SampleRun, Writer, WriterSpec, WriterTrack
from recorderd.model.stream import Codec, TrackFormat
from recorderd.model.timeline import RunCause
from recorderd.ring.border import Item, SlotRef, SlotView, SpanUpdate
from recorderd.ring.disk_memory import DiskMemory
from recorderd.ring.disk_threads import DiskCalls, InlineCalls
from recorderd.ring.formatting import format_ring
from recorderd.ring.profiles import HDD, Profile
from recorderd.ring.ring import Ring
from recorderd.ring.store import Store
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock

VIDEO = TrackFormat(Codec.H264, 90_000, config=b"\x01", width=64, height=48)
BOOT = uuid.UUID(int=0xB007)


def spec(number: int = 1, *, tracks: int = 1, receiver: int = 0) -> WriterSpec:
    return WriterSpec(
        recording=uuid.UUID(int=0x1000 + number),
        recording_name=f"camera {number}",
        receiver=uuid.UUID(int=0x2000 + number + receiver * 100),
        source=f"door {number}",
        tracks=tuple(
            WriterTrack(uuid.UUID(int=0x3000 + number * 16 + i), VIDEO, f"VIDEO{i:03d}") for i in range(tracks)
        ),
    )


def head(_: WriterSpec) -> tuple[bytes, bytes]:
    return struct.pack(">I4s4sI", 16, b"ftyp", b"iso6", 0), struct.pack(">I4s", 600, b"moov").ljust(600, b"m")


def media(serial: int, size: int) -> bytes:
    """The bytes of fragment `serial`: recognisable anywhere."""
    seed = struct.pack("<QI", serial, zlib.crc32(serial.to_bytes(8, "little")))
    return (seed * (size // len(seed) + 1))[:size]


def serial_of(payload: bytes | memoryview) -> int:
    """The serial of a fragment's payload; AssertionError when any byte is not what was appended."""
    (serial,) = struct.unpack_from("<Q", payload)
    assert bytes(payload) == media(serial, len(payload)), "bytes that were never appended"
    return int(serial)


@dataclass
class Body:
    """`ports.FragmentBody` for one second of video."""

    serial: int
    size: int
    first_pts: int
    key: bool = True
    damaged: bool = False
    duration: int = 90_000

    @property
    def runs(self) -> Sequence[SampleRun]:
        keys = ((self.first_pts,), (0,)) if self.key else ((), ())
        return [SampleRun(0, self.first_pts, self.first_pts + self.duration, 25, *keys)]

    @property
    def starts_with_key(self) -> bool:
        return self.key

    def write_into(self, buffer: memoryview, sequence: int, media_base: Sequence[int]) -> None:
        assert len(buffer) == self.size
        buffer[:] = media(self.serial, self.size)


@dataclass
class Sink:
    """`ports.DurableSink` that remembers."""

    durable_fragments: int = 0
    through_ns: int = 0
    lost_ranges: list[tuple[GapCause, int, int]] = field(default_factory=list)

    def durable(self, writer: Writer, through_ns: int, fragments: int) -> None:
        self.durable_fragments += fragments
        self.through_ns = through_ns

    def lost(self, writer: Writer, cause: GapCause, from_ns: int, to_ns: int) -> None:
        self.lost_ranges.append((cause, from_ns, to_ns))


class ListLedger:
    """`border.Ledger` with plain dictionaries: (slot, generation) -> fragment -> [track, run, from_pts, to_pts]."""

    def __init__(self) -> None:
        self.media: dict[tuple[int, int], dict[int, list[object]]] = {}
        self.rotten: list[tuple[int, int, int]] = []
        self.cut: list[tuple[int, int, int]] = []
        self.locked: set[int] = set()
        self.lost: list[GapCause] = []
        self.opened: list[str] = []
        self.stale: set[SlotRef] = set()
        self.sides: dict[SlotRef, bytes] = {}
        self.reach_ns: int | None = None
        self.closed_order: dict[tuple[int, int], int] = {}
        self.store: SlotView | None = None
        self._queue: list[Item] = []
        self._runs = 0

    def attach(self, store: SlotView) -> None:
        self.store = store

    def _do(self, op: Sequence[object]) -> None:
        payload = json.dumps(op).encode()
        self._queue.append(Item(32, payload))
        self.apply(32, payload)

    def apply(self, kind: int, payload: bytes) -> None:
        op = json.loads(payload)
        key = (op[1], op[2])
        if op[0] == "media":
            self.media.setdefault(key, {})[op[3]] = op[4:]
        elif op[0] == "withdrawn":
            for fragment in [f for f in self.media.get(key, {}) if f >= op[3]]:
                del self.media[key][fragment]
        elif op[0] == "rotten":
            self.media.get(key, {}).pop(op[3], None)
            self.rotten.append((*key, op[3]))
        elif op[0] == "cut":
            self.media.get(key, {}).pop(op[3], None)
            self.cut.append((*key, op[3]))
        elif op[0] == "vanished":
            self.media.pop(key, None)
        elif op[0] == "lock":
            (self.locked.add if op[2] else self.locked.discard)(op[1])
        elif op[0] == "run":
            self._runs = op[1]
        else:
            raise ValueError(f"unknown item {op[0]}")

    def lock(self, slot: int, *, locked: bool = True) -> None:
        self._do(["lock", slot, int(locked)])

    def tick(self) -> None: ...

    def writer_opened(self, spec: WriterSpec) -> None:
        self.opened.append(spec.recording_name)

    def start_run(
        self,
        recording: uuid.UUID,
        job: uuid.UUID,
        source: str,
        cause: RunCause,
        tracks: Sequence[uuid.UUID],
        at_ns: int,
    ) -> int:
        self._do(["run", self._runs + 1, 0])
        return self._runs

    def stop_run(self, run: int, at_ns: int) -> None: ...

    def note_gap(
        self, recording: uuid.UUID, tracks: Sequence[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int | None
    ) -> None: ...

    def media_written(self, update: SpanUpdate) -> None:
        track = update.track_index
        self._do(["media", *update.ref, update.fragment, track, update.run, update.from_pts, update.to_pts])

    def media_withdrawn(self, ref: SlotRef, fragments: int) -> None:
        self._do(["withdrawn", *ref, fragments])

    def media_rotten(self, ref: SlotRef, fragment: int) -> None:
        self._do(["rotten", *ref, fragment])

    def media_cut(self, ref: SlotRef, fragment: int) -> None:
        self._do(["cut", *ref, fragment])

    def media_lost(
        self, recording: uuid.UUID, tracks: Iterable[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int
    ) -> None:
        self.lost.append(cause)

    def slot_vanishes(self, ref: SlotRef) -> None:
        self._do(["vanished", *ref])

    def slot_closed(self, ref: SlotRef, order: int) -> None:
        self.closed_order[ref] = order

    def may_recycle(self, ref: SlotRef) -> bool:
        return ref.slot not in self.locked

    def max_slot_reach_ns(self, recording: uuid.UUID) -> int | None:
        return self.reach_ns

    def epoch(self) -> int:
        return 7

    def side_block(self, ref: SlotRef) -> bytes:
        return self.sides.get(ref, b"")

    def take_stale_side_blocks(self) -> Iterable[SlotRef]:
        stale, self.stale = self.stale, set()
        return sorted(stale)

    def take_items(self) -> list[Item]:
        items, self._queue = self._queue, []
        return items

    def has_items(self) -> bool:
        return bool(self._queue)

    def dump(self) -> dict[int, bytes]:
        flat = [[*key, sorted(fragments.items())] for key, fragments in self.media.items()]
        return {32: json.dumps([flat, sorted(self.locked), self._runs]).encode()}

    def load(self, sections: Mapping[int, bytes]) -> None:
        self.media, self.locked, self._runs = {}, set(), 0
        if 32 in sections:
            flat, locked, self._runs = json.loads(sections[32])
            self.media = {(slot, generation): dict(map(tuple, items)) for slot, generation, items in flat}
            self.locked = set(locked)

    def load_side_block(self, ref: SlotRef, payload: bytes) -> None: ...

    def recovered(self) -> None: ...


@dataclass
class Feed:
    """Appends numbered fragments to one writer."""

    ring: Ring
    clock: FakeClock
    writer: Writer
    serials: list[int]
    sink: Sink
    pts: int = 1_000_000
    session: int = 1

    def append(self, serial: int, size: int, *, key: bool = True, urgent: bool = False) -> None:
        now = self.clock.boottime_ns()
        body = Body(serial, size, self.pts, key=key)
        self.writer.append(body, 1, [Anchor(0, self.pts, now, self.session)], now, now + 1, urgent=urgent)
        self.serials.append(serial)
        self.pts += body.duration

    @property
    def acknowledged(self) -> list[int]:
        return self.serials[: self.sink.durable_fragments]


def feed(ring: Ring, clock: FakeClock, number: int = 1) -> Feed:
    sink = Sink()
    return Feed(ring, clock, ring.open_writer(spec(number), sink), [], sink)


async def formatted(
    disk: SimDisk, *, slots: int = 16, slot_bytes: int = 128 * 1024, journal_blocks: int = 64, profile: Profile = HDD
) -> None:
    await format_ring(
        disk,
        InlineCalls(),
        formatted_ns=1,
        slots=slots,
        slot_bytes=slot_bytes,
        journal_blocks=journal_blocks,
        ledger_bytes=1 << 18,
        profile=profile,
    )


def ring_on(
    disk: SimDisk | Callable[[], SimDisk],
    clock: FakeClock,
    ledger: ListLedger | None = None,
    *,
    boot: uuid.UUID = BOOT,
    memory: DiskMemory | None = None,
    calls: Callable[[], DiskCalls] = InlineCalls,
) -> Ring:
    return Ring(
        open_device=disk if callable(disk) else lambda: disk,
        make_calls=calls,
        ledger=ledger if ledger is not None else ListLedger(),
        clock=clock,
        boot_id=boot,
        head=head,
        memory=memory,
    )


async def mounted(disk: SimDisk, clock: FakeClock, ledger: ListLedger) -> tuple[Ring, Store]:
    """A ring on a disk that was formatted, ready to record."""
    ring = ring_on(disk, clock, ledger)
    assert await ring.mount()
    assert ring.store is not None
    return ring, ring.store


async def contents(ring: Ring) -> dict[SlotRef, list[int]]:
    """Serials of all fragments the ring gives out, by slot, in order; every byte of them checked."""
    store = ring.store
    assert store is not None
    found: dict[SlotRef, list[int]] = {}
    for summary in list(store.summaries()):
        async with ring.read_slot(summary.ref) as reader:
            found[summary.ref] = [serial_of((await reader.fragment(e)).payload) for e in await reader.entries()]
    return found
