"""What the ledger reads from a disk: every record comes back as it was, and no damaged byte does more than raise ValueError."""

from __future__ import annotations

import random
import uuid

import pytest

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.timeline import Trust
from recorderd.ring.ledger import items, mirror, sections
from recorderd.ring.ledger.boots import Stretch
from recorderd.ring.ledger.catalogue import NONE, Catalogue, Entry, Kind, image, read_image
from recorderd.ring.ledger.items import Moment, Range
from tests.ring.ledger.test_keeping import filled
from tests.ring.ledger.world import S, World, identity

AT, LATER = Moment(3, 5 * S), Moment(4, 7 * S)
RECORDS: list[items.Record] = [
    items.EntryPut(Entry(1, identity(5), Kind.TRACK, "VIDEO001 é", 0, "h264", deleted=True)),
    items.BootSeen(7, Stretch(identity(9), 0, 60 * S, 80 * S)),
    items.EpochNoted(AT, 1_760_000_000 * S, -120, Trust.NTP, True),
    items.RunStarted(9, 0, 3, AT, RunKind.EVENT, 1_760_000_000 * S, (1, 2), "door", "tns1:Motion", "Source=1"),
    items.RunStopped(9, LATER),
    items.SpanGrown(1, 9, 3, 5 * S, 6 * S, 77, 1 << 40, 12, 4, -3, 2, 5),
    items.GapNoted((1, 2), GapCause.CAMERA_SILENT, AT, LATER),
    items.GapNoted((1,), GapCause.DISK_SLOW, AT, None),
    items.SlotGone(4, 1 << 33),
    items.Withdrawn(4, 5, 6),
    items.Rotten(4, 5, 6),
    items.Cut(4, 5, 6),
    items.SlotClosed(4, 5, 1 << 35),
    items.LockPut(2, 0, 1, 2, (1,), (Range(AT, LATER),), "anna", "case 7"),
    items.LockDropped(2),
    items.Buried(3, 0, items.NO_TRACK, 0, (Range(AT, LATER), Range(AT, LATER))),
    items.FloorRaised(1, AT),
    items.Recovered(AT, LATER),
    items.Seen(LATER),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_as_it_was(record: items.Record) -> None:
    kind, payload = items.encode(record)
    assert 32 <= kind < 128
    assert items.decode(kind, payload) == record
    for cut in range(len(payload)):
        with pytest.raises(ValueError):
            items.decode(kind, payload[:cut])
    with pytest.raises(ValueError):
        items.decode(kind, payload + b"\0")


def test_every_kind_of_record_is_tried() -> None:
    assert {type(record) for record in RECORDS} == set(items.Record.__args__)
    with pytest.raises(ValueError, match="unknown kind"):
        items.decode(99, b"")


def test_the_largest_records_fit_into_a_journal_item() -> None:
    tracks = tuple(range(items.MAX_TRACKS))
    pieces = (Range(AT, LATER),) * items.MAX_PIECES
    text = "x" * 1000
    for record in (
        items.LockPut(1, 0, 0, 1, tracks, pieces, text, text),
        items.Buried(1, 0, 0, 0, pieces),
        items.RunStarted(1, 0, 0, AT, RunKind.EVENT, 0, tracks, text, text, text),
        items.GapNoted(tracks, GapCause.UNKNOWN, AT, LATER),
    ):
        assert len(items.encode(record)[1]) <= 3968


def test_damaged_items_never_do_more_than_raise_valueerror() -> None:
    world, refs, _ = filled(3)
    world.ledger.keeper.lock(identity(1), 1_760_000_070 * S, 1_760_000_080 * S, "a", "b")
    world.ledger.keeper.delete(identity(1), start_ns=1_760_000_020 * S, stop_ns=1_760_000_040 * S)
    world.commit()
    rng = random.Random(7)
    checkpoint = world.ledger.dump()
    for _ in range(1500):
        item = rng.choice(world.journal)
        payload = bytearray(item.payload)
        for _ in range(rng.randint(1, 4)):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
        victim = world.fresh()
        victim.load(checkpoint)
        try:
            victim.apply(item.kind if rng.random() < 0.9 else rng.randrange(32, 50), bytes(payload))
        except ValueError:
            continue
        victim.dump()
    for ref in refs:
        block = bytearray(world.ledger.side_block(ref))
        for _ in range(200):
            damaged = bytearray(block)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            try:
                mirror.decode(world.ledger.tables, bytes(damaged))
            except ValueError:
                continue


def test_damaged_checkpoints_never_do_more_than_raise_valueerror() -> None:
    world, _, _ = filled(3)
    good = world.ledger.dump()
    rng = random.Random(8)
    for _ in range(800):
        bad = dict(good)
        number = rng.choice([n for n, data in good.items() if data])
        data = bytearray(bad[number])
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        else:
            data[rng.randrange(len(data))] = rng.randrange(256)
        bad[number] = bytes(data)
        try:
            tables = sections.load(bad)
        except ValueError:
            continue
        sections.dump(tables)


def test_the_catalogue_file_is_whole_or_refused() -> None:
    catalogue = Catalogue()
    catalogue.put(Entry(0, identity(1), Kind.RECORDING, "door"))
    catalogue.put(Entry(1, identity(2), Kind.TRACK, "VIDEO001", 0, "h265"))
    data = image(catalogue.dump(), 5) + bytes(100)
    sequence, again = read_image(data)
    assert (sequence, list(again)) == (5, list(catalogue))
    for position in range(len(data) - 100):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(ValueError):
            read_image(bytes(damaged))


def test_a_full_catalogue_takes_over_what_nothing_refers_to() -> None:
    world = World()
    tables = world.ledger.tables
    tables.catalogue.bound = 12
    for number in range(40):
        job = world.start(1, (11,))
        world.clock.advance(1)
        world.ledger.stop_run(job, world.now)
        world.ledger.start_run(
            identity(1), uuid.uuid4(), "x", world.ledger.queries.run(job).cause, [identity(11)], world.now
        )
        world.ledger.tables.runs.table.drop(world.ledger.tables.runs.rows["id"] > 2)
        assert number < 50
    assert len(tables.catalogue) <= 12
    assert tables.catalogue.find(identity(1)) is not None
    world.commit()
    replayed = world.fresh()
    replayed.load({})
    for item in world.journal:
        replayed.apply(item.kind, item.payload)
    assert list(replayed.tables.catalogue) == list(tables.catalogue)


def test_a_catalogue_full_of_living_things_refuses() -> None:
    catalogue = Catalogue()
    catalogue.bound = 1
    catalogue.put(Entry(0, identity(1), Kind.RECORDING, "door"))
    with pytest.raises(ValueError, match="already holds"):
        catalogue.propose(identity(2), Kind.RECORDING, "gate")
    assert catalogue.propose(identity(1), Kind.RECORDING, "door") is None
    assert NONE == 0xFFFF_FFFF
