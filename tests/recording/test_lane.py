"""A lane by itself: when its media is said to have happened."""

from __future__ import annotations

import uuid

from recorderd.model.causes import RunKind
from recorderd.model.ports import WriterSpec, WriterTrack
from recorderd.model.stream import AccessUnit, SenderReport
from recorderd.model.timeline import RunCause
from recorderd.recording.lane import Lane, LaneTrack
from recorderd.rtsp.arrival import ArrivalEstimate
from tests.recording.fakes import VIDEO, FakeStore
from tests.simulated_time import FakeClock, run_simulated

MS = 1_000_000
STEP_MS = 200


class Times:
    """What a session knows of one track."""

    def __init__(self) -> None:
        self.estimate = ArrivalEstimate(VIDEO.clock_rate)

    def anchor_time(self, stream_track: int, pts: int, arrival_ns: int) -> int:
        return min(arrival_ns, self.estimate.arrival_ns(pts))

    def report(self, stream_track: int) -> SenderReport | None:
        return None


def test_a_camera_that_catches_up_has_nothing_dated_before_its_runs_beginning() -> None:
    """The first picture comes two seconds late, what was captured behind it at once: the estimate moves back by two seconds."""

    async def main(clock: FakeClock) -> None:
        store, times = FakeStore(clock), Times()
        track = WriterTrack(uuid.uuid4(), VIDEO, "VIDEO001")
        spec = WriterSpec(uuid.uuid4(), "door", uuid.uuid4(), "camera", (track,))
        run = store.start_run(spec.recording, uuid.uuid4(), "camera", RunCause(RunKind.EVENT), (track.track,), 0)
        lane = Lane(store, spec, run, 1, (LaneTrack(track.track, "VIDEO001", 0, VIDEO),), times)
        began_ns = clock.boottime_ns()
        for number in range(60):
            due_ns = began_ns + (number * STEP_MS - 2000) * MS
            arrival_ns = max(began_ns + number * MS, due_ns)
            pts = number * STEP_MS * VIDEO.clock_rate // 1000
            unit = AccessUnit(0, pts, bytes(1000), arrival_ns, key=number % 10 == 0)
            times.estimate.observe(pts, arrival_ns)
            lane.take([unit])
            lane.hurry(arrival_ns)
        begins = [stored.anchors[0].boottime_ns for stored in store.stored] + [
            stored.anchors[0].boottime_ns for _, stored in store.queue
        ]
        assert len(begins) > 50
        assert begins[0] > began_ns - 1000 * MS, "little was known when the first went out"
        assert min(begins) == begins[0], "readers would take it for another run's and leave it out"
        assert begins[-1] == began_ns + (58 * STEP_MS - 2000) * MS, "the estimate counts again as soon as it is behind"

    run_simulated(main)
