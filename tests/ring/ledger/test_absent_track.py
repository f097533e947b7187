"""A track that the source turned out not to have: its gap ends without data, and hides nothing at the live edge."""

from __future__ import annotations

from recorderd.model.causes import GapCause
from tests.ring.ledger.world import World, identity


def test_a_gap_of_no_length_ends_the_open_one() -> None:
    world = World()
    run = world.start(1, (11, 12))
    ref = world.new_slot()
    world.ledger.note_gap(identity(1), [identity(11), identity(12)], GapCause.CONNECTING, world.now, None)
    world.clock.advance(2)
    world.ledger.note_gap(identity(1), [identity(12)], GapCause.CONNECTING, world.now, world.now)
    world.record(ref, 1, 11, run, 10)
    world.clock.advance(3)  # the newest data is three seconds old: not a gap yet
    causes = [what for _, _, what in world.bars(1)]
    assert causes.count(GapCause.CONNECTING) == 1
    assert causes[-1] is not GapCause.CONNECTING
    world.power_cut()
    assert [what for _, _, what in world.bars(1)].count(GapCause.CONNECTING) == 1
