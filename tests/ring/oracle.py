"""What must be true of a ring after a power cut, given what was known when the power went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recorderd.model.ports import Anchor
from recorderd.ring.border import SlotRef
from recorderd.ring.ring import Ring
from tests.ring.fakes import Body, Feed, ListLedger, contents, feed
from tests.simulated_time import FakeClock


class Oracle(ListLedger):
    """Runs are serials, so that the ledger itself says what is where; checks what is recycled."""

    def __init__(self) -> None:
        super().__init__()
        self.vanished: list[int] = []

    def slot_vanishes(self, ref: SlotRef) -> None:
        assert ref.slot not in self.locked, "a locked slot was taken (I4)"
        self.vanished += self.serials(ref)
        super().slot_vanishes(ref)

    def serials(self, ref: SlotRef) -> list[int]:
        return [int(str(fragment[1])) for fragment in self.media.get(ref, {}).values()]

    def all_serials(self) -> list[int]:
        return sorted(int(str(f[1])) for fragments in self.media.values() for f in fragments.values())


@dataclass(frozen=True)
class Mark:
    """What was true when a write was issued."""

    acknowledged: frozenset[int]
    vanished: int  # length of Oracle.vanished
    deleted: frozenset[int]  # deletion acknowledged
    deleting: frozenset[int]


def append(f: Feed, serial: int, size: int, *, key: bool) -> None:
    now = f.clock.boottime_ns()
    f.writer.append(Body(serial, size, f.pts, key=key), serial, [Anchor(0, f.pts, now, 1)], now, now + 1)
    f.serials.append(serial)
    f.pts += 90_000


def oldest(oracle: Oracle, count: int) -> list[SlotRef]:
    """The closed, unlocked slots that closed first and still hold media."""
    assert oracle.media
    live = {SlotRef(*key) for key, fragments in oracle.media.items() if fragments}
    closed = [ref for ref in live if ref in oracle.closed_order and ref.slot not in oracle.locked]
    return sorted(closed, key=lambda ref: oracle.closed_order[ref])[:count]


async def check_ring(
    ring: Ring,
    clock: FakeClock,
    mark: Mark,
    *,
    vanished: Sequence[int],
    appended: set[int],
    carry_on: bool,
) -> None:
    """The ring is mounted after the cut, with an `Oracle` as its ledger; `vanished` and `appended` are the whole run's."""
    oracle = ring.ledger
    assert isinstance(oracle, Oracle)
    await ring.scan_now()
    await ring.tick()
    assert ring.status().unscanned_slots == 0
    found_by_slot = await contents(ring)
    found = [s for serials in found_by_slot.values() for s in serials]
    assert len(found) == len(set(found)), "a fragment is there twice"
    may_be_gone = set(vanished[: mark.vanished]) | mark.deleting | set(oracle.vanished)
    gone = mark.acknowledged - may_be_gone - set(found)
    assert not gone, f"acknowledged and lost: {sorted(gone)}"
    assert not set(found) & mark.deleted, "deleted media came back"
    assert set(found) <= appended
    assert oracle.all_serials() == sorted(found), "timeline and media disagree"
    assert not oracle.rotten, "what was cut off was taken for rot"
    for serials in found_by_slot.values():
        assert serials == sorted(serials)
    if carry_on:
        more = feed(ring, clock, 9)
        for i in range(12):
            append(more, 10_000 + i, 30_000, key=True)
            await ring.tick()
        await ring.tick()
        assert len(more.acknowledged) == 12
        await contents(ring)
