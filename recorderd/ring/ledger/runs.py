"""The runs: one row per uninterrupted activity of one job, in ring time, with its cause.

A run is what tells "nothing was to be recorded" from a gap. Texts and sets of tracks repeat a lot and are kept once.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from recorderd.model.causes import RunKind
from recorderd.ring.ledger.boots import MAX_RING_NS
from recorderd.ring.ledger.rows import Rows, SortedRows

RUN = np.dtype(
    [
        ("id", "<i8"),
        ("from", "<i8"),
        ("to", "<i8"),  # RUNNING while it runs
        ("instant", "<i8"),  # wall time of the event
        ("recording", "<u4"),  # catalogue indices
        ("job", "<u4"),
        ("source", "<u4"),  # indices of texts
        ("topic", "<u4"),
        ("origin", "<u4"),
        ("tracks", "<u4"),  # index of the set of tracks
        ("kind", "u1"),
        ("flags", "u1"),
        ("pad", "u1", (6,)),
    ]
)
RUNNING = MAX_RING_NS
MERGED = 1  # stands for several runs of the same job and cause, joined at the bound of the table
MAX_RUNS = 1 << 18
MAX_TEXTS = 1 << 16
_NO_PAD = (0,) * 6

T = TypeVar("T", bound=Hashable)


class Interned(Generic[T]):
    """Values kept once, named by their index. Index 0 is the empty value, and stands for what no longer fits."""

    def __init__(self, empty: T) -> None:
        self.values: list[T] = [empty]
        self._index: dict[T, int] = {empty: 0}

    def index(self, value: T) -> int:
        known = self._index.get(value)
        if known is not None:
            return known
        if len(self.values) >= MAX_TEXTS:
            return 0
        self._index[value] = len(self.values)
        self.values.append(value)
        return len(self.values) - 1

    def full(self) -> bool:
        return len(self.values) >= MAX_TEXTS


class RunTable:
    """Every run of the ring, ascending by id, which is also the order in which they began."""

    def __init__(self, bound: int = MAX_RUNS) -> None:
        self.bound = bound
        self.table = SortedRows(RUN, "id")
        self.texts: Interned[str] = Interned("")
        self.track_sets: Interned[tuple[int, ...]] = Interned(())
        self.next_id = 1
        self._running: dict[int, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.table)

    @property
    def rows(self) -> Rows:
        return self.table.rows

    def start(
        self,
        run: int,
        *,
        recording: int,
        job: int,
        from_ns: int,
        kind: RunKind,
        instant_ns: int,
        tracks: tuple[int, ...],
        source: str,
        topic: str,
        origin: str,
    ) -> dict[int, int]:
        """Adds a running run; one that is there already is left as it is.

        Returns, when the table was at its bound, which run ids were joined to which: their spans belong to those from now on.
        """
        self.next_id = max(self.next_id, run + 1)
        if self.table.index_of(run) is not None:
            return {}
        joined = self._merge(len(self.table) - self.bound + self.bound // 16) if len(self.table) >= self.bound else {}
        if self.texts.full() or self.track_sets.full():
            self._forget_unused()
        numbers = [self.texts.index(text) for text in (source, topic, origin)]
        members = self.track_sets.index(tracks)
        row = (run, from_ns, RUNNING, instant_ns, recording, job, *numbers, members, kind, 0, _NO_PAD)
        self.table.insert(row)
        self._running[run] = tracks
        return joined

    def stop(self, run: int, at_ns: int) -> tuple[int, ...]:
        """Ends a run, or lets it end later (a rebuild hears of it slot by slot); returns its tracks, () when it was not running."""
        tracks = self._running.pop(run, ())
        at = self.table.index_of(run)
        if at is not None and (self.rows["to"][at] == RUNNING or self.rows["to"][at] < at_ns):
            self.rows["to"][at] = max(at_ns, int(self.rows["from"][at]))
        return tracks

    def running(self) -> dict[int, tuple[int, ...]]:
        """Tracks of each run that goes on."""
        return self._running

    def get(self, run: int) -> np.void | None:
        at = self.table.index_of(run)
        return None if at is None else self.rows[at]

    def kinds_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
        """`RunKind` of each run, -1 where the run is not known."""
        return self._column_of("kind", ids).astype(np.int16)

    def sources_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Index of the text that names the source of each run, -1 where the run is not known."""
        return self._column_of("source", ids)

    def _column_of(self, column: str, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        rows = self.rows
        values = np.full(len(ids), -1, np.int64)
        if len(rows):
            at = np.minimum(np.searchsorted(rows["id"], ids), len(rows) - 1)
            known = rows["id"][at] == ids
            values[known] = rows[column][at[known]]
        return values

    def of_track(self, recording: int, track: int | None) -> Rows:
        """The runs of a recording that cover `track`; all of the recording's for None."""
        rows = self.rows
        mine = rows["recording"] == recording
        if track is not None:
            member = np.array([track in members for members in self.track_sets.values], np.bool_)
            mine &= member[rows["tracks"]]
        found: Rows = rows[mine]
        return found

    def forget_before(self, recording: int, ring_ns: int) -> None:
        """Drops stopped runs of `recording` that ended before `ring_ns`."""
        gone = (self.rows["recording"] == recording) & (self.rows["to"] <= ring_ns)
        if gone.any():
            self.table.drop(gone)

    def covers(self, run: int, from_ns: int, to_ns: int) -> None:
        """Media of the run: it reaches at least as far (a pre-buffer begins before the run, a recovered tail ends behind it)."""
        at = self.table.index_of(run)
        if at is None:
            return
        row = self.rows[at]
        if from_ns < row["from"]:
            row["from"] = from_ns
        if to_ns > row["to"]:
            row["to"] = to_ns

    def forget(self, run: int) -> None:
        self._running.pop(run, None)
        self.table.drop(self.rows["id"] == run)

    def forget_recording(self, recording: int) -> None:
        gone = self.rows["recording"] == recording
        for run in self.rows["id"][gone].tolist():
            self._running.pop(run, None)
        self.table.drop(gone)

    def _merge(self, surplus: int) -> dict[int, int]:
        """Of the stopped runs that follow one of the same job, cause and tracks, the oldest `surplus` join it."""
        rows = self.rows
        order = np.lexsort((rows["id"], rows["tracks"], rows["kind"], rows["job"]))
        left, right = rows[order[:-1]], rows[order[1:]]
        same = (left["to"] != RUNNING) & (right["to"] != RUNNING)
        for column in ("job", "kind", "tracks"):
            same &= left[column] == right[column]
        joins = np.zeros(len(rows), np.bool_)
        joins[np.sort(order[1:][same])[:surplus]] = True
        joined: dict[int, int] = {}
        keeper = -1
        for at in order.tolist():
            if not joins[at]:
                keeper = at
                continue
            rows["to"][keeper] = max(int(rows["to"][keeper]), int(rows["to"][at]))
            rows["flags"][keeper] |= MERGED
            joined[int(rows["id"][at])] = int(rows["id"][keeper])
        self.table.drop(joins)
        return joined

    def _forget_unused(self) -> None:
        rows = self.rows
        used = sorted({i for column in ("source", "topic", "origin") for i in rows[column].tolist()})
        fresh: Interned[str] = Interned("")
        renumbered = {old: fresh.index(self.texts.values[old]) for old in used}
        for column in ("source", "topic", "origin"):
            rows[column] = [renumbered[i] for i in rows[column].tolist()]
        sets: Interned[tuple[int, ...]] = Interned(())
        renumbered = {old: sets.index(self.track_sets.values[old]) for old in sorted(set(rows["tracks"].tolist()))}
        rows["tracks"] = [renumbered[i] for i in rows["tracks"].tolist()]
        self.texts, self.track_sets = fresh, sets

    def dump(self) -> bytes:
        texts = [text.encode() for text in self.texts.values]
        parts = [struct.pack("<qII", self.next_id, len(texts), len(self.track_sets.values))]
        parts += [struct.pack("<H", len(text)) + text for text in texts]
        parts += [struct.pack(f"<B{len(m)}I", len(m), *m) for m in self.track_sets.values]
        return b"".join([*parts, self.table.dump()])

    def load(self, section: bytes) -> None:
        """Replaces everything. Raises ValueError on anything that `dump` could not have written."""
        if not section:
            return
        try:
            self.next_id, texts, sets = struct.unpack_from("<qII", section)
            if not (1 <= texts <= MAX_TEXTS and 1 <= sets <= MAX_TEXTS):
                raise ValueError("runs: bad counts")
            at = 16
            self.texts, self.track_sets = Interned(""), Interned(())
            for _ in range(texts):
                (length,) = struct.unpack_from("<H", section, at)
                at += 2 + length
                self.texts.index(section[at - length : at].decode())
            for _ in range(sets):
                count = section[at]
                self.track_sets.index(struct.unpack_from(f"<{count}I", section, at + 1))
                at += 1 + 4 * count
        except (struct.error, IndexError) as error:
            raise ValueError(f"runs: {error}") from None
        self.table.load(section[at:])
        if len(self.texts.values) != texts or len(self.track_sets.values) != sets:
            raise ValueError("runs: a text or set of tracks twice")
        rows = self.rows
        for column, known in (("source", texts), ("topic", texts), ("origin", texts), ("tracks", sets)):
            if len(rows) and int(rows[column].max()) >= known:
                raise ValueError(f"runs: {column} out of range")
        running = rows[rows["to"] == RUNNING]
        self._running = {int(row["id"]): self.track_sets.values[int(row["tracks"])] for row in running}
