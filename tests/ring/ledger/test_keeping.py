"""Locks, deletion, retention: what stays, what goes, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from recorderd.model.causes import RunKind
from recorderd.model.timeline import Trust
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger.book import NoSuchThing
from recorderd.ring.ledger.deletion import DeletionRefused
from recorderd.ring.ledger.locks import LockRefused
from recorderd.ring.ledger.retention import Rule
from tests.ring.ledger.world import DAY, HOUR, MINUTE, S, World, identity

ZERO = 1_760_000_000 * S


def filled(slots: int = 4, seconds: int = 60) -> tuple[World, list[SlotRef], int]:
    """A world whose recording 1 has filled that many slots of that many seconds; the last is open."""
    world = World()
    run = world.start(1, (11, 12))
    refs = []
    for order in range(slots):
        if refs:
            world.ledger.slot_closed(refs[-1], order)
        refs.append(world.new_slot())
        for _ in range(seconds // 10):
            begin = world.now
            world.clock.advance(10)
            world.write(refs[-1], 1, 11, run, begin, world.now)
            world.write(refs[-1], 1, 12, run, begin, world.now)
            world.commit()
    return world, refs, run


def test_a_lock_keeps_the_slots_that_overlap_it_and_survives_a_restart() -> None:
    world, refs, _ = filled()
    lock = world.ledger.keeper.lock(identity(1), ZERO + 70 * S, ZERO + 130 * S, "anna", "case 7")
    world.commit()
    world.power_cut()
    assert [world.ledger.may_recycle(ref) for ref in refs] == [True, False, False, True]
    assert world.ledger.keeper.list_locks() == [lock]
    assert world.ledger.keeper.locked_slots() == {1, 2}
    world.ledger.keeper.unlock(lock.id)
    assert all(world.ledger.may_recycle(ref) for ref in refs)
    with pytest.raises(NoSuchThing):
        world.ledger.keeper.unlock(lock.id)


def test_a_lock_of_one_track_keeps_only_slots_with_that_track() -> None:
    world, refs, run = filled(2)
    other = world.new_slot()
    world.record(other, 1, 12, run, 20)
    end = world.wall
    world.ledger.keeper.lock(identity(1), ZERO + 61 * S, end, "a", "b", [identity(11)])
    assert [world.ledger.may_recycle(ref) for ref in (*refs, other)] == [True, False, True]


def test_a_lock_reaches_into_the_future_up_to_its_end() -> None:
    world, refs, run = filled(2)
    world.ledger.keeper.lock(identity(1), world.wall + 30 * S, world.wall + 50 * S, "a", "b")
    before, inside, behind = world.new_slot(), world.new_slot(), world.new_slot()
    for ref in (before, inside, behind):
        world.record(ref, 1, 11, run, 25)
    assert [world.ledger.may_recycle(ref) for ref in (*refs, before, inside, behind)] == [True, True, True, False, True]


def test_a_lock_stays_on_its_footage_when_that_is_redated() -> None:
    world = World()
    world.clock.trusted = Trust.NONE
    world.power_cut(off_s=0)
    run = world.start(1, (11,))
    ref = world.new_slot()
    world.record(ref, 1, 11, run, 30)
    world.ledger.keeper.lock(identity(1), world.wall - 20 * S, world.wall - 10 * S, "a", "b")
    world.clock.step(90 * DAY / S)
    world.clock.trusted = Trust.NTP
    world.commit()
    assert world.ledger.may_recycle(ref) is False


def test_locks_that_leave_too_little_room_are_refused_with_the_figures() -> None:
    world, _, _ = filled(6)
    world.store.now_room = dataclasses.replace(world.store.now_room, free=2, closed=5, pool=3, open_writers=1)
    keeper = world.ledger.keeper
    lock = keeper.lock(identity(1), ZERO, ZERO + 170 * S, "a", "three slots")
    with pytest.raises(LockRefused) as refused:
        keeper.lock(identity(1), ZERO, ZERO + 190 * S, "a", "four slots")
    assert (refused.value.left, refused.value.needed, refused.value.kept) == (3, 4, 4)
    keeper.unlock(lock.id)
    with pytest.raises(LockRefused):
        keeper.lock(identity(1), world.wall, world.wall + HOUR, "a", "a long future")
    keeper.lock(identity(1), world.wall, world.wall + 100 * S, "a", "a short one")


def test_locked_data_is_not_deleted() -> None:
    world, _, _ = filled()
    lock = world.ledger.keeper.lock(identity(1), ZERO + 70 * S, ZERO + 80 * S, "a", "b")
    with pytest.raises(DeletionRefused) as refused:
        world.ledger.keeper.delete(identity(1), start_ns=ZERO + 75 * S, stop_ns=ZERO + 200 * S)
    assert refused.value.locks == (lock.id,)
    with pytest.raises(DeletionRefused):
        world.ledger.keeper.delete(identity(1))
    world.ledger.keeper.delete(identity(1), start_ns=ZERO + 80 * S, stop_ns=ZERO + 200 * S)


def test_a_deleted_range_is_gone_also_after_replay_and_rebuild() -> None:
    world, refs, run = filled()
    done = world.ledger.keeper.delete(identity(1), track=identity(11), start_ns=ZERO + 50 * S, stop_ns=ZERO + 130 * S)
    assert [(a, b) for _, a, b in done.ranges] == [(60 * S, 70 * S), (70 * S, 130 * S), (130 * S, 140 * S)]
    assert (done.freed, done.partial) == ((), (refs[0], refs[1], refs[2]))
    expected = [(0, 50, RunKind.CONTINUOUS), (130, 240, RunKind.CONTINUOUS)]

    def seen() -> list[tuple[float, float, object]]:
        return [bar for bar in world.bars(1, 11) if isinstance(bar[2], RunKind)]

    assert seen() == expected
    assert len(world.bars(1, 12)) == 1
    world.commit()
    world.power_cut()
    assert seen() == expected
    # A rebuild hears of all fragments again, of the deleted ones too.
    world.ledger.slot_vanishes(refs[1])
    for number in range(6):
        world.write(
            refs[1],
            1,
            11,
            run,
            (70 + 10 * number) * S,
            (80 + 10 * number) * S,
            fragment=2 * number,
            boot=identity(1000),
        )
    assert seen() == expected


def test_a_wholly_deleted_slot_is_freed_once_it_is_closed() -> None:
    world, refs, _ = filled()
    done = world.ledger.keeper.delete(identity(1), start_ns=ZERO, stop_ns=ZERO + 120 * S)
    assert done.freed == (refs[0], refs[1])
    assert world.store.freed == [refs[0], refs[1]]
    done = world.ledger.keeper.delete(identity(1), start_ns=ZERO + 180 * S, stop_ns=ZERO + 240 * S)
    assert (done.freed, done.partial) == ((), (refs[3],))
    world.ledger.slot_closed(refs[3], 9)
    world.ledger.keeper.set_rule(identity(1), Rule())
    world.ledger.keeper.sweep()
    assert world.store.freed[-1] == refs[3]


def test_a_slot_emptied_in_an_earlier_life_is_freed_at_the_start() -> None:
    world, refs, _ = filled()
    world.ledger.keeper.delete(identity(1), start_ns=ZERO + 180 * S, stop_ns=ZERO + 240 * S)
    world.ledger.slot_closed(refs[3], 9)
    world.commit()
    assert world.store.freed == []
    world.power_cut()
    assert world.store.freed == [refs[3]]


def test_a_deleted_track_is_dead_under_its_id_and_alive_under_its_name() -> None:
    world, refs, run = filled()
    world.ledger.keeper.delete(identity(1), track=identity(11))
    with pytest.raises(ValueError, match="deleted"):
        world.start(1, (11,))
    world.write(refs[3], 1, 11, run, world.now, world.now + S)
    with pytest.raises(NoSuchThing):
        world.bars(1, 11)
    fresh = world.start(1, (13,))
    world.record(world.new_slot(), 1, 13, fresh, 10)
    assert len(world.bars(1, 13)) == 1
    assert len(world.bars(1, 12)) >= 1


def test_a_deleted_recording_is_gone_with_everything() -> None:
    world, refs, _ = filled()
    world.ledger.slot_closed(refs[-1], 7)
    done = world.ledger.keeper.delete(identity(1))
    assert done.freed == tuple(refs)
    assert world.store.closed_for == [identity(1)]
    assert world.ledger.queries.runs() == []
    world.commit()
    world.power_cut()
    assert world.ledger.queries.runs() == []
    with pytest.raises(NoSuchThing):
        world.bars(1)


def test_media_expires_to_the_minute_and_its_slots_are_freed() -> None:
    world, refs, _ = filled()
    heard = []
    world.ledger.on_vanished(heard.extend)
    world.ledger.keeper.set_rule(identity(1), Rule(maximum_ns=3 * MINUTE))
    world.commit()
    world.clock.advance(60)
    world.commit()
    assert world.bars(1, 11)[0][0] == 120
    assert world.store.freed == [refs[0], refs[1]]
    assert world.ledger.max_slot_reach_ns(identity(1)) == 3 * MINUTE // 8
    assert {v.track for v in heard} == {identity(11), identity(12)}


def test_a_lock_beats_retention_until_it_is_lifted() -> None:
    world, _, _ = filled()
    lock = world.ledger.keeper.lock(identity(1), ZERO + 60 * S, ZERO + 70 * S, "a", "b")
    world.ledger.keeper.set_rule(identity(1), Rule(maximum_ns=MINUTE))
    world.clock.advance(2 * HOUR / S)
    world.commit()
    assert [bar[:2] for bar in world.bars(1, 11) if isinstance(bar[2], RunKind)] == [(60, 70)]
    world.ledger.keeper.unlock(lock.id)
    world.clock.advance(90)
    world.commit()
    assert [bar for bar in world.bars(1, 11) if isinstance(bar[2], RunKind)] == []


def test_a_clock_that_is_not_trusted_expires_nothing_unless_boot_time_proves_it() -> None:
    world, _, _ = filled()
    world.ledger.keeper.set_rule(identity(1), Rule(maximum_ns=HOUR))
    world.commit()
    world.clock.trusted = Trust.NONE
    world.power_cut(off_s=365 * DAY / S)
    world.ledger.keeper.set_rule(identity(1), Rule(maximum_ns=HOUR))
    world.commit()
    assert len([b for b in world.bars(1, 11) if isinstance(b[2], RunKind)]) == 1
    world.clock.advance(HOUR / S)
    world.commit()
    assert [b for b in world.bars(1, 11) if isinstance(b[2], RunKind)] == []


@pytest.mark.parametrize("wrong_by_s", [-50 * 365 * 86_400, 10 * 365 * 86_400])
def test_a_wrong_but_trusted_clock_does_not_take_footage_of_today_with_it(wrong_by_s) -> None:
    world, _, run = filled()
    world.ledger.keeper.set_rule(identity(1), Rule(maximum_ns=DAY))
    world.clock.step(wrong_by_s)
    world.record(world.new_slot(), 1, 11, run, 60)
    world.clock.step(-wrong_by_s)
    world.record(world.new_slot(), 1, 11, run, 60)
    world.clock.advance(120)
    world.commit()
    assert sum(int(row["to"] - row["from"]) for row in world.ledger.tables.spans[1].rows) == 360 * S


def test_a_boot_whose_clock_was_years_behind_is_not_taken_for_old_nor_what_lies_before_it() -> None:
    world, _, _ = filled()
    years = 25 * 365 * 86_400
    world.clock.trusted = Trust.RTC
    world.power_cut(off_s=-years)
    run = world.start(1, (11,))
    world.record(world.new_slot(), 1, 11, run, 60)
    world.clock.trusted = Trust.NTP
    world.power_cut(off_s=years + 60)
    world.ledger.keeper.set_rule(identity(1), Rule(maximum_ns=30 * DAY))
    world.clock.advance(120)
    world.commit()
    assert sum(int(row["to"] - row["from"]) for row in world.ledger.tables.spans[1].rows) == 300 * S


def test_a_quota_frees_the_oldest_and_a_minimum_keeps_the_last() -> None:
    world, refs, _ = filled(6)
    world.ledger.keeper.set_rule(identity(1), Rule(quota_slots=4, minimum_slots=3))
    world.commit()
    world.ledger.keeper.sweep()
    assert world.store.freed == [refs[0], refs[1]]
    assert world.ledger.may_recycle(refs[2]) is True
    world.ledger.slot_vanishes(refs[2])
    assert world.ledger.may_recycle(refs[3]) is False


def test_bytes_and_times_are_rules_too() -> None:
    world, refs, _ = filled(6)  # a minute each
    world.ledger.keeper.set_rule(identity(1), Rule(quota_bytes=4 * world.store.now_room.slot_bytes, minimum_ns=150 * S))
    world.commit()
    world.ledger.keeper.sweep()
    assert world.store.freed == [refs[0], refs[1]]
    assert world.ledger.may_recycle(refs[2]) is True
    world.ledger.slot_vanishes(refs[2])
    assert world.ledger.may_recycle(refs[3]) is False, "the newest 150 s lie in three slots"
    assert Rule(quota_bytes=1).quota(8 << 20) == 1
    assert Rule().quota(8 << 20) is None


def test_side_blocks_carry_locks_deletions_and_runs_into_a_ring_that_lost_everything() -> None:
    world, refs, run = filled(3)
    world.ledger.keeper.lock(identity(1), ZERO + 70 * S, ZERO + 80 * S, "anna", "case 7")
    world.ledger.keeper.delete(identity(1), start_ns=ZERO + 20 * S, stop_ns=ZERO + 40 * S)
    stale = set(world.ledger.take_stale_side_blocks())
    assert {refs[0], refs[1]} <= stale
    assert list(world.ledger.take_stale_side_blocks()) == []
    blocks = {ref: world.ledger.side_block(ref) for ref in refs}
    assert all(0 < len(block) <= 3900 for block in blocks.values())

    world.ledger = world.fresh()
    for index, ref in enumerate(refs):
        for number in range(6):
            at = (10 + 60 * index + 10 * number) * S
            for track in (11, 12):
                world.write(ref, 1, track, run, at, at + 10 * S, fragment=2 * number + track - 11)
    for ref, block in blocks.items():
        world.ledger.load_side_block(ref, block)
    assert [world.ledger.may_recycle(ref) for ref in refs] == [True, False, True]
    assert world.ledger.queries.run(run).source == "camera 1"
    hidden = [(int(r["from"]) // S, int(r["to"]) // S) for r in world.ledger.tables.spans[1].rows]
    assert hidden == [(10, 30), (50, 70), (70, 130), (130, 190)]
