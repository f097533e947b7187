"""Random operations against a plain model, with restarts and power cuts of the state file between and inside them.

After every step the objects are what the model says, and exactly the jobs record that the model says, on the tracks it says.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recorderd.events.broker import Broker
from recorderd.model.faults import (
    CannotDeleteReceiver,
    Fault,
    MaxReceivers,
    MaxRecordingJobs,
    MaxRecordings,
    MaxTracks,
    NoRecording,
    NoRecordingJob,
    NoTrack,
    UnknownToken,
)
from recorderd.model.job import JobRequest, JobTrack, SourceRequest
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft, Objects, apply
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import RecordingConfiguration, TrackConfiguration, TrackType
from recorderd.recording.engine import Engine
from recorderd.recording.rules import jobs, receivers, recordings
from recorderd.recording.timetable import Timetable
from recorderd.state.store import Store
from tests.recording.fakes import Ears, FakeSource, FakeStore
from tests.simulated_time import FakeClock

LIMITS = Limits(recordings=3, receivers=5, jobs=6, jobs_per_recording=4, tracks_per_type=2)
PREFIXES = {"Video": "VIDEO", "Audio": "AUDIO", "Metadata": "META"}


@dataclass
class Job:
    recording: str
    active: bool
    priority: int
    sources: list[tuple[str, list[str]]]  # receiver, tracks
    rank: int  # of its latest activation


@dataclass
class Plain:
    """The reference: what a person would write on paper."""

    recordings: dict[str, list[str]] = field(default_factory=dict)  # token -> tracks
    receivers: dict[str, bool] = field(default_factory=dict)  # token -> automatic
    jobs: dict[str, Job] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def name(self, kind: str) -> str:
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return f"{kind}-{self.numbers[kind]}"

    def drop_unused(self, tokens: list[str]) -> None:
        used = {receiver for job in self.jobs.values() for receiver, _ in job.sources}
        for token in tokens:
            if self.receivers.get(token) and token not in used:
                del self.receivers[token]

    def recording_now(self) -> dict[str, set[tuple[str, str]]]:
        """Job -> (recording, track) that it records."""
        found: dict[str, set[tuple[str, str]]] = {}
        for recording, tracks in self.recordings.items():
            for track in tracks:
                rivals = [
                    (job.priority, job.rank, token)
                    for token, job in self.jobs.items()
                    if job.recording == recording and job.active and any(track in wanted for _, wanted in job.sources)
                ]
                if rivals:
                    found.setdefault(max(rivals)[2], set()).add((recording, track))
        return found


class Machine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recorderd-model-"))
        self.generation = 0
        self.path = self.folder / "0" / "state"
        self.plain = Plain()
        self.boot()

    def boot(self) -> None:
        self.state = Store.open(self.path)
        self.objects = self.state.load()
        self.ring = FakeStore(FakeClock())
        self.engine = engine_over(self.objects, self.ring)
        self.engine.start()

    def teardown(self) -> None:
        if hasattr(self, "state"):
            self.state.close()
            shutil.rmtree(self.folder)

    # --- one operation -------------------------------------------------------------------------------------

    def do(
        self, operate: Callable[[Draft], object], write: Callable[[Plain], type[Fault] | None], cut: float | None
    ) -> None:
        """Runs an operation on both; with `cut`, the power goes while the state file is being written."""
        written = deepcopy(self.plain)
        expected = write(written)
        draft = Draft(self.objects)
        try:
            operate(draft)
        except Fault as fault:
            assert expected is not None, f"refused: {fault}"
            assert type(fault) is expected, f"{type(fault)} instead of {expected}"
            return
        assert expected is None, f"{expected} expected"
        if cut is None:
            self.state.commit_now(draft.change)
            apply(self.objects, draft.change)
            self.engine.apply(draft.change)
            self.plain = written
            return
        log = self.path.with_name(self.path.name + "-wal")
        before = log.stat().st_size
        self.state.commit_now(draft.change)
        after = log.stat().st_size
        kept = before + round((after - before) * cut)
        data = self.path.read_bytes(), log.read_bytes()[:kept]
        self.state.close()
        self.generation += 1
        self.path = self.folder / str(self.generation) / "state"
        self.path.parent.mkdir()
        self.path.write_bytes(data[0])
        self.path.with_name(self.path.name + "-wal").write_bytes(data[1])
        self.boot()
        if shape(self.objects) == plain_shape(written):
            self.plain = written
        assert cut < 1 or self.plain is written, "what was acknowledged is there"

    @rule(cut=st.none() | st.none() | st.floats(0, 1))
    def create_recording(self, cut: float | None) -> None:
        def write(plain: Plain) -> type[Fault] | None:
            if len(plain.recordings) >= LIMITS.recordings:
                return MaxRecordings
            plain.recordings[plain.name("recording")] = ["VIDEO001", "AUDIO001", "META001"]
            return None

        self.do(lambda d: recordings.create(d, LIMITS, RecordingConfiguration()), write, cut)

    @rule(number=st.integers(1, 5), cut=st.none() | st.floats(0, 1))
    def delete_recording(self, number: int, cut: float | None) -> None:
        token = f"recording-{number}"

        def write(plain: Plain) -> type[Fault] | None:
            if plain.recordings.pop(token, None) is None:
                return NoRecording
            for name in [n for n, job in plain.jobs.items() if job.recording == token]:
                plain.drop_unused([receiver for receiver, _ in plain.jobs.pop(name).sources])
            return None

        self.do(lambda d: recordings.delete(d, token), write, cut)

    @rule(number=st.integers(1, 4), kind=st.sampled_from(list(TrackType)))
    def create_track(self, number: int, kind: TrackType) -> None:
        token = f"recording-{number}"

        def write(plain: Plain) -> type[Fault] | None:
            tracks = plain.recordings.get(token)
            if tracks is None:
                return NoRecording
            mine = [t for t in tracks if t.startswith(PREFIXES[kind.value])]
            if len(mine) >= LIMITS.tracks_per_type:
                return MaxTracks
            tracks.append(next(t for n in range(1, 9) if (t := f"{PREFIXES[kind.value]}{n:03}") not in mine))
            return None

        self.do(lambda d: recordings.create_track(d, LIMITS, token, TrackConfiguration(type=kind)), write, None)

    @rule(number=st.integers(1, 4), track=st.sampled_from(("VIDEO001", "VIDEO002", "AUDIO001", "META002")))
    def delete_track(self, number: int, track: str) -> None:
        token = f"recording-{number}"

        def write(plain: Plain) -> type[Fault] | None:
            if token not in plain.recordings:
                return NoRecording
            if track not in plain.recordings[token]:
                return NoTrack
            plain.recordings[token].remove(track)
            for job in plain.jobs.values():
                if job.recording == token:
                    job.sources = [(r, [t for t in tracks if t != track]) for r, tracks in job.sources]
            return None

        self.do(lambda d: recordings.delete_track(d, token, track), write, None)

    @rule(cut=st.none() | st.floats(0, 1))
    def create_receiver(self, cut: float | None) -> None:
        def write(plain: Plain) -> type[Fault] | None:
            if len(plain.receivers) >= LIMITS.receivers:
                return MaxReceivers
            plain.receivers[plain.name("receiver")] = False
            return None

        configuration = ReceiverConfiguration(media_uri="rtsp://192.0.2.1/s")
        self.do(lambda d: receivers.create(d, LIMITS, configuration), write, cut)

    @rule(number=st.integers(1, 8))
    def delete_receiver(self, number: int) -> None:
        token = f"receiver-{number}"

        def write(plain: Plain) -> type[Fault] | None:
            if token not in plain.receivers:
                return UnknownToken
            if any(token == receiver for job in plain.jobs.values() for receiver, _ in job.sources):
                return CannotDeleteReceiver
            del plain.receivers[token]
            return None

        self.do(lambda d: receivers.delete(d, token), write, None)

    @rule(
        data=st.data(),
        priority=st.integers(0, 3),
        active=st.booleans(),
        two=st.booleans(),
        cut=st.none() | st.none() | st.floats(0, 1),
    )
    def create_job(self, data: st.DataObject, priority: int, active: bool, two: bool, cut: float | None) -> None:
        recording = data.draw(st.sampled_from([*self.plain.recordings, "recording-9"]))
        tracks = self.plain.recordings.get(recording, [])
        chosen = data.draw(st.lists(st.sampled_from(tracks), unique=True, max_size=3)) if tracks else []
        receiver = data.draw(st.sampled_from([*self.plain.receivers, ""]))
        parts = [chosen[:1], chosen[1:]] if two and len(chosen) > 1 else [chosen]
        request = JobRequest(
            recording=recording,
            mode="Active" if active else "Idle",
            priority=priority,
            sources=tuple(
                SourceRequest(
                    token=receiver if n == 0 else "",
                    auto_create_receiver=n > 0 or not receiver,
                    tracks=tuple(JobTrack(destination=t) for t in part),
                )
                for n, part in enumerate(parts)
            ),
        )

        def write(plain: Plain) -> type[Fault] | None:
            if recording not in plain.recordings:
                return NoRecording
            mine = sum(job.recording == recording for job in plain.jobs.values())
            if len(plain.jobs) >= LIMITS.jobs or mine >= LIMITS.jobs_per_recording:
                return MaxRecordingJobs
            sources = []
            for n, part in enumerate(parts):
                token = receiver if n == 0 else ""
                if not token:
                    if len(plain.receivers) >= LIMITS.receivers:
                        return MaxReceivers
                    token = plain.name("receiver")
                    plain.receivers[token] = True
                sources.append((token, list(part) if chosen else list(tracks)))
            rank = plain.numbers["activation"] = (
                plain.numbers.get("activation", 0) + 1 if active else plain.numbers.get("activation", 0)
            )
            plain.jobs[plain.name("job")] = Job(recording, active, priority, sources, rank if active else 0)
            return None

        self.do(lambda d: jobs.create(d, LIMITS, request), write, cut)

    @rule(number=st.integers(1, 9), active=st.booleans(), cut=st.none() | st.floats(0, 1))
    def set_mode(self, number: int, active: bool, cut: float | None) -> None:
        token = f"job-{number}"

        def write(plain: Plain) -> type[Fault] | None:
            job = plain.jobs.get(token)
            if job is None:
                return NoRecordingJob
            if active and not job.active:
                job.rank = plain.numbers["activation"] = plain.numbers.get("activation", 0) + 1
            job.active = active
            return None

        self.do(lambda d: jobs.set_mode(d, token, "Active" if active else "Idle"), write, cut)

    @rule(number=st.integers(1, 9), cut=st.none() | st.floats(0, 1))
    def delete_job(self, number: int, cut: float | None) -> None:
        token = f"job-{number}"

        def write(plain: Plain) -> type[Fault] | None:
            job = plain.jobs.pop(token, None)
            if job is None:
                return NoRecordingJob
            plain.drop_unused([receiver for receiver, _ in job.sources])
            return None

        self.do(lambda d: jobs.delete(d, token), write, cut)

    @rule()
    def restart(self) -> None:
        self.state.close()
        self.boot()

    # --- what must hold ------------------------------------------------------------------------------------

    @invariant()
    def objects_are_what_the_model_says(self) -> None:
        if hasattr(self, "plain"):
            assert shape(self.objects) == plain_shape(self.plain)

    @invariant()
    def exactly_these_jobs_record_these_tracks(self) -> None:
        if not hasattr(self, "plain"):
            return
        draft = Draft(self.objects)
        names = {job.id: job.token for job in draft.jobs}
        tracks = {track.id: (r.token, track.token) for r in draft.recordings for track in r.tracks}
        found = {names[run.job]: {tracks[t] for t in run.tracks} for run in self.ring.running()}
        assert found == self.plain.recording_now()


def engine_over(objects: Objects, ring: FakeStore, broker: Broker | None = None) -> Engine:
    return Engine(
        objects=objects,
        store=ring,
        source=FakeSource(ring.clock),
        events=broker or Ears(),
        clock=ring.clock,
        timetable=Timetable(objects=objects, clock=ring.clock, time_zone="UTC"),
        password=lambda _: "",
        properties=broker.properties if broker is not None else list,
        note_encoding=lambda *_: None,
        metadata=lambda *_: None,
        camera_lost=lambda _: None,
        tick_ns=1_000_000_000,
        media_ram_bytes=1 << 20,
    )


def shape(objects: Objects) -> tuple[object, ...]:
    draft = Draft(objects)
    return (
        {r.token: [t.token for t in r.tracks] for r in draft.recordings},
        {r.token: r.auto_created for r in draft.receivers},
        {
            j.token: (
                j.configuration.recording,
                j.configuration.mode.value == "Active",
                j.configuration.priority,
                [(s.token, [t.destination for t in s.tracks]) for s in j.configuration.sources],
            )
            for j in draft.jobs
        },
    )


def plain_shape(plain: Plain) -> tuple[object, ...]:
    return (
        plain.recordings,
        plain.receivers,
        {token: (j.recording, j.active, j.priority, j.sources) for token, j in plain.jobs.items()},
    )


Machine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAgainstThePlainModel = Machine.TestCase


class LongMachine(Machine):
    """The same for three minutes."""


LongMachine.TestCase.settings = settings(
    max_examples=1500, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAgainstThePlainModelForLong = pytest.mark.slow(LongMachine.TestCase)
