"""What the timeline says after things went well, badly, and nowhere."""

from __future__ import annotations

from recorderd.model.causes import GapCause, RunKind
from recorderd.ring.ledger.timeline import coverage
from tests.ring.ledger.world import DAY, HOUR, S, World, identity


def test_continuous_recording_over_slots_and_runs_is_one_bar_per_run() -> None:
    world = World()
    run = world.start(1, (11,))
    for _ in range(3):
        world.record(world.new_slot(), 1, 11, run, 20)
    world.ledger.stop_run(run, world.now)
    world.clock.advance(100)
    world.commit()
    assert world.bars(1, 11) == [(0, 60, RunKind.CONTINUOUS)]


def test_a_gap_has_the_causes_that_were_noted_one_after_the_other() -> None:
    world = World()
    run = world.start(1, (11,))
    ref = world.new_slot()
    world.record(ref, 1, 11, run, 20)
    world.ledger.note_gap(identity(1), [identity(11)], GapCause.CAMERA_SILENT, world.now, None)
    world.clock.advance(30)
    world.ledger.note_gap(identity(1), [identity(11)], GapCause.CAMERA_UNREACHABLE, world.now, None)
    world.clock.advance(50)
    assert world.bars(1, 11)[-1] == (50, 100, GapCause.CAMERA_UNREACHABLE)
    world.record(ref, 1, 11, run, 10)
    assert world.bars(1, 11) == [
        (0, 20, RunKind.CONTINUOUS),
        (20, 50, GapCause.CAMERA_SILENT),
        (50, 100, GapCause.CAMERA_UNREACHABLE),
        (100, 110, RunKind.CONTINUOUS),
    ]


def test_between_runs_nothing_was_to_be_recorded() -> None:
    world = World()
    ref = world.new_slot()
    for _ in range(3):
        run = world.start(1, (11,), RunKind.EVENT, "tns1:VideoSource/MotionAlarm")
        world.record(ref, 1, 11, run, 10)
        world.ledger.stop_run(run, world.now)
        world.clock.advance(3590)
    assert world.bars(1, 11) == [(t, t + 10, RunKind.EVENT) for t in (0, 3600, 7200)]
    assert len(world.ledger.queries.runs(kind=RunKind.EVENT)) == 3
    assert world.ledger.queries.runs(topic="tns1:Other") == []


def test_one_ten_second_event_a_day_for_thirty_days_is_thirty_bars() -> None:
    world = World()
    ref = world.new_slot()
    for _ in range(30):
        run = world.start(1, (11,), RunKind.EVENT)
        world.record(ref, 1, 11, run, 10)
        world.ledger.stop_run(run, world.now)
        world.clock.advance(86_390)
    assert len(world.bars(1, 11)) == 30
    days = world.ledger.queries.calendar(identity(1), None, 0, 1 << 61)
    assert [ns for _, ns in days] == [10 * S] * 30


def test_a_power_cut_leaves_a_gap_until_the_recorder_is_back() -> None:
    world = World()
    run = world.start(1, (11,))
    world.record(world.new_slot(), 1, 11, run, 20)
    world.power_cut(off_s=300)
    run = world.start(1, (11,))
    world.record(world.new_slot(), 1, 11, run, 20)
    assert world.bars(1, 11) == [
        (0, 20, RunKind.CONTINUOUS),
        (20, 320, GapCause.RECORDER_CRASH),
        (320, 340, RunKind.CONTINUOUS),
    ]
    assert world.ledger.queries.run(1).stop is not None


def test_a_crash_is_dated_although_the_camera_had_been_silent_for_long() -> None:
    world = World()
    run = world.start(1, (11,))
    world.record(world.new_slot(), 1, 11, run, 20)
    world.ledger.note_gap(identity(1), [identity(11)], GapCause.CAMERA_SILENT, world.now, None)
    for _ in range(600):
        world.clock.advance(1)
        world.commit()
    world.power_cut(off_s=300)
    silent, crashed = world.bars(1, 11)[1:]
    assert (silent[0], silent[2], crashed[2]) == (20, GapCause.CAMERA_SILENT, GapCause.RECORDER_CRASH)
    assert 560 <= silent[1] == crashed[0] <= 620
    assert crashed[1] == 920


def test_what_a_crash_took_from_ram_is_the_crashs_gap_also_where_others_were_heard_of_later() -> None:
    world = World()
    slow, fast = world.start(1, (11,)), world.start(2, (21,))
    one, two = world.new_slot(), world.new_slot()
    world.record(one, 1, 11, slow, 20)
    world.record(two, 2, 21, fast, 8)  # meanwhile a small stream's fragment waits in RAM
    world.power_cut(off_s=2, new_boot=False)
    again = world.start(1, (11,))
    assert world.bars(1, 11) == [(0, 20, RunKind.CONTINUOUS), (20, 30, GapCause.RECORDER_CRASH)]
    world.clock.advance(20)
    assert world.bars(1, 11)[-1] == (30, 50, GapCause.UNKNOWN)
    world.ledger.stop_run(again, world.now)


def test_a_run_that_has_just_begun_has_no_gap_yet() -> None:
    world = World()
    run = world.start(1, (11,))
    world.record(world.new_slot(), 1, 11, run, 20)
    world.power_cut(off_s=60, new_boot=False)
    run = world.start(1, (11,))
    world.clock.advance(5)
    assert world.bars(1, 11)[-1] == (20, 80, GapCause.RECORDER_CRASH)
    world.record(world.new_slot(), 1, 11, run, 5)
    world.clock.advance(5)
    assert [what for _, _, what in world.bars(1, 11)][-1] is RunKind.CONTINUOUS


def test_an_orderly_stop_says_so() -> None:
    world = World()
    run = world.start(1, (11,))
    world.record(world.new_slot(), 1, 11, run, 20)
    world.ledger.note_gap(identity(1), [identity(11)], GapCause.RECORDER_OFF, world.now, None)
    world.ledger.stop_run(run, world.now)
    world.commit()
    world.power_cut(off_s=100)
    world.clock.advance(1000)
    world.commit()
    assert world.bars(1, 11) == [(0, 20, RunKind.CONTINUOUS), (20, 120, GapCause.RECORDER_OFF)]


def test_an_unexplained_hole_in_a_run_is_a_gap_of_unknown_cause() -> None:
    world = World()
    run = world.start(1, (11,))
    ref = world.new_slot()
    world.record(ref, 1, 11, run, 10)
    world.clock.advance(10)
    world.record(ref, 1, 11, run, 10)
    assert world.bars(1, 11)[1] == (10, 20, GapCause.UNKNOWN)


def test_what_is_not_durable_yet_is_no_gap() -> None:
    world = World()
    run = world.start(1, (11,))
    world.record(world.new_slot(), 1, 11, run, 10)
    world.clock.advance(6)
    assert world.bars(1, 11) == [(0, 10, RunKind.CONTINUOUS)]
    world.clock.advance(60)
    assert world.bars(1, 11)[-1] == (10, 76, GapCause.UNKNOWN)


def test_a_clock_step_back_shows_both_stretches_and_a_late_trusted_clock_redates() -> None:
    from recorderd.model.timeline import Trust

    world = World()
    world.clock.set(10 * S, 1_700_000_000 * S)
    world.clock.trusted = Trust.NONE
    world.power_cut(off_s=0, new_boot=True)
    world.clock.set(world.now, 1_700_000_000 * S)
    world.commit()
    run = world.start(1, (11,))
    ref = world.new_slot()
    world.record(ref, 1, 11, run, 30)
    assert world.bars(1, 11)[0][0] < 0
    world.clock.step(60_000_000)
    world.clock.trusted = Trust.NTP
    world.record(ref, 1, 11, run, 30)
    assert world.bars(1, 11) == [(0, 60, RunKind.CONTINUOUS)]


def test_an_event_over_a_continuous_recording_wins_for_its_time() -> None:
    world = World()
    slow, fast = world.new_slot(), world.new_slot()
    always = world.start(1, (11,))
    event = world.start(1, (11,), RunKind.EVENT)
    for second in range(0, 30, 2):
        begin = world.now
        world.clock.advance(2)
        world.write(slow, 1, 11, always, begin, world.now)
        if 10 <= second < 20:
            world.write(fast, 1, 11, event, begin, world.now, priority=5)
        world.commit()
    world.ledger.stop_run(event, world.now - 10 * S)
    assert world.bars(1, 11) == [
        (0, 10, RunKind.CONTINUOUS),
        (10, 20, RunKind.EVENT),
        (20, 30, RunKind.CONTINUOUS),
    ]


def test_coverage_counts_what_was_due() -> None:
    world = World()
    run = world.start(1, (11,))
    ref = world.new_slot()
    world.record(ref, 1, 11, run, 600, step=10)
    world.ledger.note_gap(identity(1), [identity(11)], GapCause.LINK_DOWN, world.now, None)
    world.clock.advance(200)
    world.record(ref, 1, 11, run, 200, step=10)
    found = world.ledger.queries.coverage(identity(1), identity(11), HOUR)
    assert (found.due_ns, found.recorded_ns) == (1000 * S, 800 * S)
    assert coverage(world.ledger.tables, 0, None, DAY, world.ledger.tables.ring(world.ledger._book.here())) == found


def test_a_recycled_slot_takes_its_bars_its_gaps_and_at_last_its_run_along() -> None:
    world = World()
    heard: list[object] = []
    world.ledger.on_vanished(heard.extend)
    first, second = world.new_slot(), world.new_slot()
    run = world.start(1, (11,))
    world.record(first, 1, 11, run, 20)
    world.ledger.note_gap(identity(1), [identity(11)], GapCause.CAMERA_RESET, world.now, None)
    world.clock.advance(5)
    world.record(first, 1, 11, run, 5)
    world.ledger.stop_run(run, world.now)
    run = world.start(1, (11,))
    world.record(second, 1, 11, run, 20)
    world.ledger.slot_vanishes(first)
    assert world.bars(1, 11) == [(30, 50, RunKind.CONTINUOUS)]
    assert [r.id for r in world.ledger.queries.runs()] == [2]
    zero = 1_760_000_000 * S
    assert [(v.start_ns - zero, v.stop_ns - zero) for v in heard] == [(0, 20 * S), (25 * S, 30 * S)]  # type: ignore[attr-defined]
