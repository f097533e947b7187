"""Tells the world what is being recorded: JobState, and the recording history events that a search service needs.

Every state is computed here and nowhere else, so a reply to GetRecordingJobState and the event that announces it cannot differ.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace

from recorderd.model.causes import RecordingState
from recorderd.model.job import JobState, RecordingJob
from recorderd.model.ports import Clock, Event, EventSink
from recorderd.model.receiver import ReceiverState
from recorderd.model.stream import TrackFormat
from recorderd.recording import topics
from recorderd.recording.runs import Outlet, Run
from recorderd.recording.runtime import Counters, JobRuntime
from recorderd.recording.sources import Sources
from recorderd.recording.states import Shown, job_state, outlet_states


class Publisher:
    def __init__(self, *, events: EventSink, clock: Clock, sources: Sources, tick_ns: int, counters: Counters) -> None:
        self._events = events
        self._clock = clock
        self._sources = sources
        self._tick_ns = tick_ns
        self._counters = counters
        self._shown: dict[str, tuple[RecordingJob, Mapping[int, Shown]]] = {}
        self._states: dict[str, JobState] = {}
        self._present: dict[str, set[str]] = {}  # recording -> tracks that receive data
        self._told: dict[str, set[str]] = {}  # recording -> tracks whose state has been told
        self._parameters: dict[str, dict[tuple[str, str], Event]] = {}  # recording -> what was told of its tracks
        self._storage_active: bool | None = None
        self._receiver_states: dict[str, ReceiverState] = {}

    # --- jobs ----------------------------------------------------------------------------------------------

    def refresh(self, runtime: JobRuntime) -> None:
        """Recomputes the state of one job and announces it if it has changed."""
        now_ns = self._clock.boottime_ns()
        token = runtime.job.token
        states = self._outlet_states(runtime.run, now_ns)
        shown = self._shown.get(token)
        if shown is not None and shown[0] is runtime.job and shown[1] == states:
            return
        self._shown[token] = (runtime.job, states)
        for index, (reached, _) in states.items():
            if runtime.run is not None:
                self.data_present(runtime.run, runtime.run.outlets[index], reached is RecordingState.ACTIVE)
        state = job_state(runtime.job, runtime.run, states)
        old = self._states.get(token)
        if old == state:
            return
        self._states[token] = state
        self._counters.states_published += 1
        self._events.publish(topics.job_state(token, state, "Initialized" if old is None else "Changed"))

    def _outlet_states(self, run: Run | None, now_ns: int) -> dict[int, Shown]:
        if run is None:
            return {}
        return outlet_states(run, self._sources.by_id, self._sources.mode, self._tick_ns, now_ns)

    def state(self, token: str) -> JobState | None:
        return self._states.get(token)

    def forget_job(self, token: str) -> None:
        self._shown.pop(token, None)
        old = self._states.pop(token, None)
        if old is not None:
            self._events.publish(topics.job_state(token, old, "Deleted"))

    # --- recording history ---------------------------------------------------------------------------------

    def data_present(self, run: Run, outlet: Outlet, present: bool) -> None:
        """IsDataPresent of a track and IsRecording of its recording follow what reached the disk."""
        if outlet.had_data == present:
            return
        outlet.had_data = present
        recording = run.recording.token
        tracks = self._present.setdefault(recording, set())
        was_recording = bool(tracks)
        if present:
            tracks.add(outlet.track.token)
        else:
            tracks.discard(outlet.track.token)
        self._told.setdefault(recording, set()).add(outlet.track.token)
        self._events.publish(topics.track_state(recording, outlet.track.token, present))
        if was_recording != bool(tracks):
            self._events.publish(topics.recording_state(recording, bool(tracks)))
            self._tell_storage()

    def _tell_storage(self) -> None:
        """Whether anything is recorded at all (VAPIX, Storage/Recording)."""
        active = any(self._present.values())
        if active != self._storage_active:
            self._storage_active = active
            self._events.publish(topics.storage_recording(active))

    def parameters(self, run: Run, outlet: Outlet, form: TrackFormat) -> None:
        """What the track's data is from now on."""
        event = topics.parameters(run.recording.token, outlet.track.token, form)
        if event is not None:
            self._parameters.setdefault(run.recording.token, {})[event.topic, outlet.track.token] = event
            self._events.publish(event)

    def is_recording(self, recording: str) -> bool:
        return bool(self._present.get(recording))

    def forget_recording(self, recording: str) -> None:
        """It is gone: so are its properties."""
        self._present.pop(recording, None)
        self._tell_storage()
        for event in self._parameters.pop(recording, {}).values():
            self._events.publish(replace(event, operation="Deleted"))
        told = self._told.pop(recording, None)
        if told is not None:
            for track in sorted(told):
                self._events.publish(topics.track_state(recording, track, False, "Deleted"))
            self._events.publish(topics.recording_state(recording, False, "Deleted"))

    # --- receivers -----------------------------------------------------------------------------------------

    def receiver_changed(self, receiver: uuid.UUID) -> None:
        stream = self._sources.by_id.get(receiver)
        if stream is None:
            return
        old = self._receiver_states.get(stream.token, ReceiverState.NOT_CONNECTED)
        if stream.state is not old:
            self._receiver_states[stream.token] = stream.state
            self._events.publish(topics.receiver_state(stream.token, stream.state, self._sources.uri(stream.token)))

    def connection_failed(self, receiver: uuid.UUID) -> None:
        stream = self._sources.by_id.get(receiver)
        if stream is not None:
            self._events.publish(topics.connection_failed(stream.token, self._sources.uri(stream.token)))

    def forget_receiver(self, token: str) -> None:
        self._receiver_states.pop(token, None)
