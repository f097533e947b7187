"""What the ledger knows of each slot: its life, its recording, the time it spans, the order it closed in."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from recorderd.ring.ledger.rows import Rows

SLOT = np.dtype(
    [
        ("generation", "<i8"),
        ("order", "<i8"),  # 0 while the slot is open
        ("from", "<i8"),  # ring time of the earliest and the latest media that was ever in this life
        ("to", "<i8"),
        ("recording", "<u4"),
        ("used", "u1"),
        ("pad", "u1", (3,)),
    ]
)
MAX_SLOTS = 1 << 20


class SlotTable:
    def __init__(self) -> None:
        self._rows: Rows = np.zeros(64, SLOT)
        self._counts: Counter[int] = Counter()

    def count(self, recording: int) -> int:
        """How many slots hold something of a recording."""
        return self._counts[recording]

    @property
    def rows(self) -> Rows:
        """Indexed by slot number; unused where `used` is 0."""
        return self._rows

    def media(self, slot: int, generation: int, recording: int, from_ns: int, to_ns: int) -> None:
        """Notes media of this life of the slot."""
        row = self._row(slot)
        if not row["used"] or row["generation"] != generation:
            if row["used"]:
                self._counts[int(row["recording"])] -= 1
            self._counts[recording] += 1
            row["used"], row["generation"], row["order"] = 1, generation, 0
            row["recording"], row["from"], row["to"] = recording, from_ns, to_ns
            return
        if row["from"] > from_ns:
            row["from"] = from_ns
        if row["to"] < to_ns:
            row["to"] = to_ns

    def closed(self, slot: int, generation: int, order: int) -> None:
        row = self._row(slot)
        if row["used"] and row["generation"] == generation:
            row["order"] = order

    def gone(self, slot: int, generation: int) -> None:
        row = self._row(slot)
        if row["used"] and row["generation"] == generation:
            self._counts[int(row["recording"])] -= 1
            self._rows[slot] = np.zeros((), SLOT)

    def holds(self, slot: int, generation: int) -> bool:
        if not 0 <= slot < len(self._rows):
            return False
        row = self._rows[slot]
        return bool(row["used"]) and int(row["generation"]) == generation

    def of_recording(self, recording: int) -> npt.NDArray[np.intp]:
        """Slot numbers, closed ones in their order first, then the open ones."""
        found = np.flatnonzero((self._rows["used"] == 1) & (self._rows["recording"] == recording))
        order = self._rows["order"][found]
        return found[np.argsort(np.where(order == 0, np.iinfo(np.int64).max, order), kind="stable")]

    def oldest_ns(self) -> int | None:
        """Ring time of the oldest media that any slot holds."""
        used = self._rows[self._rows["used"] == 1]
        return int(used["from"].min()) if len(used) else None

    def _row(self, slot: int) -> np.void:
        if not 0 <= slot < MAX_SLOTS:
            raise ValueError(f"slot {slot} is out of range")
        if slot >= len(self._rows):
            bigger = np.zeros(max(slot + 1, len(self._rows) * 2), SLOT)
            bigger[: len(self._rows)] = self._rows
            self._rows = bigger
        row: np.void = self._rows[slot]
        return row

    def dump(self) -> bytes:
        used = np.flatnonzero(self._rows["used"])
        return self._rows[: int(used[-1]) + 1 if len(used) else 0].tobytes()

    def load(self, section: bytes) -> None:
        if len(section) % SLOT.itemsize or len(section) // SLOT.itemsize > MAX_SLOTS:
            raise ValueError("slot table: bad length")
        rows = np.frombuffer(section, SLOT).copy()
        self._rows = rows if len(rows) >= 64 else np.zeros(64, SLOT)
        self._rows[: len(rows)] = rows
        self._counts = Counter(rows["recording"][rows["used"] == 1].tolist())
