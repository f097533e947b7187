"""The slot table: one row per slot, changed only by store events, so that replaying the journal and recording go the same way."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from recorderd.ring.border import SlotRef, SlotSummary
from recorderd.ring.layout import (
    MAX_COUNTER,
    NO_UUID,
    Close,
    CorruptStructure,
    Counters,
    Durable,
    Free,
    Open,
    Reserve,
    RowFlag,
    SlotState,
    StoreEvent,
)

# Checkpoint section 1 is this array as it is.
ROW: Final = np.dtype(
    [
        ("generation", "<u8"),
        ("order", "<u8"),
        ("start_ns", "<u8"),
        ("end_ns", "<u8"),
        ("fragments", "<u4"),
        ("length", "<u4"),
        ("tail_bytes", "<u4"),
        ("writer_serial", "<u4"),
        ("recording", "u1", 16),
        ("boot_id", "u1", 16),
        ("state", "u1"),
        ("flags", "u1"),
        ("reserved", "u1", 14),
    ]
)
assert ROW.itemsize == 96
_STATES: Final = np.array([int(state) for state in SlotState], dtype=np.uint8)


class SlotTable:
    """Rows and the counters that must never be handed out twice."""

    def __init__(self, slots: int) -> None:
        self.rows: npt.NDArray[np.void] = np.zeros(slots, dtype=ROW)
        self.rows["flags"] = int(RowFlag.VIRGIN)
        self.next_generation = 1
        self.next_order = 1
        self.next_writer_serial = 1

    def __len__(self) -> int:
        return len(self.rows)

    # --- checkpoints ---

    def dump(self) -> bytes:
        return self.rows.tobytes()

    def counters(self) -> Counters:
        return Counters(self.next_generation, self.next_order, self.next_writer_serial, len(self.rows))

    @classmethod
    def load(cls, section: bytes, counters: Counters, slots: int, slot_bytes: int) -> SlotTable:
        """Raises CorruptStructure when the bytes cannot be a table of this ring."""
        if counters.slots != slots or len(section) != slots * ROW.itemsize:
            raise CorruptStructure(f"slot table: {len(section)} bytes for {slots} slots")
        table = cls(slots)
        table.rows = np.frombuffer(section, dtype=ROW).copy()
        rows = table.rows
        if (
            not np.isin(rows["state"], _STATES).all()
            or (rows["length"] > slot_bytes).any()
            or (rows["tail_bytes"] > slot_bytes).any()
            or (rows["generation"] >= counters.next_generation).any()
            or (rows["order"] >= counters.next_order).any()
        ):
            raise CorruptStructure("slot table: a row is out of bounds")
        table.next_generation = counters.next_generation
        table.next_order = counters.next_order
        table.next_writer_serial = counters.next_writer_serial
        return table

    # --- reading ---

    def ref(self, slot: int) -> SlotRef:
        return SlotRef(slot, int(self.rows["generation"][slot]))

    def state(self, slot: int) -> SlotState:
        return SlotState(int(self.rows["state"][slot]))

    def flags(self, slot: int) -> RowFlag:
        return RowFlag(int(self.rows["flags"][slot]))

    def is_current(self, ref: SlotRef) -> bool:
        return 0 <= ref.slot < len(self.rows) and int(self.rows["generation"][ref.slot]) == ref.generation

    def to_scrub(self) -> list[SlotRef]:
        """Freed slots whose head was not overwritten yet, as far as the table knows."""
        wanted = (self.rows["state"] == int(SlotState.FREE)) & (self.rows["flags"] & int(RowFlag.SCRUB) != 0)
        return [self.ref(int(slot)) for slot in np.flatnonzero(wanted)]

    def to_adopt(self) -> list[int]:
        """Slots of which a rebuild still has to tell."""
        return [int(slot) for slot in np.flatnonzero(self.rows["flags"] & int(RowFlag.ADOPT))]

    def in_state(self, *states: SlotState) -> list[int]:
        wanted = np.array([int(s) for s in states], dtype=np.uint8)
        return [int(i) for i in np.flatnonzero(np.isin(self.rows["state"], wanted))]

    def count(self, state: SlotState) -> int:
        return int(np.count_nonzero(self.rows["state"] == int(state)))

    def closed_by_order(self) -> Iterator[SlotRef]:
        """Closed slots, the one to be recycled first in front."""
        closed = np.flatnonzero(self.rows["state"] == int(SlotState.CLOSED))
        for slot in closed[np.argsort(self.rows["order"][closed], kind="stable")]:
            yield self.ref(int(slot))

    def summary(self, slot: int) -> SlotSummary:
        row = self.rows[slot]
        return SlotSummary(
            self.ref(slot),
            int(row["state"]),
            int(row["order"]),
            uuid.UUID(bytes=row["recording"].tobytes()),
            uuid.UUID(bytes=row["boot_id"].tobytes()),
            int(row["start_ns"]),
            int(row["end_ns"]),
            int(row["fragments"]),
            int(row["length"]),
        )

    # --- events ---

    def apply(self, event: StoreEvent) -> None:
        """Raises CorruptStructure for an event that cannot follow from the present state."""
        slot, generation = event.ref
        if slot >= len(self.rows) or generation >= MAX_COUNTER:
            raise CorruptStructure(f"slot {slot} of {len(self.rows)}, generation {generation}")
        row = self.rows[slot]
        if isinstance(event, Reserve):
            if generation <= int(row["generation"]):
                raise CorruptStructure(f"slot {slot}: generation {generation} after {int(row['generation'])}")
            self._clear(slot, SlotState.RESERVED)
            row["flags"] &= ~int(RowFlag.SCRUB) & 0xFF
            row["generation"] = generation
            self.next_generation = max(self.next_generation, generation + 1)
            return
        if generation != int(row["generation"]):
            raise CorruptStructure(f"slot {slot}: event of generation {generation}, table has {int(row['generation'])}")
        if isinstance(event, Open):
            row["state"] = int(SlotState.OPEN)
            row["writer_serial"] = event.writer_serial
            row["start_ns"] = row["end_ns"] = event.start_ns
            row["boot_id"] = np.frombuffer(event.boot_id.bytes, np.uint8)
            row["recording"] = np.frombuffer(event.recording.bytes, np.uint8)
            self.next_writer_serial = max(self.next_writer_serial, event.writer_serial + 1)
        elif isinstance(event, Durable):
            row["fragments"] = event.fragments
            row["length"] = event.length
            row["end_ns"] = event.end_ns
        elif isinstance(event, Close):
            if event.order >= MAX_COUNTER:
                raise CorruptStructure(f"slot {slot}: order {event.order}")
            row["state"] = int(SlotState.CLOSED)
            row["order"] = event.order
            row["fragments"] = event.fragments
            row["length"] = event.length
            row["tail_bytes"] = event.tail_bytes
            row["flags"] = event.flags
            row["end_ns"] = event.end_ns
            self.next_order = max(self.next_order, event.order + 1)
        elif isinstance(event, Free):
            self._clear(slot, SlotState.FREE)
            row["flags"] &= ~int(RowFlag.ADOPT) & 0xFF
            row["flags"] |= int(RowFlag.SCRUB)
        else:
            self._clear(slot, SlotState.BAD)
            row["flags"] &= ~int(RowFlag.ADOPT) & 0xFF

    def _clear(self, slot: int, state: SlotState) -> None:
        row = self.rows[slot]
        for name in ("order", "start_ns", "end_ns", "fragments", "length", "tail_bytes", "writer_serial"):
            row[name] = 0
        row["recording"] = np.frombuffer(NO_UUID.bytes, np.uint8)
        row["boot_id"] = np.frombuffer(NO_UUID.bytes, np.uint8)
        row["state"] = int(state)
