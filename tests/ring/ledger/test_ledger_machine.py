"""Anything that can happen to a ledger, in any order, against a model that knows only seconds.

The model keeps, per track, which seconds of ring time hold media, in which life of which slot, and which seconds were deleted. After every
step: nothing deleted or recycled is shown, nothing else is missing, spans stay inside their runs, and a ledger rebuilt from the journal, or
from a checkpoint and the rest of the journal, equals the one that lived through it.
"""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recorderd.model.causes import GapCause, RunKind
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger.deletion import DeletionRefused
from recorderd.ring.ledger.runs import RUNNING
from tests.ring.ledger.world import S, World, identity

TRACKS = (11, 12)


class LedgerMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.held: dict[int, dict[int, SlotRef]] = {track: {} for track in TRACKS}  # second of ring time -> where
        self.run_of: dict[int, dict[int, int]] = {track: {} for track in TRACKS}
        self.gone: dict[int, set[int]] = {track: set() for track in TRACKS}
        self.runs: dict[int, tuple[int, ...]] = {}
        self.slots: list[SlotRef] = [self.world.new_slot()]
        self.locked: dict[int, tuple[int, int]] = {}  # lock -> ring seconds
        self.checkpoint: dict[int, bytes] = {}
        self.from_item = 0
        self.world.commit()

    def ring_s(self) -> int:
        ledger = self.world.ledger
        return ledger.tables.ring(ledger._book.here()) // S

    @rule(tracks=st.sampled_from([(11,), (12,), TRACKS]), kind=st.sampled_from(list(RunKind)))
    def start_run(self, tracks, kind) -> None:
        if len(self.runs) < 3:
            self.runs[self.world.start(1, tracks, kind)] = tracks

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def stop_run(self, data) -> None:
        run = data.draw(st.sampled_from(sorted(self.runs)))
        del self.runs[run]
        self.world.ledger.stop_run(run, self.world.now)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), seconds=st.integers(1, 5), priority=st.integers(0, 2))
    def write(self, data, seconds, priority) -> None:
        run = data.draw(st.sampled_from(sorted(self.runs)))
        track = data.draw(st.sampled_from(self.runs[run]))
        ref = self.slots[-1]
        begin, first = self.world.now, self.ring_s()
        self.world.clock.advance(seconds)
        self.world.write(ref, 1, track, run, begin, self.world.now, priority=priority)
        for second in range(first, first + seconds):
            self.held[track][second] = ref
            self.run_of[track][second] = run
        self.world.commit()

    @rule(seconds=st.integers(1, 400))
    def wait(self, seconds) -> None:
        self.world.clock.advance(seconds)
        self.world.commit()

    @rule(seconds=st.integers(-500, 500))
    def step_clock(self, seconds) -> None:
        self.world.clock.step(seconds)
        self.world.commit()

    @rule(track=st.sampled_from(TRACKS), cause=st.sampled_from(list(GapCause)), lasts=st.booleans())
    def gap(self, track, cause, lasts) -> None:
        start = self.world.now
        self.world.clock.advance(3)
        self.world.ledger.note_gap(identity(1), [identity(track)], cause, start, None if lasts else self.world.now)

    @rule()
    def next_slot(self) -> None:
        self.world.ledger.slot_closed(self.slots[-1], len(self.slots))
        self.slots.append(self.world.new_slot())
        self.world.commit()

    @precondition(lambda self: len(self.slots) > 1)
    @rule()
    def recycle(self) -> None:
        for ref in self.slots[:-1]:
            if self.world.ledger.may_recycle(ref):
                assert not any(
                    where == ref and any(a <= second < b for a, b in self.locked.values())
                    for held in self.held.values()
                    for second, where in held.items()
                ), "a locked slot may be recycled"
                self.slots.remove(ref)
                self.world.ledger.slot_vanishes(ref)
                self.forget(lambda track, second, gone=ref: self.held[track][second] == gone)
                break
        self.world.commit()

    def forget(self, gone) -> None:
        for track, held in self.held.items():
            for second in [s for s in held if gone(track, s)]:
                self.gone[track].add(second)
                del held[second]
                del self.run_of[track][second]

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), length=st.integers(1, 10), whole_track=st.booleans())
    def delete_range(self, data, length, whole_track) -> None:
        track = data.draw(st.sampled_from([t for t in TRACKS if self.held[t]]))
        second = data.draw(st.sampled_from(sorted(self.held[track])))
        ledger = self.world.ledger
        wall = ledger.tables.epochs.wall(second * S)
        pieces = ledger.tables.epochs.pieces(wall, wall + length * S)
        victims = None if whole_track else identity(track)
        gone = [t for t in TRACKS if whole_track or t == track]

        def dead(t: int, s: int) -> bool:
            return t in gone and any(p.start_ns <= s * S < p.stop_ns for p in pieces)

        locked = any(
            dead(t, s) and any(a <= s < b for a, b in self.locked.values()) for t in TRACKS for s in self.held[t]
        )
        try:
            ledger.keeper.delete(identity(1), track=victims, start_ns=wall, stop_ns=wall + length * S)
        except DeletionRefused:
            assert self.locked
            return
        assert not locked
        self.forget(dead)
        self.world.commit()

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def delete_run(self, data) -> None:
        run = data.draw(st.sampled_from(sorted({r for runs in self.run_of.values() for r in runs.values()})))
        if run in self.runs or self.locked or self.world.ledger.tables.runs.get(run) is None:
            return
        self.world.ledger.keeper.delete(identity(1), run=run)
        self.forget(lambda track, second: self.run_of[track][second] == run)
        self.world.commit()

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), length=st.integers(1, 20))
    def lock(self, data, length) -> None:
        track = data.draw(st.sampled_from([t for t in TRACKS if self.held[t]]))
        second = data.draw(st.sampled_from(sorted(self.held[track])))
        wall = self.world.ledger.tables.epochs.wall(second * S)
        lock = self.world.ledger.keeper.lock(identity(1), wall, wall + length * S, "op", "why")
        self.locked[lock.id] = (second, min(second + 1, self.ring_s() + 1))

    @precondition(lambda self: self.locked)
    @rule(data=st.data())
    def unlock(self, data) -> None:
        lock = data.draw(st.sampled_from(sorted(self.locked)))
        del self.locked[lock]
        self.world.ledger.keeper.unlock(lock)

    @rule()
    def checkpoint_now(self) -> None:
        self.world.commit()
        self.checkpoint = self.world.ledger.dump()
        self.from_item = len(self.world.journal)

    @rule(off_s=st.integers(1, 5000), new_boot=st.booleans())
    def power_cut(self, off_s, new_boot) -> None:
        self.world.commit()
        self.world.power_cut(off_s=off_s, new_boot=new_boot)
        self.runs.clear()
        self.checkpoint, self.from_item = self.world.ledger.dump(), len(self.world.journal)

    @invariant()
    def shows_what_is_there_and_nothing_else(self) -> None:
        for track in TRACKS:
            entry = self.world.ledger.tables.catalogue.find(identity(track))
            table = self.world.ledger.tables.spans.get(entry.index) if entry else None
            shown: dict[int, set[SlotRef]] = {}
            for row in table.rows if table else ():
                assert row["from"] < row["to"]
                for second in range(int(row["from"]) // S, -(-int(row["to"]) // S)):
                    shown.setdefault(second, set()).add(SlotRef(int(row["slot"]), int(row["generation"])))
            assert set(shown) >= set(self.held[track])
            assert all(where in shown[second] for second, where in self.held[track].items())
            bridged = set(shown) - set(self.held[track])
            assert not bridged & self.gone[track], "deleted or recycled media is shown"
            for second in bridged:  # holes of at most TOUCH_NS are not told apart
                assert any(second - back in self.held[track] for back in (1, 2))
                assert any(second + ahead in self.held[track] for ahead in (1, 2))

    @invariant()
    def spans_lie_inside_their_runs(self) -> None:
        tables = self.world.ledger.tables
        for table in tables.spans.values():
            for row in table.rows:
                run = tables.runs.get(int(row["run"]))
                assert run is not None
                assert run["from"] <= row["from"]
                assert row["to"] <= run["to"] or run["to"] == RUNNING

    @invariant()
    def a_replay_equals_what_was_lived_through(self) -> None:
        self.world.commit()
        lived = self.world.ledger.dump()
        replayed = self.world.fresh()
        replayed.load(self.checkpoint)
        for item in self.world.journal[self.from_item :]:
            replayed.apply(item.kind, item.payload)
        assert replayed.dump() == lived

    @invariant()
    def the_timeline_never_overlaps_itself(self) -> None:
        if self.world.ledger.tables.catalogue.find(identity(11)) is None:
            return
        bars = self.world.bars(1, 11)
        for before, after in itertools.pairwise(bars):
            assert before[0] < before[1] <= after[0] + 1e-6


LedgerMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestLedger = LedgerMachine.TestCase
