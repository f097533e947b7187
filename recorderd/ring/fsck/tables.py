"""Checks that need no disk: the slot table and the ledger's tables against the invariants and against each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recorderd.ring.border import SlotRef, SlotSummary
from recorderd.ring.fsck.findings import Report, Severity
from recorderd.ring.layout import SlotState
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.ranges import intersect, subtract
from recorderd.ring.ledger.rows import Rows
from recorderd.ring.store import Store

_HELD = (int(SlotState.OPEN), int(SlotState.CLOSED))


def check_tables(store: Store, ledger: RingLedger, report: Report, *, repair: bool) -> None:
    """I2, I4, I7, I9, I11, I12, and that every span points at media that exists."""
    _slot_table(store, report)
    _spans(store, ledger, report, repair=repair)
    _ledger_slots(store, ledger, report, repair=repair)
    _dead(ledger, report, repair=repair)
    room = store.room()
    kept = ledger.keeper.locked_slots()
    closed_kept = sum(1 for slot in kept if slot < len(store.table) and store.table.state(slot) is SlotState.CLOSED)
    left = room.free + room.closed - closed_kept
    if left < room.pool + room.open_writers:
        report.add(
            Severity.WARNING,
            "I9",
            "locks",
            f"locks keep {closed_kept} slots; {left} are left to record into and {room.pool + room.open_writers} are needed",
        )


def _slot_table(store: Store, report: Report) -> None:
    rows = store.table.rows
    used = ~np.isin(rows["state"], (int(SlotState.FREE), int(SlotState.BAD)))  # the others' numbers point at nothing
    generations = rows["generation"][used & (rows["generation"] > 0)]
    if len(np.unique(generations)) != len(generations):
        report.add(Severity.ERROR, "I2", "slot table", "two slots have the same generation")
    if len(generations) and int(generations.max()) >= store.table.next_generation:
        report.add(Severity.ERROR, "I2", "slot table", "a slot has a generation that was not given out yet")
    orders = rows["order"][rows["state"] == int(SlotState.CLOSED)]
    if len(np.unique(orders)) != len(orders) or (orders == 0).any():
        report.add(
            Severity.ERROR,
            "I7",
            "slot table",
            "closed slots without an order of their own: recycling may take the wrong one",
        )


def _spans(store: Store, ledger: RingLedger, report: Report, *, repair: bool) -> None:
    tables, table = ledger.tables, store.table
    lost: set[SlotRef] = set()
    too_long: dict[SlotRef, int] = {}
    for track, spans in tables.spans.items():
        name = tables.catalogue[track].name or str(tables.catalogue[track].id)
        rows = spans.rows
        slots = rows["slot"].astype(np.int64)
        known = slots < len(table)
        at = np.where(known, slots, 0)
        current = known & (table.rows["generation"][at].astype(np.int64) == rows["generation"])
        current &= np.isin(table.rows["state"][at], _HELD)
        for row in rows[~current]:
            lost.add(SlotRef(int(row["slot"]), int(row["generation"])))
        ends = rows["first"].astype(np.int64) + rows["count"]
        for row in rows[current & (ends > table.rows["fragments"][at])]:
            ref = SlotRef(int(row["slot"]), int(row["generation"]))
            if ref not in store.live:
                too_long[ref] = int(table.rows["fragments"][ref.slot])
        for run in np.unique(rows["run"][_beyond_run(tables.runs.rows, rows)]).tolist():
            report.add(Severity.ERROR, "I12", f"track {name}", f"a span reaches beyond its run {run}")
    for ref in sorted(lost):
        done = _drop(ledger, ref) if repair else ""
        report.add(
            Severity.ERROR,
            "I1",
            f"slot {ref.slot}",
            "the timeline shows media of a life of this slot that is over",
            done,
        )
    for ref, fragments in sorted(too_long.items()):
        done = ""
        if repair:
            ledger.media_withdrawn(ref, fragments)
            done = "the timeline ends where the media does"
        report.add(
            Severity.ERROR, "I1", f"slot {ref.slot}", f"the timeline shows more than its {fragments} fragments", done
        )


def _beyond_run(runs: Rows, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which spans begin before their run or end behind it; those of runs that are not known cannot be judged."""
    if not len(runs) or not len(rows):
        return np.zeros(len(rows), np.bool_)
    at = np.minimum(np.searchsorted(runs["id"], rows["run"]), len(runs) - 1)
    known = runs["id"][at] == rows["run"]
    found: npt.NDArray[np.bool_] = known & ((rows["from"] < runs["from"][at]) | (rows["to"] > runs["to"][at]))
    return found


def _drop(ledger: RingLedger, ref: SlotRef) -> str:
    ledger.forget_slot(ref)
    return "taken off the timeline"


def _ledger_slots(store: Store, ledger: RingLedger, report: Report, *, repair: bool) -> None:
    """The ledger's own rows about slots, and slots of which no timeline tells."""
    rows = ledger.tables.slots.rows
    for slot in np.flatnonzero(rows["used"]).tolist():
        ref = SlotRef(slot, int(rows["generation"][slot]))
        if (
            slot < len(store.table)
            and store.table.is_current(ref)
            and store.table.state(slot) in (SlotState.OPEN, SlotState.CLOSED)
        ):
            continue
        done = _drop(ledger, ref) if repair else ""
        report.add(
            Severity.WARNING, "I10", f"slot {slot}", "the ledger remembers a life of this slot that is over", done
        )


def unshown_slots(store: Store, ledger: RingLedger) -> list[SlotRef]:
    """Closed slots with media of which no timeline tells, although nothing says that it is dead (I10)."""
    shown = np.full(len(store.table), -1, np.int64)  # generation of which something is shown
    for spans in ledger.tables.spans.values():
        rows = spans.rows[spans.rows["slot"] < len(shown)]
        np.maximum.at(shown, rows["slot"], rows["generation"])
    return [
        summary.ref
        for summary in store.summaries()
        if summary.state == SlotState.CLOSED
        and summary.fragments
        and shown[summary.ref.slot] != summary.ref.generation
        and summary.ref.slot not in store.unscanned
        and not _is_meant_to_be_hidden(ledger, summary)
    ]


def _is_meant_to_be_hidden(ledger: RingLedger, summary: SlotSummary) -> bool:
    """Whether all that the slot held was deleted or has expired."""
    tables = ledger.tables
    entry = tables.catalogue.find(summary.recording)
    if entry is None or not tables.slots.holds(*summary.ref):
        return entry is not None and entry.deleted
    row = tables.slots.rows[summary.ref.slot]
    whole = [(int(row["from"]), int(row["to"]))]
    for track in tables.catalogue.tracks_of(entry.index):
        dead = [(0, tables.floors.get(track.index, 0)), *tables.tombstones.dead(entry.index, track.index, 0)]
        if not track.deleted and subtract(whole, dead):
            return False
    return True


def _dead(ledger: RingLedger, report: Report, *, repair: bool) -> None:
    """I11: nothing deleted or expired is on a timeline."""
    tables = ledger.tables
    buried = {record.recording for record in tables.tombstones.records.values()}
    for track, spans in list(tables.spans.items()):
        entry = tables.catalogue[track]
        name = entry.name or str(entry.id)
        if entry.deleted and len(spans):
            report.add(Severity.ERROR, "I11", f"track {name}", "is deleted and still has spans")
        if entry.deleted or entry.parent not in buried:
            continue
        for run in np.unique(spans.rows["run"]).tolist():
            mine = spans.rows[spans.rows["run"] == run]
            dead = tables.tombstones.dead(entry.parent, track, run)
            shown = intersect(zip(mine["from"].tolist(), mine["to"].tolist(), strict=True), dead)
            if shown:
                done = ""
                if repair:
                    ledger.bury_again(entry.parent)
                    done = "hidden"
                report.add(
                    Severity.ERROR, "I11", f"track {name}", f"{len(shown)} stretches that were deleted are shown", done
                )
                break
