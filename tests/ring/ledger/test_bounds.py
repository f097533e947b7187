"""At the bounds: neighbours join, and say so; nothing that was deleted comes back with them."""

from __future__ import annotations

from recorderd.model.causes import GapCause, RunKind
from recorderd.ring.ledger.spans import MERGED
from recorderd.ring.ledger.tables import Tables
from tests.ring.ledger.world import S, World, identity

ZERO = 1_760_000_000


def flapping(times: int, room: int) -> World:
    """A camera that comes and goes: 4 s of media, 5 s of silence."""
    world = World()
    world.ledger.tables.limit(room)
    run = world.start(1, (11,))
    ref = world.new_slot()
    for _ in range(times):
        world.record(ref, 1, 11, run, 4, step=4)
        world.ledger.note_gap(identity(1), [identity(11)], GapCause.CAMERA_SILENT, world.now, None)
        world.clock.advance(5)
        world.commit()
    return world


def test_spans_and_gaps_join_at_the_bound_and_say_so() -> None:
    world = flapping(1200, 40_000)
    tables = world.ledger.tables
    assert tables.table_bytes() <= 40_000 * 5 // 8 + 256 * 80  # looked at every 256 additions
    assert tables.merged_rows > 100
    rows = world.ledger.queries.timeline(identity(1), identity(11), 0, 1 << 61)
    assert (rows["flags"] & MERGED).any()
    zero = ZERO * S
    assert int(rows["start"][0]) == zero and int(rows["stop"].max()) >= zero + 1199 * 9 * S
    recorded = int((rows["stop"] - rows["start"])[rows["cause"] < 0].sum())
    assert recorded >= 1200 * 4 * S


def test_a_ledger_at_its_bound_replays_to_the_same() -> None:
    world = flapping(900, 40_000)
    replayed = world.fresh()
    replayed.load({})
    replayed.tables.limit(40_000)
    for item in world.journal:
        replayed.apply(item.kind, item.payload)
    assert replayed.dump() == world.ledger.dump()


def test_what_was_deleted_does_not_come_back_inside_a_joined_row() -> None:
    world = flapping(400, 1 << 30)
    world.ledger.keeper.delete(identity(1), start_ns=(ZERO + 100) * S, stop_ns=(ZERO + 200) * S)
    for table in world.ledger.tables.spans.values():
        table.merge_neighbours(10)
    rows = world.ledger.tables.spans[1].rows
    begin, end = 110 * S, 210 * S
    assert not ((rows["from"] < end) & (rows["to"] > begin)).any()


def test_the_oldest_runs_of_a_job_become_one_and_keep_their_media() -> None:
    world = World()
    world.ledger.tables.runs.bound = 64
    ref = world.new_slot()
    for _ in range(100):
        run = world.start(1, (11,), RunKind.EVENT)
        world.record(ref, 1, 11, run, 2)
        world.ledger.stop_run(run, world.now)
        world.clock.advance(30)
        world.commit()
    tables: Tables = world.ledger.tables
    assert len(tables.runs) <= 64
    bars = world.bars(1, 11)
    assert {bar[2] for bar in bars if isinstance(bar[2], RunKind)} == {RunKind.EVENT}
    assert sum(b - a for a, b, what in bars if isinstance(what, RunKind)) == 200
