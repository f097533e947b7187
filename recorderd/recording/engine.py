"""Who records: re-decides as objects, schedules, events and the clock change, and touches only what a change concerns.

`apply` is told of every change of objects, `take_event` of every event, `advance` of the passing of time; `tick` is the ring's feeder.
Everything happens on the loop, at once: when a call returns, the runs are what they should be.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.job import RecordingJob
from recorderd.model.objects import Change, Objects
from recorderd.model.ports import Clock, Event, EventSink, MediaStore, StreamSource
from recorderd.model.receiver import Receiver
from recorderd.model.recording import Recording
from recorderd.model.timeline import RunCause
from recorderd.recording.activation import Route, wants, winners
from recorderd.recording.condition import EventCondition
from recorderd.recording.publisher import Publisher
from recorderd.recording.recorder import Recorder
from recorderd.recording.runs import Run, RunKey
from recorderd.recording.runtime import Counters, JobRuntime
from recorderd.recording.sources import Sources
from recorderd.recording.timetable import Timetable

PICTURE_GRACE_NS = 30_000_000_000  # how long the recording of an instant waits for its key frame


class Engine:
    """`properties` gives the property events in force, for jobs that begin to listen; the other callbacks are `Recorder`'s."""

    def __init__(
        self,
        *,
        objects: Objects,
        store: MediaStore,
        source: StreamSource,
        events: EventSink,
        clock: Clock,
        timetable: Timetable,
        password: Callable[[str], str],
        properties: Callable[[], Iterable[Event]],
        note_encoding: Callable[[str, str, str], None],
        metadata: Callable[[uuid.UUID, bytes, int], None],
        camera_lost: Callable[[uuid.UUID], None],
        tick_ns: int,
        media_ram_bytes: int,
    ) -> None:
        self._objects = objects
        self._jobs = cast("dict[str, RecordingJob]", objects.tables["job"])
        self._recordings = cast("dict[str, Recording]", objects.tables["recording"])
        self._receivers = cast("dict[str, Receiver]", objects.tables["receiver"])
        self._clock = clock
        self._store = store
        self._timetable = timetable
        self._properties = properties
        self._runtimes: dict[str, JobRuntime] = {}
        self._jobs_of_recording: dict[str, set[str]] = {}
        self._jobs_of_receiver: dict[str, set[str]] = {}
        self._listening: dict[str, list[JobRuntime]] = {}
        self.counters = Counters()
        sources = Sources(objects=objects, source=source, clock=clock, password=password, demand=self._demand)
        self.sources = sources
        self.publisher = Publisher(events=events, clock=clock, sources=sources, tick_ns=tick_ns, counters=self.counters)
        self.recorder = Recorder(
            store=store,
            source=source,
            clock=clock,
            sources=sources,
            publisher=self.publisher,
            counters=self.counters,
            media_ram_bytes=media_ram_bytes,
            runs_of=self._runtimes_of,
            source_name=self._source_name,
            note_encoding=note_encoding,
            picture_stored=self._picture_stored,
            metadata=metadata,
            camera_lost=camera_lost,
        )
        sources.sink = self.recorder
        sources.changed = self.publisher.receiver_changed
        sources.ended = camera_lost

    # --- objects -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything that is stored begins to work."""
        change = Change()
        change.puts = {(kind, key): obj for kind, table in self._objects.tables.items() for key, obj in table.items()}
        self.apply(change)

    def apply(self, change: Change) -> None:
        """After `objects` has taken the change."""
        recordings = set(change.touched("recording"))
        receivers = set(change.touched("receiver"))
        for token in sorted(change.touched("job")):
            self._job_changed(token, recordings, receivers)
        for device in change.concerned("device") | self._devices_of(receivers):
            receivers.update(self.sources.receivers_of(device))
        calendars = change.touched("schedule") | change.touched("special_days")
        if calendars:
            self._timetable.forget(calendars)
            recordings.update(
                r.job.configuration.recording for r in self._runtimes.values() if r.job.configuration.schedule
            )
        self._evaluate(recordings, receivers)
        for token in receivers - self._receivers.keys():
            self.publisher.forget_receiver(token)
        for token in recordings - self._recordings.keys():
            self.publisher.forget_recording(token)

    def _devices_of(self, receivers: Iterable[str]) -> set[str]:
        """Which of a device's receivers brings its events may change with any of them."""
        devices = {self.sources.devices.get(token, "") for token in receivers}
        for receiver in (self._receivers.get(token) for token in receivers):
            device = self.sources.device(receiver) if receiver is not None else None
            devices.add(device.id if device is not None else "")
        return devices - {""}

    def _job_changed(self, token: str, recordings: set[str], receivers: set[str]) -> None:
        self._listening.clear()
        runtime = self._runtimes.get(token)
        new = self._jobs.get(token)
        for job in (runtime.job if runtime is not None else None, new):
            if job is not None:
                recordings.add(job.configuration.recording)
                receivers.update(s.token for s in job.configuration.sources)
        if runtime is not None:
            self._jobs_of_recording[runtime.job.configuration.recording].discard(token)
            for source in runtime.job.configuration.sources:
                self._jobs_of_receiver[source.token].discard(token)
        if new is None:
            if runtime is not None:
                self.recorder.stop(runtime)
                del self._runtimes[token]
                self.publisher.forget_job(token)
            return
        self._jobs_of_recording.setdefault(new.configuration.recording, set()).add(token)
        for source in new.configuration.sources:
            self._jobs_of_receiver.setdefault(source.token, set()).add(token)
        if runtime is None:
            self._runtimes[token] = JobRuntime(new, self._condition(new))
            return
        listened = runtime.job.configuration.event_filter
        runtime.job = new
        if listened != new.configuration.event_filter:
            runtime.condition = self._condition(new)

    def _condition(self, job: RecordingJob) -> EventCondition | None:
        """With the properties that hold already."""
        event_filter = job.configuration.event_filter
        if event_filter is None:
            return None
        condition = EventCondition.of(event_filter)
        for event in self._properties():
            if condition.matches(event):
                condition.take(event)
        return condition

    # --- activation ----------------------------------------------------------------------------------------

    def _evaluate(self, recordings: Iterable[str], receivers: Iterable[str] = ()) -> None:
        """Re-decides every track of these recordings; then fetches what is needed and no longer what is not."""
        now_ns = self._clock.boottime_ns()
        touched = set(receivers)
        concerned = []
        for token in sorted(recordings):
            self.counters.recordings_evaluated += 1
            recording = self._recordings.get(token)
            runtimes = [self._runtimes[j] for j in sorted(self._jobs_of_recording.get(token, ()))]
            for runtime in runtimes:
                runtime.wanted = recording is not None and self._wants(runtime, now_ns)
                touched.update(s.token for s in runtime.job.configuration.sources)
            won = winners(r.job for r in runtimes if r.wanted)
            keys = [(r, self._run_key(r.job, won.get(r.job.token, ()))) for r in runtimes]
            changed = [(r, key) for r, key in keys if (r.run.key if r.run is not None else None) != key]
            for runtime, _ in changed:
                self.recorder.stop(runtime)
            for runtime, key in changed:
                if key is not None and recording is not None:
                    self.recorder.begin(runtime, recording, key, self._cause(runtime))
            for runtime in runtimes:
                if runtime.run is not None and recording is not None:
                    runtime.run.renew(recording)
            concerned.extend(runtimes)
        self.sources.update(sorted(touched))
        for receiver in sorted(touched):  # a job of another recording may have lost its stream, or its prospect of one
            concerned.extend(r for r in self._runtimes_of(receiver) if r not in concerned)
        for runtime in concerned:
            self.publisher.refresh(runtime)

    def _wants(self, runtime: JobRuntime, now_ns: int) -> bool:
        schedule = runtime.job.configuration.schedule
        allowed = wants(runtime.job, not schedule or self._timetable.active(schedule), True)
        if allowed and not runtime.allowed:
            runtime.since_ns = now_ns
        runtime.allowed = allowed
        condition = runtime.condition
        if condition is None:
            return allowed
        holds = condition.holds(now_ns)
        condition.looked()
        return allowed and (holds or self._lacks_picture(runtime, now_ns))

    def _lacks_picture(self, runtime: JobRuntime, now_ns: int) -> bool:
        """An event is recorded with at least one random access point (5.3.4): its run waits for one that is still to come."""
        run, condition = runtime.run, runtime.condition
        ended_ns = condition.until_ns() if condition is not None else None
        if run is None or ended_ns is None or now_ns > ended_ns + PICTURE_GRACE_NS:
            return False
        streams = [self.sources.by_id[r] for r in run.receivers if r in self.sources.by_id]
        return any(s.session is not None for s in streams) and not run.has_pictures

    def _run_key(self, job: RecordingJob, routes: Sequence[Route]) -> RunKey | None:
        if not routes:
            return None
        receivers = [self._receivers.get(s.token) for s in job.configuration.sources]
        ids = tuple(r.id if r is not None else uuid.UUID(int=0) for r in receivers)
        return RunKey(tuple(routes), ids, job.configuration.priority)

    def _cause(self, runtime: JobRuntime) -> RunCause:
        condition = runtime.condition
        if condition is not None and condition.cause is not None:
            event = condition.cause
            source = ",".join(f"{name}={value}" for name, value in event.source)
            return RunCause(RunKind.EVENT, event.topic, source, event.utc_ns)
        if runtime.job.configuration.schedule:
            return RunCause(RunKind.SCHEDULE, source=runtime.job.configuration.schedule)
        return RunCause(RunKind.CONTINUOUS)

    def _demand(self, receiver: str) -> float | None:
        """Seconds of pre-buffer that the jobs of a receiver need; None when none of them needs the stream."""
        needed: float | None = None
        receiver_id = self._receivers[receiver].id
        for token in self._jobs_of_receiver.get(receiver, ()):
            runtime = self._runtimes[token]
            event_filter = runtime.job.configuration.event_filter
            if event_filter is not None and runtime.allowed:
                needed = max(needed or 0.0, event_filter.before_ms / 1000)
            elif runtime.run is not None and receiver_id in runtime.run.receivers:
                needed = needed or 0.0
        return needed

    def _runtimes_of(self, receiver: str) -> list[JobRuntime]:
        return [self._runtimes[t] for t in sorted(self._jobs_of_receiver.get(receiver, ()))]

    def _source_name(self, run: Run) -> str:
        devices = [self.sources.devices.get(s.token) or s.token for s in run.job.configuration.sources]
        return ",".join(dict.fromkeys(devices))

    def _picture_stored(self, runtime: JobRuntime) -> None:
        if runtime.condition is not None and not runtime.condition.holds(self._clock.boottime_ns()):
            self._evaluate({runtime.job.configuration.recording})

    # --- events and time -----------------------------------------------------------------------------------

    def take_event(self, event: Event) -> None:
        """An event that the broker has stamped."""
        recordings = set()
        for runtime in self._listeners(event.topic):
            condition = runtime.condition
            if condition is not None and condition.matches(event) and condition.take(event):
                recordings.add(runtime.job.configuration.recording)
                self.recorder.hurry(runtime)
        if recordings:
            self._evaluate(recordings)

    def _listeners(self, topic: str) -> list[JobRuntime]:
        """Jobs that listen to a topic, remembered: there are few topics, many events and many jobs."""
        found = self._listening.get(topic)
        if found is None:
            if len(self._listening) > 1000:
                self._listening.clear()
            found = self._listening[topic] = [
                r for r in self._runtimes.values() if r.condition is not None and r.condition.listens_to(topic)
            ]
        return found

    def advance(self) -> None:
        """Ends what has run out: After of an event, a schedule's period, the wait for a key frame."""
        now_ns = self._clock.boottime_ns()
        due = {
            runtime.job.configuration.recording
            for runtime in self._runtimes.values()
            if self._changes_by_itself(runtime, now_ns)
        }
        if due:
            self._evaluate(due)

    def _changes_by_itself(self, runtime: JobRuntime, now_ns: int) -> bool:
        schedule = runtime.job.configuration.schedule
        if schedule and wants(runtime.job, self._timetable.active(schedule), True) != runtime.allowed:
            return True
        condition = runtime.condition
        return condition is not None and runtime.wanted and not condition.holds(now_ns)

    def next_deadline_ns(self) -> int | None:
        """Boot time at which `advance` has something to do, if nothing else happens."""
        now_ns = self._clock.boottime_ns()
        ends = [
            end
            for runtime in self._runtimes.values()
            if runtime.wanted and runtime.condition is not None and (end := runtime.condition.until_ns()) is not None
        ]
        later = [end for end in ends if end > now_ns]
        schedule = self._timetable.next_change_ns(
            {r.job.configuration.schedule for r in self._runtimes.values()} - {""}
        )
        if schedule is not None:
            later.append(schedule)
        return min(later, default=None)

    def tick(self, now_ns: int) -> None:
        """The ring's feeder (`MediaStore.before_tick`)."""
        self.recorder.tick(now_ns)
        for runtime in self._runtimes.values():
            if runtime.run is not None:
                self.publisher.refresh(runtime)

    def runtime(self, job: str) -> JobRuntime | None:
        return self._runtimes.get(job)

    def stop(self) -> None:
        """Ends all runs, so that their last data is appended before the ring's last commit. What was due has a gap until the next start."""
        for runtime in self._runtimes.values():
            run = runtime.run
            self.recorder.stop(runtime)
            if run is not None and run.id:
                tracks = [outlet.track.id for outlet in run.outlets if not outlet.absent]
                self._store.note_gap(run.recording.id, tracks, GapCause.RECORDER_OFF, self._clock.boottime_ns(), None)
