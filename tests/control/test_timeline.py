"""The Timeline interface over a real socket, from a ledger that lived through something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recorderd.control.timeline import TimelineFace
from recorderd.model.causes import GapCause, RunKind
from recorderd.model.timeline import Instant
from recorderd.protocol import timeline
from recorderd.protocol.client import Client
from recorderd.protocol.errors import InvalidArgument, NotFound
from recorderd.protocol.wall import from_rfc3339
from recorderd.ring.border import SlotRef
from tests.ring.ledger.world import S, World, identity

START, STOP = "2025-10-09T00:00:00Z", "2025-10-11T00:00:00Z"
REC = str(identity(1))


@pytest.fixture
def client(serve: Callable[..., Any]) -> Iterator[Client]:
    world = World()
    run = world.start(1, (11,))
    ref = world.new_slot()
    for _ in range(40):
        world.record(ref, 1, 11, run, 6, step=3)
        world.ledger.note_gap(identity(1), [identity(11)], GapCause.CAMERA_SILENT, world.now, None)
        world.clock.advance(4)
    world.record(ref, 1, 11, run, 6, step=3)
    world.ledger.stop_run(run, world.now)
    world.clock.advance(60)
    event = world.start(1, (11,), RunKind.EVENT, "tns1:VideoSource/MotionAlarm")
    world.record(world.new_slot(), 1, 11, event, 10)
    world.ledger.stop_run(event, world.now)
    boot = world.store.boot_id

    async def key_frames(slot: SlotRef, _track: object) -> list[Instant]:
        return [Instant(boot, second * S) for second in range(10, 500, 4)] if slot == ref else []

    served = serve(
        TimelineFace(
            ledger=world.ledger, key_frames=key_frames, find_recording=world.ledger.queries.find_recording
        ).bind
    )
    connected = Client.connect(str(served.path))
    yield connected
    connected.close()


def test_pages_of_bars_join_without_loss_or_repetition(client: Client) -> None:
    whole = client.call(timeline.GET_TIMELINE, timeline.TimelineCall(recording=REC, track=None, start=START, stop=STOP))
    assert whole.next is None
    assert len(whole.bars) == 82
    assert whole.bars[0].start == "2025-10-09T08:53:20.000000Z"
    assert (whole.bars[0].kind, whole.bars[0].run, whole.bars[0].cause, whole.bars[0].trust) == (
        "continuous",
        1,
        None,
        "ntp",
    )
    assert (whole.bars[1].kind, whole.bars[1].run, whole.bars[1].cause) == (None, None, "camera_silent")
    assert whole.bars[-1].kind == "event"
    paged, start = [], START
    while start is not None:
        page = client.call(
            timeline.GET_TIMELINE,
            timeline.TimelineCall(recording=REC, track=str(identity(11)), start=start, stop=STOP, limit=7),
        )
        assert len(page.bars) <= 7
        paged += page.bars
        start = page.next
    assert paged == whole.bars


def test_days_runs_coverage(client: Client) -> None:
    call = timeline.CalendarCall(recording=REC, track=None, start=START, stop=STOP, utc_offset_s=0)
    days = client.call(timeline.GET_CALENDAR, call).days
    assert [(day.day, day.recorded_ms) for day in days] == [("2025-10-09", 256_000)]
    runs = client.call(timeline.LIST_RUNS, timeline.RunsCall(limit=1))
    assert (runs.runs[0].id, runs.runs[0].kind, runs.next) == (1, "continuous", 1)
    runs = client.call(timeline.LIST_RUNS, timeline.RunsCall(limit=1, after=runs.next))
    assert (runs.runs[0].topic, runs.next) == ("tns1:VideoSource/MotionAlarm", None)
    assert client.call(timeline.LIST_RUNS, timeline.RunsCall(kind="manual")).runs == []
    assert client.call(timeline.LIST_RUNS, timeline.RunsCall(start="2025-10-09T09:00:30Z")).runs[0].id == 2
    coverage = client.call(timeline.GET_COVERAGE, timeline.CoverageCall(recording=REC))
    assert coverage.hour == pytest.approx(256 / 416)


@pytest.mark.parametrize(
    ("at", "key", "inside"),
    [
        ("2025-10-09T08:53:25Z", "2025-10-09T08:53:24.000000Z", True),
        ("2025-10-09T08:53:27Z", "2025-10-09T08:53:24.000000Z", False),
        ("2025-10-09T08:53:30Z", "2025-10-09T08:53:32.000000Z", True),
        ("2020-01-01T00:00:00Z", "2025-10-09T08:53:20.000000Z", False),
    ],
)
def test_locate_gives_the_nearest_key_frame(client: Client, at: str, key: str, inside: bool) -> None:
    found = client.call(timeline.LOCATE, timeline.LocateCall(recording=REC, track=None, at=at))
    assert (found.key_frame, found.inside) == (key, inside)


def test_wrong_arguments_are_named(client: Client) -> None:
    with pytest.raises(NotFound):
        client.call(timeline.GET_COVERAGE, timeline.CoverageCall(recording="nowhere"))
    for bad, argument in (
        ({"start": STOP, "stop": START}, "stop"),
        ({"start": "yesterday", "stop": STOP}, "start"),
        ({"start": START, "stop": STOP, "limit": 0}, "limit"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            client.call(timeline.GET_TIMELINE, timeline.TimelineCall(recording=REC, track=None, **bad))
        assert caught.value.argument == argument
    assert from_rfc3339(START) < from_rfc3339(STOP)
