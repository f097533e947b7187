"""A growing numpy table kept in the order of its key column: what spans, gaps and runs are stored in.

Rows nearly always come in order, so adding one is a store at the end; a late one shifts only the tail behind it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.void]

_FIRST_CAPACITY = 16


class SortedRows:
    """Rows of one structured dtype, ascending in the int64 column `key`."""

    def __init__(self, dtype: np.dtype[np.void], key: str) -> None:
        self._key = key
        self._rows: Rows = np.zeros(_FIRST_CAPACITY, dtype)
        self._count = 0
        self._reach: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> Rows:
        """A view of all rows. Whoever changes `to` in it calls `touched`; nobody changes the key."""
        return self._rows[: self._count]

    def insert(self, row: tuple[Any, ...]) -> int:
        """Adds one row behind those with the same key; returns its index."""
        if self._count == len(self._rows):
            bigger = np.zeros(self._count + self._count // 2, self._rows.dtype)
            bigger[: self._count] = self._rows
            self._rows = bigger
        at = self._count
        self._rows[at] = row
        key = self._rows[self._key]
        if at and key[at - 1] > key[at]:
            new = self._rows[at].copy()
            at = int(np.searchsorted(key[:at], new[self._key], "right"))
            self._rows[at + 1 : self._count + 1] = self._rows[at : self._count].copy()
            self._rows[at] = new
        self._count += 1
        self._reach = None
        return at

    def extend(self, rows: Rows) -> None:
        """Adds many rows, in any order."""
        if not len(rows):
            return
        merged = np.concatenate((self.rows, rows))
        self._rows = merged[np.argsort(merged[self._key], kind="stable")]
        self._count = len(merged)
        self._reach = None

    def drop(self, gone: npt.NDArray[np.bool_]) -> None:
        """Removes the rows where `gone` (one flag per row) is set."""
        kept = self.rows[~gone]
        self._rows = kept if len(kept) >= _FIRST_CAPACITY else np.resize(kept, _FIRST_CAPACITY)
        if not len(kept):
            self._rows = np.zeros(_FIRST_CAPACITY, self._rows.dtype)
        self._count = len(kept)
        self._reach = None

    def touched(self) -> None:
        """A `to` changed."""
        self._reach = None

    def reach(self) -> npt.NDArray[np.int64]:
        """Highest `to` of each row and all before it: ascending, although `to` alone need not be."""
        if self._reach is None:
            self._reach = np.maximum.accumulate(self.rows["to"]) if self._count else np.zeros(0, np.int64)
        return self._reach

    def near(self, from_ns: int, to_ns: int) -> slice:
        """The shortest slice that holds every row overlapping [from, to); some rows in it may not. Keyed by start time only."""
        stop = int(np.searchsorted(self.rows[self._key], to_ns, "left"))
        start = int(np.searchsorted(self.reach(), from_ns, "right"))
        return slice(min(start, stop), stop)

    def index_of(self, key: int) -> int | None:
        """Index of the first row with this key."""
        keys = self.rows[self._key]
        at = int(np.searchsorted(keys, key, "left"))
        return at if at < self._count and int(keys[at]) == key else None

    def dump(self) -> bytes:
        return self.rows.tobytes()

    def load(self, section: bytes) -> None:
        """Replaces the rows. Raises ValueError unless they are whole and in order."""
        if len(section) % self._rows.dtype.itemsize:
            raise ValueError("table: bad length")
        rows = np.frombuffer(section, self._rows.dtype).copy()
        if len(rows) > 1 and bool((np.diff(rows[self._key]) < 0).any()):
            raise ValueError("table: out of order")
        self._count = len(rows)
        self._rows = rows if len(rows) >= _FIRST_CAPACITY else np.zeros(_FIRST_CAPACITY, rows.dtype)
        self._rows[: self._count] = rows
        self._reach = None
