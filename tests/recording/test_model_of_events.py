"""Event filters, schedules and recording groups under random operations, times, restarts and power cuts, against a plain model.

After every step exactly the jobs record that the model says. The model knows nothing of runs, lanes or conditions: it keeps what the events
have said and when, and asks of each job whether it should record now.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recorderd.events.broker import Broker
from recorderd.events.history import History
from recorderd.model.device import DeviceSettings
from recorderd.model.group import GroupSettings
from recorderd.model.job import EventCondition, EventFilter, JobRequest, SourceRequest
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft, Objects, apply
from recorderd.model.ports import Event
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import RecordingConfiguration
from recorderd.model.schedule import Schedule
from recorderd.recording.rules import devices, groups, jobs, receivers, recordings, schedules
from recorderd.state.store import Store
from tests.recording.fakes import FakeStore
from tests.recording.test_model_based import engine_over
from tests.simulated_time import FakeClock

LIMITS = Limits()
HOUR = 3600
MOTION, DOOR, SHOT = "tns1:VideoSource/MotionAlarm", "tns1:Device/Trigger/DigitalInput", "tns1:Device/Shot"
SCHEDULES = {"early": (8, 2), "late": (9, 4), "night": (22, 8)}  # first hour, hours; UTC
DAILY = "BEGIN:VEVENT\nDTSTART:20250101T{0:02}0000\nDURATION:PT{1}H\nRRULE:FREQ=DAILY\nEND:VEVENT"
DAY_S = 24 * HOUR

Property = tuple[str, str]  # topic, source


@dataclass
class Heard:
    """One job's own memory: it begins to listen when it is configured, and forgets with a restart."""

    true: set[Property] = field(default_factory=set)
    until_s: float = -1.0


@dataclass
class Job:
    active: bool
    priority: int
    schedule: str
    topics: tuple[tuple[str, str], ...]  # topic, source or empty; () records always
    after_s: int
    rank: int
    heard: Heard = field(default_factory=Heard)

    def listens(self, topic: str, source: str) -> bool:
        return any(topic == wanted and (not one or one == source) for wanted, one in self.topics)


@dataclass
class Plain:
    jobs: dict[str, Job] = field(default_factory=dict)
    schedules: set[str] = field(default_factory=set)
    holds: set[Property] = field(default_factory=set)  # what the broker knows to be true
    group: Job = field(default_factory=lambda: Job(False, 0, "", (), 4, 0))  # it has a recording of its own

    def listen(self, job: Job) -> None:
        job.heard = Heard({(topic, source) for topic, source in self.holds if job.listens(topic, source)})

    def take(self, topic: str, source: str, value: bool | None, now_s: float) -> None:
        for job in (*self.jobs.values(), self.group):
            if not job.topics or not job.listens(topic, source):
                continue
            if value:
                job.heard.true.add((topic, source))
            elif value is None:
                job.heard.until_s = max(job.heard.until_s, now_s + job.after_s)
            elif (topic, source) in job.heard.true:
                job.heard.true.discard((topic, source))
                if not job.heard.true:
                    job.heard.until_s = max(job.heard.until_s, now_s + job.after_s)
        if value is not None:
            (self.holds.add if value else self.holds.discard)((topic, source))

    def records(self, job: Job, now_s: float, wall_s: float) -> bool:
        if not job.active:
            return False
        if job.schedule:
            if job.schedule not in self.schedules:
                return False
            first, hours = SCHEDULES[job.schedule]
            if not (wall_s - first * HOUR) % DAY_S < hours * HOUR:
                return False
        return not job.topics or bool(job.heard.true) or now_s < job.heard.until_s

    def winner(self, now_s: float, wall_s: float) -> set[str]:
        """All jobs but the group's go into one recording and want all of its tracks."""
        wanted = [(j.priority, j.rank, name) for name, j in self.jobs.items() if self.records(j, now_s, wall_s)]
        return {max(wanted)[2]} if wanted else set()

    def restarted(self) -> None:
        """What was heard is forgotten."""
        self.holds.clear()
        for job in (*self.jobs.values(), self.group):
            job.heard = Heard()


FILTERS = st.sampled_from(
    [(), (), ((MOTION, ""),), ((MOTION, "1"),), ((DOOR, ""), (MOTION, "2")), ((SHOT, ""),), ((SHOT, ""), (DOOR, "1"))]
)


STATES = st.tuples(st.sampled_from((MOTION, MOTION, DOOR)), st.sampled_from("12"), st.booleans())
HAPPENINGS = st.one_of(STATES, STATES, st.sampled_from((0.5, 4.0, 5.0, 61.0)))


class Machine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recorderd-model-"))
        self.generation = 0
        self.path = self.folder / "0" / "state"
        self.clock = FakeClock()
        self.plain = Plain()
        self.rank = 0
        self.boot()
        self.do(
            lambda d: (
                receivers.create(d, LIMITS, ReceiverConfiguration(media_uri="rtsp://192.0.2.1/s")),
                devices.create(d, LIMITS, "cam", DeviceSettings(address="192.0.2.1")),
                groups.create(d, LIMITS, "g", GroupSettings(stream_options="device=cam", post_duration_ms=4_000)),
            )
        )
        self.group = groups.get(Draft(self.objects), "g")
        self.create_job(True, 0, "", ((MOTION, ""), (DOOR, "")), 5, False)

    def boot(self) -> None:
        self.state = Store.open(self.path)
        self.objects: Objects = self.state.load()
        self.ring = FakeStore(self.clock)
        self.broker = Broker(clock=self.clock, history=History())
        self.engine = engine_over(self.objects, self.ring, self.broker)
        self.broker.listen(self.engine.take_event)
        self.engine.start()
        self.plain.restarted()

    def teardown(self) -> None:
        if hasattr(self, "state"):
            self.state.close()
            shutil.rmtree(self.folder)

    def now_s(self) -> float:
        return self.clock.boottime_ns() / 1e9

    def do(self, operate: Callable[[Draft], object], *, cut: bool = False) -> None:
        """With `cut` the power goes at once after the reply."""
        draft = Draft(self.objects)
        operate(draft)
        self.state.commit_now(draft.change)
        apply(self.objects, draft.change)
        self.engine.apply(draft.change)
        if cut:
            log = self.path.with_name(self.path.name + "-wal")
            data = self.path.read_bytes(), log.read_bytes()
            self.state.close()
            self.generation += 1
            self.path = self.folder / str(self.generation) / "state"
            self.path.parent.mkdir()
            self.path.write_bytes(data[0])
            self.path.with_name(self.path.name + "-wal").write_bytes(data[1])
            self.boot()

    def ranked(self) -> int:
        self.rank += 1
        return self.rank

    # --- operations ----------------------------------------------------------------------------------------

    @rule(
        active=st.booleans(),
        priority=st.integers(0, 2),
        schedule=st.sampled_from(("", "", *SCHEDULES)),
        topics=FILTERS,
        after_s=st.sampled_from((0, 5, 60)),
        cut=st.booleans(),
    )
    def create_job(
        self, active: bool, priority: int, schedule: str, topics: tuple[tuple[str, str], ...], after_s: int, cut: bool
    ) -> None:
        if len(self.plain.jobs) >= 5:
            return
        if not Draft(self.objects).recordings.get("recording-2"):
            self.do(lambda d: recordings.create(d, LIMITS, RecordingConfiguration()))
        request = JobRequest(
            recording="recording-2",
            mode="Active" if active else "Idle",
            priority=priority,
            schedule=schedule,
            event_filter=listening(topics, after_s),
            sources=(SourceRequest(token="receiver-1"),),
        )
        made: list[str] = []
        job = Job(active, priority, schedule, topics, after_s, self.ranked() if active else 0)
        self.plain.listen(job)
        self.do(lambda d: made.append(jobs.create(d, LIMITS, request).token), cut=False)
        self.plain.jobs[made[0]] = job
        if cut:
            self.do(lambda _: None, cut=True)

    @rule(number=st.integers(0, 4), active=st.booleans(), cut=st.booleans())
    def set_mode(self, number: int, active: bool, cut: bool) -> None:
        if number >= len(self.plain.jobs):
            return
        token = list(self.plain.jobs)[number]
        job = self.plain.jobs[token]
        if active and not job.active:
            job.rank = self.ranked()
        job.active = active
        self.do(lambda d: jobs.set_mode(d, token, "Active" if active else "Idle"), cut=cut)

    @rule(number=st.integers(0, 4), topics=FILTERS, after_s=st.sampled_from((0, 5)))
    def listen_to_something_else(self, number: int, topics: tuple[tuple[str, str], ...], after_s: int) -> None:
        if number >= len(self.plain.jobs):
            return
        token = list(self.plain.jobs)[number]
        job = self.plain.jobs[token]
        wanted = listening(topics, after_s)

        def change(draft: Draft) -> None:
            held = jobs.get(draft, token)
            configuration = msgspec.structs.replace(held.configuration, event_filter=wanted)
            draft.jobs.put(msgspec.structs.replace(held, configuration=configuration))

        if Draft(self.objects).jobs.get(token).configuration.event_filter != wanted:
            job.topics, job.after_s = topics, after_s
            self.plain.listen(job)
        self.do(change)

    @rule(number=st.integers(0, 4))
    def delete_job(self, number: int) -> None:
        if number < len(self.plain.jobs):
            token = list(self.plain.jobs)[number]
            del self.plain.jobs[token]
            self.do(lambda d: jobs.delete(d, token))

    @rule(name=st.sampled_from(sorted(SCHEDULES)), there=st.booleans(), cut=st.booleans())
    def put_or_delete_a_schedule(self, name: str, there: bool, cut: bool) -> None:
        if there and name not in self.plain.schedules:
            self.plain.schedules.add(name)
            schedule = Schedule(token=name, name=name, standard=DAILY.format(*SCHEDULES[name]))
            self.do(lambda d: schedules.create(d, LIMITS, schedule), cut=cut)
        elif not there and name in self.plain.schedules:
            self.plain.schedules.discard(name)
            self.do(lambda d: schedules.delete(d, name), cut=cut)

    @rule(topics=FILTERS, start=st.booleans(), cut=st.booleans())
    def start_or_stop_the_group(self, topics: tuple[tuple[str, str], ...], start: bool, cut: bool) -> None:
        if not start:
            topics = ()
        group = self.plain.group
        if topics != group.topics:
            group.topics = topics
            self.plain.listen(group)
        group.active = start
        self.do(lambda d: groups.set_active(d, "g", start, listening(topics, 99)), cut=cut)

    @rule(after_s=st.integers(0, 6))
    def set_the_groups_duration(self, after_s: int) -> None:
        group = self.plain.group
        if after_s != group.after_s:
            group.after_s = after_s
            if group.topics:
                self.plain.listen(group)
        self.do(lambda d: groups.update(d, LIMITS, "g", GroupSettings(post_duration_ms=after_s * 1000)))

    # --- events and time -----------------------------------------------------------------------------------

    @rule(happenings=st.lists(HAPPENINGS, min_size=4, max_size=16))
    def a_while(self, happenings: list[tuple[str, str, bool] | float]) -> None:
        """Events and pauses between them; looked at after each."""
        for happens in happenings:
            if isinstance(happens, tuple):
                topic, source, value = happens
                data = (("State", str(value).lower()),)
                self.broker.publish(Event(topic, (("Source", source),), data, "Changed"))
                self.plain.take(topic, source, value, self.now_s())
            else:
                self.clock.advance(happens)
                self.engine.advance()
            self.exactly_these_jobs_record()

    @rule(source=st.sampled_from("12"))
    def instant(self, source: str) -> None:
        self.broker.publish(Event(SHOT, (("Source", source),), (("shot", "1"),)))
        self.plain.take(SHOT, source, None, self.now_s())
        self.engine.advance()

    @rule(seconds=st.sampled_from((0.5, 1, 4, 5, 59, 61, 600, HOUR, 5 * HOUR)))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.engine.advance()

    @rule(seconds=st.sampled_from((-HOUR, HOUR, 7 * HOUR, -90, DAY_S)))
    def the_clock_steps(self, seconds: float) -> None:
        self.clock.step(seconds)
        self.engine.advance()

    @rule()
    def restart(self) -> None:
        self.state.close()
        self.boot()

    # --- what must hold ------------------------------------------------------------------------------------

    @invariant()
    def exactly_these_jobs_record(self) -> None:
        if not hasattr(self, "group"):
            return
        names = {job.id: job.token for job in Draft(self.objects).jobs}
        found = {names[run.job] for run in self.ring.running()}
        now_s, wall_s = self.now_s(), self.clock.realtime_ns() / 1e9
        expected = self.plain.winner(now_s, wall_s)
        if self.plain.records(self.plain.group, now_s, wall_s):
            expected.add(self.group.job)
        assert found == expected, f"{found} instead of {expected}"


def listening(topics: tuple[tuple[str, str], ...], after_s: int) -> EventFilter | None:
    if not topics:
        return None
    conditions = tuple(
        EventCondition(topic=topic, source=f"Source={source}" if source else "") for topic, source in topics
    )
    return EventFilter(conditions=conditions, before_ms=3_000, after_ms=after_s * 1000)


Machine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAgainstThePlainModel = Machine.TestCase


class LongMachine(Machine):
    """The same for minutes."""


LongMachine.TestCase.settings = settings(
    max_examples=1500, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAgainstThePlainModelForLong = pytest.mark.slow(LongMachine.TestCase)
