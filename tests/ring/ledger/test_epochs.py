"""Ring time and wall time: order, dates, steps, slewing, clocks that are trusted late."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.model.timeline import Instant, Trust
from recorderd.ring.ledger.boots import BETWEEN_BOOTS_NS, BootTable, Stretch, UnknownBoot
from recorderd.ring.ledger.epochs import STEP_NS, EpochTable
from tests.ring.ledger.world import HOUR, MINUTE, S, identity

WALL = 1_760_000_000 * S


def tables() -> tuple[BootTable, EpochTable]:
    boots = BootTable()
    boots.add(*boots.next_stretch(identity(1), 10 * S))
    return boots, EpochTable(boots)


def observe(epochs: EpochTable, ring: int, wall: int, trust: Trust = Trust.NTP) -> bool:
    point = epochs.observe(ring, wall, trust)
    if point is not None:
        epochs.add(point)
    return point is not None


def test_boots_lie_end_to_end_and_convert_both_ways() -> None:
    boots, _ = tables()
    boots.seen(0, 100 * S)
    boots.add(*boots.next_stretch(identity(2), 5 * S))
    assert boots.ring_of(Instant(identity(2), 0)) == 100 * S + BETWEEN_BOOTS_NS
    late = Instant(identity(1), 130 * S)  # written just before the power cut, after the last record
    assert boots.ring_of(late) < boots.ring_of(Instant(identity(2), 0))
    assert boots.instant(boots.ring_of(late)) == late
    with pytest.raises(UnknownBoot):
        boots.ring_of(Instant(identity(3), 0))


def test_a_boot_that_comes_back_after_another_goes_on_behind_it() -> None:
    boots, _ = tables()
    boots.seen(0, 100 * S)
    boots.add(*boots.next_stretch(identity(2), 5 * S))
    boots.seen(1, 50 * S)
    boots.add(*boots.next_stretch(identity(1), 500 * S))
    before, between, after = (
        Instant(identity(1), 100 * S),
        Instant(identity(2), 50 * S),
        Instant(identity(1), 500 * S),
    )
    assert boots.ring_of(before) < boots.ring_of(between) < boots.ring_of(after)
    assert boots.instant(boots.ring_of(after)) == after


def test_proven_time_leaves_out_what_nobody_counted() -> None:
    boots, _ = tables()
    boots.seen(0, 100 * S)
    boots.add(*boots.next_stretch(identity(2), 5 * S))
    boots.seen(1, 50 * S)
    begin, end = boots.ring_of(Instant(identity(1), 40 * S)), boots.ring_of(Instant(identity(2), 30 * S))
    assert boots.elapsed_ns(begin, end) == 90 * S


def test_boot_table_refuses_what_it_could_not_have_written() -> None:
    boots, _ = tables()
    good = boots.dump()
    again = BootTable()
    again.load(good)
    assert again.dump() == good
    for bad in (good[:-1], good + good, good[:4] + b"\xff" * 40):
        with pytest.raises(ValueError):
            BootTable().load(bad)
    with pytest.raises(ValueError):
        boots.add(1, Stretch(identity(2), 0, 0, 5))


def test_a_steady_clock_needs_one_point() -> None:
    _, epochs = tables()
    assert observe(epochs, 10 * S, WALL)
    assert not any(observe(epochs, 10 * S + t * S, WALL + t * S) for t in range(1, 1000))


def test_a_slewed_clock_stays_continuous_and_within_milliseconds() -> None:
    _, epochs = tables()
    truth = []
    offset = 0.0
    points = 0
    for t in range(3000):
        offset += 0.0005 if 500 <= t < 1500 else 0.0  # adjtime's fastest
        ring, wall = 10 * S + t * S, WALL + t * S + round(offset * S)
        points += observe(epochs, ring, wall)
        truth.append((ring, wall))
    assert points < 20
    assert sum(p.step for p in epochs.points) == 1
    error = epochs.to_wall([r for r, _ in truth]) - np.array([w for _, w in truth])
    assert np.abs(error).max() <= 10_000_000
    assert (np.diff(epochs.to_wall(np.arange(10 * S, 3000 * S, S // 2))) > 0).all()


def test_a_step_begins_an_epoch_and_moves_nothing_older() -> None:
    _, epochs = tables()
    observe(epochs, 10 * S, WALL)
    observe(epochs, 100 * S, WALL + 90 * S - HOUR)
    assert epochs.wall(99 * S) == WALL + 89 * S
    assert epochs.wall(101 * S) == WALL + 91 * S - HOUR
    pieces = epochs.pieces(WALL + 60 * S - HOUR, WALL + 91 * S - HOUR)
    assert [(p.start_ns, p.stop_ns) for p in pieces] == [(100 * S, 101 * S)]


@pytest.mark.parametrize("first", [Trust.NONE, Trust.RTC, Trust.OPERATOR])
def test_a_clock_trusted_late_corrects_the_earlier_epochs_of_its_boot_only(first) -> None:
    boots, epochs = tables()
    observe(epochs, 10 * S, WALL - 9 * HOUR, Trust.NONE)
    boots.seen(0, 100 * S)
    boots.add(*boots.next_stretch(identity(2), 10 * S))
    base = boots[1].base_ns
    observe(epochs, base + 10 * S, WALL - HOUR, first)
    observe(epochs, base + 60 * S, WALL - 2 * HOUR, first)
    observe(epochs, base + 110 * S, WALL, Trust.NTP)
    assert epochs.wall(base + 10 * S) == WALL - 100 * S
    assert epochs.wall(base + 59 * S) == WALL - 51 * S
    assert int(epochs.trust_at(base + 10 * S)) == Trust.NTP
    assert epochs.wall(10 * S) == WALL - 9 * HOUR
    assert int(epochs.trust_at(10 * S)) == Trust.NONE


def test_trust_that_comes_without_a_step_reaches_back() -> None:
    _, epochs = tables()
    observe(epochs, 10 * S, WALL, Trust.RTC)
    observe(epochs, 100 * S, WALL + 90 * S, Trust.NTP)
    assert int(epochs.trust_at(20 * S)) == Trust.NTP


@settings(deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["tick", "step", "slew", "boot"]),
            st.integers(1, 200),
            st.integers(-300, 300),
            st.sampled_from(list(Trust)),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 3000),
    st.integers(1, 2000),
)
def test_pieces_are_exactly_what_wall_time_says(story, wall_from_s, length_s) -> None:
    boots, epochs = tables()
    number, now, offset = 0, 10 * S, WALL
    for what, seconds, change, trust in story:
        now += seconds * S
        if what == "step":
            offset += change * S
        elif what == "slew":
            offset += change * 100_000
        elif what == "boot":
            boots.seen(number, now)
            now = 5 * S
            number, stretch = boots.next_stretch(uuid.UUID(int=number + 50), now)
            boots.add(number, stretch)
        boots.seen(number, now)
        observe(epochs, boots.ring_ns(number, now), max(0, now + offset), trust)
    low, high = WALL + wall_from_s * S, WALL + (wall_from_s + length_s) * S
    pieces = epochs.pieces(low, high)
    sample = np.arange(0, boots.last_seen_ring_ns() + 300 * S, 777_777_777)
    wall = epochs.to_wall(sample)
    inside = np.zeros(len(sample), bool)
    edge = np.zeros(len(sample), bool)
    for piece in pieces:
        inside |= (sample >= piece.start_ns) & (sample < piece.stop_ns)
        for at in (piece.start_ns, piece.stop_ns):
            edge |= np.abs(sample - at) <= 2
    edge |= (np.abs(wall - low) <= 2) | (np.abs(wall - high) <= 2)
    assert (inside == ((wall >= low) & (wall < high)))[~edge].all()
    again = EpochTable(boots)
    again.load(epochs.dump())
    assert (again.to_wall(sample) == wall).all()
    jumped = np.searchsorted(epochs.jumps, sample[1:], "right") > np.searchsorted(epochs.jumps, sample[:-1], "right")
    assert (np.abs(np.diff(wall) - np.diff(sample)) <= STEP_NS)[~jumped].all()


def test_many_points_are_thinned_and_steps_stay() -> None:
    _, epochs = tables()
    epochs.bound = 64
    for minute in range(200):
        wall = WALL + minute * MINUTE + (minute % 2) * 20_000_000 + (minute // 50) * HOUR
        observe(epochs, 10 * S + minute * MINUTE, wall)
    assert len(epochs.points) <= 65
    assert sum(p.step for p in epochs.points) == 4
    assert abs(epochs.wall(10 * S + 10 * MINUTE) - WALL - 10 * MINUTE) < STEP_NS
