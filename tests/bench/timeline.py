"""The timeline of 30 days x 16 cameras with 20 gaps per camera and day, against the same rows and the same question in SQLite.

SQLite merges the spans and lists the holes with their noted causes, from tables with the indices it needs, both in memory and warm.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator

import numpy as np

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.timeline import RunCause
from recorderd.ring.ledger.gaps import GAP
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.spans import NO_GAP, SPAN, TOUCH_NS
from tests.bench.place import Place
from tests.bench.row import Row
from tests.simulated_time import FakeClock

CAMERAS, DAYS, GAPS_A_DAY = 16, 30, 20
S = 1_000_000_000
SPAN_NS = 60 * S  # a 32 MiB slot at 4 Mbit/s
GAP_NS = 20 * S
PER_DAY = 86_400 * S // SPAN_NS

# Islands of spans that touch; between two islands the hole, with the cause of the gap noted in it.
QUESTION = """
with marked as (
  select camera, start, stop, start - lag(stop) over (partition by camera order by start) as hole from span
  where stop > :low and start < :high
), islands as (
  select camera, min(start) as start, max(stop) as stop from (
    select camera, start, stop, sum(hole is null or hole > :touch) over (partition by camera order by start) as island from marked
  ) group by camera, island
), bars as (
  select camera, start, stop, lead(start) over (partition by camera order by start) as next from islands
)
select camera, start, stop, null from bars
union all
select bars.camera, bars.stop, bars.next, gap.cause from bars
left join gap on gap.camera = bars.camera and gap.start >= bars.stop and gap.start < bars.next
where bars.next is not null
"""


def stored() -> tuple[np.ndarray, np.ndarray]:
    """Spans and gaps of one camera, as columns (start, stop), in boot time."""
    count = DAYS * PER_DAY
    start = 100 * S + np.arange(count, dtype=np.int64) * SPAN_NS
    stop = start + SPAN_NS
    holes = np.arange(DAYS * GAPS_A_DAY) * (PER_DAY // GAPS_A_DAY) + 5
    stop[holes] -= GAP_NS
    return np.stack((start, stop), axis=1), np.stack((stop[holes], stop[holes] + GAP_NS), axis=1)


def filled() -> tuple[RingLedger, list[tuple[uuid.UUID, uuid.UUID]], sqlite3.Connection]:
    clock = FakeClock()
    clock.advance(99)
    ledger = RingLedger(clock=clock)
    ledger.recovered()
    names = [(uuid.uuid4(), uuid.uuid4()) for _ in range(CAMERAS)]
    base = sqlite3.connect(":memory:")
    base.execute("create table span (camera integer, start integer, stop integer)")
    base.execute("create table gap (camera integer, start integer, stop integer, cause integer)")
    spans, gaps = stored()
    for camera, (recording, track) in enumerate(names):
        run = ledger.start_run(
            recording, uuid.uuid4(), "bench", RunCause(RunKind.CONTINUOUS), [track], clock.boottime_ns()
        )
        entry = ledger.tables.catalogue.find(track)
        assert entry is not None
        rows = np.zeros(len(spans), SPAN)
        rows["from"], rows["to"], rows["run"], rows["generation"], rows["cause"] = (
            spans[:, 0],
            spans[:, 1],
            run,
            1,
            NO_GAP,
        )
        rows["slot"], rows["count"] = np.arange(len(spans)) + camera * len(spans), 60
        rows["cause"][1:][np.diff(spans[:, 0]) != spans[:-1, 1] - spans[:-1, 0]] = GapCause.CAMERA_SILENT
        noted = np.zeros(len(gaps), GAP)
        noted["from"], noted["to"], noted["cause"] = gaps[:, 0], gaps[:, 1], GapCause.CAMERA_SILENT
        ledger.tables.spans_of(entry.index).table.extend(rows)
        ledger.tables.gaps_of(entry.index).table.extend(noted)
        base.executemany("insert into span values (?, ?, ?)", [(camera, int(a), int(b)) for a, b in spans])
        base.executemany("insert into gap values (?, ?, ?, 3)", [(camera, int(a), int(b)) for a, b in gaps])
    base.execute("create index spans on span (camera, start, stop)")
    base.execute("create index gaps on gap (camera, start, cause)")
    base.execute("analyze")
    clock.advance(DAYS * 86_400)
    ledger.tables.boots.seen(0, clock.boottime_ns())
    return ledger, names, base


def cpu_s(work: Callable[[], int], times: int) -> tuple[float, int]:
    """(CPU seconds of the best of `times` runs, what it returned)."""
    best, result = float("inf"), 0
    for _ in range(times):
        began = time.process_time()
        result = work()
        best = min(best, time.process_time() - began)
    return best, result


def rows(place: Place) -> Iterator[Row]:
    ledger, names, base = filled()

    def ours() -> int:
        return sum(len(ledger.queries.timeline(recording, track, 0, 1 << 61)) for recording, track in names)

    def theirs() -> int:
        return len(base.execute(QUESTION, {"low": 0, "high": 1 << 61, "touch": TOUCH_NS}).fetchall())

    mine, bars = cpu_s(ours, 5)
    peer, peer_bars = cpu_s(theirs, 2)
    assert bars == peer_bars, f"{bars} bars against {peer_bars}: not the same answer"
    yield Row(
        f"timeline of {DAYS} days x {CAMERAS} cameras, {GAPS_A_DAY} gaps per camera-day, CPU",
        f"{mine * 1e3:.1f} ms",
        f"SQLite {peer * 1e3:.0f} ms",
        mine / peer,
        0.02,
        note=f"{bars} bars from {CAMERAS * DAYS * PER_DAY} spans",
    )
