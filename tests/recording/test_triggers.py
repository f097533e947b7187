"""Event recording: every trigger has its key frame at or before the asked start, nothing is stored twice, nothing is missing."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field

import pytest

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.job import EventCondition, EventFilter
from recorderd.model.recording import Recording, TrackType
from recorderd.model.schedule import Schedule
from tests.recording.fakes import AUDIO, VIDEO, presentation_times
from tests.recording.house import TICK_NS, House

TOPIC = "tns1:VideoSource/MotionAlarm"
FRAME_NS = 100_000_000
GOP = 10
S = 1_000_000_000


def on_motion(before_ms: int, after_ms: int) -> EventFilter:
    return EventFilter(conditions=(EventCondition(topic=TOPIC),), before_ms=before_ms, after_ms=after_ms)


@dataclass
class Scene:
    """Cameras that send pictures every tenth of a second, and events at any instant between them."""

    house: House
    receivers: list[uuid.UUID]
    arrivals: list[int] = field(default_factory=list)  # of picture n, the same for all receivers
    wanted: list[tuple[int, int]] = field(default_factory=list)  # (event, end of the event): boot time

    def until(self, stop_ns: int) -> None:
        """Lets time pass to `stop_ns`, with the pictures and commits due on the way."""
        clock, engine = self.house.clock, self.house.engine
        while True:
            now = clock.boottime_ns()
            picture = (now // FRAME_NS + 1) * FRAME_NS
            commit = ((now - 5) // TICK_NS + 1) * TICK_NS + 5  # beside the pictures
            due = engine.next_deadline_ns() or stop_ns
            target = min(stop_ns, picture, commit, max(due, now))
            clock.advance((target - now) / 1e9)
            engine.advance()
            if target == commit:
                self.house.store.tick()
            if target == picture:
                self.arrivals.append(target)
                for receiver in self.receivers:
                    self.house.source.frame(receiver)
            if target >= stop_ns:
                return

    def event(self, active: bool, operation: str = "Changed") -> None:
        self.house.event(TOPIC, {"Source": "0"}, {"State": str(active).lower()}, operation)


def scene(before_ms: int, after_ms: int, streams: int) -> tuple[Scene, Recording]:
    house = House()
    house.source.unit_bytes = 600
    if streams == 1:
        recording = house.recording()
        ids = [house.receiver().id]
        sources = [("r1", ("VIDEO001", "AUDIO001"))]
    else:
        recording = house.recording(extra=(("VIDEO002", TrackType.VIDEO), ("AUDIO002", TrackType.AUDIO)))
        ids = [house.receiver("r1").id, house.receiver("r2").id]
        sources = [("r1", ("VIDEO001", "AUDIO001")), ("r2", ("VIDEO002", "AUDIO002"))]
    house.job("j", sources=sources, event_filter=on_motion(before_ms, after_ms))
    for receiver in ids:
        house.source.connect(receiver, (VIDEO, AUDIO))
    return Scene(house, ids), recording


def expected(stage: Scene, before_ns: int, after_ns: int) -> set[int]:
    """Numbers of the pictures that must be stored: from the key frame at or before each start to the end of each After."""
    must: set[int] = set()
    first = stage.arrivals[0]
    for begins, ends in stage.wanted:
        asked = begins - before_ns
        key = max(0, (asked - first) // FRAME_NS) // GOP * GOP
        last = (ends + after_ns - first) // FRAME_NS
        must.update(n for n in range(key, last + 1) if n < len(stage.arrivals))
    return must


def when_durable(stage: Scene, recording: Recording) -> dict[int, int]:
    """Number of each stored picture -> when it was durable."""
    found: dict[int, int] = {}
    for stored in stage.house.store.stored:
        for index, track in enumerate(stored.spec.tracks):
            if track.track == recording.tracks[0].id:
                found.update((pts // 9000, stored.durable_ns) for pts in presentation_times(stored).get(index, ()))
    return found


@pytest.mark.parametrize("streams", [1, 2])
def test_a_thousand_triggers_at_random_instants(streams: int) -> None:
    before_ns, after_ns = 3 * S, 2 * S
    stage, recording = scene(3000, 2000, streams)
    chance = random.Random(streams)
    stage.until(stage.house.clock.boottime_ns() + 8 * S)
    for number in range(1000):
        close = number % 3 != 0  # two of three come closer together than Before and After
        stage.until(stage.house.clock.boottime_ns() + chance.randrange(1_000_000, (2 if close else 11) * S))
        begins = stage.house.clock.boottime_ns()
        if number % 2:
            stage.event(True)
            stage.until(begins + chance.randrange(1_000_000, 3 * S // 2))
            stage.event(False)
        else:
            stage.event(False, operation="")
        stage.wanted.append((begins, stage.house.clock.boottime_ns()))
    stage.until(stage.house.clock.boottime_ns() + 20 * S)
    assert stage.house.store.running() == []
    must = expected(stage, before_ns, after_ns)
    assert len(must) < 0.9 * len(stage.arrivals), "there are pauses between the events"
    names = ("VIDEO001", "AUDIO001", "VIDEO002", "AUDIO002")[: 2 * streams]
    for name in names:
        track = recording.track(name)
        assert track is not None
        clock_rate = 9000 if name.startswith("VIDEO") else 800
        stored = [pts // clock_rate for pts in stage.house.store.samples(track.id)]
        assert len(stored) == len(set(stored)), f"{name}: an access unit is stored twice"
        assert stored == sorted(stored), f"{name}: out of order"
        missing = must - set(stored)
        assert not missing, f"{name}: {sorted(missing)[:5]} are missing"
        needless = [n for n in stored if n not in must and n - 1 not in must and n + GOP not in must]
        assert not needless, f"{name}: {needless[:5]} were not asked for"
    durable = when_durable(stage, recording)
    lags = []
    for begins, _ in stage.wanted:
        newest = (begins - stage.arrivals[0]) // FRAME_NS
        lags.append(max(durable[n] for n in range(newest - 20, newest)) - begins)
    assert max(lags) <= 2 * TICK_NS, "from the event's arrival to the pre-buffer durable: at most two ticks"
    causes = {run.cause.kind for run in stage.house.store.runs.values()}
    assert causes == {RunKind.EVENT}
    assert {run.cause.topic for run in stage.house.store.runs.values()} == {TOPIC}
    assert len(stage.house.store.runs) < 700, "triggers close together are one activity"


def test_every_activity_begins_with_a_key_frame_or_goes_on_behind_the_one_before() -> None:
    stage, recording = scene(3000, 1000, 1)
    stage.until(stage.house.clock.boottime_ns() + 6 * S)
    stage.event(False, operation="")
    stage.until(stage.house.clock.boottime_ns() + 2 * S)
    stage.event(False, operation="")  # Before reaches into what the first one stored
    stage.until(stage.house.clock.boottime_ns() + 30 * S)
    stored = [pts // 9000 for pts in stage.house.store.samples(recording.tracks[0].id)]
    assert stored == list(range(stored[0], stored[0] + len(stored))), "one stretch, without a seam"
    assert stored[0] % GOP == 0
    assert len(stage.house.store.runs) == 2


def test_an_instant_without_before_and_after_is_a_key_frame() -> None:
    """5.3.4: an infinitely short timespan is recorded with at least one I-frame."""
    stage, recording = scene(0, 0, 1)
    stage.until(stage.house.clock.boottime_ns() + 35 * S // 10)
    stage.event(False, operation="")
    assert len(stage.house.store.running()) == 1
    stage.until(stage.house.clock.boottime_ns() + 5 * S)
    assert stage.house.store.running() == []
    stored = [pts // 9000 for pts in stage.house.store.samples(recording.tracks[0].id)]
    assert stored[0] % GOP == 0
    assert 1 <= len(stored) <= GOP


def test_both_schedule_and_event_must_allow_it() -> None:
    """5.3.4, last sentence; and what lies before the schedule's period stays unrecorded, Before or not."""

    house = House()
    recording = house.recording()
    receiver = house.receiver()
    draft = house.draft()
    draft.schedules.put(
        Schedule(token="s", name="s", standard="BEGIN:VEVENT\nDTSTART:20251009T090000\nDURATION:PT1M\nEND:VEVENT\n")
    )
    house.commit(draft)
    # The fake clock stands at 2025-10-09T08:53:21Z.
    house.job("j", schedule="s", event_filter=on_motion(5000, 1000))
    house.event(TOPIC, {"Source": "0"}, {"State": "true"})
    assert house.store.runs == {}, "the event alone is not enough"
    house.clock.advance(395)
    house.engine.advance()
    assert house.store.runs == {}
    house.clock.advance(5)
    house.engine.advance()
    assert list(house.source.requests) == [receiver.id]
    (run,) = house.store.running()
    opened_ns = house.clock.boottime_ns()
    house.source.connect(receiver.id, (VIDEO, AUDIO))
    house.play(5, receiver.id)
    house.event(TOPIC, {"Source": "0"}, {"State": "false"})
    house.play(2, receiver.id)
    assert run.stop_ns is not None
    assert run.start_ns == opened_ns
    house.event(TOPIC, {"Source": "0"}, {"State": "true"})
    assert len(house.store.running()) == 1
    house.play(50, receiver.id)
    house.clock.advance(5)
    house.engine.advance()
    assert house.store.running() == [], "the schedule's period is over, the event lasts"
    assert house.source.requests == {}
    assert house.store.samples(recording.tracks[0].id)


def sessions(stage: Scene, recording: Recording) -> list[tuple[int, list[int]]]:
    """What the video track holds: (session, numbers of its pictures), in the order of storing."""
    found: list[tuple[int, list[int]]] = []
    for stored in stage.house.store.stored:
        index = next(i for i, track in enumerate(stored.spec.tracks) if track.track == recording.tracks[0].id)
        (session,) = {anchor.session for anchor in stored.anchors}
        if not found or found[-1][0] != session:
            found.append((session, []))
        found[-1][1].extend(pts // 9000 for pts in presentation_times(stored).get(index, ()))
    return found


def reconnected(stage: Scene, away_ns: int) -> int:
    """The camera's session ends and another begins; when the last picture before that came."""
    house, (receiver,) = stage.house, stage.receivers
    last_ns = stage.arrivals[-1]
    house.source.disconnect(receiver, GapCause.CAMERA_RESET)
    house.clock.advance(away_ns / 1e9)
    house.source.connect(receiver, (VIDEO, AUDIO))
    return last_ns


def test_an_event_after_a_reconnect_has_what_led_up_to_the_failure() -> None:
    stage, recording = scene(5000, 1000, 1)
    clock, store = stage.house.clock, stage.house.store
    stage.until(clock.boottime_ns() + 10 * S)
    pictures = len(stage.arrivals)
    last_ns = reconnected(stage, S)
    stage.until(clock.boottime_ns() + 2 * S)
    stage.event(False, operation="")
    stage.until(clock.boottime_ns() + 3 * S)
    (one, before), (two, after) = sessions(stage, recording)
    assert two == one + 1
    assert before == list(range(pictures - 30, pictures)), "from the key frame at or before Before, up to the last"
    assert after == list(range(len(after)))
    assert len(after) >= 28
    reset = [gap for gap in store.gaps if gap[2] is GapCause.CAMERA_RESET]
    assert [(gap[3], gap[4]) for gap in reset] == [(last_ns, None)]
    (run,) = store.runs.values()
    assert run.start_ns == stage.arrivals[pictures - 30]
    # Another event, whose Before reaches as far back: nothing is stored again.
    stage.until(clock.boottime_ns() + S // 2)
    stage.event(False, operation="")
    stage.until(clock.boottime_ns() + 3 * S)
    assert [session for session, _ in sessions(stage, recording)] == [one, two]
    again = sessions(stage, recording)[1][1]
    assert again == list(range(len(again)))


def test_an_event_while_the_camera_is_away_has_what_led_up_to_it() -> None:
    stage, recording = scene(5000, 2000, 1)
    clock, store = stage.house.clock, stage.house.store
    stage.until(clock.boottime_ns() + 10 * S)
    last_ns, receiver = stage.arrivals[-1], stage.receivers[0]
    stage.house.source.disconnect(receiver, GapCause.CAMERA_SILENT)
    clock.advance(1.0)
    stage.event(False, operation="")
    store.tick()
    ((_, before),) = sessions(stage, recording)
    assert before[-1] == len(stage.arrivals) - 1
    assert before[0] % GOP == 0
    assert (GapCause.CAMERA_SILENT, last_ns, None) in [gap[2:] for gap in store.gaps]
    stage.house.source.connect(receiver, (VIDEO, AUDIO))
    stage.until(clock.boottime_ns() + 4 * S)
    assert [numbers[0] for _, numbers in sessions(stage, recording)] == [before[0], 0]


def test_a_session_that_ended_before_what_is_asked_for_stays_away() -> None:
    stage, recording = scene(2000, 1000, 1)
    clock = stage.house.clock
    stage.until(clock.boottime_ns() + 10 * S)
    reconnected(stage, 5 * S)
    stage.until(clock.boottime_ns() + S)
    stage.event(False, operation="")
    stage.until(clock.boottime_ns() + 3 * S)
    assert [numbers[0] for _, numbers in sessions(stage, recording)] == [0]
