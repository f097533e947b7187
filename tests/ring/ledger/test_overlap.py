"""One source at a time per track: priority, write order, key frames, disks."""

from __future__ import annotations

import itertools

import pytest

from recorderd.model.timeline import Instant
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger.overlap import Extent, extents
from tests.ring.ledger.world import S, World, identity

ZERO = 1_760_000_000


def played(world: World, *others: World, key_every: int = 4, missing: frozenset[int] = frozenset()) -> list[Extent]:
    """The extents of track 11, with a key frame in every slot at each multiple of `key_every` seconds of boot time."""

    def key_after(disk, ref, track, at: Instant) -> Instant | None:
        assert track == identity(11)
        if ref.slot in missing:
            return None
        return Instant(at.boot_id, -(-at.ns // (key_every * S)) * key_every * S)

    disks = [(identity(900 + number), each.ledger.tables) for number, each in enumerate((world, *others))]
    return list(extents(disks, identity(11), 0, 1 << 61, key_after))


def brief(found: list[Extent]) -> list[tuple[int, float, float]]:
    return [(e.ref.slot, e.wall_start_ns / S - ZERO, e.wall_stop_ns / S - ZERO) for e in found]


def crossing(low: int, high: int) -> World:
    """A continuous run in slot 0 for 40 s from boot second 10; a second source in slot 1 from second 21 to 35."""
    world = World()
    slow, fast = world.new_slot(), world.new_slot()
    one, two = world.start(1, (11,)), world.start(1, (11,))
    for second in range(10, 50):
        world.write(slow, 1, 11, one, second * S, (second + 1) * S, priority=low)
        if 21 <= second < 35:
            world.write(fast, 1, 11, two, second * S, (second + 1) * S, priority=high)
        world.clock.advance(1)
        world.commit()
    return world


def test_the_higher_priority_takes_over_and_gives_back_at_key_frames() -> None:
    assert brief(played(crossing(0, 1))) == [(0, 0, 14), (1, 14, 25), (0, 26, 40)]


def test_the_lower_priority_is_not_played_at_all() -> None:
    assert brief(played(crossing(1, 0))) == [(0, 0, 40)]


def test_at_equal_priority_the_later_run_wins() -> None:
    assert brief(played(crossing(0, 0))) == [(0, 0, 14), (1, 14, 25), (0, 26, 40)]


def test_a_source_without_a_key_frame_never_takes_over() -> None:
    assert brief(played(crossing(0, 1), missing=frozenset({1}))) == [(0, 0, 40)]


def test_extents_say_where_to_read_and_what_follows_what() -> None:
    world = World()
    run = world.start(1, (11,))
    for _ in range(3):
        world.record(world.new_slot(), 1, 11, run, 10)
    found = played(world)
    assert [(e.ref, e.first, e.count, e.follows) for e in found] == [
        (SlotRef(0, 1), 0, 5, False),
        (SlotRef(1, 2), 0, 5, True),
        (SlotRef(2, 3), 0, 5, True),
    ]
    assert found[0].start == Instant(world.store.boot_id, 10 * S)


def test_a_lead_in_never_reaches_into_what_was_deleted() -> None:
    world = World()
    run = world.start(1, (11,))
    world.record(world.new_slot(), 1, 11, run, 40)
    world.ledger.keeper.delete(identity(1), start_ns=(ZERO + 5) * S, stop_ns=(ZERO + 15) * S)
    found = played(world)
    assert brief(found) == [(0, 0, 5), (0, 15, 40)]
    assert found[1].earliest == found[1].start
    whole = played(crossing(0, 1))[0]
    assert whole.earliest == whole.start


def test_disks_merge_by_wall_time() -> None:
    first, second = World(), World()
    for world, seconds in ((first, range(10, 30)), (second, range(25, 50))):
        run = world.start(1, (11,))
        if world is second:
            world.ledger.stop_run(run, world.now)
            run = world.start(1, (11,))
        ref = world.new_slot(7 if world is second else 3)
        for at in seconds:
            world.write(ref, 1, 11, run, at * S, (at + 1) * S)
        world.clock.advance(60)
        world.commit()
    found = played(first, second)
    assert brief(found) == [(3, 0, 18), (7, 18, 40)]
    assert [e.disk for e in found] == [identity(900), identity(901)]


@pytest.mark.parametrize("back_s", [5, 3600])
def test_after_a_step_back_the_newer_footage_is_shown_for_its_time(back_s) -> None:
    world = World()
    run = world.start(1, (11,))
    ref = world.new_slot()
    world.record(ref, 1, 11, run, 20, step=1)
    world.clock.step(-back_s)
    world.commit()
    world.record(ref, 1, 11, run, 20, step=1)
    spans = brief(played(world, key_every=1))
    assert all(a[2] <= b[1] for a, b in itertools.pairwise(spans))
    assert sum(b - a for _, a, b in spans) == pytest.approx(40 - back_s % 3600, abs=1)
