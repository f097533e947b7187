"""One camera, one recording, one always-active job: from access units to what the ring is given."""

from __future__ import annotations

import uuid
from itertools import pairwise

import msgspec

from recorderd.model.causes import GapCause, RecordingState, RunKind
from recorderd.model.device import Device
from recorderd.model.job import JobMode
from recorderd.model.ports import StoreUnavailable
from recorderd.model.receiver import Receiver
from recorderd.recording import topics
from recorderd.recording.lane import Lane
from tests.recording.fakes import AUDIO, HEVC, METADATA, VIDEO
from tests.recording.house import TICK_NS, House


def times(count: int, start: int = 0, clock: int = 90_000) -> list[int]:
    return [n * clock // 10 for n in range(start, start + count)]


def test_every_unit_is_stored_once_and_in_order() -> None:
    house = House()
    recording = house.recording()
    receiver = house.receiver()
    house.job("j1")
    assert list(house.source.requests) == [receiver.id]
    house.source.connect(receiver.id)
    house.play(20, receiver.id)
    house.job("j1", mode=JobMode.IDLE)
    house.store.tick()
    video, audio, _ = recording.tracks
    assert house.store.samples(video.id) == times(200)
    assert house.store.samples(audio.id) == times(200, clock=8_000)
    (run,) = house.store.runs.values()
    assert run.cause.kind is RunKind.CONTINUOUS
    assert run.stop_ns == house.clock.boottime_ns()
    assert house.source.requests == {}, "an idle job needs no stream"


def test_active_only_when_media_reached_the_disk() -> None:
    house = House()
    house.recording()
    receiver = house.receiver()
    house.job("j1")
    assert house.state("j1").state is RecordingState.IDLE
    house.source.connect(receiver.id, (VIDEO, AUDIO))
    house.play(0.9, receiver.id)
    assert house.state("j1").state is RecordingState.IDLE, "nothing is durable yet"
    house.play(6, receiver.id)
    state = house.state("j1")
    assert state.state is RecordingState.PARTIALLY_ACTIVE, "the stream has no metadata"
    assert [t.state.value for t in state.sources[0].tracks] == ["Active", "Active", "Idle"]
    house.store.stalled = True
    house.play(12, receiver.id)
    state = house.state("j1")
    assert state.state is RecordingState.ERROR
    assert state.sources[0].tracks[0].error == "Data does not reach the disk"
    house.store.stalled = False
    house.play(2, receiver.id)
    assert house.state("j1").state is RecordingState.PARTIALLY_ACTIVE
    announced = [dict(e.data)["State"] for e in house.ears.of(topics.JOB_STATE)]
    assert announced == ["Idle", "PartiallyActive", "Error", "PartiallyActive"]


def recorded_for_ten_seconds() -> tuple[House, Receiver, Lane]:
    house = House()
    house.recording()
    receiver = house.receiver()
    house.job("j1")
    house.source.connect(receiver.id, (VIDEO, AUDIO))
    house.play(10, receiver.id)
    (lane,) = house.engine.recorder.lanes()
    return house, receiver, lane


def test_active_is_taken_back_within_the_loss_bound_and_two_ticks() -> None:
    house, receiver, lane = recorded_for_ten_seconds()
    assert lane.loss_bound_ns(TICK_NS) <= 6e9, "of any stream"
    house.store.stalled = True
    last_ns = house.clock.boottime_ns()
    while house.state("j1").sources[0].tracks[0].state is RecordingState.ACTIVE:
        durable_ns = max(stored.arrived_to_ns for stored in house.store.stored if stored.durable_ns)
        bound_ns = lane.loss_bound_ns(TICK_NS) + 2 * TICK_NS
        assert house.clock.boottime_ns() - durable_ns <= bound_ns, "Active although nothing is on the disk for longer"
        house.play(0.1, receiver.id)
        runtime = house.engine.runtime("j1")
        assert runtime is not None
        house.engine.publisher.refresh(runtime)  # as every question after the state does
    assert house.clock.boottime_ns() - last_ns > 1e9, "and not as soon as one commit is late"


def test_whether_a_healthy_stream_is_within_its_bound_is_told_without_working_anything_off() -> None:
    house, receiver, lane = recorded_for_ten_seconds()
    house.play(0.7, receiver.id)
    before = lane.counters.units
    assert lane.within_loss_bound(TICK_NS, TICK_NS)
    assert lane.counters.units == before
    bound_ns = lane.loss_bound_ns(TICK_NS)
    assert lane.counters.units > before, "there was something to work off"
    for age_ns in (-1, 0, bound_ns - 1, bound_ns, bound_ns + 1, 10 * bound_ns):
        assert lane.within_loss_bound(age_ns, TICK_NS) == (age_ns <= bound_ns)


def test_fragments_are_due_by_size_or_age() -> None:
    """Format.md section 4: 128 KiB or four seconds, whichever comes first; not one per tick."""
    house = House()
    house.recording()
    receiver = house.receiver()
    house.job("j1")
    house.source.connect(receiver.id)
    house.play(40, receiver.id)  # 21.6 kB a second: age decides
    ages = [s.arrived_to_ns - s.arrived_from_ns for s in house.store.stored]
    assert 8 <= len(ages) <= 10
    assert max(ages) < 5.2e9
    house.store.stored.clear()
    house.source.unit_bytes = 40_000  # 400 kB a second: size decides
    house.play(10, receiver.id)
    assert len(house.store.stored) == 10
    assert all(s.fragment.size >= 128 * 1024 for s in house.store.stored)


def test_lost_camera_leaves_a_gap_with_its_cause_and_the_run_goes_on() -> None:
    house = House()
    recording = house.recording()
    receiver = house.receiver()
    house.job("j1")
    (_, _, cause, _, _) = house.store.gaps.pop()
    assert cause is GapCause.CONNECTING
    house.source.connect(receiver.id)
    house.play(5, receiver.id)
    last = house.clock.boottime_ns()
    house.clock.advance(0.05)
    house.source.disconnect(receiver.id, GapCause.CAMERA_SILENT)
    ((where, tracks, why, from_ns, to_ns),) = house.store.gaps
    assert (where, set(tracks)) == (recording.id, {t.id for t in recording.tracks})
    assert (why, from_ns, to_ns) == (GapCause.CAMERA_SILENT, last, None), "from the last data on, while it lasts"
    state = house.state("j1")
    assert state.state is RecordingState.ERROR
    assert {t.error for t in state.sources[0].tracks} == {"Camera went silent"}
    sink = house.source.sinks[receiver.id]
    sink.no_session(receiver.id, GapCause.CAMERA_UNREACHABLE, "no route", 2.0)
    sink.no_session(receiver.id, GapCause.CAMERA_UNREACHABLE, "no route", 4.0)
    assert [g[2] for g in house.store.gaps] == [GapCause.CAMERA_SILENT, GapCause.CAMERA_UNREACHABLE], "once per cause"
    house.source.connect(receiver.id)
    house.play(5, receiver.id)
    assert len(house.store.running()) == 1, "one run, through the loss of the camera"
    assert len(house.store.runs) == 1
    assert {s.anchors[0].session for s in house.store.stored} == {1, 2}


def test_a_session_that_begins_inside_a_gop_is_recorded_from_its_first_key_frame() -> None:
    house = House()
    recording = house.recording()
    receiver = house.receiver()
    house.job("j1")
    house.source.connect(receiver.id)
    house.source.frames[receiver.id] = 3
    house.play(10, receiver.id)
    house.delete_job("j1")
    house.store.tick()
    assert house.store.samples(recording.tracks[0].id)[0] == 10 * 9_000


def test_incompatible_stream_is_refused_and_said() -> None:
    house = House()
    recording = house.recording()
    receiver = house.receiver()
    house.job("j1")
    house.source.connect(receiver.id, (VIDEO, AUDIO, METADATA))
    house.play(5, receiver.id)
    assert ("rec", "VIDEO001", "h264") in house.encodings

    held = msgspec.structs.replace(
        recording, tracks=(msgspec.structs.replace(recording.tracks[0], encoding="h264"), *recording.tracks[1:])
    )
    draft = house.draft()
    draft.recordings.put(held)
    house.commit(draft)
    assert len(house.store.runs) == 1, "remembering what a track holds restarts nothing"
    house.source.disconnect(receiver.id)
    house.source.connect(receiver.id, (HEVC, AUDIO, METADATA))
    house.play(6, receiver.id)
    state = house.state("j1")
    assert state.state is RecordingState.ERROR
    assert state.sources[0].tracks[0].error == "Incompatible Stream"
    assert state.sources[0].tracks[1].state is RecordingState.ACTIVE, "the audio is compatible and goes on"
    assert house.store.gaps[-1][1:3] == ((recording.tracks[0].id,), GapCause.INCOMPATIBLE_STREAM)


def test_without_a_disk_it_says_so_and_begins_when_there_is_one() -> None:
    house = House()
    house.store.refuses = StoreUnavailable(GapCause.DISK_MISSING, "no disk")
    recording = house.recording()
    receiver = house.receiver()
    house.job("j1")
    house.source.connect(receiver.id)
    house.play(3, receiver.id)
    assert {t.error for t in house.state("j1").sources[0].tracks} == {"No disk"}
    house.store.refuses = None
    house.play(10, receiver.id)
    assert house.state("j1").sources[0].tracks[0].state is RecordingState.ACTIVE
    assert house.store.samples(recording.tracks[0].id), "media of after the disk came"


def test_a_disk_that_goes_away_costs_whole_gops_beyond_the_memory() -> None:
    house = House(media_ram_bytes=100_000)
    recording = house.recording()
    receiver = house.receiver()
    house.job("j1")
    house.source.connect(receiver.id)
    house.play(6, receiver.id)
    house.store.refuses = StoreUnavailable(GapCause.DISK_SLOW, "queue full")
    house.play(20, receiver.id)
    lane = house.engine.recorder.lanes()[0]
    assert lane.held_bytes <= 100_000 + 25_000, "the bound, and at most a second beyond it"
    assert house.engine.counters.overflows > 0
    assert any(gap[2] is GapCause.DISK_SLOW for gap in house.store.gaps)
    house.store.refuses = None
    house.play(6, receiver.id)
    house.delete_job("j1")
    house.store.tick()
    stored = house.store.samples(recording.tracks[0].id)
    assert stored == sorted(set(stored)), "nothing twice, nothing out of order"
    jumps = [b for a, b in pairwise(stored) if b - a != 9_000]
    assert jumps, "something was lost"
    assert all(b % 90_000 == 0 for b in jumps), "after every loss it goes on with a key frame"


def test_a_stream_that_no_slot_can_hold_is_said_and_costs_no_memory() -> None:
    house = House()
    house.recording()
    receiver = house.receiver()

    def refuse(*_: object) -> object:
        raise ValueError("no slot can hold this format")

    house.store.open_writer = refuse  # type: ignore[assignment, method-assign]
    house.job("j1")
    house.source.connect(receiver.id)
    house.play(20, receiver.id)
    assert {t.error for t in house.state("j1").sources[0].tracks} == {"no slot can hold this format"}
    assert house.engine.recorder.lanes()[0].held_bytes == 0


def test_a_device_with_events_is_listened_to_without_its_pictures() -> None:
    """The recorder page: it needs to listen to the camera's event stream, also where no job records."""
    house = House()
    draft = house.draft()
    draft.devices.put(Device(id="cam", uid=uuid.uuid4(), address="192.0.2.1", events_enabled=True))
    house.commit(draft)
    first, second = house.receiver("r1"), house.receiver("r2")
    (request,) = house.source.requests.values()
    assert request.receiver == first.id, "one stream is enough to hear it"
    assert (request.want_video, request.want_audio, request.want_metadata) == (False, False, True)
    house.recording()
    house.job("j1")
    request = house.source.requests[first.id]
    assert (request.want_video, request.want_audio, request.want_metadata) == (True, True, True)
    house.delete_job("j1")
    assert not house.source.requests[first.id].want_video
    draft = house.draft()
    draft.devices.put(Device(id="cam", uid=uuid.uuid4(), address="192.0.2.1"))
    house.commit(draft)
    assert house.source.requests == {}
    assert second.id not in house.source.requests
