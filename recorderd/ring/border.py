"""The border between the two halves of the ring: the store (slots, journal, commits) and the ledger (runs, spans, locks, tombstones).

The ledger is a pure state machine: it does no I/O and never waits. All calls happen on the event loop. The store is the only caller of
`Ledger`; the ledger sees the store through `SlotView`.

How a change becomes durable:

1. A call changes the ledger's state in RAM at once and queues the items that describe the change.
2. When the store builds a commit it first tells the ledger what the commit holds (`slot_vanishes`, `media_written`), then takes the queued
   items with `take_items` and writes them in that order into one journal transaction.
3. A flush that fails is not the ledger's concern, except for media: the store writes the same items again and calls `media_withdrawn` for
   fragments that do not count. Nothing else is taken back.
4. A checkpoint calls `dump` directly after `take_items`, so that it holds exactly what the journal holds up to that transaction.

Recovery: `load` with the sections of the newest valid checkpoint (`{}` without one), then `apply` for every later journal item in order,
then, for slots that were open, `media_withdrawn` and `media_written` as the scan of those slots finds them, then `recovered`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from recorderd.model.causes import GapCause
from recorderd.model.ports import WriterSpec
from recorderd.model.stream import SenderReport
from recorderd.model.timeline import RunCause

STORE_KINDS: Final = range(1, 32)
LEDGER_KINDS: Final = range(32, 128)
MAX_ITEM_BYTES: Final = 3968  # of payload: an item never spans two journal blocks
STORE_SECTIONS: Final = range(1, 32)  # checkpoint section numbers
LEDGER_SECTIONS: Final = range(32, 128)
CATALOGUE_SECTION: Final = 34  # also written, under a head of its own, to `catalogue.a` and `catalogue.b`


class Item(NamedTuple):
    """One journal item. `payload` holds at most `MAX_ITEM_BYTES`."""

    kind: int
    payload: bytes
    flags: int = 0


class SlotRef(NamedTuple):
    """Bytes of one life of a slot. A reference whose generation is not the slot's present one points at nothing."""

    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class SpanUpdate:
    """What one fragment adds to one track. Durable in the same commit as the fragment.

    `from_ns` and `to_ns` are the boot times of the first sample and of the end of the last one: anchor time plus the distance in media
    time, so that neighbouring fragments of a session join exactly. Media times are unwrapped RTP in `timescale` units per second.
    """

    recording: uuid.UUID
    track: uuid.UUID
    track_index: int  # in WriterSpec.tracks; the MP4 track id is this plus 1
    writer_serial: int
    priority: int
    run: int
    boot_id: uuid.UUID
    from_ns: int
    to_ns: int
    from_pts: int
    to_pts: int
    timescale: int
    session: int  # session serial, from the anchor
    anchor_pts: int
    anchor_ns: int
    report: SenderReport | None
    ref: SlotRef
    fragment: int  # sequence number in the slot
    first_key_pts: int | None  # of the first random access point; None when the fragment has none for this track
    keys: int  # random access points
    continues: bool  # the fragment begins inside a GOP of this track
    damaged: bool


@dataclass(frozen=True, slots=True)
class SlotSummary:
    """What the store knows of one slot, for fsck, retention and lists."""

    ref: SlotRef
    state: int  # layout.SlotState
    order: int  # 0 until closed
    recording: uuid.UUID
    boot_id: uuid.UUID
    from_ns: int
    to_ns: int
    fragments: int
    length: int  # bytes of head and fragments


@dataclass(frozen=True, slots=True)
class Room:
    """Slots as invariant I9 counts them: `free + recyclable >= pool + open_writers` or a lock is refused."""

    slots: int
    slot_bytes: int
    free: int  # FREE and reserved ahead
    closed: int  # closed and not retired; the ledger subtracts what it keeps
    pool: int
    open_writers: int  # slots open now plus writers that wait for one


class SlotView(Protocol):
    """What the ledger may ask of the store. Implemented by the ring; given to the ledger with `attach`."""

    @property
    def disk_id(self) -> uuid.UUID: ...

    @property
    def boot_id(self) -> uuid.UUID: ...

    @property
    def ledger_bytes(self) -> int:
        """Room for the ledger's sections in a checkpoint: the ledger bounds itself to it."""

    def room(self) -> Room: ...

    def summary(self, slot: int) -> SlotSummary: ...

    def summaries(self) -> Iterable[SlotSummary]:
        """All slots that hold data, in no particular order."""

    def free_slot(self, ref: SlotRef) -> None:
        """The slot holds nothing that may be read any more: it is freed with the next commit and its head overwritten at an idle tick."""

    def close_slots_of(self, recording: uuid.UUID) -> None:
        """Closes slots of this recording that are open without a writer (the recording was deleted, or its retention asks for it)."""

    def wake(self) -> None:
        """Items are queued: a commit follows with the next tick even without media."""


class Ledger(Protocol):
    """Runs, spans, gaps, locks, tombstones, epochs and catalogue as the store sees them."""

    def attach(self, store: SlotView) -> None: ...

    def tick(self) -> None:
        """At the start of every commit tick: looks at the clock, and now and then at retention."""

    def writer_opened(self, spec: WriterSpec) -> None:
        """Enters the names of a writer's recording and tracks into the catalogue. Raises ValueError for deleted ids."""

    # --- what `ports.MediaStore` asks; the ring passes it on ----------------------------------------------

    def start_run(
        self,
        recording: uuid.UUID,
        job: uuid.UUID,
        source: str,
        cause: RunCause,
        tracks: Sequence[uuid.UUID],
        at_ns: int,
    ) -> int: ...

    def stop_run(self, run: int, at_ns: int) -> None: ...

    def note_gap(
        self, recording: uuid.UUID, tracks: Sequence[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int | None
    ) -> None: ...

    # --- while recording -------------------------------------------------------------------------------

    def media_written(self, update: SpanUpdate) -> None:
        """A fragment is part of the commit being built (or was found by recovery)."""

    def media_withdrawn(self, ref: SlotRef, fragments: int) -> None:
        """Of this slot only the fragments below number `fragments` exist: spans shrink, with a gap of unknown length at worst."""

    def media_rotten(self, ref: SlotRef, fragment: int) -> None:
        """This fragment's bytes no longer match their checksum: a gap of cause ROT."""

    def media_cut(self, ref: SlotRef, fragment: int) -> None:
        """The power went before this fragment was written, though one behind it was; nobody was told it is safe: a gap of cause
        RECORDER_CRASH."""

    def media_lost(
        self, recording: uuid.UUID, tracks: Iterable[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int
    ) -> None:
        """Appended media could not be stored anywhere."""

    def slot_vanishes(self, ref: SlotRef) -> None:
        """The slot is being reserved anew (or declared bad): its spans are gone with this commit."""

    def slot_closed(self, ref: SlotRef, order: int) -> None:
        """Recycling goes by `order` from now on."""

    def may_recycle(self, ref: SlotRef) -> bool:
        """Whether nothing (lock, minimum retention, quota) keeps this slot. Cheap: asked for candidates in rising order."""

    def max_slot_reach_ns(self, recording: uuid.UUID) -> int | None:
        """An eighth of the recording's maximum retention, or None: a slot that reaches further closes before it is full."""

    def epoch(self) -> int:
        """Number of the epoch in force, for fragment records."""

    def side_block(self, ref: SlotRef) -> bytes:
        """The mirror of locks and flags kept in the slot's own side blocks (at most 3900 bytes); empty when there is nothing to keep."""

    def take_stale_side_blocks(self) -> Iterable[SlotRef]:
        """Slots whose side block should be written with this commit; cleared by the call."""

    # --- durability -------------------------------------------------------------------------------------

    def take_items(self) -> list[Item]:
        """All queued items in order; the queue is empty afterwards."""

    def has_items(self) -> bool: ...

    def apply(self, kind: int, payload: bytes) -> None:
        """One item of the journal during recovery. Raises ValueError on malformed bytes."""

    def dump(self) -> dict[int, bytes]:
        """The whole state as checkpoint sections (numbers in `LEDGER_SECTIONS`)."""

    def load(self, sections: Mapping[int, bytes]) -> None:
        """Replaces the state. Raises ValueError on malformed bytes; the store then tries the other checkpoint."""

    def load_side_block(self, ref: SlotRef, payload: bytes) -> None:
        """Only while rebuilding from the slots alone."""

    def recovered(self) -> None:
        """Checkpoint and journal are applied: close what a crash left open. Scans of open slots may still follow."""
